"""What decides a study's result, as it is kept in ``config.json``: settings, data, code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from augment.storage import hashing
from augment.typed_json import to_json

FILE = "config.json"


@dataclass(frozen=True)
class GeneratorIdentity:
    """A generator before it is trained, or the weights of a saved one.

    options: complete, defaults included.  version, code: of its package.  weights: hash of a saved one's.
    """

    options: Mapping[str, Any]
    version: str | None = None
    code: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Identity:
    """Everything a result depends on.

    settings: as a config takes them, all that it takes to ask for the same again.  decided: of these what decides, as
    it was resolved.  generators: by name, the study's own first.  code: of the study.
    """

    schema: str
    settings: Mapping[str, Any]
    decided: Mapping[str, Any]
    data: str
    generators: Mapping[str, GeneratorIdentity]
    code: str
    torch: str

    @property
    def key(self) -> str:
        """Hash of what decides."""
        document = to_json(self)
        del document["settings"]
        return hashing.content_hash(document)

    def on(self, device: str, precision: str) -> Identity:
        """The same with where and how it is computed, which is known when it begins."""
        place = {"device": device, "precision": precision}
        return replace(self, settings={**self.settings, **place}, decided={**self.decided, **place})
