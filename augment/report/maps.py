"""Maps of a feature space: one point per image in two or three dimensions, coloured by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from augment.errors import DataError
from augment.report.figures import (
    UNLABELLED_COLOUR,
    add_legend,
    add_title,
    check_suffix,
    class_colour,
    class_marker,
    literal,
    write,
)
from augment.report.projection import Points

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LEGEND_CLASSES = 20
"""Classes that a legend names; a line says how many more there are."""

INCHES = 6.2
"""Side of a map, without its legend."""


def save_map(
    points: Points,
    labels: Tensor,
    classes: Sequence[str],
    path: str | Path,
    *,
    title: str,
    axes: Sequence[str] = (),
) -> None:
    """Write a map as PNG or SVG, by the suffix of ``path``.

    points: ``(N, 2)`` or ``(N, 3)``, as of :func:`augment.report.projection.project`.  labels: ``(N,)`` int64 from 0,
    or -1 for an image without one, drawn grey beneath the others.  classes: names by label.  axes: a name for each
    dimension, as of :func:`augment.report.projection.axis_names`; none for a method whose axes mean nothing.

    Raises DataError when points, labels and classes do not fit, ConfigError for another suffix.
    """
    check_suffix(Path(path))
    write(map_figure(points, labels, classes, title=title, axes=axes), Path(path))


def map_figure(
    points: Points, labels: Tensor, classes: Sequence[str], *, title: str, axes: Sequence[str] = ()
) -> Figure:
    """The figure that :func:`save_map` writes: one collection of points for each class that has some."""
    from matplotlib.figure import Figure

    check_map(points, labels, classes)
    figure = Figure(figsize=(INCHES + 1.9, INCHES + 0.4), layout="constrained")
    panel = _flat_panel(figure) if points.shape[1] == 2 else _deep_panel(figure)
    area = float(np.clip(20000 / max(1, len(points)), 5, 40))  # square points
    by_class = class_rows(labels)
    for label, rows in by_class.items():
        panel.scatter(
            *points[rows].T,
            s=area * (1 if label >= 0 else 0.6),
            color=class_colour(label),
            marker=class_marker(label),
            alpha=0.8 if label >= 0 else 0.45,
            linewidths=0,
            zorder=2 if label >= 0 else 1,
        )
    _frame(panel, points)
    for axis, name in zip("xyz", axes, strict=False):
        literal([getattr(panel, f"set_{axis}label")(name, labelpad=-8 if points.shape[1] == 3 else 4)])
    _class_legend(panel, list(by_class), classes)
    add_title(figure, title)
    return figure


def check_map(points: Points, labels: Tensor, classes: Sequence[str]) -> None:
    """Raises DataError when points, labels and classes do not fit together."""
    if points.ndim != 2 or points.shape[1] not in (2, 3) or not bool(np.isfinite(points).all()):
        raise DataError(f"Points are {points.shape}; a map needs finite (N, 2) or (N, 3).")
    if tuple(labels.shape) != points.shape[:1]:
        raise DataError(f"{tuple(labels.shape)} labels for {len(points)} points; give one label for each.")
    if len(labels) and not -1 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise DataError(
            f"Labels run from {int(labels.min())} to {int(labels.max())}; with {len(classes)} classes allowed are 0 to "
            f"{len(classes) - 1}, and -1 for an image without a label."
        )


def class_rows(labels: Tensor) -> dict[int, list[int]]:
    """The rows of each class that has some, unlabelled ones first, so that they are drawn beneath."""
    return {label: (labels == label).nonzero().flatten().tolist() for label in sorted(set(labels.tolist()))}


def _flat_panel(figure: Figure) -> Any:
    panel = figure.add_subplot()
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_color("#cccccc")
    return panel


def _deep_panel(figure: Figure) -> Any:
    panel: Any = figure.add_subplot(projection="3d")
    panel.view_init(elev=22, azim=-60)
    for axis in (panel.xaxis, panel.yaxis, panel.zaxis):
        axis.set_ticks([])
        axis.set_pane_color((0.97, 0.97, 0.97, 1))
        axis.line.set_color("#cccccc")
    return panel


def _frame(panel: Any, points: Points) -> None:
    """Equal scales, and the same room around the points on each side, also where all points coincide."""
    wide = points.astype(np.float64) if len(points) else np.zeros((1, points.shape[1]))
    low, high = wide.min(axis=0), wide.max(axis=0)
    span = float((high - low).max()) or 1.0
    reach = np.maximum((high - low) / 2, 0.05 * span) + 0.04 * span
    for axis, centre, half in zip("xyz", (low + high) / 2, reach, strict=False):
        getattr(panel, f"set_{axis}lim")(centre - half, centre + half)
    panel.set_aspect("equal")


def _class_legend(panel: Any, labels: Sequence[int], classes: Sequence[str]) -> None:
    named = [label for label in labels if label >= 0]
    shown, names = named[:LEGEND_CLASSES], [classes[label] for label in named[:LEGEND_CLASSES]]
    handles = [_key(class_colour(label), class_marker(label)) for label in shown]
    if len(named) > LEGEND_CLASSES:
        handles.append(_key("none", ""))
        names.append(f"and {len(named) - LEGEND_CLASSES} more classes")
    if -1 in labels:
        handles.append(_key(UNLABELLED_COLOUR, "o"))
        names.append("unlabelled")
    if handles:
        add_legend(panel, handles, names)


def _key(colour: str, marker: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=7, markeredgewidth=0)
