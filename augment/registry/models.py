"""What is known of the registered generators, kept in the cache folder so that listing them imports nothing.

It is found by importing the plugin, once, and stays valid until the plugin's code, its version or the contract changes.
That a plugin cannot be imported, and why, is never kept.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from augment import registry
from augment.errors import DataError, PluginError, UsageError, unknown_name
from augment.progress import Reporter
from augment.registry import PluginEntry
from augment.registry.capabilities import Capabilities, describe
from augment.storage.cache import kept
from augment.storage.files import read_json, safe_name, write_json
from augment.storage.hashing import code_fingerprint, content_hash
from augment.storage.locations import cache_folder
from augment.storage.typed_json import from_json, to_json

HERE = Path(__file__).parent
CORE = (HERE.parent / "generator.py", HERE / "capabilities.py", HERE / "models.py")
"""Our own code that decides what is found."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a registered generator; problem: why it cannot be used, None where it can."""

    entry: PluginEntry
    capabilities: Capabilities
    problem: str | None = None

    @property
    def name(self) -> str:
        """As registered."""
        return self.entry.name

    def document(self) -> dict[str, Any]:
        """For JSON: what metadata and source text tell, then what the class does."""
        return {
            "name": self.entry.name,
            "package": self.entry.distribution,
            "version": self.entry.version,
            "target": self.entry.target,
            "summary": self.entry.summary,
            "available": self.problem is None,
            "problem": self.problem,
            **to_json(self.capabilities),
        }


def all_models(reporter: Reporter | None = None) -> list[ModelInfo]:
    """All registered generators, by name; what is not kept is found by importing their plugins."""
    entries = registry.entries()
    infos = {entry.name: _kept(entry) for entry in entries}
    lacking = [entry for entry in entries if infos[entry.name] is None]
    if reporter is not None and lacking:
        reporter.stage(f"Look at {', '.join(entry.name for entry in lacking)}, once")
    for done, entry in enumerate(lacking):
        if reporter is not None:
            reporter.advance(done, len(lacking), entry.name)
        infos[entry.name] = _made(entry)
    return [info for info in infos.values() if info is not None]


def model_info(name: str) -> ModelInfo:
    """One generator; raises UsageError for an unknown name, PluginError for a plugin that is unavailable."""
    entries = {entry.name: entry for entry in registry.entries()}
    if name not in entries:
        raise UsageError(unknown_name("model", name, entries))
    info = _kept(entries[name]) or _made(entries[name])
    if info.problem is not None:
        registry.get(name)  # raises the error that says why, and what to do
        raise PluginError(f"Model {name!r} is unavailable: {info.problem}.")
    return info


def known_models() -> list[ModelInfo]:
    """What is known already; imports nothing."""
    infos = (_kept(entry) for entry in registry.entries() if not entry.problem)
    return [info for info in infos if info is not None]


def _kept(entry: PluginEntry) -> ModelInfo | None:
    """What needs no import: what was kept and is valid, or why a plugin is seen to be broken."""
    if entry.problem:
        return ModelInfo(entry, Capabilities(), entry.problem)
    document = read_json(_file(entry))
    if document is None or document.get("key") != _key(entry):
        return None
    try:
        return ModelInfo(entry, from_json(Capabilities, document.get("capabilities") or {}, str(_file(entry))))
    except DataError:
        return None


def _made(entry: PluginEntry) -> ModelInfo:
    """What an import tells; kept unless the plugin is broken."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a plugin that prints must not spoil a JSON document
            capabilities = describe(registry.get(entry.name))
    except PluginError as error:
        cause = error.__cause__
        return ModelInfo(entry, Capabilities(), str(error) if cause is None else f"{type(cause).__name__}: {cause}")
    except Exception as error:
        return ModelInfo(entry, Capabilities(), f"{type(error).__name__}: {error}")
    kept(_file(entry), lambda: capabilities, read=lambda _: None, write=partial(_write, _key(entry)))
    return ModelInfo(entry, capabilities)


def _write(key: str, file: Path, capabilities: Capabilities) -> None:
    write_json(file, {"key": key, "capabilities": to_json(capabilities)})


def _file(entry: PluginEntry) -> Path:
    return cache_folder() / "models" / f"{safe_name(entry.name)}.json"


def _key(entry: PluginEntry) -> str:
    """Changes with everything that is found; where the code lies does not matter."""
    code = code_fingerprint([*CORE, *registry.sources(entry.target)])
    return content_hash([entry.name, entry.target, entry.distribution, entry.version, code])
