"""The life of a study, the same for all kinds: found finished, or locked, tracked, carried out, and written at the end.

A folder is complete only when ``result.json`` is there; it is written last, when everything else is.
"""

from __future__ import annotations

import importlib
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from augment.compute.device import Compute
from augment.compute.workers import Workers, side_by_side
from augment.errors import DataError
from augment.progress import Reporter
from augment.results.study_result import CONFIG, FILE, Cost, Identity, StudyResult, environment
from augment.storage import files, locks
from augment.storage.typed_json import to_json
from augment.studies.config import StudyConfig
from augment.studies.identity import DataFacts
from augment.training.recipe import FILE as TRAINING_FILE
from augment.training.recipe import TrainingRecord
from augment.training.state import OUT_OF_TIME
from augment.training.tracking import means, tracked

if TYPE_CHECKING:
    from augment.datasets import ImageSet


C = TypeVar("C", bound=StudyConfig)
R = TypeVar("R", bound=StudyResult)
P = TypeVar("P", bound="StudyPlan[Any]")

Command = Literal["run", "features"]

HOMES: Mapping[Command, str] = {"run": "augment.studies.run", "features": "augment.studies.features"}
"""The package of each kind: ``study.py`` holds it as ``STUDY``, ``config.py`` what is asked as ``CONFIG``."""


class StudyKind(ABC, Generic[C, P, R]):
    """A kind of study.  name: of its command.  config: what is asked.  result: what comes of it."""

    name: ClassVar[Command]
    config: type[C]
    result: type[R]

    @abstractmethod
    def prepare(self, config: C, reporter: Reporter) -> P:
        """Load the data and resolve every default; raises the error a person can act on before anything is computed."""

    @abstractmethod
    def carry_out(self, plan: P, reporter: Reporter) -> R:
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

    def data_of(self, config: C, reporter: Reporter) -> ImageSet:
        """The data as the study uses them."""
        return config.load_data(reporter)

    def complete(self, config: C, reporter: Reporter, draw: Draw | None = None) -> R:
        """Carry out a study, or hand back the result of an identical one that is there already."""
        from augment.studies.lifecycle import complete

        plan: StudyPlan[R] = self.prepare(config, reporter)
        return complete(plan, self.carry_out, reporter, draw)


def study_of(command: Command) -> StudyKind[Any, Any, Any]:
    """The kind of study behind a command."""
    found: StudyKind[Any, Any, Any] = importlib.import_module(f"{HOMES[command]}.study").STUDY
    return found


def config_of(command: Command) -> type[StudyConfig]:
    """What is asked of a kind of study; imports no torch."""
    found: type[StudyConfig] = importlib.import_module(f"{HOMES[command]}.config").CONFIG
    return found


R_co = TypeVar("R_co", bound=StudyResult, covariant=True)


class StudyPlan(Protocol[R_co]):
    """A study with everything resolved and nothing computed yet."""

    @property
    def config(self) -> StudyConfig:
        """What was asked."""

    @property
    def compute(self) -> Compute:
        """What it computes on; its workers come when it begins."""

    @property
    def jobs(self) -> int:
        """Classifiers that can be trained side by side."""

    @property
    def identity(self) -> Identity:
        """Everything the result depends on."""

    @property
    def folder(self) -> Path:
        """Where the result goes."""

    @property
    def result(self) -> type[R_co]:
        """What comes of it."""

    def on(self, workers: Workers) -> Self:
        """The same, with these to help."""

    @property
    def reuses(self) -> bool:
        """May a finished result be handed back?"""


Draw = Callable[[Path, StudyResult], None]
"""Draws what a study has found into its folder; the report's business, which studies do not know."""


def complete(plan: StudyPlan[R], carry_out: Callable[[Any, Reporter], R], reporter: Reporter, draw: Draw | None) -> R:
    """The result of a study: one that is there already, or what ``carry_out`` finds, drawn and written to its folder.

    Raises BusyError while another process writes there, and DataError where it cannot be written.
    """
    start, folder = time.perf_counter(), plan.folder
    found = _finished(plan)
    if found is not None:
        reporter.note(f"Cached: this very {plan.config.called} was finished before.")
        return found
    with locks.try_lock(folder), tracked(plan.config.tracker, folder, to_json(plan.identity), reporter) as reporter:
        found = _finished(plan)
        if found is not None:  # by whoever held the folder just now
            return found
        with files.writing(folder):
            files.write_json(folder / CONFIG, to_json(plan.identity))
        made_in = environment(plan.compute.device)
        with side_by_side(plan.jobs, plan.compute.device) as workers:
            result = carry_out(plan.on(workers), reporter)
        result = replace(result, environment=made_in, identity=plan.identity.key)
        reporter.stage("Draw and write the result")
        result = finish(folder, result, seconds=time.perf_counter() - start, draw=draw)
        reporter.metrics(means(result.numbers()), 0)
    return result


def _finished(plan: StudyPlan[R]) -> R | None:
    document = files.read_json(plan.folder / FILE) if plan.reuses else None
    if document is None or document.get("identity") != plan.identity.key:
        return None
    try:
        return replace(plan.result.from_json(document), folder=plan.folder, cached=True)
    except DataError:  # as after a crash of a disk: it is made again
        return None


def finish(folder: Path, result: R, *, seconds: float, draw: Draw | None = None) -> R:
    """Draw, then write ``result.json``, which marks the folder as finished; returns what it says.

    Everything else must be there already.  seconds: wall clock of this attempt, in which parts that were finished
    before cost nothing. Checkpoints of generators that need no more training are removed. Raises DataError where the
    folder cannot be written.
    """
    trainings = _trainings(folder)
    finished = replace(
        result,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        cost=Cost(
            seconds=round(seconds, 2),
            generator_seconds=round(sum(one.seconds for one in trainings.values()), 2),
            classifier_seconds=round(result.classifier_seconds, 2),
        ),
        seconds=round(seconds, 2),
        folder=folder,
    )
    if draw is not None:
        draw(folder, finished)
    with files.writing(folder):
        files.write_json(folder / FILE, finished.to_json())
    _remove_checkpoints(trainings)
    return finished


def _trainings(folder: Path) -> dict[Path, TrainingRecord]:
    """What the training of every generator below ``folder`` left, by the generator's folder."""
    found = {file.parent: TrainingRecord.read(file.parent) for file in folder.rglob(TRAINING_FILE)}
    return {place: training for place, training in found.items() if training is not None}


def _remove_checkpoints(trainings: Mapping[Path, TrainingRecord]) -> None:
    """They are several times as large as the weights, and only an interrupted training needs them."""
    for place, training in trainings.items():
        if training.stopped != OUT_OF_TIME:
            shutil.rmtree(place / "checkpoint", ignore_errors=True)  # what cannot be removed does no harm
