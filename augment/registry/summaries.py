"""Cards of the registered generators, kept in the cache folder so that listing them imports nothing.

A card is made by importing its plugin, once; it stays valid until the plugin's code, its version or the contract
changes. A plugin that cannot be imported has a card that says why, which is never kept.
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

CORE = tuple(Path(__file__).with_name(name) for name in ("generator.py", "capabilities.py", "cards.py"))
"""Our own code that decides what a card says."""


@dataclass(frozen=True)
class Card:
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


def all_cards(report: Reporter | None = None) -> list[Card]:
    """The cards of all registered generators, by name; those not kept are made, which imports their plugins."""
    entries = registry.entries()
    found = {entry.name: _kept(entry) for entry in entries}
    lacking = [entry for entry in entries if found[entry.name] is None]
    if report is not None and lacking:
        report.stage(f"Look at {', '.join(entry.name for entry in lacking)}, once")
    for done, entry in enumerate(lacking):
        if report is not None:
            report.advance(done, len(lacking), entry.name)
        found[entry.name] = _made(entry)
    return [card for card in found.values() if card is not None]


def card_of(name: str) -> Card:
    """One card; raises UsageError for an unknown name, PluginError for a plugin that is unavailable."""
    entries = {entry.name: entry for entry in registry.entries()}
    if name not in entries:
        raise UsageError(unknown_name("model", name, entries))
    found = _kept(entries[name]) or _made(entries[name])
    if found.problem is not None:
        registry.get(name)  # raises the error that says why, and what to do
        raise PluginError(f"Model {name!r} is unavailable: {found.problem}.")
    return found


def kept_cards() -> list[Card]:
    """The cards that are known already; imports nothing and makes none."""
    found = (_kept(entry) for entry in registry.entries() if not entry.problem)
    return [card for card in found if card is not None]


def _kept(entry: PluginEntry) -> Card | None:
    """The card of an entry where no import is needed for it: a valid one, or that of a plugin seen to be broken."""
    if entry.problem:
        return Card(entry, Capabilities(), entry.problem)
    document = read_json(_file(entry))
    if document is None or document.get("key") != _key(entry):
        return None
    try:
        return Card(entry, from_json(Capabilities, document.get("capabilities") or {}, str(_file(entry))))
    except DataError:
        return None


def _made(entry: PluginEntry) -> Card:
    """The card of an entry by importing it; kept unless the plugin is broken."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a plugin that prints must not spoil a JSON document
            capabilities = describe(registry.get(entry.name))
    except PluginError as error:
        cause = error.__cause__
        return Card(entry, Capabilities(), str(error) if cause is None else f"{type(cause).__name__}: {cause}")
    except Exception as error:
        return Card(entry, Capabilities(), f"{type(error).__name__}: {error}")
    kept(_file(entry), lambda: capabilities, read=lambda _: None, write=partial(_write, _key(entry)))
    return Card(entry, capabilities)


def _write(key: str, file: Path, capabilities: Capabilities) -> None:
    write_json(file, {"key": key, "capabilities": to_json(capabilities)})


def _file(entry: PluginEntry) -> Path:
    return cache_folder() / "cards" / f"{safe_name(entry.name)}.json"


def _key(entry: PluginEntry) -> str:
    """Changes with everything a card depends on; where the code lies does not matter."""
    code = code_fingerprint([*CORE, *registry.sources(entry.target)])
    return content_hash([entry.name, entry.target, entry.distribution, entry.version, code])
