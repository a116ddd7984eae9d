"""A sweep: every cell of a grid carried out once, whatever happens on the way; what is finished stays finished."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augment.errors import Stopped
from augment.progress import Reporter
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.config import SweepConfig
from augment.studies.sweep.executor import CellProgress, Executor
from augment.studies.sweep.folder import SweepFolder
from augment.studies.sweep.grid import cells as cells_of
from augment.studies.sweep.progress import Display, SweepState, counts_of, display_for, summary, told

SCHEMA = "augment.sweep/1"

WAIT = 0.5
"""Seconds to wait for news; a signal ends the wait."""

Start = Callable[[SweepFolder, Sequence[Cell]], Executor]
"""Starts what carries cells out: for a folder, and the cells that are not finished."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended: its cells in order, and outcomes by key; ``before``: keys of those that were done before."""

    folder: SweepFolder
    cells: tuple[Cell, ...]
    outcomes: Mapping[str, Outcome]
    before: frozenset[str]
    seconds: float

    @property
    def failed(self) -> list[tuple[Cell, Outcome]]:
        """Cells that failed, with how."""
        ended = ((cell, self.outcomes[cell.key]) for cell in self.cells)
        return [(cell, outcome) for cell, outcome in ended if outcome.status == "failed"]

    @property
    def counts(self) -> dict[str, int]:
        """``cells``, ``finished``, ``failed``, ``left``, and ``before``, those of the finished that were so already."""
        return counts_of(self.outcomes, len(self.cells), len(self.before))

    def to_json(self) -> dict[str, Any]:
        """The document of ``augment sweep --json``."""
        return {
            "schema": SCHEMA,
            "folder": self.folder.location,
            "seconds": round(self.seconds, 2),
            "counts": self.counts,
            "cells": [self._row(cell, self.outcomes[cell.key]) for cell in self.cells],
        }

    def _row(self, cell: Cell, outcome: Outcome) -> dict[str, Any]:
        return {
            "key": cell.key,
            "coordinates": dict(cell.coordinates),
            "status": outcome.status,
            "folder": outcome.folder,
            "seconds": outcome.seconds,
            "cached": outcome.cached or cell.key in self.before,
            "attempt": outcome.attempt,
            "error": outcome.error,
        }


def sweep(config: SweepConfig, start: Start, reporter: Reporter | None = None) -> SweepResult:
    """Carry out every cell that is not finished; a cell that fails stops no other.

    start: what carries cells out.  Raises the errors of :mod:`augment.errors` before the first cell begins, DataError
    while another sweep is at work in the folder, and Stopped on SIGINT and, under the command line, SIGTERM: the same
    sweep goes on then from where it was, as it does after a crash or a SIGKILL.
    """
    reporter = reporter or Reporter()
    begun = time.monotonic()
    cells = cells_of(config, reporter)
    folder = SweepFolder(config.location)
    with folder.locked():
        records = folder.records()
        folder.save_grid(grid_document(config, cells))
        known = {cell.key: records[cell.key] for cell in cells if cell.key in records}
        before = {key: outcome for key, outcome in known.items() if outcome.status == "finished"}
        _tell(len(cells), len(before), len(known) - len(before), reporter)
        course = _Course(folder, cells, before, display_for(reporter), reporter)
        todo = [cell for cell in cells if cell.key not in before]
        if todo:
            course.follow(start(folder, todo))
    return SweepResult(folder, tuple(cells), course.outcomes, frozenset(before), time.monotonic() - begun)


def grid_document(config: SweepConfig, cells: Sequence[Cell]) -> dict[str, Any]:
    """``sweep.json``: what was asked, and the cells in order."""
    asked = config.model_dump(mode="json")
    return {"schema": "augment.grid/1", **asked, "cells": [cell.to_json() for cell in cells]}


def _tell(cells: int, finished: int, failed: int, reporter: Reporter) -> None:
    if finished:
        reporter.note(f"{finished} of {cells} cells were finished before.")
    if failed:
        reporter.note(f"{failed} cell{'s' if failed > 1 else ''} failed before and will be tried again.")


class _Course:
    """One go through all cells that are not finished."""

    def __init__(
        self,
        folder: SweepFolder,
        cells: Sequence[Cell],
        before: Mapping[str, Outcome],
        display: Display,
        reporter: Reporter,
    ) -> None:
        self.folder, self.display, self.reporter = folder, display, reporter
        self.outcomes: dict[str, Outcome] = dict(before)
        self.state = SweepState(len(cells), len(before), deque(cell for cell in cells if cell.key not in before))
        for cell in cells:
            if cell.key in before:
                self.state.took(cell, before[cell.key])
        self.workers = 1

    def follow(self, executor: Executor) -> None:
        """Until every cell has ended; the executor is closed in any case."""
        try:
            while self.state.waiting or self.state.running:
                self._begin(executor)
                self.display.show(self.state, self.workers)
                for event in executor.wait(WAIT):
                    self._take(event)
            self.display.show(self.state, self.workers)
        except (Stopped, KeyboardInterrupt) as stop:
            number = stop.exit_code - 128 if isinstance(stop, Stopped) else signal.SIGINT
            done = summary(self.state, time.monotonic(), self.workers)
            raise Stopped(f"Stopped: {done}. The same command goes on from there.", number) from None
        finally:
            executor.close()

    def _begin(self, executor: Executor) -> None:
        """Hand out cells, in order, while there is room."""
        while self.state.waiting and executor.free > 0:
            cell = self.state.begin(time.monotonic())
            self.folder.event("begun", cell.key, cell=cell.name)
            executor.begin(cell)
        # those whose stage is known: on a cluster some are handed out and still wait there
        self.workers = max(1, len(self.state.stages) or len(self.state.running))

    def _take(self, event: Outcome | CellProgress) -> None:
        """Keep an outcome at once: record first, so that no later end of this process can undo it."""
        if isinstance(event, CellProgress):
            told(self.state, event)
            return
        if event.status == "failed":  # a worker on a URL may have put it there before it died
            event = self.folder.finished(event.key) or event
        self.folder.record(event)
        self.folder.event(event.status, event.key, seconds=event.seconds, attempt=event.attempt, worker=event.worker)
        self.outcomes[event.key] = event
        cell = self.state.end(event)
        if event.status == "failed":
            self.reporter.note(f"Failed: {cell.name}: {event.error}")
