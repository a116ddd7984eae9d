"""What ``augment sweep`` prints: a line per combination, cells that failed and why, and what a dry run found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from rich.markup import escape

from augment.cli.tables import new_table, terminal
from augment.errors import DataError
from augment.evidence.statistics import signed
from augment.evidence.verdict import Family
from augment.results.records import RunRecord, read_record
from augment.results.run_result import RunResult
from augment.studies.sweep.progress import duration
from augment.studies.sweep.stores import path_of

if TYPE_CHECKING:
    from augment.studies.sweep.cell import Cell
    from augment.studies.sweep.estimate import SweepEstimate
    from augment.studies.sweep.study import SweepResult

SHOWN_FAILURES = 20

SHOWN_CELLS = 200
"""Lines of cells that a dry run prints."""

Axes = tuple[tuple[str, str | int], ...]


def show_sweep(result: SweepResult) -> None:
    """All combinations with their best arms, failed cells, the folder and what to do next."""
    console = terminal()
    groups: dict[Axes, list[Cell]] = {}
    for cell in result.cells:
        groups.setdefault(_without_seed(cell), []).append(cell)
    table = new_table(
        "Mean accuracy over seeds, of the first classifier: the best arm with a generator, and the best one without",
        *("cells", "seeds", "arm\nagainst", "accuracy\n%", "difference"),
        right=("seeds", "accuracy\n%", "difference"),
    )
    for axes, cells in groups.items():
        runs = [run for cell in cells if (run := _run_of(result, cell)) is not None]
        ended = sum(result.outcomes[cell.key].status == "finished" for cell in cells)
        seeds = str(ended) if ended == len(cells) else f"{ended} of {len(cells)}"
        table.add_row(escape(" ".join(_shown(value) for _, value in axes)), seeds, *_best(runs))
    console.print(table)
    _show_failed(result)
    counts = result.counts
    before = f" ({counts['before']} of them before)" if counts["before"] else ""
    console.print(
        f"{counts['finished']} of {counts['cells']} cells finished{before}, {counts['failed']} failed, "
        f"in {duration(result.seconds)}. Written to {escape(result.folder.location)}",
        soft_wrap=True,
    )
    if counts["finished"]:
        console.print(f"Next: augment report {escape(result.folder.location)}", soft_wrap=True)


def _show_failed(result: SweepResult) -> None:
    console, failed = terminal(), result.failed
    for cell, outcome in failed[:SHOWN_FAILURES]:
        console.print(f"[bold]Failed[/]: {escape(cell.name)}: {escape(str(outcome.error))}", soft_wrap=True)
    if len(failed) > SHOWN_FAILURES:
        console.print(f"and {len(failed) - SHOWN_FAILURES} more; --json lists them all.")
    if failed:
        console.print("The same command tries these again; the others stay as they are.\n")


def _without_seed(cell: Cell) -> Axes:
    return tuple((name, value) for name, value in cell.coordinates.items() if name != "seed")


def _shown(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _run_of(result: SweepResult, cell: Cell) -> RunResult | None:
    """The result of a finished run; None also for one at a URL, which `augment results` is for."""
    folder, outcome = path_of(result.folder.location), result.outcomes[cell.key]
    if folder is None or outcome.folder is None:
        return None
    try:
        record = read_record(Path(folder) / outcome.folder)
    except DataError:
        return None
    return record.result if isinstance(record, RunRecord) else None


def _best(runs: Sequence[RunResult]) -> tuple[str, str, str]:
    """The best generative and the best classical arm over runs that differ in their seeds, and points in between."""
    if not runs:
        return "-", "-", "-"
    scores: dict[Family, dict[str, list[float]]] = {"generative": {}, "classical": {}}
    for row in (row for run in runs for rows in run.of(runs[0].classifiers[0]).values() for row in rows):
        scores[row.family].setdefault(row.arm, []).append(row.accuracy)
    best = [max(((fmean(values), arm) for arm, values in arms.items()), default=None) for arms in scores.values()]
    arms = ("-" if one is None else escape(one[1].replace("+", " + ")) for one in best)
    accuracies = ("-" if one is None else f"{100 * one[0]:.1f}" for one in best)
    ours, cheap = best
    difference = "-" if ours is None or cheap is None else signed(100 * (ours[0] - cheap[0]))
    if any(run.failed_guards for run in runs):
        difference = "invalid"
    return "\n".join(arms), "\n".join(accuracies), difference


def show_estimate(found: SweepEstimate) -> None:
    """Cells, which of them are done, and the time the others take."""
    console = terminal()
    table = new_table(f"{len(found.cells)} cells", "cell", "status")
    for cell in found.cells[:SHOWN_CELLS]:
        table.add_row(escape(cell.name), found.status(cell))
    console.print(table)
    if len(found.cells) > SHOWN_CELLS:
        console.print(f"and {len(found.cells) - SHOWN_CELLS:,} more; --json lists them all.")
    numeric = ("cells", "done", "each", "left, one worker")
    times = new_table("Expected time", "data set", "model", *numeric, "known from", right=numeric)
    for time in found.times:
        each, left = (_time(value) for value in (time.each, time.left))
        row = (str(time.cells), str(time.done), each, left, time.source or "-")
        times.add_row(escape(time.dataset), escape(time.model), *row)
    console.print(times)
    total = "an unknown time" if found.seconds is None else f"about {duration(found.seconds)}"
    side_by_side = f"{found.workers} worker{'s' if found.workers > 1 else ''}"
    console.print(f"What is left takes {total} with {side_by_side}.")
    console.print(f"Nothing was done; results would be in {escape(found.location)}.", soft_wrap=True)


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
