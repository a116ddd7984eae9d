"""What a sweep tells the person who waits: how many cells have ended, the time left, what workers are at."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from augment.progress import BarReporter, LineReporter, Reporter
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.executor import CellProgress

LINE_EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


@dataclass
class SweepState:
    """Where a sweep stands.

    before: cells that were done when it began.  running: by key, with when it began; stages: what it is at.  seconds:
    what cells took that were really carried out, by model.
    """

    total: int
    before: int
    waiting: deque[Cell] = field(default_factory=deque)
    running: dict[str, tuple[Cell, float]] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    finished: int = 0
    failed: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._models = Counter(map(model_of, self.waiting))

    def begin(self, now: float) -> Cell:
        """The next waiting cell, which runs from now on."""
        cell = self.waiting.popleft()
        self._models[model_of(cell)] -= 1
        self.running[cell.key] = (cell, now)
        return cell

    def end(self, outcome: Outcome) -> Cell:
        """The cell of an outcome, which runs no longer."""
        cell, _ = self.running.pop(outcome.key)
        self.stages.pop(outcome.key, None)
        self.took(cell, outcome)
        if outcome.status == "failed":
            self.failed += 1
        else:
            self.finished += 1
        return cell

    def took(self, cell: Cell, outcome: Outcome) -> None:
        """Learn how long a cell takes; one that was there already tells nothing."""
        if outcome.status == "finished" and not outcome.cached:
            self.seconds.setdefault(model_of(cell), []).append(outcome.seconds)

    def left(self, now: float, workers: int) -> float | None:
        """Seconds until all is done, by the mean of cells of the same model, else of all; None while none is known."""
        known = [second for seconds in self.seconds.values() for second in seconds]
        if not known:
            return None
        means = {model: fmean(seconds) for model, seconds in self.seconds.items()}
        usual = fmean(known)
        waiting = sum(count * means.get(model, usual) for model, count in self._models.items())
        begun = (max(0.0, means.get(model_of(cell), usual) - (now - since)) for cell, since in self.running.values())
        return (waiting + sum(begun)) / max(1, min(workers, len(self.waiting) + len(self.running)))


def model_of(cell: Cell) -> str:
    """Cells of one model take about as long as each other."""
    return str(cell.coordinates.get("model", ""))


class Display:
    """Silent base; shows a state as often as it is asked to."""

    def show(self, state: SweepState, workers: int) -> None:
        """Something may have changed."""


class LineDisplay(Display):
    """A line when the first cell begins and once a minute."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter, self.last = reporter, -LINE_EVERY

    def show(self, state: SweepState, workers: int) -> None:
        """Write a line when it is time for one."""
        now = time.monotonic()
        if now - self.last >= LINE_EVERY:
            self.last = now
            self.reporter.note("; ".join([summary(state, now, workers), *(" ".join(row) for row in _rows(state))]))


class BarDisplay(Display):
    """On a terminal: a bar over all cells, and below it a line for each that runs."""

    def __init__(self, reporter: BarReporter) -> None:
        self.reporter, self.bars = reporter, reporter.bars
        self.begun = False
        self.tasks: dict[str, Any] = {}

    def show(self, state: SweepState, workers: int) -> None:
        """Move the bars."""
        from rich.markup import escape

        if not self.begun:
            self.begun = True
            self.reporter.stage("Cells")
        done = state.before + state.finished + state.failed
        self.reporter.advance(done, state.total, summary(state, time.monotonic(), workers))
        for key in set(self.tasks) - set(state.running):
            self.bars.remove_task(self.tasks.pop(key))
        for key, (cell, _) in state.running.items():
            if key not in self.tasks:
                self.tasks[key] = self.bars.add_task(escape(f"  {cell.name}"), total=None, detail="")
            self.bars.update(self.tasks[key], detail=state.stages.get(key, ""))


def display_for(reporter: Reporter) -> Display:
    """The display that goes with how progress is reported."""
    if isinstance(reporter, BarReporter):
        return BarDisplay(reporter)
    return LineDisplay(reporter) if isinstance(reporter, LineReporter) else Display()


def summary(state: SweepState, now: float, workers: int) -> str:
    """``12 of 36 cells finished (4 before), 1 failed, 23 left, about 5 min``."""
    before = f" ({state.before} before)" if state.before else ""
    open_cells = len(state.waiting) + len(state.running)
    parts = [f"{state.before + state.finished} of {state.total} cells finished{before}"]
    parts += [f"{state.failed} failed"] if state.failed else []
    parts.append(f"{open_cells} left")
    left = state.left(now, workers)
    return ", ".join([*parts, *([] if left is None or not open_cells else [f"about {duration(left)}"])])


def duration(seconds: float) -> str:
    """``40 s``, ``5 min``, ``3.2 h``, ``2.1 days``."""
    for size, unit, digits in ((86400.0, "days", 1), (3600.0, "h", 1), (60.0, "min", 0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def _rows(state: SweepState) -> Sequence[tuple[str, str]]:
    return [(f"{cell.name}:", state.stages.get(key, "begun")) for key, (cell, _) in state.running.items()]


def told(state: SweepState, doing: CellProgress) -> None:
    """Take note of what a cell is at."""
    if doing.key in state.running:
        state.stages[doing.key] = doing.stage


def counts_of(outcomes: Mapping[str, Outcome], total: int, before: int) -> dict[str, int]:
    """How many cells there are, by how they ended."""
    failed = sum(outcome.status == "failed" for outcome in outcomes.values())
    finished = len(outcomes) - failed
    return {"cells": total, "finished": finished, "failed": failed, "left": total - finished - failed, "before": before}
