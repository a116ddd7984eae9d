"""What every chart shares: colours, markers, user text taken as it is, and the file or script it becomes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

T = TypeVar("T", int, float)

PALETTE = (
    *("#2d87f0", "#ff782d", "#1e5a69", "#a5003c", "#4be1a5", "#5a3cb4", "#f0c300", "#b45ab4", "#966900", "#ff96ff"),
    *("#2d8769", "#d24b5a", "#3cb44b", "#00c3ff", "#ffb4a5", "#3c5a00", "#785a87", "#9696ff", "#96d2d2", "#a5c369"),
)
"""Colours of the classes. The first ten keep the largest distance in Oklab that a search found for colour-blind eyes
too (protanopia and deuteranopia as simulated by Machado et al. 2009), away from grey, on white and on black; the other
ten are told apart with normal sight, and by their marker without."""

MARKERS = {"o": "circle", "s": "square", "D": "diamond", "P": "cross", "X": "x"}
"""Markers by matplotlib's name, with the page's name of the same shape; these five exist in its 3-D maps too."""

PER_MARKER = 10
"""Classes that share a marker; the next ten have the next one."""

UNLABELLED_COLOUR = "#9e9e9e"

SUFFIXES = (".png", ".svg")
DPI = 150
NAME_LENGTH = 28
"""Characters of a name that a legend shows."""


def class_colour(index: int) -> str:
    """Colour of class ``index``, the same in every picture; grey for -1, the class of unlabelled images."""
    return UNLABELLED_COLOUR if index < 0 else PALETTE[index % len(PALETTE)]


def class_marker(index: int) -> str:
    """Marker of class ``index`` by matplotlib's name; colour and marker together differ for 100 classes."""
    return "o" if index < 0 else tuple(MARKERS)[index // PER_MARKER % len(MARKERS)]


def shortened(name: str, length: int = NAME_LENGTH) -> str:
    """The name on one line, without its middle when it has more than ``length`` characters."""
    line = " ".join(name.split())
    if len(line) <= length:
        return line
    tail = length // 2  # names of layers differ at their ends
    return f"{line[: length - tail - 1].rstrip()}…{line[-tail:].lstrip()}"


def script_json(data: Any) -> str:
    """JSON that no text within can end: inside a script element only ``<`` is dangerous, and U+2028 is escaped."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def literal(texts: Iterable[Text]) -> None:
    """Show these texts as they are: a ``$`` in a person's words starts no formula."""
    for text in texts:
        text.set_parse_math(False)


def add_title(figure: Figure, title: str) -> None:
    """The title at the left above all panels, wrapped to the figure's width and at most three lines."""
    import textwrap

    characters = max(20, int(figure.get_figwidth() * 8.5))
    lines = textwrap.wrap(title, characters, max_lines=3, placeholder=" …")
    literal([figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=12, fontweight="bold")])


def add_legend(axes: Axes, handles: Sequence[Artist], names: Sequence[str], heading: str = "") -> None:
    """A legend right of the axes, with each name as it is written."""
    legend = axes.legend(
        handles,
        [""] * len(handles),  # a label that starts with "_" would hide its entry
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0,
        frameon=False,
        fontsize=9,
        title=heading or None,
        title_fontsize=9,
        alignment="left",
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(shortened(name))
    literal([*legend.get_texts(), legend.get_title()])


def plain_axes(axes: Axes) -> None:
    """No frame at the top and right, and a faint grid behind the lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)


def percent_axis(axes: Axes, low: float, high: float, name: str) -> None:
    """Accuracies from ``low`` to ``high`` (shares) with a little room, in per cent; never below 0 or above 100."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    room = max(0.01, 0.05 * (high - low))
    axes.set_ylim(max(0.0, low - room) - 0.002, min(1.0, high + room) + 0.002)  # a marker at the border stays whole
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if high - low > 0.06 else 1))
    axes.set_ylabel(name)


def spaced(values: Sequence[T], places: Sequence[float], gap: float = 0.07) -> list[T]:
    """Of the ascending ``values`` at ``places`` those whose tick labels have room: ``gap`` of the axis between two."""
    least = gap * (places[-1] - places[0])
    shown = [0]
    for index in range(1, len(values)):
        if places[index] - places[shown[-1]] >= least:
            shown.append(index)
    if shown[-1] != len(values) - 1:  # the last one is worth more than its neighbour
        shown[-1 if len(shown) > 1 else len(shown) :] = [len(values) - 1]
    return [values[index] for index in shown]
