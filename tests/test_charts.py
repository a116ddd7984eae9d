"""Charts: every number is drawn where it belongs, the chosen cell is framed, names are shown as they are."""

import itertools

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from augment.errors import ConfigError, DataError
from augment.report.charts import BASELINES, accuracy_curves, curves_figure
from augment.report.figures import PALETTE, spaced
from augment.report.layer_charts import layer_map, layer_map_figure, timestep_curves, timesteps_figure

KS = [1, 2, 8]


def rows_of(method, head, accuracies, *, t=None, layer=None, half=0.05, ks=KS):
    return [
        {
            "method": method, "head": head, "t": t, "layer": layer, "k": k, "accuracy": accuracy, "episodes": 5,
            "ci95": None if half is None else [accuracy - half, accuracy + half],
        }
        for k, accuracy in zip(ks, accuracies, strict=True)
    ]  # fmt: skip


ROWS = [
    *rows_of("ddpm", "linear", [0.5, 0.6, 0.9], t=50, layer="up.1"),
    *rows_of("ddpm", "mlp", [0.4, 0.55, 0.8], t=50, layer="up.1"),
    *rows_of("pixels", "linear", [0.3, 0.5, 0.7]),
    *rows_of("pixels", "mlp", [0.25, 0.45, 0.65]),
    *rows_of("cnn", None, [0.2, 0.6, 0.95]),
]


def legend(figure):
    """Name -> handle of the figure's only legend."""
    (found,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    names = [text.get_text() for text in found.get_texts()]
    return dict(zip(names, found.legend_handles, strict=True))


def curves(panel):
    """Colour -> (k, accuracy) of each line."""
    return {line.get_color(): list(zip(*line.get_data(), strict=True)) for line in panel.lines}


def seen_texts(figure):
    """What is written, and its box; matplotlib keeps ticks outside of the limits that it does not draw."""
    figure.draw_without_rendering()
    axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    outside = {
        id(tick.label1)
        for axis in axes
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    texts = [
        text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and id(text) not in outside
    ]
    return [(text.get_text(), text.get_window_extent()) for text in texts]


def clipped_texts(figure):
    """Texts that stick out of the figure, or lie over another text."""
    boxes, page = seen_texts(figure), figure.bbox.padded(1)
    out = [name for name, box in boxes if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1))]
    pairs = itertools.combinations(boxes, 2)
    return out + [(one, two) for (one, box), (two, other) in pairs if box.padded(-1).overlaps(other.padded(-1))]


def opened(path):
    with Image.open(path) as picture:
        picture.load()
        return picture


# accuracy over k


def test_one_panel_per_head_and_the_headless_method_in_each():
    figure = curves_figure(ROWS, title="t")
    linear, mlp = figure.axes
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["linear head", "mlp head"]
    assert curves(linear) == {
        PALETTE[0]: [(1, 0.5), (2, 0.6), (8, 0.9)],
        BASELINES["pixels"][0]: [(1, 0.3), (2, 0.5), (8, 0.7)],
        BASELINES["cnn"][0]: [(1, 0.2), (2, 0.6), (8, 0.95)],
    }
    assert curves(mlp)[PALETTE[0]] == [(1, 0.4), (2, 0.55), (8, 0.8)]
    assert curves(mlp)[BASELINES["cnn"][0]] == curves(linear)[BASELINES["cnn"][0]]


def test_bands_end_at_the_given_bounds():
    rows = rows_of("ddpm", "linear", [0.5, 0.6, 0.9])
    rows[1]["ci95"] = [0.58, 0.71]  # not symmetric
    (band,) = [each for each in curves_figure(rows, title="").axes[0].collections if isinstance(each, PolyCollection)]
    corners = {tuple(np.round(point, 6)) for point in band.get_paths()[0].vertices}
    assert corners == {(1, 0.45), (1, 0.55), (2, 0.58), (2, 0.71), (8, 0.85), (8, 0.95)}
    assert to_hex(band.get_facecolor()[0]) == PALETTE[0]


def test_a_single_k_has_a_bar_and_no_interval_draws_nothing():
    (bar,) = curves_figure(rows_of("vae", "linear", [0.5], ks=[4]), title="").axes[0].collections
    np.testing.assert_allclose(bar.get_segments(), [[[4, 0.45], [4, 0.55]]])
    assert not curves_figure(rows_of("vae", "linear", [0.5], ks=[4], half=None), title="").axes[0].collections
    partly = rows_of("vae", "linear", [0.5, 0.6, 0.7])
    partly[0]["ci95"] = None
    (band,) = curves_figure(partly, title="").axes[0].collections
    assert band.get_paths()[0].vertices[:, 0].min() == 2


def test_baselines_are_grey_and_dashed_and_methods_neither():
    figure = curves_figure([*ROWS, *rows_of("untrained", "linear", [0.1, 0.2, 0.3])], title="")
    handles = legend(figure)
    for name, handle in handles.items():
        red, green, blue = (int(handle.get_color()[i : i + 2], 16) for i in (1, 3, 5))
        assert (red == green == blue) == (name in BASELINES)
        assert handle.is_dashed() == (name in BASELINES)
    assert len({(handle.get_color(), handle.get_marker()) for handle in handles.values()}) == 4


def test_legend_goes_from_best_to_worst_at_the_largest_k():
    assert list(legend(curves_figure(ROWS, title=""))) == ["cnn", "ddpm", "pixels"]


def test_several_t_of_a_method_are_several_lines_but_a_t_chosen_per_k_is_one():
    two = [*rows_of("ddpm", "knn", [0.5, 0.6, 0.7], t=1), *rows_of("ddpm", "knn", [0.4, 0.5, 0.6], t=50, layer="mid")]
    figure = curves_figure(two, title="")
    assert list(legend(figure)) == ["ddpm, t 1", "ddpm, t 50, mid"] and len(figure.axes[0].lines) == 2
    changing = [{**row, "t": t} for row, t in zip(rows_of("ddpm", "knn", [0.5, 0.6, 0.7]), [1, 9, 50], strict=True)]
    figure = curves_figure(changing, title="")
    assert list(legend(figure)) == ["ddpm"] and len(figure.axes[0].lines) == 1


def test_rows_in_any_order_make_the_same_lines():
    assert curves(curves_figure(ROWS[:3][::-1], title="").axes[0]) == curves(curves_figure(ROWS[:3], title="").axes[0])


def test_axes_count_in_doublings_and_per_cent():
    panel = curves_figure(ROWS, title="").axes[0]
    assert panel.get_xscale() == "log" and panel.xaxis.get_transform().base == 2
    assert [text.get_text() for text in panel.get_xticklabels()] == ["1", "2", "8"]
    assert panel.yaxis.get_major_formatter()(0.5) == "50%"
    low, high = panel.get_ylim()
    assert low < 0.15 and 1.0 <= high < 1.01


METHODS = [f"model_{index}" for index in range(9)]


@pytest.mark.parametrize(
    ("methods", "heads", "ks"),
    [
        (METHODS[:1], ["linear"], [16]),
        ([*METHODS, *BASELINES], ["linear", "mlp"], [2**i for i in range(10)]),
        ([*METHODS, *BASELINES], ["linear", "mlp", "prototype", "knn"], [1, 2, 3, 4, 5, 6, 7, 8, 500, 512]),
        (["cnn"], [None], [1, 100]),
        (["a $very$ long_name " * 4, "b"], ["linear", "mlp", "knn"], [2]),
    ],
)
def test_no_text_is_cut_off_or_under_another(methods, heads, ks, tmp_path):
    rows = [
        row
        for index, method in enumerate(methods)
        for head in heads
        for row in rows_of(method, None if method == "cnn" else head, [0.9 - 0.05 * index] * len(ks), ks=ks)
        if method != "cnn" or head == heads[0]
    ]
    assert clipped_texts(curves_figure(rows, title="A title of $many$ words " * 9)) == []
    accuracy_curves(rows, tmp_path / "curves.png", title="t")
    assert max(opened(tmp_path / "curves.png").size) <= 2000 and (tmp_path / "curves.png").stat().st_size < 1_000_000


def test_names_of_methods_are_shown_as_they_are():
    figure = curves_figure(
        [*rows_of("_mine", "$h$", [0.1, 0.2, 0.3]), *rows_of("$x^2$", "$h$", [0.2, 0.3, 0.4])], title=""
    )
    assert list(legend(figure)) == ["$x^2$", "_mine"]
    texts = figure.findobj(Text)
    assert {"$h$ head", "$x^2$"} <= {text.get_text() for text in texts}
    assert not any(text.get_parse_math() for text in texts if "$" in text.get_text())


# over t and layers


LAYERS, STEPS = ["down.0", "mid", "up.0"], [100, 0, 10]
GRID = [
    {"t": t, "layer": layer, "accuracy": (10 * row + column) / 100}
    for row, layer in enumerate(LAYERS)
    for column, t in enumerate(sorted(STEPS))
]


def cells(figure):
    return {(text.get_position(), text.get_text()) for text in figure.axes[0].texts}


def frames(figure):
    return {each.get_bbox().bounds for each in figure.axes[0].patches if isinstance(each, Rectangle)}


def test_cells_hold_their_numbers_and_the_chosen_one_is_framed():
    figure = layer_map_figure(GRID[::-1], {"t": 10, "layer": "up.0"}, title="t")  # the grid in another order
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["up.0", "mid", "down.0"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0", "10", "100"]
    assert cells(figure) == {
        ((column, names.index(layer)), f"{10 * LAYERS.index(layer) + column}.0")
        for layer in LAYERS
        for column in range(3)
    }
    assert frames(figure) == {(0.5, -0.5, 1, 1)}


def test_numbers_can_be_read_on_their_colour():
    figure = layer_map_figure(GRID, {"t": 0, "layer": "mid"}, title="")
    image = figure.axes[0].images[0]
    for text in figure.axes[0].texts:
        (column, row), weights = text.get_position(), np.array([0.2126, 0.7152, 0.0722])
        back = np.array(image.to_rgba(image.get_array())[row, column, :3])
        luminance = float(weights @ np.where(back <= 0.04045, back / 12.92, ((back + 0.055) / 1.055) ** 2.4))
        contrast = (luminance + 0.05) / 0.05 if text.get_color() == "black" else 1.05 / (luminance + 0.05)
        assert contrast > 3


@pytest.mark.parametrize("layers", [LAYERS, [None]])
def test_a_model_without_t_is_one_column(layers):
    grid = [{"t": None, "layer": layer, "accuracy": 0.5} for layer in layers]
    figure = layer_map_figure(grid, {"t": None, "layer": layers[-1]}, title="")
    panel = figure.axes[0]
    assert frames(figure) == {(-0.5, len(layers) - 1.5, 1, 1)}
    assert [text.get_text() for text in panel.get_xticklabels()] == [""] and panel.get_xlabel() == ""
    assert [text.get_text() for text in panel.get_yticklabels()] == [layer or "features" for layer in layers]


def test_cells_that_were_not_tried_stay_empty():
    figure = layer_map_figure(GRID[:-1], {"t": 0, "layer": "mid"}, title="")
    assert len(figure.axes[0].texts) == 8 and figure.axes[0].images[0].get_array().mask.sum() == 1


def test_large_grids_and_long_layers_fit():
    layers = [f"decoder_$a$.blocks.with.a.very.long.name.{index}" for index in range(12)]
    grid = [{"t": t, "layer": layer, "accuracy": 1.0} for layer in layers for t in range(0, 1000, 120)]
    figure = layer_map_figure(grid, {"t": 120, "layer": layers[3]}, title="Words $and$ words " * 9)
    assert clipped_texts(figure) == []
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(set(shown)) == 12 and not any(text.get_parse_math() for text in figure.axes[0].get_yticklabels())
    assert clipped_texts(layer_map_figure(GRID[:1], {"t": 0, "layer": "down.0"}, title="Words " * 30)) == []


def test_curves_over_t_are_the_grids_rows_with_chance_beneath():
    figure = timesteps_figure(GRID, 0.1, title="t")
    panel = figure.axes[0]
    *lines, chance = panel.lines
    assert [list(line.get_xdata()) for line in lines] == [[0, 10, 100]] * 3
    np.testing.assert_allclose(
        [line.get_ydata() for line in lines], [[0, 0.01, 0.02], [0.1, 0.11, 0.12], [0.2, 0.21, 0.22]]
    )
    assert list(chance.get_ydata()) == [0.1, 0.1] and chance.is_dashed()
    assert list(legend(figure)) == [*LAYERS, "chance (10%)"]
    places = panel.transData.transform([(t, 0.1) for t in (0, 1, 10, 100)])[:, 0]
    assert places[3] - places[2] == pytest.approx(places[2] - places[1]) and places[1] > places[0]
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    assert left < 0 and right > 100 and bottom <= 0 and top > 0.22


def test_curves_skip_what_was_not_tried():
    grid = [*GRID[:3], GRID[3], GRID[5]]
    assert list(timesteps_figure(grid, 0.1, title="").axes[0].lines[1].get_xdata()) == [0, 100]


@pytest.mark.parametrize(
    "steps", [[50], [0, 999], list(range(0, 1000, 37)), [1, 2, 3, 4, 5, 10, 20, 50, 100, 350, 999]]
)
def test_labels_of_t_do_not_touch(steps):
    grid = [{"t": t, "layer": f"layer_{index}", "accuracy": 0.3} for index in range(12) for t in steps]
    figure = timesteps_figure(grid, 0.1, title="Words " * 40)
    assert clipped_texts(figure) == []
    shown = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert shown[0] == str(steps[0]) and shown[-1] == str(steps[-1])


def test_labels_keep_the_ends_and_their_distance():
    assert spaced([1, 2, 3, 100], [1, 2, 3, 100]) == [1, 100]
    assert spaced([0, 50, 98, 100], [0, 50, 98, 100]) == [0, 50, 100]
    assert spaced([7], [7.0]) == [7] and spaced([1, 2], [0.0, 1.0]) == [1, 2]


# files and refusals


def test_the_suffix_says_what_is_written(tmp_path):
    layer_map(GRID, {"t": 0, "layer": "mid"}, tmp_path / "a" / "map.svg", title="t")
    timestep_curves(GRID, tmp_path / "t.PNG", 0.1, title="t")
    assert (tmp_path / "a" / "map.svg").read_text().startswith("<?xml")
    assert opened(tmp_path / "t.PNG").format == "PNG"
    assert opened(tmp_path / "t.PNG").info["dpi"][0] == pytest.approx(150, abs=0.1)


@pytest.mark.parametrize(
    ("draw", "error", "words"),
    [
        (lambda p: accuracy_curves([], p / "a.png", title=""), DataError, "no accuracies"),
        (lambda p: accuracy_curves(ROWS, p / "a.pdf", title=""), ConfigError, r"'a\.pdf' ends with '\.pdf'"),
        (lambda p: layer_map([], {"t": 1, "layer": "a"}, p / "a.png", title=""), DataError, "empty"),
        (lambda p: layer_map(GRID, {"t": 1, "layer": "mid"}, p / "a.png", title=""), DataError, "not in the grid"),
        (lambda p: layer_map(GRID[:4], {"t": 10, "layer": "mid"}, p / "a.png", title=""), DataError, "not in the grid"),
        (lambda p: timestep_curves([{**GRID[0], "t": None}], p / "a.png", 0.1, title=""), DataError, "no noise levels"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, error, words, tmp_path):
    with pytest.raises(error, match=words):
        draw(tmp_path)
    assert not list(tmp_path.iterdir())
