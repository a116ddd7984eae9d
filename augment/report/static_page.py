"""Room for texts around a plot: sizes are worked out from the letters, as measuring would draw everything twice."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augment.report.figures import NAME_LENGTH, add_title, literal, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT = 9
"""Points."""

LETTER, WIDE_LETTER = 0.62, 1.25
"""Width of a letter, in units of the font's size; Chinese, Japanese and Korean ones are wide."""

TITLE_LINE = 0.21
MOST_TITLE_LINES = 3
MARGIN = 0.15
TICKS = 0.25
GAP = 0.07
"""Inches of a line of the title, of the rim, of a row of horizontal names, and between a name and the plot."""

COLUMN = 22
"""Characters of a name below a plot."""

ANGLE = 55
"""Degrees by which names of columns are turned where they have no room."""


def width_of(text: str, size: float = FONT) -> float:
    """Inches of a line of text, rather more than too few."""
    letters = (WIDE_LETTER if unicodedata.east_asian_width(letter) in "WF" else LETTER for letter in text)
    return sum(letters) * size / 72


@dataclass(frozen=True)
class Room:
    """Inches around a plot: ``left`` and ``below`` for ticks and axis titles, ``right`` for a legend or a scale."""

    left: float = 0.7
    right: float = 0.0
    below: float = 0.5


@dataclass(frozen=True)
class Page:
    """A figure with one plot of ``width`` and ``height`` inches, room around it, and its title above."""

    figure: Figure
    axes: Axes
    width: float
    height: float
    room: Room

    def rows(self, names: Sequence[str], shown: Sequence[int]) -> None:
        """Names left of the plot, as they are written; matplotlib's own ticks would take most of the time."""
        self.axes.set_yticks([])
        place: dict[str, Any] = {"transform": self.axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        self._names([(-GAP / self.width, row, names[row]) for row in shown], place)

    def columns(self, names: Sequence[str], shown: Sequence[int], *, turned: bool = False) -> None:
        """Names below the plot, as they are written; ``turned`` ones lean, so that long ones have room."""
        self.axes.set_xticks([])
        place: dict[str, Any] = {"transform": self.axes.get_xaxis_transform(), "ha": "center", "va": "top"}
        if turned:
            place |= {"rotation": ANGLE, "ha": "right", "rotation_mode": "anchor", "va": "center"}
        self._names([(column, -GAP / self.height, names[column]) for column in shown], place)

    def _names(self, found: Sequence[tuple[float, float, str]], place: Mapping[str, Any]) -> None:
        literal([self.axes.text(x, y, name, fontsize=FONT, **place) for x, y, name in found])

    def label(self, x: str, y: str) -> None:
        """Titles of both axes, as they are written, at the rim of the page."""
        place: dict[str, Any] = {"transform": self.axes.transAxes, "fontsize": FONT + 1, "ha": "center"}
        below, left = -self.room.below / self.height, -self.room.left / self.width
        texts = [self.axes.text(0.5, below, x, va="bottom", **place)] if x else []
        texts += [self.axes.text(left, 0.5, y, va="center", rotation=90, **place)] if y else []
        literal(texts)


def page(title: str, width: float, height: float, room: Room) -> Page:
    """An empty page; as wide as its title needs."""
    from matplotlib.figure import Figure

    wide = max(4.5, room.left + width + room.right + 2 * MARGIN)
    lines = min(MOST_TITLE_LINES, len(textwrap.wrap(title, max(20, int(wide * 8.5)))) or 1)
    above = TITLE_LINE * lines + 2 * MARGIN
    tall = above + height + room.below + MARGIN
    figure = Figure(figsize=(wide, tall))
    add_title(figure, title)
    figure.texts[0].set_y(1 - MARGIN / tall)
    left, bottom = (MARGIN + room.left) / wide, (MARGIN + room.below) / tall
    return Page(figure, figure.add_axes((left, bottom, width / wide, height / tall)), width, height, room)


def height_of(names: Sequence[str], *, turned: bool) -> float:
    """Inches that names of columns take below a plot."""
    if not turned:
        return TICKS
    return max(map(width_of, names), default=0.0) * math.sin(math.radians(ANGLE)) + 0.2


def lean(names: Sequence[str], *, turned: bool) -> float:
    """Inches that names of columns reach to the left of a plot."""
    return max(map(width_of, names), default=0.0) * math.cos(math.radians(ANGLE)) if turned else 0.0


def brief(names: Sequence[str], length: int = NAME_LENGTH) -> list[str]:
    """Names as they fit beside a plot."""
    return [shortened(name, length) for name in names]
