"""Maps as pictures: one point per image in two or three dimensions, coloured by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augment.report.chart import PointGroup, Scatter
from augment.report.figures import add_legend, add_title, class_colour, class_marker, literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LEGEND_CLASSES = 20
"""Classes that a legend names; a line says how many more there are."""

INCHES = 6.2
"""Side of a map, without its legend."""


def scatter(chart: Scatter) -> Figure:
    """The figure of a map: one collection of points for each class that has some."""
    from matplotlib.figure import Figure

    groups, rows = chart.groups, [point for group in chart.groups for point in group.points]
    deep = max(map(len, rows), default=2) == 3
    points = np.array(rows, dtype=np.float64).reshape(len(rows), 3 if deep else 2)
    figure = Figure(figsize=(INCHES + 1.9, INCHES + 0.4), layout="constrained")
    panel = _deep_panel(figure) if deep else _flat_panel(figure)
    area = float(np.clip(20000 / max(1, len(points)), 5, 40))  # square points
    for group in groups:
        panel.scatter(
            *zip(*group.points, strict=True),
            s=area * (1 if group.index >= 0 else 0.6),
            color=class_colour(group.index),
            marker=class_marker(group.index),
            alpha=0.8 if group.index >= 0 else 0.45,
            linewidths=0,
            zorder=2 if group.index >= 0 else 1,
        )
    _frame(panel, points)
    for axis, name in zip("xyz", chart.axes, strict=False):
        literal([getattr(panel, f"set_{axis}label")(name, labelpad=-8 if deep else 4)])
    _class_legend(panel, groups)
    add_title(figure, chart.title)
    return figure


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


def _frame(panel: Any, points: NDArray[np.float64]) -> None:
    """Equal scales, and the same room around the points on each side, also where all points coincide."""
    wide = points if len(points) else np.zeros((1, points.shape[1]))
    low, high = wide.min(axis=0), wide.max(axis=0)
    span = float((high - low).max()) or 1.0
    reach = np.maximum((high - low) / 2, 0.05 * span) + 0.04 * span
    for axis, centre, half in zip("xyz", (low + high) / 2, reach, strict=False):
        getattr(panel, f"set_{axis}lim")(centre - half, centre + half)
    panel.set_aspect("equal")


def _class_legend(panel: Any, groups: Sequence[PointGroup]) -> None:
    named = [group for group in groups if group.index >= 0]
    shown = named[:LEGEND_CLASSES]
    names, handles = [group.name for group in shown], [_key(group.index) for group in shown]
    if len(named) > LEGEND_CLASSES:
        handles.append(_key(None))
        names.append(f"and {len(named) - LEGEND_CLASSES} more classes")
    for group in (group for group in groups if group.index < 0):
        handles.append(_key(group.index))
        names.append(group.name)
    if handles:
        add_legend(panel, handles, names)


def _key(index: int | None) -> Line2D:
    """The marker of a class for the legend; None is an empty one."""
    from matplotlib.lines import Line2D

    colour, marker = ("none", "") if index is None else (class_colour(index), class_marker(index))
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=7, markeredgewidth=0)
