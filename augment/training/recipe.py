"""What a generator's training depends on, and what it left: ``training.json`` beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augment.errors import DataError
from augment.storage.files import read_json, write_json
from augment.storage.hashing import content_hash
from augment.storage.typed_json import from_json, to_json

FILE = "training.json"
"""Written last: where it lies, the generator is complete."""


@dataclass(frozen=True)
class Recipe:
    """Everything a training depends on besides the images; options are complete, defaults included."""

    model: str
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    version: str
    code: str
    data_sha256: str
    seed: int
    steps: int
    max_seconds: float | None
    device: str
    precision: str

    @property
    def key(self) -> str:
        """Identity in the cache."""
        return content_hash(asdict(self))


@dataclass(frozen=True)
class TrainingRecord:
    """A training that has ended.

    steps, seconds: behind it, wall clock, earlier sessions included.  stopped: why it ended.  best_step: that of the
    weights in use, None for the last.  skipped_updates: left out for values that were not finite.
    """

    key: str
    recipe: Recipe
    steps: int
    seconds: float
    images_per_second: float
    stopped: str
    best_step: int | None
    skipped_updates: int

    @classmethod
    def read(cls, folder: Path) -> TrainingRecord | None:
        """Of the generator in ``folder``; None where there is none, or none that can be read."""
        document = read_json(folder / FILE)
        try:
            return None if document is None else from_json(cls, document, FILE)
        except DataError:
            return None

    def write(self, folder: Path) -> None:
        """Mark the generator in ``folder`` complete."""
        write_json(folder / FILE, to_json(self))
