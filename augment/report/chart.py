"""What a chart says, apart from how it is drawn: the page draws it with plotly, the files beside it with matplotlib."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

NAME_LENGTH = 90
"""Characters of a file name, without its suffix."""

MOST_ERROR_BARS = 12
"""Places up to which each point has a bar of its own; more make a band."""

DODGE = 0.012
"""Of the axis between two lines whose bars would lie on each other."""


def file_name(*parts: str) -> str:
    """A name for a chart's files out of what it is about; other parts give another name, whatever letters they have."""
    words = "-".join(parts)
    plain = re.sub("[^a-z0-9]+", "-", words.lower()).strip("-")[:NAME_LENGTH]
    if plain == words:
        return plain
    return f"{plain.rstrip('-')}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}".lstrip("-")


@dataclass(frozen=True)
class Table:
    """The numbers of a chart, for those who cannot see it or want to copy them; cells are text already."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chart:
    """What every chart has.

    name: file name of its PNG and SVG, lower-case letters, digits and hyphens; unique in a report.  section: heading
    under which it stands.  title, caption: plain text from which a reader learns what is shown and how to read it.
    facets: what the page's filters look at, ``dataset``, ``regime``, ``size``, ``model``, ``classifier``; what is left
    out applies to all.  table: the same numbers.
    """

    name: str
    section: str
    title: str
    caption: str
    facets: Mapping[str, str]
    table: Table


@dataclass(frozen=True)
class Series:
    """A line with markers.

    key: of what the page's filters hide, as a facet ``model``; None is always shown.  low, high: 95% interval of each
    point, None where there is none; both are empty, or as long as ``y``.  rank: place in the palette; None is drawn in
    grey and dashed, as baselines are.  notes: empty, or more to say about each point.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    key: str | None = None
    rank: int | None = None
    dashed: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines(Chart):
    """Lines over a numeric axis.

    x_labels: names of the places 0, 1, ... where x counts them.  percent: y is a share shown in per cent.  zero: y is a
    difference, and the line at 0 is drawn.
    """

    series: tuple[Series, ...] = ()
    x_title: str = ""
    y_title: str = ""
    x_log: bool = False
    y_log: bool = False
    percent: bool = False
    zero: bool = False
    x_labels: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[float, ...]:
        """Every x at which a line has a point, ascending."""
        return tuple(sorted({x for series in self.series for x in series.x}))

    @property
    def banded(self) -> bool:
        """Are intervals bands? Bars at so many places would be a thicket."""
        return len(self.places) > MOST_ERROR_BARS

    def dodged(self, index: int) -> tuple[float, ...]:
        """Where the points of a line are drawn: bars of lines that meet at a place stand beside each other."""
        series, places = self.series[index], self.places
        met = [each for each in self.series if set(each.x) & set(series.x) and any(low is not None for low in each.low)]
        if self.banded or series not in met or len(met) < 2:
            return series.x
        shift = DODGE * (met.index(series) - (len(met) - 1) / 2)
        if self.x_log:
            return tuple(x * (places[-1] / places[0]) ** shift for x in series.x)
        return tuple(x + shift * (places[-1] - places[0]) for x in series.x)


@dataclass(frozen=True)
class Interval:
    """A row of a forest plot: the estimate and its 95% interval, None where one seed gives none.

    emphasis: drawn in colour, the others in grey.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    key: str | None = None
    emphasis: bool = False


@dataclass(frozen=True)
class Intervals(Chart):
    """Estimates with intervals, a row each.

    zero: they are differences, and the line at 0 is drawn.  percent: they are shares shown in per cent.
    """

    rows: tuple[Interval, ...] = ()
    x_title: str = ""
    zero: bool = True
    percent: bool = False

    def unsure(self, row: Interval) -> bool:
        """Is the row a difference that may be none: its interval holds 0, or there is no interval?"""
        return self.zero and (row.low is None or row.high is None or row.low <= 0 <= row.high)


@dataclass(frozen=True)
class HeatMap(Chart):
    """Values ``(len(y), len(x))`` with their text in each cell; NaN-free, None is an empty cell.

    scale: ``diverging`` ones have two colours, for values below and above 0.  low, high: ends of the scale, the
    smallest and largest value where None.  percent: values are shares shown in per cent.  frame: row and column of a
    cell to point out.  square: rows and columns are the same classes.
    """

    x: tuple[str, ...] = ()
    y: tuple[str, ...] = ()
    values: tuple[tuple[float | None, ...], ...] = ()
    text: tuple[tuple[str, ...], ...] = ()
    x_title: str = ""
    y_title: str = ""
    scale: Literal["sequential", "diverging"] = "sequential"
    low: float | None = None
    high: float | None = None
    percent: bool = True
    frame: tuple[int, int] | None = None
    square: bool = False

    def place(self, value: float) -> float:
        """Of a value on the scale, from 0 to 1."""
        low, high = self.ends
        return (value - low) / (high - low)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Of the scale: never equal, and around 0 where it is a diverging one."""
        values = [value for row in self.values for value in row if value is not None] or [0.0]
        low = min(values) if self.low is None else self.low
        high = max(values) if self.high is None else self.high
        if self.scale == "diverging":
            reach = max(abs(low), abs(high)) or 1.0
            return -reach, reach
        return low, high if high > low else low + 0.01


@dataclass(frozen=True)
class BarGroup:
    """Bars of one colour, a value for each category."""

    name: str
    values: tuple[float, ...]
    rank: int | None = None


@dataclass(frozen=True)
class Bars(Chart):
    """Bars by category; ``stacked`` ones add up."""

    categories: tuple[str, ...] = ()
    groups: tuple[BarGroup, ...] = ()
    y_title: str = ""
    stacked: bool = False


@dataclass(frozen=True)
class PointGroup:
    """Points of one class, ``(n, 2)`` or ``(n, 3)``.

    index: the class's place in palette and markers.  pictures: of each point its place in :attr:`Scatter.sheet`.
    """

    name: str
    points: tuple[tuple[float, ...], ...]
    index: int
    pictures: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """Small pictures in one, row by row: a data URL with its numbers of columns and rows."""

    url: str
    columns: int
    rows: int


@dataclass(frozen=True)
class Scatter(Chart):
    """A map of points in two or three dimensions; one in three turns, unless a reader asks for less motion.

    sheet: the picture behind each point, shown where a reader points at one.
    """

    groups: tuple[PointGroup, ...] = ()
    axes: tuple[str, ...] = field(default_factory=tuple)
    sheet: Sheet | None = None
