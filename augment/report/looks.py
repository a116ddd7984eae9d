"""How lines and cells look, the same on the page and in the files beside it: colour, marker and dashes by rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augment.report.chart import HeatMap, Series
from augment.report.figures import PALETTE

GREY = "#7d7d7d"
"""Of baselines; it stands out on white and on black."""

INK = "#2d6cdf"
"""Of what is emphasised; the same holds."""

MARKERS = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "P": "cross",
    "X": "x",
    "v": "triangle-down",
    "^": "triangle-up",
    "*": "star",
    "p": "pentagon",
    "h": "hexagon",
}
"""Markers by matplotlib's name, with plotly's name of the same shape."""

DASHES = {"solid": "-", "dash": (0, (5, 2)), "dot": (0, (1, 1.3)), "dashdot": (0, (6, 1.5, 1.2, 1.5))}
"""Dashes by plotly's name, with those of matplotlib."""

SEQUENTIAL = (
    *("#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"),
)
"""Viridis: its lightness grows evenly, for colour-blind eyes too; colours are evenly spaced from end to end."""

DIVERGING = ("#1f5fa8", "#86b1dc", "#f4f4f4", "#eeab6e", "#a85400")
"""Blue below 0, orange above, evenly spaced from end to end."""

DARK_TEXT_FROM = 0.179
"""Luminance of the ground from which on black has more contrast than white: at least 4.5 to 1 either way (WCAG 2)."""


@dataclass(frozen=True)
class Look:
    """Colour; marker by matplotlib's name; dashes by plotly's."""

    colour: str
    marker: str
    dash: str


def looks(series: Sequence[Series]) -> list[Look]:
    """One for each line: baselines are grey with their dashes; of others 200 differ by colour or marker."""
    found, baselines, markers = [], 0, tuple(MARKERS)
    for each in series:
        if each.rank is None:
            dash = ("dash", "dot", "dashdot")[baselines % 3]
            found.append(Look(GREY, ("v", "^", "p")[baselines % 3], dash))
            baselines += 1
            continue
        marker = markers[(each.rank + each.rank // len(PALETTE)) % len(markers)]
        found.append(Look(PALETTE[each.rank % len(PALETTE)], marker, "dash" if each.dashed else "solid"))
    return found


def scale_of(chart: HeatMap) -> tuple[str, ...]:
    """The colours of a heat map's cells, from its lowest to its highest value."""
    return DIVERGING if chart.scale == "diverging" else SEQUENTIAL


def ink_on(scale: Sequence[str], place: float) -> str:
    """Black or white, whichever can be read on the colour at ``place`` (0 to 1) of a scale."""
    at = min(max(place, 0.0), 1.0) * (len(scale) - 1)
    first = min(int(at), len(scale) - 2)
    pairs = zip(*(_channels(colour) for colour in scale[first : first + 2]), strict=True)
    mixed = (low + (high - low) * (at - first) for low, high in pairs)
    linear = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in mixed)
    luminance = sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if luminance > DARK_TEXT_FROM else "#ffffff"


def _channels(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))


def whole_ticks(count: int, most: int) -> list[int]:
    """Of the places 0 to ``count - 1`` at most ``most``, evenly spaced from the first on."""
    return list(range(0, count, -(-count // most)))
