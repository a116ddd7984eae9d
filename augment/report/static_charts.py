"""Charts as PNG and SVG files, the same numbers and looks as on the page: lines, rows with intervals, and maps."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augment.report.chart import Bars, Chart, HeatMap, Interval, Intervals, Lines, PointGroup, Scatter, Series
from augment.report.figures import (
    DPI,
    SUFFIXES,
    add_legend,
    add_title,
    class_colour,
    class_marker,
    literal,
    percent_axis,
    plain_axes,
    spaced,
)
from augment.report.looks import DASHES, GREY, INK, Look, looks
from augment.report.static_heat_map import bars, heat_map
from augment.report.static_page import TICKS, Page, Room, brief, page, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WORTH_A_PROCESS = 12
"""Charts for which a process is started: with fewer it would draw for less long than it takes to start."""

SVG: dict[Any, str] = {"svg.hashsalt": "augment", "svg.fonttype": "none"}
"""Text stays text, which can be searched and read aloud; equal figures give equal files."""

UNMARKED = 40
"""Points from which on a line has no markers."""

ENTRY = 0.19
"""Inches of a row of a legend."""

LEGEND_CLASSES = 20
"""Classes that a legend names; a line says how many more there are."""

INCHES = 6.2
"""Side of a map, without its legend."""


def begin_static(charts: Sequence[Chart], folder: Path, *, workers: int | None = None) -> Callable[[], list[Path]]:
    """Begin to write every chart into ``folder`` as ``<name>.png`` and ``<name>.svg``; call the result for the paths.

    workers: processes that draw meanwhile; 0 draws only when the result is called, None takes as many as pay for these
    charts on this machine's cores. Equal charts give equal files, in the order of the charts. The folder is made when
    missing; raises OSError where it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = _worth(len(charts)) if workers is None else workers
    if count < 1:
        return lambda: [path for chart in charts for path in _save(chart, folder)]
    from loky import ProcessPoolExecutor  # a script that calls this needs no main guard

    pool = ProcessPoolExecutor(count, env={"OMP_NUM_THREADS": "1"})
    parts = pool.map(_save, charts, [folder] * len(charts), chunksize=4)

    def paths() -> list[Path]:
        with pool:
            return [path for part in parts for path in part]

    return paths


def draw(chart: Chart) -> Figure:
    """The figure of a chart; raises TypeError for a chart of another kind."""
    kinds: Mapping[type[Chart], Any] = {
        **{Lines: _lines, Intervals: _intervals, HeatMap: heat_map, Bars: bars, Scatter: scatter}
    }
    if type(chart) not in kinds:
        raise TypeError(f"{type(chart).__name__} is no chart that can be drawn.")
    figure: Figure = kinds[type(chart)](chart)
    return figure


def _worth(charts: int) -> int:
    """Processes for so many charts; none where this one has the only core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return min(cores, charts // WORTH_A_PROCESS) if cores > 1 else 0


def _save(chart: Chart, folder: Path) -> list[Path]:
    from matplotlib import rc_context

    paths = [folder / f"{chart.name}{suffix}" for suffix in SUFFIXES]
    with warnings.catch_warnings(), rc_context(SVG):
        # a name in a script that the font lacks is shown as boxes: that is no reason to stop, or to warn per letter
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        figure = draw(chart)
        # a map has equal scales, so its room is only known once it is drawn; all others have theirs worked out
        room: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.15} if isinstance(chart, Scatter) else {}
        figure.savefig(paths[0], dpi=DPI, facecolor="white", pil_kwargs={"compress_level": 3}, **room)
        figure.savefig(paths[1], facecolor="white", metadata={"Date": None}, **room)
    return paths


# lines


def _lines(chart: Lines) -> Figure:
    """All lines in one plot, with a legend right of it."""
    names = [series.name for series in chart.series]
    legend = 0.55 + max(map(width_of, brief(names)), default=0.0) if len(names) > 1 else 0.0
    room = Room(right=legend, below=TICKS + 0.25)
    sheet = page(chart.title, 5.4, max(3.3, ENTRY * len(names)), room)
    axes = sheet.axes
    plain_axes(axes)
    drawn = [_line(axes, chart, index, look) for index, look in enumerate(looks(chart.series))]
    _x_axis(sheet, chart)
    _y_axis(axes, chart)
    sheet.label(chart.x_title, chart.y_title)
    if legend:
        add_legend(axes, drawn, names)
    return sheet.figure


def _line(axes: Axes, chart: Lines, index: int, look: Look) -> Line2D:
    from matplotlib.lines import Line2D

    series, x = chart.series[index], chart.dodged(index)
    known = [
        (place, low, high)
        for place, low, high in zip(x if not chart.banded else series.x, series.low, series.high, strict=False)
        if low is not None and high is not None
    ]
    places, low, high = ([point[column] for point in known] for column in range(3))
    if known and chart.banded:
        axes.fill_between(places, low, high, color=look.colour, alpha=0.15, linewidth=0)
    elif known:
        axes.vlines(places, low, high, color=look.colour, linewidth=1.2, alpha=0.75)
    marker = look.marker if len(x) < UNMARKED else "None"
    style = {"linestyle": DASHES[look.dash], "marker": marker, "markersize": 5.5, "linewidth": 1.7}
    line = Line2D(x, series.y, color=look.colour, **style)  # type: ignore[arg-type]
    axes.add_line(line)
    return line


def _x_axis(sheet: Page, chart: Lines) -> None:
    axes, places = sheet.axes, chart.places
    if chart.x_labels:
        steps = [float(place) for place in range(len(chart.x_labels))]
        sheet.columns(chart.x_labels, spaced(range(len(steps)), steps))
        axes.set_xlim(-0.3, len(chart.x_labels) - 0.7)
        return
    axes.set_xscale("log" if chart.x_log else "linear")
    axes.autoscale_view()
    if places and chart.x_log:
        reach = max(1.25, (places[-1] / places[0]) ** 0.05)
        axes.set_xlim(places[0] / reach, places[-1] * reach)
    if chart.banded or len(places) < 2 or all(len(series.x) == 1 for series in chart.series):
        if chart.x_log:
            _plain_numbers(axes.xaxis)
        return
    shown = spaced(places, [math.log(x) for x in places] if chart.x_log else places)
    axes.set_xticks(shown, [f"{x:,.10g}" for x in shown])
    axes.set_xticks([], minor=True)


def _plain_numbers(axis: Axis) -> None:
    """At 1, 2, 5, 10 and so on, not as powers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:,.10g}")
    axis.set_minor_formatter(NullFormatter())


def _y_axis(axes: Axes, chart: Lines) -> None:
    values = [value for series in chart.series for value in _values(series)]
    if chart.percent and values:
        percent_axis(axes, min(values), max(values), "")
        return
    if chart.y_log:
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    axes.autoscale_view()
    if chart.zero:
        axes.axhline(0, color=GREY, linewidth=1.3)


def _values(series: Series) -> list[float]:
    return [value for value in (*series.y, *series.low, *series.high) if value is not None]


# rows


def _intervals(chart: Intervals) -> Figure:
    """A row for each estimate, from the top down; open markers where the interval holds 0, or there is none."""
    names = brief([row.name for row in chart.rows])
    room = Room(left=max(map(width_of, names), default=0.0) + 0.1, below=TICKS + 0.25, right=0.15)
    sheet = page(chart.title, 4.6, 0.27 * len(names) + 0.1, room)
    axes = sheet.axes
    plain_axes(axes)
    if chart.zero:
        axes.axvline(0, color=GREY, linewidth=1.3)
    for emphasis, colour in ((False, GREY), (True, INK)):
        _rows(axes, [(place, row) for place, row in enumerate(chart.rows) if row.emphasis == emphasis], colour, chart)
    axes.set_ylim(len(names) - 0.5, -0.5)
    sheet.rows(names, range(len(names)))
    if chart.percent:
        _percent_x(axes)
    sheet.label(chart.x_title, "")
    return sheet.figure


def _rows(axes: Axes, rows: Sequence[tuple[int, Interval]], colour: str, chart: Intervals) -> None:
    known = [(place, row.low, row.high) for place, row in rows if row.low is not None and row.high is not None]
    if known:
        places, low, high = ([row[column] for row in known] for column in range(3))
        axes.hlines(places, low, high, color=colour, linewidth=1.8)
    faces = ["white" if chart.unsure(row) else colour for _, row in rows]
    if rows:
        x, y = [row.value for _, row in rows], [place for place, _ in rows]
        axes.scatter(x, y, s=42, c=faces, edgecolors=colour, linewidths=1.6, zorder=3)


def _percent_x(axes: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    low, high = (min(max(end, -0.02), 1.02) for end in axes.get_xlim())
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if high - low > 0.06 else 1))


# maps


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
