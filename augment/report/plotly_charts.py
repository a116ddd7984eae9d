"""Charts as plotly's JSON, without plotly: plain documents that the page's script draws and colours by theme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from augment.report.chart import Bars, Chart, HeatMap, Intervals, Lines, Scatter, Series
from augment.report.figures import MARKERS, class_colour, class_marker, spaced
from augment.report.looks import GREY, INK, Look, looks
from augment.report.looks import MARKERS as LINE_MARKERS
from augment.report.plotly_heat_map import bars, heat_map
from augment.report.plotly_parts import (
    EXTRA,
    LEGEND,
    SHARES,
    Json,
    bounds_text,
    brief,
    error_bars,
    escaped,
    layout_of,
    meta,
    name_axis,
    plain_axis,
    value_text,
)

UNMARKED = 40
"""Points from which on a line has no markers."""


def figure(chart: Chart) -> Json:
    """``{"data": [...], "layout": {...}}`` as plotly.js draws it, of JSON's types alone.

    No width and no colour of text, axis or grid is set. A trace that a filter may hide has ``{"key": ...}`` as its
    ``meta``. Raises TypeError for a chart of another kind.
    """
    kinds: dict[type[Chart], Any] = {
        **{Lines: _lines, Intervals: _intervals, HeatMap: heat_map, Bars: bars, Scatter: _scatter}
    }
    if type(chart) not in kinds:
        raise TypeError(f"{type(chart).__name__} is no chart that plotly draws.")
    found: Json = kinds[type(chart)](chart)
    return found


# lines


def _lines(chart: Lines) -> Json:
    data: list[Json] = []
    for index, (series, look) in enumerate(zip(chart.series, looks(chart.series), strict=True)):
        if chart.banded and _bounded(series):
            data.append(_band(series, look, f"line {index}"))
        data.append(_line(chart, index, look))
    y = plain_axis(chart.y_title, **({"tickformat": ",.0%", **SHARES} if chart.percent else {}))
    y |= {"type": "log"} if chart.y_log else {"zeroline": chart.zero, "zerolinewidth": 2}
    return {
        "data": data,
        "layout": layout_of(420, xaxis=_x_axis(chart), yaxis=y, legend=LEGEND, showlegend=len(chart.series) > 1),
    }


def _line(chart: Lines, index: int, look: Look) -> Json:
    series, many = chart.series[index], len(chart.series[index].x) >= UNMARKED
    trace: Json = {
        "type": "scatter",
        "mode": "lines" if many else "lines+markers",
        "name": brief(series.name, 40),
        "legendgroup": f"line {index}",
        "x": list(chart.dodged(index)),
        "y": list(series.y),
        "line": {"color": look.colour, "dash": look.dash, "width": 2},
        "marker": {"color": look.colour, "symbol": LINE_MARKERS[look.marker], "size": 8},
        **meta(series.key),
    }
    if many:  # a text for each point would be longer than the points
        return trace | {"hovertemplate": "%{fullData.name}<br>%{x:,}: %{y:.4g}" + EXTRA}
    if _bounded(series) and not chart.banded:
        trace["error_y"] = error_bars(series.y, series.low, series.high, look.colour)
    return trace | {"customdata": _hovers(chart, series), "hovertemplate": "%{customdata}" + EXTRA}


def _hovers(chart: Lines, series: Series) -> list[str]:
    none: tuple[None, ...] = (None,) * len(series.x)
    found = []
    points = zip(series.x, series.y, series.low or none, series.high or none, series.notes or none, strict=True)
    for x, y, low, high, note in points:
        place = chart.x_labels[int(x)] if chart.x_labels else f"{x:,.4g}" if x < 1000 else f"{x:,.0f}"
        value = value_text(y, chart.percent) + bounds_text(low, high, chart.percent)
        parts = [series.name, f"{chart.x_title} {place}: {value}", *([note] if note else [])]
        found.append("<br>".join(map(escaped, parts)))
    return found


def _bounded(series: Series) -> bool:
    return any(low is not None for low in series.low)


def _band(series: Series, look: Look, group: str) -> Json:
    known = [point for point in zip(series.x, series.low, series.high, strict=True) if point[1] is not None]
    red, green, blue = (int(look.colour[start : start + 2], 16) for start in (1, 3, 5))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for x, _, _ in known] + [x for x, _, _ in known[::-1]],
        "y": [low for _, low, _ in known] + [high for _, _, high in known[::-1]],
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.15)",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": group,
        **meta(series.key),
    }


def _x_axis(chart: Lines) -> Json:
    places = chart.places
    if chart.x_labels:
        return name_axis(chart.x_labels, 12, title=chart.x_title, showgrid=True)
    axis = plain_axis(chart.x_title, **({"type": "log"} if chart.x_log else {}))
    if chart.banded or len(places) < 2 or all(len(each.x) == 1 for each in chart.series):
        return axis | ({"dtick": "D2"} if chart.x_log else {})
    shown = spaced(places, [math.log(x) for x in places] if chart.x_log else places, 0.1)
    names = [f"{x:,.10g}" for x in shown]
    return axis | {"tickmode": "array", "tickvals": shown, "ticktext": names, "tickangle": 0}


# rows


def _intervals(chart: Intervals) -> Json:
    groups: dict[tuple[str | None, bool], list[int]] = {}
    for index, row in enumerate(chart.rows):
        groups.setdefault((row.key, row.emphasis), []).append(index)
    data = [_dots(chart, rows, INK if emphasis else GREY, key) for (key, emphasis), rows in groups.items()]
    x = plain_axis(chart.x_title, zeroline=chart.zero, zerolinewidth=2)
    x |= {"tickformat": ",.1%" if _narrow(chart) else ",.0%", **SHARES} if chart.percent else {}
    y = name_axis([row.name for row in chart.rows], len(chart.rows) or 1, range=[len(chart.rows) - 0.5, -0.5])
    return {"data": data, "layout": layout_of(26 * len(chart.rows) + 80, xaxis=x, yaxis=y, showlegend=False)}


def _narrow(chart: Intervals) -> bool:
    values = [value for row in chart.rows for value in (row.value, row.low, row.high) if value is not None]
    return max(values, default=0) - min(values, default=0) < 0.06


def _dots(chart: Intervals, rows: Sequence[int], colour: str, key: str | None) -> Json:
    found = [chart.rows[index] for index in rows]
    values = [row.value for row in found]
    unit = "" if chart.percent else " points"
    hovers = [
        f"{escaped(row.name)}<br>{value_text(row.value, chart.percent)}{unit}"
        f"{bounds_text(row.low, row.high, chart.percent)}"
        for row in found
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": list(rows),
        "marker": {
            "color": colour,
            "size": 10,
            "symbol": ["circle-open" if chart.unsure(row) else "circle" for row in found],
            "line": {"width": 2, "color": colour},
        },
        "error_x": error_bars(values, [row.low for row in found], [row.high for row in found], colour),
        "customdata": hovers,
        "hovertemplate": "%{customdata}" + EXTRA,
        **meta(key),
    }


def _scatter(chart: Scatter) -> Json:
    dimensions = max((len(point) for group in chart.groups for point in group.points[:1]), default=2)
    data = [_points(chart, index, dimensions) for index in range(len(chart.groups))]
    names = [escaped(name) for name in chart.axes] or [""] * dimensions
    bare = {"showticklabels": False, "ticks": "", "zeroline": False}
    legend = {**LEGEND, "itemsizing": "constant"}
    if dimensions == 3:
        axes = {f"{axis}axis": {**bare, "title": {"text": name}} for axis, name in zip("xyz", names, strict=False)}
        scene = {"aspectmode": "data", "dragmode": "orbit", **axes}
        layout = layout_of(560, scene=scene, showlegend=True, legend=legend)
        return {"data": data, "layout": {key: value for key, value in layout.items() if key != "dragmode"}}
    x, y = (plain_axis(name, **{**bare, "showgrid": False}) for name in (names[0], names[-1]))
    y |= {"scaleanchor": "x", "scaleratio": 1}
    return {"data": data, "layout": layout_of(520, xaxis=x, yaxis=y, showlegend=True, legend=legend)}


def _points(chart: Scatter, index: int, dimensions: int) -> Json:
    group = chart.groups[index]
    deep = dimensions == 3
    marker: Mapping[str, Any] = {
        "color": class_colour(group.index),
        "symbol": MARKERS[class_marker(group.index)],
        "size": 3 if deep else 6,
        "opacity": 0.85,
    }
    columns = zip("xyz", zip(*group.points, strict=True), strict=False)
    return {
        "type": "scatter3d" if deep else "scatter",
        "mode": "markers",
        "name": brief(group.name),
        "marker": marker,
        "hovertemplate": "%{fullData.name}" + EXTRA,
        "customdata": list(group.pictures),
        **{axis: [float(f"{value:.4g}") for value in column] for axis, column in columns},
    }
