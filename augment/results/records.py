"""Run folders read again: what is finished, what is not, what is damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from augment.errors import DataError
from augment.progress import Reporter
from augment.results.features_result import FeaturesResult
from augment.results.folders import RunFolder, run_folders
from augment.results.run_result import RunResult
from augment.results.study_result import CONFIG, FILE, GeneratorInfo, Identity, StudyResult
from augment.storage import files, typed_json

R = TypeVar("R", bound=StudyResult)

Kind = Literal["run", "features"]

NAMED = 3
"""Folders that a message names."""

EACH = 50
"""Folders between two words on progress."""


@dataclass(frozen=True, eq=False)
class Record(Generic[R]):
    """A finished study in its folder.

    identity: ``config.json``, what the result depends on; None where that file is missing, as in a folder copied by
    hand.
    """

    kind: ClassVar[Kind]

    folder: Path
    result: R
    identity: Identity | None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was set, with every default resolved; empty where that is not known."""
        return {} if self.identity is None else self.identity.settings

    @property
    def code(self) -> str | None:
        """Hash of the code that made it."""
        return None if self.identity is None else self.identity.code

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.result.dataset.name

    @property
    def seconds(self) -> float:
        """Wall clock of the whole study."""
        return self.result.seconds

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.result.dataset.classes

    @cached_property
    def finished_at(self) -> str:
        """ISO time in UTC; that of the file where the result does not say."""
        written = (self.folder / FILE).stat().st_mtime if not self.result.finished_at else 0.0
        return self.result.finished_at or datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """Names of the guards that failed."""
        return self.result.failed_guards

    @property
    def short_key(self) -> str:
        """Eight letters that no other record has."""
        return (self.result.identity or self.folder.name)[:8]

    @property
    def name(self) -> str:
        """What was studied, in a line."""
        raise NotImplementedError

    @property
    def generators(self) -> tuple[GeneratorInfo, ...]:
        """All generators of the study, its own first."""
        raise NotImplementedError

    @property
    def model(self) -> str:
        """The generator; where a run has several, its own."""
        return self.generators[0].name

    @property
    def size(self) -> int:
        """Real training images in all; of a feature study, those its generator was trained on."""
        raise NotImplementedError

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the repetitions (of a feature study: of the episodes), in order."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class RunRecord(Record[RunResult]):
    """A finished run."""

    kind: ClassVar[Kind] = "run"

    @property
    def name(self) -> str:
        """``digits, high, 360 images, <model>``."""
        return f"{self.dataset}, {self.regime}, {self.size:,} images, {self.model}"

    @property
    def generators(self) -> tuple[GeneratorInfo, ...]:
        """The run's own first."""
        return self.result.generators

    @property
    def regime(self) -> str:
        """Name of the regime."""
        return self.result.regime.name

    @property
    def size(self) -> int:
        """Real training images in all."""
        return self.result.regime.size

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the repetitions, in order."""
        return self.result.seeds

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Real training images of each class."""
        return self.result.regime.class_counts


@dataclass(frozen=True, eq=False)
class FeaturesRecord(Record[FeaturesResult]):
    """A finished feature study."""

    kind: ClassVar[Kind] = "features"

    @property
    def name(self) -> str:
        """``digits, pool of 1,000 images, features of <model>``."""
        return f"{self.dataset}, pool of {self.size:,} images, features of {self.model}"

    @property
    def generators(self) -> tuple[GeneratorInfo, ...]:
        """The generator whose features were studied."""
        return (self.result.generator,)

    @property
    def size(self) -> int:
        """Images that the generator was trained on."""
        return self.result.protocol.pool_images

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the episodes."""
        return self.result.protocol.seeds


AnyRecord = RunRecord | FeaturesRecord


@dataclass(frozen=True)
class Found:
    """What lies in run folders.

    unfinished: folders that were begun and have no result.  damaged: folders with a result that cannot be read, and
    why.  stale: results in a sweep's folder that are recorded for none of its cells.
    """

    records: tuple[AnyRecord, ...]
    unfinished: tuple[Path, ...] = ()
    damaged: tuple[tuple[Path, str], ...] = ()
    stale: tuple[Path, ...] = ()

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """Records of runs."""
        return tuple(record for record in self.records if isinstance(record, RunRecord))

    def problems(self) -> list[str]:
        """Sentences on what is not among the records, and what to do about it."""
        texts = [f"{folder}: {reason}." for folder, reason in self.damaged]
        if self.unfinished:
            texts.append(
                f"{_counted(self.unfinished, 'run')} not finished ({_named(self.unfinished)}); the same command as "
                "before goes on with them."
            )
        if self.stale:
            texts.append(
                f"{_counted(self.stale, 'result')} left out ({_named(self.stale)}): recorded for no cell of the sweep "
                "as it is now. The same sweep takes up what it still has; give the folder itself to see one."
            )
        return texts

    @property
    def features(self) -> tuple[FeaturesRecord, ...]:
        """Records of feature studies."""
        return tuple(record for record in self.records if isinstance(record, FeaturesRecord))


def _counted(folders: Sequence[Path], noun: str) -> str:
    return f"{len(folders):,} {noun}{'' if len(folders) == 1 else 's'}"


def _named(folders: Sequence[Path]) -> str:
    names = [folder.name for folder in folders[:NAMED]]
    return ", ".join(names) + (", ..." if len(folders) > NAMED else "")


def load_records(paths: Sequence[Path], reporter: Reporter | None = None) -> Found:
    """Read every result at or below ``paths``: run folders, folders above them such as a sweep's, or ``result.json``.

    In the order of a sweep's cells where there is a sweep, else by name; a folder reached twice is read once. Raises
    DataError where a path is missing or a URL, and where no result can be read; so there is at least one record.
    """
    reporter = reporter or Reporter()
    folders = list(run_folders(paths))
    if len(folders) > EACH:
        reporter.stage(f"Read {len(folders):,} results")
    found = _read_all(folders, reporter)
    if not found.records:
        raise DataError(_nothing(paths, found))
    return found


def _read_all(folders: Sequence[RunFolder], reporter: Reporter) -> Found:
    records: list[AnyRecord] = []
    damaged: list[tuple[Path, str]] = []
    for done, folder in enumerate(folders):
        if folder.finished and not folder.stale:
            try:
                records.append(read_record(folder.path))
            except DataError as error:
                damaged.append((folder.path, str(error)))
        if done and done % EACH == 0:
            reporter.advance(done, len(folders))
    return Found(
        tuple(records),
        tuple(folder.path for folder in folders if not folder.finished),
        tuple(damaged),
        tuple(folder.path for folder in folders if folder.finished and folder.stale),
    )


def _nothing(paths: Sequence[Path], found: Found) -> str:
    where = ", ".join(str(path) for path in paths) or "no folder"
    problems = "; ".join(found.problems())
    if problems:
        return f"No result to show in {where}. {problems}"
    return (
        f"No run in {where}. Give a run folder, or a folder above some: `augment run` and `augment sweep` make them, "
        "in runs/ unless --out says otherwise."
    )


def read_record(folder: Path) -> AnyRecord:
    """The result in a run folder; raises DataError with the reason where it cannot be read."""
    document = _json(folder / FILE)
    schema = str(document.get("schema"))
    if not schema.startswith("augment."):
        raise DataError(f"{FILE} was not written by augment: give the run folders alone")
    file = folder / CONFIG
    identity = typed_json.from_json(Identity, _json(file), CONFIG) if file.exists() else None
    if schema == RunResult.schema:
        return RunRecord(folder, replace(RunResult.from_json(document), folder=folder), identity)
    if schema == FeaturesResult.schema:
        return FeaturesRecord(folder, replace(FeaturesResult.from_json(document), folder=folder), identity)
    readable = f"{RunResult.schema}, {FeaturesResult.schema}"
    raise DataError(f"made by another version ({schema}; this one reads {readable}): run it again")


def _json(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb") as opened:
            document = files.parse_json(opened.read())
    except OSError as error:
        raise DataError(f"{file.name} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{file.name} is no JSON ({error}): run it again") from error
    if not isinstance(document, dict):
        raise DataError(f"{file.name} is no JSON object: run it again")
    return document
