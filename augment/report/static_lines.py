"""Lines with bars or bands, and rows with intervals, as matplotlib draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from augment.report.chart import Interval, Intervals, Lines, Series
from augment.report.figures import add_legend, percent_axis, plain_axes, spaced
from augment.report.looks import DASHES, GREY, INK, Look, looks
from augment.report.static_page import TICKS, Page, Room, brief, page, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

UNMARKED = 40
"""Points from which on a line has no markers."""

ENTRY = 0.19
"""Inches of a row of a legend."""


def lines(chart: Lines) -> Figure:
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


def intervals(chart: Intervals) -> Figure:
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
