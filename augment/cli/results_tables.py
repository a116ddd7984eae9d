"""What ``augment results`` prints: a table that fits 80 columns, or CSV with every column."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rich.markup import escape
from rich.table import Table

from augment.cli.tables import new_table, terminal
from augment.evidence.statistics import signed
from augment.results.selection import columns_of, value_of

if TYPE_CHECKING:
    from augment.results.comparison import ArmPair, Difference, SideBySide
    from augment.results.experiments import Experiment
    from augment.results.table import FeatureRow, RunRow

Row = TypeVar("Row")

NOT_SHOWN = ("settings", "fidelity", "folders")
"""Columns that hold several values, which only JSON holds; each can be asked for by its own name."""


def write_csv(rows: Sequence[RunRow] | Sequence[FeatureRow], columns: Sequence[str]) -> None:
    """Rows as CSV (RFC 4180) with a header, numbers in full; nothing where there are no rows and no columns."""
    names = list(columns) or [name for name in (columns_of(rows[0]) if rows else ()) if name not in NOT_SHOWN]
    writer = csv.writer(sys.stdout)
    if names:
        writer.writerow(names)
    for row in rows:
        writer.writerow([_plain(value_of(row, name)) for name in names])


def _plain(value: Any) -> Any:
    return ";".join(map(str, value)) if isinstance(value, list) else value


RUNS: Mapping[str, Callable[[RunRow], str]] = {
    "study": lambda row: "\n".join(_study(row)),
    "arm\nagainst": lambda row: _lines(*(_spaced(arm) for arm in (row.arm, row.against))),
    "accuracy\n%": lambda row: _accuracy(row).replace(" ", "\n"),
    "difference\nverdict": lambda row: _lines(_difference(row), row.decision),
}
"""Three lines a row, so that 80 columns are enough; those of :func:`_kid_columns` follow."""

KID = "KID\nx 1000"

FEATURES: Mapping[str, Callable[[FeatureRow], str]] = {
    "data": lambda row: row.dataset,
    "model": lambda row: _lines(_model(row), _layer(row)),
    "probe": lambda row: row.probe,
    "k": lambda row: f"{row.k}",
    "accuracy %": lambda row: _accuracy(row),
    "against": lambda row: row.against or "-",
    "difference": lambda row: _difference(row),
    "episodes": lambda row: f"{row.episodes}",
}

RIGHT = ("k", "accuracy %", "accuracy\n%", "difference", "difference\nverdict", "episodes")


def show_runs(rows: Sequence[RunRow], columns: Sequence[str]) -> None:
    """A row per study and classifier, or the columns that were asked for."""
    title = "Runs: the best arm with a generator against the best one without; all intervals are of 95% over seeds"
    own = _kid_columns(rows)
    _show("Runs" if columns else title, rows, columns, {**RUNS, **own}, right=(*RIGHT, *own))
    if len(own) > 1 and not columns:
        out = terminal()
        for name, scored_by in zip(own, _ways(rows), strict=True):
            out.print(escape(f"{name.replace(chr(10), ' ')}: by {scored_by}."), soft_wrap=True)


def _ways(rows: Sequence[RunRow]) -> list[str]:
    return list(dict.fromkeys(row.scored_by for row in rows if row.scored_by is not None))


def _kid_columns(rows: Sequence[RunRow]) -> Mapping[str, Callable[[RunRow], str]]:
    """A column for each extractor and number of images: KIDs of different ones do not stand below each other."""
    ways = _ways(rows)
    if len(ways) < 2:
        return {KID: _kid}

    def column(way: str) -> Callable[[RunRow], str]:
        return lambda row: _kid(row) if row.scored_by == way else ""

    return {f"{KID} [{number}]": column(way) for number, way in enumerate(ways, 1)}


def _kid(row: RunRow) -> str:
    return _lines(_thousand(row.kid), _floor(row))


def show_features(rows: Sequence[FeatureRow], columns: Sequence[str]) -> None:
    """A row per feature study and k, or the columns that were asked for."""
    title = "Feature studies: k labels per class, against the best baseline; intervals are of 95% over episodes"
    _show("Feature studies" if columns else title, rows, columns, FEATURES, right=RIGHT)


def _show(
    title: str,
    rows: Sequence[Row],
    columns: Sequence[str],
    cells: Mapping[str, Callable[[Row], str]],
    right: Sequence[str],
) -> None:
    out = terminal()
    if not rows:
        out.print(f"{title.partition(':')[0]}: none.")
        return
    if columns:
        out.print(_asked_for(title, rows, columns))
        return
    table = new_table(title, *map(escape, cells), right=[escape(name) for name in right])
    for row in rows:
        table.add_row(*(escape(cell(row)) for cell in cells.values()))
    out.print(table)


def _asked_for(title: str, rows: Sequence[Row], columns: Sequence[str]) -> Table:
    numeric = [name for name in columns if any(isinstance(value_of(row, name), int | float) for row in rows)]
    table = new_table(title, *map(escape, columns), right=[escape(name) for name in numeric])
    for row in rows:
        table.add_row(*(escape(_short(value_of(row, name))) for name in columns))
    return table


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(_plain(value))


def _lines(first: str, second: str | None) -> str:
    return f"{first}\n{second}" if second else first


def _study(row: RunRow) -> tuple[str, str, str]:
    seeds = f"{row.seeds} seed{'s' if row.seeds > 1 else ''}"
    return (
        f"{row.dataset} {row.regime}",
        f"{row.size:,}, {_model(row)}",
        f"{row.classifier}, {seeds}, {row.seconds:,.0f} s",
    )


def _spaced(arm: str | None) -> str:
    """An arm that can be broken between its components; empty where there is none."""
    return (arm or "").replace("+", " + ")


def _model(row: RunRow | FeatureRow) -> str:
    return f"{row.model} {row.differs}".strip()


def _layer(row: FeatureRow) -> str:
    return ", ".join(f"{name} {value}" for name, value in (("t", row.t), ("layer", row.layer)) if value is not None)


def _accuracy(row: RunRow | FeatureRow) -> str:
    """Mean and half the width of its 95% interval."""
    low, high = row.accuracy_low, row.accuracy_high
    return f"{100 * row.accuracy:.1f}" + ("" if low is None or high is None else f" ±{50 * (high - low):.1f}")


def _difference(row: RunRow | FeatureRow) -> str:
    """In points, with its 95% interval; one seed gives none."""
    if row.difference is None:
        return "-"
    if row.low is None or row.high is None:
        return _lines(signed(row.difference), "no interval")
    return _lines(signed(row.difference), f"{signed(row.low)} to {signed(row.high)}")


def _thousand(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f}"


def _floor(row: RunRow) -> str | None:
    return None if row.kid_floor is None else f"({_thousand(row.kid_floor)})"


def show_comparison(found: SideBySide) -> None:
    """The whole answer."""
    out = terminal()
    for name, experiment in (("A", found.a), ("B", found.b)):
        out.print(f"[bold]{name}[/]  {escape(_headline(experiment))}", soft_wrap=True)
    out.print(_settings_table(found) if found.settings else "\nNo setting differs.")
    if found.class_counts:
        out.print(_counts_table(found))
    if found.unpaired:
        out.print(f"[bold]Not paired[/]: {escape(found.unpaired)}. Accuracies stand side by side, untested.\n")
    for classifier in dict.fromkeys(pair.classifier for pair in found.arms):
        out.print(_arms_table(found, classifier))
    for reason in dict.fromkeys(pair.why for pair in found.arms if pair.why and not found.unpaired):
        out.print(f"No test: {escape(reason)}.", soft_wrap=True)
    for name, arms in (("A", found.only_a), ("B", found.only_b)):
        if arms:
            out.print(f"Only in {name}: {escape(', '.join(arms))}", soft_wrap=True)
    out.print(_fidelity_table(found))
    if found.unlike:
        out.print(
            f"[bold]KID, FID and their kin are not put side by side[/]: {escape(found.unlike)}.\n", soft_wrap=True
        )
    for name, experiment in (("A", found.a), ("B", found.b)):
        for verdict in experiment.verdicts:
            out.print(f"[bold]{name}[/]  {escape(verdict.text)}", soft_wrap=True)


def _headline(experiment: Experiment) -> str:
    seeds = f"seed{'s' if len(experiment.seeds) > 1 else ''} {', '.join(map(str, experiment.seeds))}"
    more = f" and {len(experiment.runs) - 1} more" if len(experiment.runs) > 1 else ""
    about = f"{experiment.dataset}, {experiment.regime}, {experiment.size:,} images, {experiment.model}, {seeds}"
    return f"{about}: {experiment.runs[0].folder}{more}"


def _settings_table(found: SideBySide) -> Table:
    table = new_table("Settings that differ", "setting", "A", "B")
    table.columns[0].no_wrap = True
    for row in found.settings:
        table.add_row(escape(row.name), *(escape(_text(value)) for value in (row.a, row.b)))
    return table


def _counts_table(found: SideBySide) -> Table:
    """Classes with other numbers of images."""
    table = new_table("Training images", "class", "A", "B", right=("A", "B"))
    for row in found.class_counts:
        if row.a != row.b:
            table.add_row(escape(row.name), *("-" if value is None else f"{value:,}" for value in (row.a, row.b)))
    return table


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _arms_table(found: SideBySide, classifier: str) -> Table:
    seeds = "" if found.unpaired else f"; B - A over {len(found.seeds)} seed{'s' if len(found.seeds) > 1 else ''}"
    title = f"Accuracy of {classifier}, means over all seeds of each{seeds}"
    numeric = ("A %", "B %", "B - A", "p")
    table = new_table(escape(title), "arm", *numeric, right=numeric)
    for pair in found.arms:
        if pair.classifier == classifier:
            accuracies = (f"{100 * value:.1f}" for value in (pair.accuracy_a, pair.accuracy_b))
            table.add_row(escape(pair.arm.replace("+", " + ")), *accuracies, *_paired_difference(pair))
    return table


def _paired_difference(pair: ArmPair) -> tuple[str, str]:
    """B - A with its interval over seeds and p corrected for the arms; without a test the plain difference."""
    row = pair.comparison
    if row is None:
        return f"{signed(100 * (pair.accuracy_b - pair.accuracy_a))}, untested", "-"
    interval = "" if row.ci95 is None else f" ({' to '.join(map(signed, row.ci95))})"
    return signed(row.delta) + interval, f"{row.p if row.p_holm is None else row.p_holm:.2g}"


def _fidelity_table(found: SideBySide) -> Table:
    columns = ("A", "real images", "B", "real images ")
    table = new_table("Samples of the first seed, beside as many real images", "score", *columns, right=columns)
    for row in found.fidelity:
        table.add_row(row.name, *_scores(row))
    return table


def _scores(row: Difference) -> list[str]:
    values = (row.a, row.floor_a, row.b, row.floor_b)
    return ["-" if value is None else f"{value:.4g}" for value in values]
