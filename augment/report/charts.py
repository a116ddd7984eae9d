"""Accuracy over the number of labels, all methods in one figure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.errors import DataError
from augment.report.figures import (
    PALETTE,
    add_legend,
    add_title,
    check_suffix,
    literal,
    percent_axis,
    plain_axes,
    spaced,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Row = Mapping[str, Any]
"""``{method, head, t, layer, k, accuracy, ci95, episodes}``: accuracy in [0, 1], ci95 ``[low, high]`` or None."""

BASELINES = {
    "pixels": ("#000000", (0, (5, 2)), "v"),
    "cnn": ("#555555", (0, (1, 1.3)), "^"),
    "untrained": ("#949494", (0, (6, 1.5, 1.2, 1.5)), "d"),
}
"""Colour, dashes and marker of the methods that need no generator."""

METHOD_MARKERS = ("o", "s", "D", "P", "X", "*", "p", "h", "<", ">")

Key = tuple[str, Any, Any]
"""Method, and t and layer where the rows hold several of one method."""


@dataclass(frozen=True)
class Style:
    """How a method's line looks, the same in every panel."""

    colour: str
    dashes: Any
    marker: str


def accuracy_curves(rows: Sequence[Row], path: str | Path, *, title: str) -> None:
    """Draw accuracy over labels per class: all methods with their 95% intervals, one panel for each head.

    A row whose head is None (a classifier trained from scratch) is drawn in every panel. path: ``.png`` or ``.svg``.
    Raises DataError when there are no rows, ConfigError for another suffix.
    """
    check_suffix(Path(path))
    write(curves_figure(rows, title=title), Path(path))


def curves_figure(rows: Sequence[Row], *, title: str) -> Figure:
    """The figure of :func:`accuracy_curves`; its panels are in the order in which the heads first appear."""
    from matplotlib.figure import Figure

    if not rows:
        raise DataError("There are no accuracies to draw.")
    heads = list(dict.fromkeys(row["head"] for row in rows if row["head"] is not None)) or [None]
    series = _series(rows)
    styles = _styles(list(dict.fromkeys(key for key, _ in series)))
    columns = min(2, len(heads))
    lines = math.ceil(len(heads) / columns)
    figure = Figure(figsize=(4.9 * columns + 2.1, 4.1 * lines + 0.5), layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).flatten()
    for panel, head in zip(panels, heads, strict=False):
        for (key, of), points in series.items():
            if of in (head, None):
                _curve(panel, points, styles[key])
        literal([panel.set_title(f"{head} head" if head else "", loc="left", fontsize=10)])
        _k_axis(panel, sorted({row["k"] for row in rows}))
    for panel in panels[len(heads) :]:
        panel.remove()
    _accuracy_axis(list(panels[: len(heads) : columns]), rows)
    order = sorted(styles, key=lambda key: -_last_accuracy(series, key))
    add_legend(panels[columns - 1], [_line(styles[key]) for key in order], [_named(key) for key in order])
    add_title(figure, title)
    return figure


def _series(rows: Sequence[Row]) -> dict[tuple[Key, str | None], list[Row]]:
    """Rows by method and head, each sorted by k; by t and layer too where a method has several for the same k."""
    places = Counter((row["method"], row["head"], row["k"]) for row in rows)
    several = {method for (method, _, _), count in places.items() if count > 1}
    found: dict[tuple[Key, str | None], list[Row]] = {}
    for row in rows:
        split = row["method"] in several
        key = (row["method"], row["t"] if split else None, row["layer"] if split else None)
        found.setdefault((key, row["head"]), []).append(row)
    return {name: sorted(points, key=lambda row: row["k"]) for name, points in found.items()}


def _styles(keys: Sequence[Key]) -> dict[Key, Style]:
    """Baselines in greys and dashes, all others in the colours of the palette."""
    styles: dict[Key, Style] = {}
    for key in keys:
        if key[0] in BASELINES:
            styles[key] = Style(*BASELINES[key[0]])
            continue
        index = sum(other[0] not in BASELINES for other in styles)
        styles[key] = Style(PALETTE[index % len(PALETTE)], "-", METHOD_MARKERS[index % len(METHOD_MARKERS)])
    return styles


def _named(key: Key) -> str:
    method, t, layer = key
    return ", ".join([method, *([f"t {t}"] if t is not None else []), *([str(layer)] if layer is not None else [])])


def _last_accuracy(series: Mapping[tuple[Key, str | None], list[Row]], key: Key) -> float:
    return max(float(points[-1]["accuracy"]) for (other, _), points in series.items() if other == key)


def _accuracy_axis(panels: Sequence[Axes], rows: Sequence[Row]) -> None:
    """From the lowest to the highest accuracy or bound, and never outside 0 to 100 per cent."""
    values = [value for row in rows for value in (row["accuracy"], *(row["ci95"] or ()))]
    for panel in panels:  # the others share this axis
        percent_axis(panel, min(values), max(values), "test accuracy")


def _curve(panel: Axes, points: Sequence[Row], style: Style) -> None:
    ks = [row["k"] for row in points]
    known = [row for row in points if row["ci95"] is not None]
    low, high = ([row["ci95"][side] for row in known] for side in (0, 1))
    if len(known) > 1:
        band = panel.fill_between([row["k"] for row in known], low, high, color=style.colour, alpha=0.1, linewidth=0)
        band.set_zorder(1)
    elif known:  # a band over one k would have no width
        panel.vlines([known[0]["k"]], low, high, color=style.colour, linewidth=1.5)
    line = _line(style)
    line.set_data(ks, [row["accuracy"] for row in points])
    panel.add_line(line)


def _line(style: Style) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=style.colour, linestyle=style.dashes, marker=style.marker, markersize=5, linewidth=1.7)


def _k_axis(panel: Axes, ks: Sequence[int]) -> None:
    plain_axes(panel)
    panel.set_xscale("log", base=2)
    shown = spaced(ks, [math.log2(k) for k in ks])
    panel.set_xticks(shown, [str(k) for k in shown])
    panel.set_xticks([], minor=True)
    panel.set_xlim(ks[0] / 1.25, ks[-1] * 1.25)
    panel.set_xlabel("labelled images per class")
