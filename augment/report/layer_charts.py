"""Validation accuracy over a generator's layers and noise levels t: the map it is chosen from, and its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from augment.errors import DataError
from augment.report.figures import (
    add_legend,
    add_title,
    check_suffix,
    literal,
    percent_axis,
    plain_axes,
    shortened,
    spaced,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cell = Mapping[str, Any]
"""``{t, layer, accuracy}``; t is None for a model without noise levels, layer None for a model with one layer."""

LINE_MARKERS = ("o", "s", "D", "P", "X", "v", "^")
CELL_WIDTH, CELL_HEIGHT = 0.58, 0.36
"""Inches."""


def layer_map(grid: Sequence[Cell], chosen: Mapping[str, Any], path: str | Path, *, title: str) -> None:
    """Draw the accuracy of every layer (row) and t (column) as colour and number, the ``chosen`` cell framed.

    chosen: ``{t, layer}``. Layers stand in the order of the grid, cells that it lacks stay white. path: ``.png`` or
    ``.svg``. Raises DataError when the grid is empty or lacks the chosen cell, ConfigError for another suffix.
    """
    check_suffix(Path(path))
    write(layer_map_figure(grid, chosen, title=title), Path(path))


def timestep_curves(grid: Sequence[Cell], path: str | Path, chance: float, *, title: str) -> None:
    """Draw accuracy over the noise level t, one line for each layer, and a dashed line at ``chance`` (in [0, 1]).

    t: from 0; the axis is logarithmic from 1 on. path: ``.png`` or ``.svg``. Raises DataError when no cell has a t,
    ConfigError for another suffix.
    """
    check_suffix(Path(path))
    write(timesteps_figure(grid, chance, title=title), Path(path))


def layer_map_figure(grid: Sequence[Cell], chosen: Mapping[str, Any], *, title: str) -> Figure:
    """The figure of :func:`layer_map`: one image, a text in each cell, and one rectangle around the chosen cell."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    layers, steps, accuracies = _table(grid)
    if not any((cell["t"], cell["layer"]) == (chosen["t"], chosen["layer"]) for cell in grid):
        raise DataError(f"The chosen cell {dict(chosen)} is not in the grid of t {steps} and layers {layers}.")
    size = (max(4.6, 2.4 + CELL_WIDTH * len(steps)), max(1.9, 1.5 + CELL_HEIGHT * len(layers)))
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.add_subplot()
    low, high = float(np.nanmin(accuracies)), float(np.nanmax(accuracies))
    image = panel.imshow(accuracies, cmap="viridis", vmin=low, vmax=max(high, low + 0.01), aspect="auto")
    for row, column in np.argwhere(np.isfinite(accuracies)):
        value = accuracies[row, column]
        red, green, blue, _ = image.to_rgba(value)
        ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        panel.text(column, row, f"{100 * value:.1f}", ha="center", va="center", color=ink, fontsize=9)
    row, column = layers.index(chosen["layer"]), steps.index(chosen["t"])
    for colour, width in (("white", 5.0), ("#d01c1c", 2.5)):  # the white edge keeps the frame apart from any colour
        frame = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=width, zorder=3)
        frame.set_clip_on(False)
        panel.add_patch(frame)
    _label_cells(panel, layers, steps)
    add_title(figure, title)
    return figure


def timesteps_figure(grid: Sequence[Cell], chance: float, *, title: str) -> Figure:
    """The figure of :func:`timestep_curves`: one line per layer, from light (near the image) to dark, then chance."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    cells = [cell for cell in grid if cell["t"] is not None]
    if not cells:
        raise DataError("No accuracy of this grid has a t: the model has no noise levels to draw a curve over.")
    layers, steps, accuracies = _table(cells)
    figure = Figure(figsize=(8.2, 4.6), layout="constrained")
    panel = figure.add_subplot()
    plain_axes(panel)
    shades = colormaps["viridis_r"](np.linspace(0.12, 1.0, len(layers)))
    lines = []
    for index, (values, shade) in enumerate(zip(accuracies, shades, strict=True)):
        known = np.isfinite(values)
        ts = np.asarray(steps)[known]
        marker = LINE_MARKERS[index % len(LINE_MARKERS)]
        lines += panel.plot(ts, values[known], color=shade, marker=marker, markersize=5, linewidth=1.7)
    lines.append(panel.axhline(chance, color="#555555", linestyle=(0, (5, 3)), linewidth=1.3))
    _t_axis(panel, steps)
    low, high = float(np.nanmin(accuracies)), float(np.nanmax(accuracies))
    percent_axis(panel, min(chance, low), max(chance, high), "validation accuracy")
    names = [f"chance ({100 * chance:.3g}%)"]
    add_legend(panel, lines, [*(_layer_name(layer) for layer in layers), *names])
    add_title(figure, title)
    return figure


def _table(grid: Sequence[Cell]) -> tuple[list[Any], list[Any], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Layers in the order of the grid, ascending t, and the accuracies ``(layers, t)`` with NaN where there is none."""
    if not grid:
        raise DataError("The grid of layers and t is empty; there is nothing to draw.")
    layers = list(dict.fromkeys(cell["layer"] for cell in grid))
    steps = sorted({cell["t"] for cell in grid}, key=lambda t: -1 if t is None else t)
    accuracies = np.full((len(layers), len(steps)), np.nan)
    for cell in grid:
        accuracies[layers.index(cell["layer"]), steps.index(cell["t"])] = cell["accuracy"]
    return layers, steps, accuracies


def _layer_name(layer: str | None) -> str:
    return "features" if layer is None else shortened(layer)


def _label_cells(panel: Axes, layers: Sequence[Any], steps: Sequence[Any]) -> None:
    panel.set_xticks(range(len(steps)), ["" if t is None else str(t) for t in steps])
    panel.set_yticks(range(len(layers)), [_layer_name(layer) for layer in layers])
    literal(panel.get_yticklabels())
    panel.set_xlabel("t" if steps != [None] else "")
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    literal([panel.set_title("validation accuracy in %", loc="left", fontsize=9, color="#555555")])


def _t_axis(panel: Axes, steps: Sequence[int]) -> None:
    """Linear from 0 to 1 and logarithmic above; a label at each t that has room for it."""
    panel.set_xscale("symlog", linthresh=1, linscale=0.4)
    panel.set_xlim(-0.2 if steps[0] == 0 else steps[0] / 1.2, 1.2 * max(1, steps[-1]))
    places = panel.transData.transform([(t, 0.0) for t in steps])[:, 0].tolist()
    shown = spaced(steps, places)
    panel.set_xticks(shown, [str(t) for t in shown])
    panel.set_xticks([], minor=True)
    panel.set_xlabel("noise level t")
