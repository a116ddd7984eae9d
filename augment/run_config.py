"""What a person asks of a run, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, field_validator

from augment import study_config
from augment.arms import DEFAULT_CLASSIFIERS, resolve_classifier
from augment.study_config import StudyConfig


class RunConfig(StudyConfig):
    """What a person asks of a run; the same names as the command line's options."""

    called: ClassVar[str] = "run"

    model: str
    regime: str = "high"
    size: int | None = Field(None, ge=1)
    imbalance_factor: float = 100.0
    class_counts: tuple[int, ...] | None = None
    seeds: int = Field(1, ge=1, le=1000)
    arms: tuple[str, ...] = ("real", "oversample")
    classifiers: tuple[str, ...] = DEFAULT_CLASSIFIERS
    strategy: str | None = None
    updates: int | None = Field(None, ge=1)
    fidelity_images: int = Field(2000, ge=2)
    save_images: bool = False

    @field_validator("classifiers")
    @classmethod
    def _known_classifiers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(resolve_classifier(name) for name in names))


NOT_IDENTITY = study_config.NOT_IDENTITY | {"save_images"}
"""Settings that do not change a result, or are recorded in resolved form."""


@dataclass(frozen=True)
class Seeds:
    """The seeds of one repetition; they differ so that no two parts share a stream."""

    subset: int
    generator: int
    sampling: int
    classifier: int

    @classmethod
    def of(cls, base: int) -> Seeds:
        """Seeds of repetition ``base``."""
        return cls(*(part * 1_000_003 + base for part in range(4)))
