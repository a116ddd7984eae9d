"""One cell of a sweep: a run or a feature study of its own, carried out in a worker, with an outcome that is kept."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from augment.errors import AugmentError, BusyError, Stopped
from augment.progress import Reporter
from augment.results.study_result import StudyResult
from augment.studies.lifecycle import Command, Draw, study_of

PATIENCE = 20.0
"""Seconds to wait for a run folder that another process holds: it may be one that is just being killed."""

_PLAIN = ("dataset", "regime", "size", "model")
"""Axes whose values speak for themselves."""


@dataclass(frozen=True)
class Cell:
    """What a worker needs to know.

    key: hash of everything the result depends on, the data and the code too.  command: ``run`` or ``features``.
    settings: of a RunConfig or FeaturesConfig, as JSON, without ``out``.  coordinates: where the cell lies in the
    grid, for people: axis -> value.
    """

    key: str
    command: Command
    settings: Mapping[str, Any]
    coordinates: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``fashionmnist high 5000 vae seed 0``."""
        named = ((axis.replace("_", " "), value) for axis, value in self.coordinates.items())
        return " ".join(str(value) if axis in _PLAIN else f"{axis} {value}" for axis, value in named)

    def to_json(self) -> dict[str, Any]:
        """As a worker in another process reads it."""
        return {**asdict(self), "settings": dict(self.settings), "coordinates": dict(self.coordinates)}


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    status: ``finished`` or ``failed``.  folder: of the run, below the sweep's folder; None for a failed cell.
    identity: that of its ``result.json``.  seconds: wall clock of this attempt.  cached: the result was there before.
    error: one message a person can act on; detail: the traceback of an unexpected one.  worker: ``host:process``.
    attempt: from 1.
    """

    key: str
    status: Literal["finished", "failed"]
    folder: str | None = None
    identity: str | None = None
    seconds: float = 0.0
    cached: bool = False
    error: str | None = None
    detail: str | None = None
    worker: str = ""
    attempt: int = 1
    ended: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record that a sweep keeps of a cell."""
        return asdict(self)


def worker_name() -> str:
    """``host:process`` of the one that asks."""
    return f"{socket.gethostname()}:{os.getpid()}"


def carry_out(cell: Cell, out: Path, reporter: Reporter, draw: Draw | None = None, *, attempt: int = 1) -> Outcome:
    """Carry out a cell with its run folder in ``out``; only :class:`~augment.errors.Stopped` is raised.

    Whatever was finished of it before is reused, so that a cell may be begun any number of times.  draw: what a
    finished study draws into its folder.
    """
    start = time.perf_counter()
    ends: dict[str, Any] = {}
    try:
        found = _patiently(cell, out, reporter, draw)
        ends = {"status": "finished", "folder": found.folder.name, "identity": found.identity, "cached": found.cached}
    except Stopped:
        raise
    except AugmentError as error:
        ends = {"status": "failed", "error": str(error)}
    except Exception as error:
        ends = {"status": "failed", "error": f"{type(error).__name__}: {error}", "detail": traceback.format_exc()}
    return Outcome(
        key=cell.key,
        seconds=round(time.perf_counter() - start, 3),
        worker=worker_name(),
        attempt=attempt,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        **ends,
    )


def _patiently(cell: Cell, out: Path, reporter: Reporter, draw: Draw | None) -> StudyResult:
    """The result, as soon as the run folder is free."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return _result(cell, out, reporter, draw)
        except BusyError:
            if time.monotonic() > until:
                raise
        reporter.stage("Wait for another process to leave the run folder")
        time.sleep(1.0)


def _result(cell: Cell, out: Path, reporter: Reporter, draw: Draw | None) -> StudyResult:
    study = study_of(cell.command)
    found: StudyResult = study.complete(study.config.parse(**{**cell.settings, "out": out}), reporter, draw)
    return found
