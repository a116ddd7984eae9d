"""Heat maps, confusion matrices and bars, as matplotlib draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from augment.report.chart import Bars, HeatMap
from augment.report.figures import add_legend, class_colour, plain_axes
from augment.report.looks import GREY, ink_on, scale_of, whole_ticks
from augment.report.static_page import COLUMN, FONT, Room, brief, height_of, lean, page, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

WIDEST = 9.0
"""Inches of a plot; cells shrink to keep to it."""

CELL_WIDTH, CELL_HEIGHT = 0.44, 0.3
LEAST_WIDTH, LEAST_HEIGHT = 0.3, 0.17
"""Inches of a cell, and of the smallest one with text."""

MOST_HATCHED = 40
"""Bars; of thinner ones the hatching could not be seen."""

SCALE = 0.9
"""Inches that a scale takes beside the cells."""


def heat_map(chart: HeatMap) -> Figure:
    """Cells as colours with their numbers, where there is room for these; a scale where there is not."""
    names, heads = brief(chart.y), brief(chart.x, COLUMN)
    longest = max((width_of(text) for row in chart.text for text in row), default=0.0) + 0.08
    wide = min(max(CELL_HEIGHT if chart.square else CELL_WIDTH, longest), WIDEST / max(1, len(heads)))
    tall = wide if chart.square else min(CELL_HEIGHT, WIDEST / max(1, len(names)))
    written = wide >= max(LEAST_WIDTH * 0.8, longest * 0.9) and tall >= LEAST_HEIGHT
    turned = max(map(width_of, heads), default=0.0) > wide
    scaled = not written or chart.scale == "diverging"
    room = Room(
        left=max(max(map(width_of, names), default=0.0) + (0.35 if chart.y_title else 0.1), lean(heads, turned=turned)),
        right=max(SCALE if scaled else 0.0, (width_of(chart.x_title, FONT + 1) - wide * len(heads)) / 2),
        below=height_of(heads, turned=turned) + (0.25 if chart.x_title else 0.0),
    )
    sheet = page(chart.title, wide * len(heads), tall * len(names), room)
    figure, axes = sheet.figure, sheet.axes
    image = _image(axes, chart)
    if written:
        _write_cells(axes, chart)
    if scaled:
        _scale(figure, axes, image, chart)
    if chart.frame is not None:
        _frame(axes, *chart.frame)
    sheet.columns(heads, whole_ticks(len(heads), max(1, int(len(heads) * wide / 0.17))), turned=turned)
    sheet.rows(names, whole_ticks(len(names), max(1, int(len(names) * tall / 0.16))))
    sheet.label(chart.x_title, chart.y_title)
    return figure


def _image(axes: Axes, chart: HeatMap) -> AxesImage:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list(chart.scale, scale_of(chart))
    low, high = chart.ends
    values = np.array([[np.nan if value is None else value for value in row] for row in chart.values], dtype=float)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#f1f1f1")  # of empty cells
    if values.size <= 2500:  # of smaller cells lines would take too much
        rows, columns = (np.arange(length + 1) - 0.5 for length in values.shape)
        axes.hlines(rows, -0.5, columns[-1], color="white", linewidth=1)
        axes.vlines(columns, -0.5, rows[-1], color="white", linewidth=1)
    return image


def _write_cells(axes: Axes, chart: HeatMap) -> None:
    for row, (values, texts) in enumerate(zip(chart.values, chart.text, strict=True)):
        for column, (value, text) in enumerate(zip(values, texts, strict=True)):
            if value is not None and text:
                ink = ink_on(scale_of(chart), chart.place(value))
                cell = axes.text(column, row, text, color=ink, fontsize=FONT, ha="center", va="center_baseline")
                cell.set_parse_math(False)


def _scale(figure: Figure, axes: Axes, image: AxesImage, chart: HeatMap) -> None:
    from matplotlib.ticker import PercentFormatter

    box = axes.get_position()
    inch = 1 / figure.get_figwidth()
    tall = max(box.height, 0.9 / figure.get_figheight())
    place = figure.add_axes((box.x1 + 0.15 * inch, box.y1 - tall, 0.13 * inch, tall))
    bar = figure.colorbar(image, cax=place, format=PercentFormatter(1.0, decimals=0) if chart.percent else None)
    bar.outline.set_visible(False)
    place.tick_params(labelsize=FONT - 1)


def _frame(axes: Axes, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    for colour, width in (("white", 5.0), ("#d01c1c", 2.5)):  # the white edge keeps the frame apart from any colour
        box = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=width, zorder=3)
        box.set_clip_on(False)
        axes.add_patch(box)


def bars(chart: Bars) -> Figure:
    """Bars beside or on each other, hatched where they have a colour of the palette."""
    names = brief(chart.categories, COLUMN)
    wide = min(WIDEST, max(4.2, 0.4 * len(names)))
    turned = max(map(width_of, names), default=0.0) > wide / max(1, len(names))
    legend = 0.55 + max((width_of(name) for name in brief([group.name for group in chart.groups])), default=0.0)
    room = Room(left=max(0.75, lean(names, turned=turned)), right=legend, below=height_of(names, turned=turned))
    sheet = page(chart.title, wide, 3.0, room)
    axes = sheet.axes
    plain_axes(axes)
    axes.grid(visible=False, axis="x")
    drawn = _bars(axes, chart)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.margins(y=0.04)
    axes.yaxis.set_major_formatter("{x:,.10g}")
    sheet.columns(names, whole_ticks(len(names), max(1, int(wide / 0.17))), turned=turned)
    sheet.label("", chart.y_title)
    add_legend(axes, drawn, [group.name for group in chart.groups])
    return sheet.figure


def _bars(axes: Axes, chart: Bars) -> list[Any]:
    places, bottom = np.arange(len(chart.categories)), np.zeros(len(chart.categories))
    width = 0.8 if chart.stacked else 0.8 / max(1, len(chart.groups))
    hatch, drawn = "///" if len(places) <= MOST_HATCHED else "", []
    for index, group in enumerate(chart.groups):
        shift = 0.0 if chart.stacked else (index - (len(chart.groups) - 1) / 2) * width
        look: dict[str, Any] = (
            {"color": GREY} if group.rank is None else {"color": class_colour(group.rank), "hatch": hatch}
        )
        look |= {"edgecolor": "white", "linewidth": 0.5}
        drawn.append(axes.bar(places + shift, group.values, width, bottom=bottom if chart.stacked else 0, **look)[0])
        bottom += np.asarray(group.values)
    return drawn
