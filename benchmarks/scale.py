"""A thousand finished cells, and what a sweep costs beside its cells.

    python benchmarks/scale.py [--parts cell,readers,overhead,workers] [--dataset digits] [--data-dir DIR] [--write]

cell: what one run leaves behind.  readers: `augment results` and `augment report` on --cells copies of a small run.
overhead: a sweep's own seconds per cell.  workers: cells per hour of two single-threaded workers against one, in turn.
--write puts the tables into docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from page_part import write_part
from scale_runs import MODEL, make, real_run

from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.config import SweepConfig
from augment.studies.sweep.executor import CellProgress, Executor
from augment.studies.sweep.folder import SweepFolder
from augment.studies.sweep.local import LocalExecutor
from augment.studies.sweep.study import SweepResult, sweep

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"

USUAL_CELL = 30.0
"""Seconds of the cell that a sweep's overhead is compared with."""


@contextmanager
def fresh() -> Iterator[Path]:
    """An empty folder with an empty cache of its own: nothing of another measurement is found again."""
    before = os.environ.get("AUGMENT_HOME")
    with tempfile.TemporaryDirectory() as name:
        os.environ["AUGMENT_HOME"] = f"{name}/cache"
        try:
            yield Path(name)
        finally:
            os.environ.pop("AUGMENT_HOME")
            if before is not None:
                os.environ["AUGMENT_HOME"] = before


def seconds_of(*arguments: str) -> float:
    """Wall clock of one command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "augment", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def cell_table(options: argparse.Namespace) -> str:
    """Bytes of every file of one run, and of a hundred thousand."""
    with fresh() as folder:
        run = real_run(folder / "runs", options.dataset, options.data_dir)
        sizes = {
            file.relative_to(run).as_posix(): file.stat().st_size
            for file in sorted(run.rglob("*"))
            if file.is_file() and file.name != ".lock"
        }
    rows = [*sorted(sizes.items(), key=lambda row: -row[1]), ("all", sum(sizes.values()))]
    lines = [f"| {name} | {size / 1e3:,.1f} | {size / 1e4:,.1f} |" for name, size in rows]
    head = f"| one run of `{MODEL}` on {options.dataset} | kB | GB for 10^5 |\n|---|---|---|\n"
    return head + "\n".join(lines) + f"\n\n{len(sizes)} files a run."


def readers_table(options: argparse.Namespace) -> str:
    """Median seconds of the commands that read a folder of finished cells."""
    with fresh() as folder:
        make(real_run(folder / "one", options.dataset, options.data_dir), folder / "runs", options.cells)
        where, page = str(folder / "runs"), str(folder / "report.html")
        commands: dict[str, Callable[[], float]] = {
            "`augment results`": lambda: seconds_of("results", where),
            "`augment results --where regime=high --sort accuracy --format csv`": lambda: seconds_of(
                "results", where, "--where", "regime=high", "--sort", "accuracy", "--format", "csv"
            ),
            "`augment results --each --format json`": lambda: seconds_of(
                "results", where, "--each", "--format", "json"
            ),
            "`augment report`": lambda: seconds_of("report", where, "-o", page),
            "`augment report --figures none`": lambda: seconds_of("report", where, "-o", page, "--figures", "none"),
            "what a resumed sweep reads": partial(_records_seconds, where, options.cells),
        }
        rows = [(name, [call() for _ in range(3)]) for name, call in commands.items()]
        size = Path(page).stat().st_size / 1e6
    lines = [f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} |" for name, times in rows]
    head = f"| {options.cells:,} cells | s, median of 3 | s, slowest |\n|---|---|---|\n"
    return head + "\n".join(lines) + f"\n\nThe report is {size:.1f} MB."


def _records_seconds(where: str, cells: int) -> float:
    start = time.perf_counter()
    assert len(SweepFolder(where).records()) == cells
    return time.perf_counter() - start


class NoOp:
    """Ends every cell at once: what is left is the sweep itself."""

    def __init__(self, folder: SweepFolder, cells: Sequence[Cell]) -> None:
        self.begun: list[Cell] = []

    @property
    def free(self) -> int:
        """As two workers have it."""
        return 2 - len(self.begun)

    def begin(self, cell: Cell) -> None:
        """Nothing to do."""
        self.begun.append(cell)

    def wait(self, seconds: float) -> list[Outcome | CellProgress]:
        """All that was begun."""
        ended: list[Outcome | CellProgress] = [Outcome(cell.key, "failed", error="no-op") for cell in self.begun]
        self.begun.clear()
        return ended

    def close(self) -> None:
        """Nothing to end."""


def overhead_table(options: argparse.Namespace) -> str:
    """The sweep's own work per cell, and with it what a worker adds between two cells."""
    with fresh() as folder:
        _, few, many = (  # the first one imports and loads
            sweep(_config(folder, f"{seeds}", seeds=seeds, steps=1), NoOp).seconds
            for seeds in (1, 10, 10 + options.noops)
        )
    own = (many - few) / options.noops
    with fresh() as folder:
        result = _timed(folder, "tiny", workers=1, cells=options.tiny, steps=5, updates=5)
        first, *later = _ends(result)
    inside = [outcome.seconds for outcome in result.outcomes.values()]
    between = (later[-1] - first - sum(inside[1:])) / len(later)
    rows = [
        ("the sweep's process: hand out, wait, record, events", own),
        ("the same and a local worker, from one cell to the next", between),
    ]
    lines = [f"| {name} | {value:.3f} | {value / USUAL_CELL:.2%} |" for name, value in rows]
    head = f"| overhead | s per cell | of a cell of {USUAL_CELL:.0f} s |\n|---|---|---|\n"
    note = (
        f"\n\nFirst row: {options.noops} cells that do nothing. Second: {len(later)} cells of "
        f"{statistics.fmean(inside[1:]):.1f} s, wall clock less what the cells took. Once in a sweep: checking all "
        f"cells {result.seconds - later[-1]:.1f} s, a worker's start {first - inside[0]:.1f} s."
    )
    return head + "\n".join(lines) + note


def _ends(result: SweepResult) -> list[float]:
    """When cells ended, in seconds from when the first was handed out."""
    lines = (result.folder.run_root() / "events.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    begin, *ends = [rows[0], *(row for row in rows if row["event"] == "finished")]
    return [
        (datetime.fromisoformat(end["time"]) - datetime.fromisoformat(begin["time"])).total_seconds() for end in ends
    ]


def _config(folder: Path, name: str, *, seeds: int, **settings: object) -> SweepConfig:
    short = {"dataset": "digits", "model": MODEL, "classifier": ["cart-pixels"], "offline": True}
    return SweepConfig.parse({**short, "out": str(folder), "name": name, "seeds": seeds, **settings})


def _timed(folder: Path, name: str, *, workers: int, cells: int, **settings: object) -> SweepResult:
    """A sweep with single-threaded workers; every cell must end well."""

    def start(where: SweepFolder, todo: Sequence[Cell]) -> Executor:
        return LocalExecutor(where, workers=workers, threads=1)

    result = sweep(_config(folder, name, seeds=cells, **settings), start)
    assert not result.failed, result.failed[0][1].error
    return result


def workers_table(options: argparse.Namespace) -> str:
    """Cells per hour of one and two workers, in turn, so that a noisy machine slows both."""
    training: dict[str, object] = {"dataset": options.dataset, "data_dir": options.data_dir, "classifier": ["cnn"]}
    rates: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(options.repeats):
        for workers in rates if repeat % 2 == 0 else reversed(rates):
            with fresh() as folder:
                result = _timed(
                    folder,
                    "study",
                    workers=workers,
                    cells=options.trainings,
                    steps=options.steps,
                    updates=options.steps,
                    **training,
                )
                rates[workers].append(3600 * options.trainings / _ends(result)[-1])
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    lines = [f"| {workers} | {', '.join(f'{rate:,.0f}' for rate in found)} |" for workers, found in rates.items()]
    head = f"| single-threaded workers | cells per hour, {options.repeats} times in turn |\n|---|---|\n"
    note = (
        f"\n\nRatio {', '.join(f'{ratio:.2f}' for ratio in ratios)}; {options.trainings} cells of `{MODEL}` on "
        f"{options.dataset}, {options.steps} steps and updates, the start of the workers included."
    )
    return head + "\n".join(lines) + note


PARTS = {"cell": cell_table, "readers": readers_table, "overhead": overhead_table, "workers": workers_table}


def main() -> None:
    """Measure, print, and with --write keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--noops", type=int, default=200, help="cells that do nothing")
    parser.add_argument("--tiny", type=int, default=12, help="tiny cells for the second row of overhead")
    parser.add_argument("--trainings", type=int, default=8, help="cells for one and for two workers")
    parser.add_argument("--steps", type=int, default=150, help="of those")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    for part in options.parts.split(","):
        table = PARTS[part](options)
        print(f"{table}\n", flush=True)
        if options.write:
            write_part(PAGE, f"scale.py {part}", table)


if __name__ == "__main__":
    main()
