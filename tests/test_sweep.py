"""Whole sweeps: each cell once, whatever dies on the way; failures reported; nothing stale believed."""

from __future__ import annotations

import json
import signal
from collections import deque

import pytest

from augment.errors import DataError, Stopped
from augment.progress import BarReporter, LineReporter, Reporter
from augment.storage.files import write_json
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.config import SweepConfig
from augment.studies.sweep.estimate import estimate_sweep
from augment.studies.sweep.executor import CellProgress
from augment.studies.sweep.folder import SweepFolder
from augment.studies.sweep.grid import cells
from augment.studies.sweep.progress import (
    BarDisplay,
    Display,
    LineDisplay,
    SweepState,
    display_for,
    duration,
    summary,
    told,
)
from augment.studies.sweep.study import sweep

GRID = {"dataset": "digits", "model": ["vae", "dvae"], "size": 200, "imbalance_factor": 10, "seeds": 2, "name": "s"}


class Instant:
    """Ends each cell as soon as it is asked, as its ``ends`` says; keeps what it was given."""

    def __init__(self, folder, todo, *, fails=(), room=1, stop_after=None):
        self.folder, self.fails, self.room, self.stop_after = folder, fails, room, stop_after
        self.todo = list(todo)
        self.begun, self.running, self.closed = [], [], False

    @property
    def free(self):
        return self.room - len(self.running)

    def begin(self, cell):
        assert self.free > 0
        self.begun.append(cell)
        self.running.append(cell)

    def wait(self, seconds):
        if self.stop_after is not None and len(self.begun) > self.stop_after:
            raise Stopped("a signal came", signal.SIGTERM)
        ended, self.running = self.running, []
        return [event for cell in ended for event in (CellProgress(cell.key, "Train", "w"), self.end(cell))]

    def end(self, cell):
        if cell.coordinates["model"] in self.fails:
            return Outcome(cell.key, "failed", error="no luck today", seconds=1.0)
        write_json(self.folder.run_root() / cell.key / "result.json", {"identity": f"of {cell.key}"})
        return Outcome(cell.key, "finished", folder=cell.key, identity=f"of {cell.key}", seconds=2.0)

    def close(self):
        self.closed = True


class Heard(Reporter):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def instant(tmp_path):
    """Sweeps with instant cells: the result, the executor and notes."""

    def call(given=None, **more):
        made, heard = [], Heard()

        def start(folder, todo):
            made.append(Instant(folder, todo, **more))
            return made[-1]

        config = SweepConfig.parse({**GRID, "out": str(tmp_path), **(given or {})})
        try:
            result = sweep(config, start, heard)
        except Stopped as stopped:
            return stopped, made[0], heard.notes
        return result, made[0] if made else None, heard.notes

    return call


def events(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def names(cells):
    return [cell.name for cell in cells]


# ---------------------------------------------------------------- each cell once


def test_cells_are_carried_out_in_order_and_recorded(instant, tmp_path):
    result, executor, _ = instant()
    assert names(executor.begun) == [
        f"digits high 200 {model} seed {seed}" for model in ("vae", "dvae") for seed in (0, 1)
    ]
    assert executor.closed
    assert result.counts == {"cells": 4, "finished": 4, "failed": 0, "left": 0, "before": 0}
    records = {file.stem for file in (tmp_path / "s" / "cells").iterdir()}
    assert records == {cell.key for cell in result.cells}
    told = [(event["event"], event["key"]) for event in events(tmp_path / "s")]
    assert told == [(kind, cell.key) for cell in result.cells for kind in ("begun", "finished")]
    grid = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert [cell["key"] for cell in grid["cells"]] == [cell.key for cell in result.cells]


def test_no_more_cells_are_begun_than_there_is_room_for(instant):
    _, executor, _ = instant(room=3)  # the executor itself refuses more
    assert len(executor.begun) == 4


def test_what_is_finished_is_not_begun_again(instant):
    instant()
    result, executor, notes = instant({"seeds": 3})
    assert names(executor.begun) == ["digits high 200 vae seed 2", "digits high 200 dvae seed 2"]
    assert result.counts == {"cells": 6, "finished": 6, "failed": 0, "left": 0, "before": 4}
    assert "4 of 6 cells were finished before." in notes
    document = result.to_json()
    assert [row["cached"] for row in document["cells"]] == [True, True, False, True, True, False]
    assert document["schema"] == "augment.sweep/1" and document["cells"][0]["coordinates"]["seed"] == 0


def test_nothing_is_started_where_nothing_is_left(instant):
    instant()
    result, executor, _ = instant()
    assert executor is None and result.counts["before"] == 4


def test_a_cell_that_fails_stops_no_other_and_is_tried_again(instant):
    result, _, notes = instant(fails=("vae",))
    assert [cell.name for cell, _ in result.failed] == ["digits high 200 vae seed 0", "digits high 200 vae seed 1"]
    assert result.counts == {"cells": 4, "finished": 2, "failed": 2, "left": 0, "before": 0}
    assert "Failed: digits high 200 vae seed 0: no luck today" in notes
    result, executor, notes = instant()
    assert names(executor.begun) == ["digits high 200 vae seed 0", "digits high 200 vae seed 1"]
    assert "2 cells failed before and will be tried again." in notes
    assert not result.failed and result.counts["finished"] == 4


@pytest.mark.parametrize("damage", ["removed", "another", "half", "record"])
def test_a_record_whose_result_is_not_there_is_not_believed(instant, tmp_path, damage):
    result, _, _ = instant()
    victim = result.cells[1].key
    file = tmp_path / "s" / victim / "result.json"
    if damage == "removed":
        file.unlink()
    elif damage == "another":
        write_json(file, {"identity": "of other work"})
    elif damage == "half":
        file.write_text(file.read_text()[:-4])
    else:
        (tmp_path / "s" / "cells" / f"{victim}.json").write_text('{"key": ')
    again, executor, _ = instant()
    assert [cell.key for cell in executor.begun] == [victim]
    assert again.counts == {"cells": 4, "finished": 4, "failed": 0, "left": 0, "before": 3}


# ---------------------------------------------------------------- ends


def test_a_signal_closes_the_executor_and_keeps_what_is_finished(instant):
    stopped, executor, _ = instant(stop_after=2)
    assert isinstance(stopped, Stopped) and stopped.exit_code == 128 + signal.SIGTERM
    assert "2 of 4 cells finished, 2 left" in str(stopped) and "The same command goes on" in str(stopped)
    assert executor.closed
    _, executor, _ = instant()
    assert len(executor.begun) == 2


def test_an_error_of_the_executor_itself_closes_it(instant, monkeypatch):
    def broken(self, seconds):
        raise DataError("the cluster is gone")

    closed = []
    monkeypatch.setattr(Instant, "wait", broken)
    monkeypatch.setattr(Instant, "close", lambda self: closed.append(True))
    with pytest.raises(DataError, match="the cluster is gone"):
        instant()
    assert closed == [True]


def test_a_folder_has_one_sweep_at_a_time(instant, tmp_path):
    with SweepFolder(str(tmp_path / "s")).locked(), pytest.raises(DataError, match="Another sweep"):
        instant()


# ---------------------------------------------------------------- what is told


def cell_of(model, key):
    return Cell(key, "run", {}, {"dataset": "digits", "model": model, "seed": 0})


def test_time_left_is_by_cells_of_the_same_model_and_shared_by_workers():
    waiting = [cell_of("slow", "a"), cell_of("slow", "b"), cell_of("fast", "c"), cell_of("new", "d")]
    state = SweepState(7, 0, deque(waiting))
    assert state.left(0.0, 2) is None
    state.seconds = {"slow": [10.0, 20.0], "fast": [3.0]}
    assert state.left(0.0, 1) == 15 + 15 + 3 + 11
    assert state.left(0.0, 2) == 44 / 2
    begun = state.begin(100.0)
    assert begun.key == "a" and state.left(105.0, 1) == 10 + 15 + 3 + 11
    assert state.left(500.0, 1) == 15 + 3 + 11  # one that takes longer than expected is taken to end at once
    state.end(Outcome("a", "finished", folder="f", identity="i", seconds=30.0))
    assert state.seconds["slow"] == [10.0, 20.0, 30.0]
    assert summary(state, 0.0, 1) == "1 of 7 cells finished, 3 left, about 39 s"


def test_cells_that_were_there_already_tell_nothing_about_time():
    state = SweepState(1, 0)
    state.took(cell_of("vae", "a"), Outcome("a", "finished", folder="f", identity="i", seconds=0.1, cached=True))
    state.took(cell_of("vae", "b"), Outcome("b", "failed", seconds=0.1))
    assert state.seconds == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (2e5, "2.3 days")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_without_a_terminal_there_is_a_line_a_minute(monkeypatch):
    from augment.studies.sweep import progress

    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    heard = Heard()
    lines, state = LineDisplay(heard), SweepState(2, 0, deque([cell_of("vae", "a"), cell_of("vae", "b")]))
    state.begin(now)
    for now in (1000.0, 1030.0, 1059.0, 1060.0, 1100.0, 1121.0):  # noqa: B007
        lines.show(state, 1)
    assert heard.notes == ["0 of 2 cells finished, 2 left; digits vae seed 0: begun"] * 3
    told(state, CellProgress("a", "Train vae", "w"))
    now = 1200.0
    lines.show(state, 1)
    assert heard.notes[-1].endswith("; digits vae seed 0: Train vae")


def test_on_a_terminal_there_is_a_bar_for_all_and_a_line_for_each_that_runs():
    report = BarReporter()
    bars, state = BarDisplay(report), SweepState(3, 1, deque([cell_of("vae", "a"), cell_of("vae", "b")]))
    state.begin(0.0)
    told(state, CellProgress("a", "Train vae 40%", "w"))
    bars.show(state, 1)
    shown = {task.description: task for task in report.bars.tasks}
    assert set(shown) == {"Cells", "  digits vae seed 0"}
    assert (shown["Cells"].completed, shown["Cells"].total) == (1, 3)
    assert shown["  digits vae seed 0"].fields["detail"] == "Train vae 40%"
    state.end(Outcome("a", "finished", folder="f", identity="i", seconds=30.0))
    state.begin(0.0)
    bars.show(state, 1)
    assert [task.description for task in report.bars.tasks] == ["Cells", "  digits vae seed 0"]
    assert report.bars.tasks[0].completed == 2 and "2 of 3 cells" in report.bars.tasks[0].fields["detail"]


@pytest.mark.parametrize(
    ("report", "kind"),
    [(BarReporter(), BarDisplay), (LineReporter(), LineDisplay), (Reporter(), Display)],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_progress_goes_where_it_can_be_seen(report, kind):
    assert type(display_for(report)) is kind


# ---------------------------------------------------------------- estimates


@pytest.fixture
def timed(monkeypatch):
    """Warm-ups that take ten seconds per arm; which models were timed."""
    from augment.studies.run import estimate
    from augment.studies.run.estimate import Estimate, Stage

    asked = []

    def instead(plan, report):
        asked.append((plan.config.model, sum(plan.counts)))
        return Estimate("f", tuple(Stage(arm.name, "", 10.0) for arm in plan.arms), 1)

    monkeypatch.setattr(estimate, "estimate_plan", instead)
    return asked


def test_an_estimate_times_the_largest_cell_of_each_model_and_shares_baselines(timed, tmp_path):
    config = SweepConfig.parse({**GRID, "size": [100, 200], "arm": ["real", "oversample", "model"]})
    found = estimate_sweep("f", cells(config, Reporter()), {}, Reporter(), workers=2, threads=1)
    assert timed == [("vae", 200), ("dvae", 200)]
    assert [(time.model, time.cells, time.each) for time in found.times] == [("vae", 4, 30.0), ("dvae", 4, 10.0)]
    assert found.seconds == (4 * 30 + 4 * 10) / 2


def test_an_estimate_goes_by_finished_cells_where_there_are_some(timed):
    config = SweepConfig.parse(GRID)
    (first, *others) = cells(config, Reporter())
    records = {first.key: Outcome(first.key, "finished", folder="f", identity="i", seconds=7.0)}
    found = estimate_sweep("f", [first, *others], records, Reporter(), workers=1, threads=1)
    assert [model for model, _ in timed] == ["dvae"]
    assert (found.times[0].each, found.times[0].done, found.times[0].left) == (7.0, 1, 7.0)
    assert [found.status(cell) for cell in found.cells] == ["finished", "to do", "to do", "to do"]
    document = found.to_json()
    assert document["counts"] == {"cells": 4, "finished": 1, "failed": 0, "left": 3, "before": 1}
