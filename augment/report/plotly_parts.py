"""What all charts share on their way to plotly: texts that hold no markup, axes with names, room for a telephone.

Plotly reads tags, entities and formulas in every text, so whatever a person wrote is escaped here, on its way in.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from augment.report.figures import shortened
from augment.report.looks import whole_ticks

SHORT = 24
"""Characters of a name beside a row: a telephone shows these and still has room for the row."""

MOST_TICKS = 25
"""Names of columns; of more every second or third is named."""

LINE = 36
"""Characters of a row of names that fit below a plot on a telephone."""

LEGEND = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"}
SHARES = {"minallowed": -0.02, "maxallowed": 1.02}
"""Intervals of few seeds may reach beyond 0 and 100%, the axis never does; a marker at its end stays whole."""

EXTRA = "<extra></extra>"
"""Ends a hover text: without it plotly adds the name of the trace beside the box."""

Json = dict[str, Any]


def escaped(text: str) -> str:
    """The text on one line as plotly shows it, letter by letter: no tag, no entity, no formula."""
    return html.escape(" ".join(text.split()), quote=False).replace("$", "&#36;")


def brief(text: str, length: int = SHORT) -> str:
    """The text shortened to ``length`` characters, then :func:`escaped`."""
    return escaped(shortened(text, length))


def layout_of(height: float, **more: Any) -> Json:
    """What all charts have: a height in pixels, narrow margins, and a finger that scrolls the page."""
    margin = {"l": 8, "r": 12, "t": 12, "b": 8}
    return {"height": round(height), "margin": margin, "hovermode": "closest", "dragmode": False, **more}


def plain_axis(title: str = "", **more: Any) -> Json:
    """An axis that takes the room its names need."""
    return {"title": {"text": escaped(title), "standoff": 10}, "automargin": True, "zeroline": False, **more}


def name_axis(names: Sequence[str], most: int = MOST_TICKS, **more: Any) -> Json:
    """An axis with a name at each whole number: numbers, unlike names, are never equal, dates or in another order."""
    shown = whole_ticks(len(names), most)
    ticks = {"tickmode": "array", "tickvals": shown, "ticktext": [brief(names[index]) for index in shown]}
    return plain_axis(**{"showgrid": False, "ticks": "", "ticklabelstandoff": 5, **ticks, **more})


def columns(names: Sequence[str], **more: Any) -> Json:
    """Names below a plot; they lean where a telephone has no room for them."""
    longest = max((len(shortened(name, SHORT)) for name in names), default=0)
    return name_axis(names, tickangle=-60 if (longest + 1) * len(names) > LINE else 0, **more)


def height_of(columns: Json) -> float:
    """Pixels that names below a plot take, about."""
    return 5.5 * max(map(len, columns["ticktext"]), default=0) + 10 if columns["tickangle"] else 30


def meta(key: str | None) -> Json:
    """What a filter hides the trace by; nothing where it never does."""
    return {} if key is None else {"meta": {"key": key}}


def value_text(value: float, percent: bool) -> str:
    """``87.3%``, or four digits."""
    return f"{100 * value:.1f}%" if percent else f"{value:.4g}"


def bounds_text(low: float | None, high: float | None, percent: bool) -> str:
    """`` (86.1% to 88.4%)``, or nothing where there is no interval."""
    return "" if low is None or high is None else f" ({value_text(low, percent)} to {value_text(high, percent)})"


def error_bars(values: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], colour: str) -> Json:
    """Bars from the bounds; none where there are none."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [None if bound is None else bound - value for value, bound in zip(values, high, strict=True)],
        "arrayminus": [None if bound is None else value - bound for value, bound in zip(values, low, strict=True)],
        "color": colour,
        "thickness": 1.5,
        "width": 3,
    }
