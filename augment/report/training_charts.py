"""Training curves out of ``history.csv``: the loss, its terms, what was validated, the gradient norm."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from augment.report.chart import Chart, Lines, Series, Table
from augment.report.sections import CURVES

MOST_POINTS = 240
"""Of a line; longer ones are drawn as means of neighbouring steps."""

TABLE_ROWS = 12
"""Of the table beside a chart: evenly spaced steps, the last one too."""

WIDE = 30
"""Times that a positive term exceeds its smallest value to stand on a logarithmic axis."""

BOOKKEEPING = ("step", "seconds", "lr")
GRADIENT = "grad_norm"
VALIDATION = "val_"

Curve = list[tuple[float, float]]
"""Step and value."""


def training_charts(
    files: Iterable[Path], *, name: Callable[[str], str], model: str, words: str, facets: Mapping[str, str]
) -> Iterator[Chart]:
    """Charts of the first file that can be read; none where there is none, or where no curve has two points.

    name: the file name of a chart by its kind.  model, words: what was trained, and in which study, for titles.
    """
    columns = next((found for found in map(_columns, files) if found), {})
    terms = [column for column in columns if not column.startswith(VALIDATION) and column != GRADIENT]
    rest = [column for column in terms if column != "loss"]
    alone = [
        column
        for column in columns
        if column.startswith(VALIDATION) and column[len(VALIDATION) :] not in (*terms, "loss")
    ]
    groups = [("loss", ["loss", "val_loss"]), ("terms", [each for term in rest for each in (term, VALIDATION + term)])]
    groups += [(column, [column]) for column in alone]
    groups += [("gradient norm", [GRADIENT])]
    for kind, wanted in groups:
        curves = {column: columns[column] for column in wanted if column in columns}
        if any(len(curve) > 1 for curve in curves.values()):
            title = f"Training of {model}, {kind.removeprefix(VALIDATION)}: {words}"
            yield _chart(kind, curves, name("training-" + kind.replace(" ", "-")), title, facets)


def _columns(file: Path) -> dict[str, Curve]:
    """Finite values by column, with their steps; empty where the file is missing or is no history."""
    found: dict[str, Curve] = {}
    try:
        with file.open(encoding="utf-8", newline="") as text:
            for row in csv.DictReader(text):
                step = _number(row.get("step"))
                values = {} if step is None else {column: _number(value) for column, value in row.items() if column}
                for column, value in values.items():
                    if column not in BOOKKEEPING and step is not None and value is not None:
                        found.setdefault(column, []).append((step, value))
    except (OSError, ValueError, csv.Error):
        return {}
    return found


def _number(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _thinned(curve: Curve) -> Curve:
    """Means of so many neighbouring points that few enough are left."""
    width = math.ceil(len(curve) / MOST_POINTS)
    parts = [curve[start : start + width] for start in range(0, len(curve), width)]
    return [(math.fsum(x for x, _ in part) / len(part), math.fsum(y for _, y in part) / len(part)) for part in parts]


def _chart(kind: str, curves: Mapping[str, Curve], name: str, title: str, facets: Mapping[str, str]) -> Lines:
    terms = list(dict.fromkeys(column.removeprefix(VALIDATION) for column in curves))
    values = [value for curve in curves.values() for _, value in curve]
    logarithmic = kind in ("terms", "gradient norm") and min(values) > 0 and max(values) > WIDE * min(values)
    spoken = kind.removeprefix(VALIDATION)
    width = max(math.ceil(len(curve) / MOST_POINTS) for curve in curves.values())
    means = f" Each point is the mean of {width} rows of the history." if width > 1 else ""
    checks = " Dashed: on validation images." if any(column.startswith(VALIDATION) for column in curves) else ""
    return Lines(
        name=name,
        section=CURVES,
        title=title,
        caption=f"By step, in the first seed.{checks}{means}",
        facets=facets,
        table=_table(curves),
        series=tuple(_series(column, curve, terms) for column, curve in curves.items()),
        x_title="step",
        y_title=spoken if len(terms) == 1 else "",
        y_log=logarithmic,
    )


def _series(column: str, curve: Curve, terms: Sequence[str]) -> Series:
    term, points = column.removeprefix(VALIDATION), _thinned(curve)
    checked = column != term
    return Series(
        name=f"{term}, validation" if checked else term,
        x=tuple(x for x, _ in points),
        y=tuple(y for _, y in points),
        rank=terms.index(term),
        dashed=checked,
    )


def _table(curves: Mapping[str, Curve]) -> Table:
    steps = sorted({step for curve in curves.values() for step, _ in curve})
    width = math.ceil(len(steps) / TABLE_ROWS)
    known = {column: dict(curve) for column, curve in curves.items()}
    rows = [
        (f"{step:,.0f}", *(f"{found[step]:.4g}" if step in found else "" for found in known.values()))
        for step in steps[::-1][::width][::-1]
    ]
    return Table(("step", *curves), tuple(rows))
