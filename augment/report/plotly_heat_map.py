"""Heat maps, confusion matrices and bars as plotly's JSON."""

from __future__ import annotations

from collections.abc import Sequence

from augment.report.chart import Bars, HeatMap
from augment.report.figures import class_colour
from augment.report.looks import GREY, ink_on, scale_of
from augment.report.plotly_parts import (
    EXTRA,
    LEGEND,
    Json,
    brief,
    columns,
    escaped,
    height_of,
    layout_of,
    name_axis,
    plain_axis,
    value_text,
)

MOST_TEXTS, MOST_WRITTEN = 1000, 24
"""Cells with text, and columns of them; in more nothing could be read."""

ROW_OF_TEXTS = 24
"""Characters of a row of cells that a telephone shows in letters of the usual size."""


def heat_map(chart: HeatMap) -> Json:
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


def bars(chart: Bars) -> Json:
    """Bars beside or on each other, hatched where they have a colour of the palette."""
    data = []
    for group, colour in zip(chart.groups, bar_colours(chart), strict=True):
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


def bar_colours(chart: Bars) -> list[str]:
    """Grey without a rank, else of the palette."""
    return [GREY if group.rank is None else class_colour(group.rank) for group in chart.groups]
