"""Run folders read again: what is finished, what is not, what is damaged."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from augment import store
from augment.errors import DataError
from augment.progress import Reporter
from augment.results.folders import RunFolder, run_folders

Kind = Literal["run", "features"]

READABLE: Mapping[str, Kind] = {"augment.run/6": "run", "augment.features/4": "features"}
"""Schemas of documents that mean what this version takes them to mean."""

NEEDED: Mapping[Kind, tuple[str, ...]] = {
    "run": (
        "dataset",
        "regime",
        "generators",
        "seeds",
        "drawn",
        "arms",
        "comparisons",
        "guards",
        "verdict",
        "verdicts",
    ),
    "features": ("dataset", "generator", "protocol", "rows", "comparisons", "guards", "verdict"),
}
"""Sections without which a document is of no use."""

NAMED = 3
"""Folders that a message names."""

EACH = 50
"""Folders between two words on progress."""


@dataclass(frozen=True)
class RunRecord:
    """A finished run or feature study.

    document: ``result.json``.  config: the settings in ``config.json``.  identity: all of ``config.json``, the settings
    among it; both are empty where that file is missing, as in a folder copied by hand.
    """

    kind: Kind
    folder: Path
    document: Mapping[str, Any]
    config: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.document["dataset"]["name"])

    @property
    def regime(self) -> str | None:
        """Name of the regime; None for a feature study."""
        return str(self.document["regime"]["name"]) if self.kind == "run" else None

    @property
    def size(self) -> int:
        """Real training images in all; of a feature study, those its generator was trained on."""
        document = self.document
        return int(document["regime"]["size"] if self.kind == "run" else document["protocol"]["pool_images"])

    @property
    def model(self) -> str:
        """The generator; where a run has several, its own."""
        return str(self.document["generators"][0]["name"] if self.kind == "run" else self.document["generator"]["name"])

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the repetitions (of a feature study: of the episodes), in order."""
        if self.kind == "features":
            return tuple(self.document["protocol"]["seeds"])
        return tuple(row["subset"] for row in self.document["seeds"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.document["dataset"]["classes"])

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Real training images of each class; empty for a feature study."""
        return tuple(self.document["regime"]["class_counts"]) if self.kind == "run" else ()

    @property
    def strategy(self) -> str | None:
        """How arms that say nothing else use synthetic images; None where that is not known."""
        return self.identity.get("strategy")

    @property
    def seconds(self) -> float:
        """Wall clock of the whole run."""
        return float(self.document.get("seconds", 0.0))

    @cached_property
    def finished_at(self) -> str:
        """ISO time in UTC; that of the file where the document does not say."""
        if "finished_at" in self.document:
            return str(self.document["finished_at"])
        return datetime.fromtimestamp((self.folder / "result.json").stat().st_mtime, UTC).isoformat(timespec="seconds")

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """Names of the guards that failed."""
        return tuple(guard["name"] for guard in self.document["guards"] if not guard["passed"])


@dataclass(frozen=True)
class Found:
    """What lies in run folders.

    unfinished: folders that were begun and have no result.  damaged: folders with a result that cannot be read, and
    why.  stale: results in a sweep's folder that are recorded for none of its cells.
    """

    records: tuple[RunRecord, ...]
    unfinished: tuple[Path, ...] = ()
    damaged: tuple[tuple[Path, str], ...] = ()
    stale: tuple[Path, ...] = ()

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """Records of runs."""
        return tuple(record for record in self.records if record.kind == "run")

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
    def features(self) -> tuple[RunRecord, ...]:
        """Records of feature studies."""
        return tuple(record for record in self.records if record.kind == "features")


def _counted(folders: Sequence[Path], noun: str) -> str:
    return f"{len(folders):,} {noun}{'' if len(folders) == 1 else 's'}"


def _named(folders: Sequence[Path]) -> str:
    names = [folder.name for folder in folders[:NAMED]]
    return ", ".join(names) + (", ..." if len(folders) > NAMED else "")


def load_records(paths: Sequence[Path], report: Reporter | None = None) -> Found:
    """Read every result at or below ``paths``: run folders, folders above them such as a sweep's, or ``result.json``.

    In the order of a sweep's cells where there is a sweep, else by name; a folder reached twice is read once. Raises
    DataError where a path is missing or a URL, and where no result can be read; so there is at least one record.
    """
    report = report or Reporter()
    folders = list(run_folders(paths))
    if len(folders) > EACH:
        report.stage(f"Read {len(folders):,} results")
    with _no_collector():
        found = _read_all(folders, report)
    if not found.records:
        raise DataError(_nothing(paths, found))
    return found


def _read_all(folders: Sequence[RunFolder], report: Reporter) -> Found:
    records: list[RunRecord] = []
    damaged: list[tuple[Path, str]] = []
    for done, folder in enumerate(folders):
        if folder.finished and not folder.stale:
            try:
                records.append(read_record(folder.path))
            except DataError as error:
                damaged.append((folder.path, str(error)))
        if done and done % EACH == 0:
            report.advance(done, len(folders))
    return Found(
        tuple(records),
        tuple(folder.path for folder in folders if not folder.finished),
        tuple(damaged),
        tuple(folder.path for folder in folders if folder.finished and folder.stale),
    )


def _nothing(paths: Sequence[Path], found: Found) -> str:
    where = ", ".join(str(path) for path in paths) or "no folder"
    there = "; ".join(found.problems())
    if there:
        return f"No result to show in {where}. {there}"
    return (
        f"No run in {where}. Give a run folder, or a folder above some: `augment run` and `augment sweep` make them, "
        "in runs/ unless --out says otherwise."
    )


def read_record(folder: Path) -> RunRecord:
    """The result in a run folder; raises DataError with the reason where it cannot be read."""
    document = _json(folder / "result.json")
    schema = str(document.get("schema"))
    kind = READABLE.get(schema)
    if not schema.startswith("augment."):
        raise DataError("result.json was not written by augment: give the run folders alone")
    if kind is None:
        raise DataError(f"made by another version ({schema}; this one reads {', '.join(READABLE)}): run it again")
    missing = [name for name in NEEDED[kind] if name not in document]
    if missing:
        raise DataError(f"result.json has no {', '.join(missing)}: run it again")
    file = folder / "config.json"
    identity = _json(file) if file.exists() else {}
    return RunRecord(kind, folder, document, identity.get("config", {}), identity)


def _json(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb") as opened:
            document = store.parse_json(opened.read())
    except OSError as error:
        raise DataError(f"{file.name} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{file.name} is no JSON ({error}): run it again") from error
    if not isinstance(document, dict):
        raise DataError(f"{file.name} is no JSON object: run it again")
    return document


@contextmanager
def _no_collector() -> Iterator[None]:
    """Parsed JSON holds no cycles, and looking for them in a thousand documents takes a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
