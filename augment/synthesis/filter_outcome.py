"""What became of the images that a teacher filter was shown, as results keep it; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class FilteredClass:
    """Images of one class: asked for, drawn, passed (the surplus too), and kept.

    acceptance: share of those drawn that passed, None where none was drawn.  refused: images by the reason.  limit:
    largest distance allowed; None where there is none.
    """

    name: Annotated[str, Field(alias="class")]
    wanted: int
    drawn: int
    passed: int
    kept: int
    acceptance: float | None
    refused: Mapping[str, int]
    limit: float | None


@dataclass(frozen=True)
class FilterSeconds:
    """What a filter cost: training the teachers, drawing, judging."""

    teachers: float
    drawing: float
    judging: float


@dataclass(frozen=True)
class FilterOutcome:
    """All classes together, and each; fields of :class:`FilteredClass`.  rounds: draws made."""

    wanted: int
    drawn: int
    passed: int
    kept: int
    acceptance: float | None
    rounds: int
    seconds: FilterSeconds
    per_class: tuple[FilteredClass, ...]
