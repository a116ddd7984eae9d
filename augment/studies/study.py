"""The two kinds of study behind one interface: what is asked, what comes of it, and what is done in between."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from augment.results.identity import Identity
from augment.results.study_result import StudyResult
from augment.studies.config import StudyConfig
from augment.studies.identity import DataFacts

if TYPE_CHECKING:
    from augment.datasets import ImageSet
    from augment.progress import Reporter
    from augment.studies.lifecycle import Draw, StudyPlan

C = TypeVar("C", bound=StudyConfig)
P = TypeVar("P", bound="StudyPlan[Any]")
R = TypeVar("R", bound=StudyResult)

Command = Literal["run", "features"]

HOMES: Mapping[Command, str] = {"run": "augment.experiment", "features": "augment.features"}
"""The package of each kind: ``study.py`` holds it as ``STUDY``, ``config.py`` what is asked as ``CONFIG``."""


class StudyKind(ABC, Generic[C, P, R]):
    """A kind of study.  name: of its command.  config: what is asked.  result: what comes of it."""

    name: ClassVar[Command]
    config: type[C]
    result: type[R]

    @abstractmethod
    def prepare(self, config: C, report: Reporter) -> P:
        """Load the data and resolve every default; raises the error a person can act on before anything is computed."""

    @abstractmethod
    def carry_out(self, plan: P, report: Reporter) -> R:
        """Do it; everything but ``result.json`` is then in the folder."""

    @abstractmethod
    def models(self, config: C) -> tuple[str, ...]:
        """All generators that are used, the study's own first; raises what is wrong with what names them."""

    @abstractmethod
    def check(self, config: C) -> None:
        """Raise the error a person can act on for what can be known without the data."""

    @abstractmethod
    def identity(self, config: C, data: DataFacts) -> Identity:
        """What decides the result, but for the device where that is found when it begins."""

    def data_of(self, config: C, report: Reporter) -> ImageSet:
        """The data as the study uses them."""
        return config.load_data(report)

    def complete(self, config: C, report: Reporter, draw: Draw | None = None) -> R:
        """Carry out a study, or hand back the result of an identical one that is there already."""
        from augment.studies.lifecycle import complete

        plan: StudyPlan[R] = self.prepare(config, report)
        return complete(plan, self.carry_out, report, draw)


def study_of(command: Command) -> StudyKind[Any, Any, Any]:
    """The kind of study behind a command."""
    found: StudyKind[Any, Any, Any] = importlib.import_module(f"{HOMES[command]}.study").STUDY
    return found


def config_of(command: Command) -> type[StudyConfig]:
    """What is asked of a kind of study; imports no torch."""
    found: type[StudyConfig] = importlib.import_module(f"{HOMES[command]}.config").CONFIG
    return found
