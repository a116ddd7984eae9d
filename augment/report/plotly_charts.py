"""Charts as plotly's JSON, without plotly: plain documents that the page's script draws and colours by theme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from augment.report.chart import Bars, Chart, HeatMap, Intervals, Lines, Scatter, Series
from augment.report.figures import MARKERS, class_colour, class_marker, spaced
from augment.report.looks import GREY, INK, Look, ink_on, looks, scale_of
from augment.report.looks import MARKERS as LINE_MARKERS
from augment.report.plotly_parts import (
    EXTRA,
    LEGEND,
    SHARES,
    Json,
    bounds_text,
    brief,
    columns,
    error_bars,
    escaped,
    height_of,
    layout_of,
    meta,
    name_axis,
    plain_axis,
    value_text,
)

UNMARKED = 40
"""Points from which on a line has no markers."""

MOST_TEXTS, MOST_WRITTEN = 1000, 24
"""Cells with text, and columns of them; in more nothing could be read."""

ROW_OF_TEXTS = 24
"""Characters of a row of cells that a telephone shows in letters of the usual size."""


def figure(chart: Chart) -> Json:
    """``{"data": [...], "layout": {...}}`` as plotly.js draws it, of JSON's types alone.

    No width and no colour of text, axis or grid is set. A trace that a filter may hide has ``{"key": ...}`` as its
    ``meta``. Raises TypeError for a chart of another kind.
    """
    kinds: dict[type[Chart], Any] = {
        **{Lines: _lines, Intervals: _intervals, HeatMap: _heat_map, Bars: _bars, Scatter: _scatter}
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


# cells and bars


def _heat_map(chart: HeatMap) -> Json:
    """Cells as colours; with their numbers where a telephone has room, with a scale where it has not."""
    low, high = chart.ends
    texts = len(chart.x) <= MOST_WRITTEN and len(chart.x) * len(chart.y) <= MOST_TEXTS
    colours = scale_of(chart)
    trace: Json = {
        "type": "heatmap",
        "z": [[None if value is None else round(value, 4) for value in row] for row in chart.values],
        "zmin": low,
        "zmax": high,
        "xgap": int(len(chart.x) <= MOST_WRITTEN),
        "ygap": int(len(chart.y) <= MOST_WRITTEN),
        "colorscale": [[place / (len(colours) - 1), colour] for place, colour in enumerate(colours)],
        "showscale": not texts,
        "colorbar": {"thickness": 10, "outlinewidth": 0, **({"tickformat": ".0%"} if chart.percent else {})},
        "customdata": _cell_hovers(chart),
        "hovertemplate": "%{customdata}" + EXTRA,
        "hoverongaps": False,
    }
    x = columns(chart.x, title=chart.x_title, showline=False)
    y = name_axis(chart.y, title=chart.y_title, autorange="reversed", showline=False)
    side = min(640, max(240, 30 * len(chart.y))) if chart.square else min(900, 30 * len(chart.y))
    layout = layout_of(side + 60 + height_of(x), xaxis=x, yaxis=y)
    return {
        "data": [trace, *([_texts(chart)] if texts else [])],
        "layout": layout | {"shapes": [] if chart.frame is None else _frame(*chart.frame)},
    }


def _texts(chart: HeatMap) -> Json:
    """The numbers in the cells; those of plotly's own heat map are grey on light colours, and hard to read."""
    cells = [
        (column, row, text, ink_on(scale_of(chart), chart.place(value)))
        for row, (values, texts) in enumerate(zip(chart.values, chart.text, strict=True))
        for column, (value, text) in enumerate(zip(values, texts, strict=True))
        if value is not None and text
    ]
    longest = max((len(text) for _, _, text, _ in cells), default=0)
    return {
        "type": "scatter",
        "mode": "text",
        "x": [column for column, _, _, _ in cells],
        "y": [row for _, row, _, _ in cells],
        "text": [escaped(text) for _, _, text, _ in cells],
        "textfont": {
            "color": [ink for _, _, _, ink in cells],
            "size": 11 if longest * len(chart.x) <= ROW_OF_TEXTS else 9,
        },
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _cell_hovers(chart: HeatMap) -> list[list[str]]:
    columns, rows = [escaped(name) for name in chart.x], [escaped(name) for name in chart.y]
    return [
        [
            ""
            if value is None
            else "<br>".join([f"{name} → {column}" if chart.square else f"{name}<br>{column}", text])
            for value, column, text in zip(values, columns, _cell_texts(chart, values, texts), strict=True)
        ]
        for name, values, texts in zip(rows, chart.values, chart.text, strict=True)
    ]


def _cell_texts(chart: HeatMap, values: Sequence[float | None], texts: Sequence[str]) -> list[str]:
    """The number with a decimal more than the cell has room for; a confusion's count with its share."""
    found = ["" if value is None else value_text(value, chart.percent) for value in values]
    return [f"{escaped(text)} ({share})" for text, share in zip(texts, found, strict=True)] if chart.square else found


def _frame(row: int, column: int) -> list[Json]:
    """A white edge keeps the frame apart from any colour."""
    box = {"type": "rect", "x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    return [box | {"line": {"color": colour, "width": width}} for colour, width in (("#ffffff", 6), ("#d01c1c", 3))]


def _bars(chart: Bars) -> Json:
    """Bars beside or on each other, hatched where they have a colour of the palette."""
    data = []
    for group, colour in zip(chart.groups, _bar_colours(chart), strict=True):
        hovers = [
            f"{escaped(name)}<br>{escaped(group.name)}: {value:,.10g}"
            for name, value in zip(chart.categories, group.values, strict=True)
        ]
        pattern = {"shape": "" if group.rank is None else "/", "bgcolor": colour, "fgcolor": "#ffffff", "solidity": 0.2}
        data.append(
            {
                "type": "bar",
                "name": brief(group.name),
                "x": list(range(len(chart.categories))),
                "y": list(group.values),
                "marker": {"color": colour, "pattern": pattern},
                "customdata": hovers,
                "hovertemplate": "%{customdata}" + EXTRA,
            }
        )
    x = columns(chart.categories)
    mode = "stack" if chart.stacked else "group"
    layout = layout_of(
        320 + height_of(x),
        xaxis=x,
        yaxis=plain_axis(chart.y_title),
        barmode=mode,
        bargap=0.2,
        showlegend=True,
        legend=LEGEND,
    )
    return {"data": data, "layout": layout}


def _bar_colours(chart: Bars) -> list[str]:
    """Grey without a rank, else of the palette."""
    return [GREY if group.rank is None else class_colour(group.rank) for group in chart.groups]


# maps


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
