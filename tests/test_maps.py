"""Colours of the classes, and maps as pictures: where points are, how they look, and names shown as they are."""

import colorsys
import itertools

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from augment.report.chart import PointGroup, Scatter, Table
from augment.report.figures import PALETTE, UNLABELLED_COLOUR, class_colour, class_marker, shortened
from augment.report.static_charts import begin_static, scatter

NAMES = ["$x_1$", "_private", "<script>alert('no')</script> & co"]
MACHADO = {  # Machado, Oliveira and Fernandes 2009, severity 1, linear RGB
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
}


def oklab(colour, eyes):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(MACHADO[eyes] @ linear, 0, 1)
    lms = np.cbrt(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
        @ seen
    )
    return (
        np.array(
            [
                [0.2104542553, 0.793617785, -0.0040720468],
                [1.9779984951, -2.428592205, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.808675766],
            ]
        )
        @ lms
    )


def nearest(colours, eyes):
    return min(np.linalg.norm(oklab(a, eyes) - oklab(b, eyes)) for a, b in itertools.combinations(colours, 2))


@pytest.mark.parametrize("eyes", MACHADO)
def test_ten_classes_differ_for_every_eye(eyes):
    ten = [class_colour(index) for index in range(10)]
    assert nearest([*ten, UNLABELLED_COLOUR], eyes) > 0.095
    # the measure tells: matplotlib's default cycle has a brown and a red that deuteranopes cannot tell apart
    assert nearest(["#d62728", "#8c564b", "#2ca02c"], "deuteranopia") < 0.095


def test_twenty_colours_differ_and_a_hundred_classes_look_different():
    assert len(set(PALETTE)) == 20 and nearest(PALETTE, "normal") > 0.095
    assert len({(class_colour(index), class_marker(index)) for index in range(100)}) == 100
    assert class_colour(3) == class_colour(23) and class_marker(3) != class_marker(23)
    assert class_colour(-1) == UNLABELLED_COLOUR and colorsys.rgb_to_hls(*to_rgb(UNLABELLED_COLOUR))[2] < 0.01


def test_long_names_lose_their_middle():
    assert shortened("a" * 28) == "a" * 28
    assert shortened("decoder.up_blocks.1.resnets.final.0") == "decoder.up_bl…esnets.final.0"
    assert len(shortened("x" * 99)) == 28 and shortened("two\n lines") == "two lines"


def chart_of(points, labels, names, *, title, axes=(), name="map"):
    """A map with a group for each label; -1 are images without one."""
    groups = [
        PointGroup(
            "unlabelled" if label < 0 else names[label], tuple(map(tuple, points[labels == label].tolist())), label
        )
        for label in sorted(set(labels.tolist()))
    ]
    return Scatter(name, "s", title, "", {}, Table((), ()), tuple(groups), tuple(axes))


def map_figure(points, labels, names, **more):
    return scatter(chart_of(points, labels.numpy(), names, **more))


def save_map(points, labels, names, folder, **more):
    return begin_static([chart_of(points, labels.numpy(), names, **more)], folder, workers=0)()


def spots(points):
    return torch.tensor(points, dtype=torch.float32).numpy()


def drawn(figure):
    """Colour -> sorted points of each collection."""
    axes = figure.axes[0]
    return {
        to_hex(each.get_facecolor()[0]): sorted(map(tuple, each.get_offsets().tolist())) for each in axes.collections
    }


def test_each_class_has_its_colour_whatever_other_classes_there_are():
    points = spots([[0, 0], [1, 0], [2, 3], [4, 4]])
    figure = map_figure(points, torch.tensor([2, 0, 2, -1]), NAMES, title="t")
    expected = {PALETTE[2]: [(0, 0), (2, 3)], PALETTE[0]: [(1, 0)], UNLABELLED_COLOUR: [(4, 4)]}
    assert drawn(figure) == expected
    grey = next(each for each in figure.axes[0].collections if to_hex(each.get_facecolor()[0]) == UNLABELLED_COLOUR)
    assert all(grey.get_zorder() < each.get_zorder() for each in figure.axes[0].collections if each is not grey)


def test_legend_and_title_show_names_as_they_are(tmp_path):
    points = spots([[0, 0], [1, 0], [2, 3], [4, 4]])
    axes = ["$a$", "b_c"]
    figure = map_figure(points, torch.tensor([0, 1, 2, -1]), NAMES, title="A $5 set, a $6 set", axes=axes)
    panel = figure.axes[0]
    texts = panel.get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["$x_1$", "_private", shortened(NAMES[2]), "unlabelled"]
    everything = [*texts, figure._suptitle, panel.xaxis.label, panel.yaxis.label]
    assert [text.get_text() for text in everything[-3:]] == ["A $5 set, a $6 set", "$a$", "b_c"]
    assert not any(text.get_parse_math() for text in everything)
    handles = panel.get_legend().legend_handles
    assert [handle.get_color() for handle in handles] == [*PALETTE[:3], UNLABELLED_COLOUR]


def test_legend_stops_at_twenty_classes_and_says_so():
    labels = torch.arange(23)
    figure = map_figure(np.random.default_rng(0).random((23, 2)), labels, [f"c{i}" for i in range(30)], title="")
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == [*(f"c{i}" for i in range(20)), "and 3 more classes"]


def test_scales_are_equal_and_all_points_inside():
    points = spots([[0, 0], [10, 1], [3, 0.5]])
    figure = map_figure(points, torch.zeros(3, dtype=torch.long), NAMES, title="")
    figure.draw_without_rendering()
    panel = figure.axes[0]
    one, x, y = panel.transData.transform([(0, 0), (1, 0), (0, 1)])
    assert x[0] - one[0] == pytest.approx(y[1] - one[1], rel=1e-6)
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    assert left < 0 and right > 10 and bottom < 0 and top > 1
    assert list(panel.get_xticks()) == list(panel.get_yticks()) == []


@pytest.mark.parametrize("points", [spots([[0, 0, 0], [1, 2, 3]]), np.zeros((2, 3)), np.zeros((2, 2)) + 7])
def test_files_hold_a_picture_of_a_sensible_size(points, tmp_path):
    names = ["日本", "b"]  # letters that the font lacks
    save_map(points, torch.tensor([0, 1]), names, tmp_path / "new", title="long " * 80)
    with Image.open(tmp_path / "new" / "map.png") as opened:
        picture = opened.convert("RGB")
    assert 700 < picture.width < 1600 and 700 < picture.height < 1600
    pixels = np.asarray(picture)
    edge = np.concatenate(
        [
            pixels[:4].reshape(-1, 3),
            pixels[-4:].reshape(-1, 3),
            pixels[:, :4].reshape(-1, 3),
            pixels[:, -4:].reshape(-1, 3),
        ]
    )
    assert (edge == 255).all() and pixels.min() < 60


def test_equal_maps_are_equal_files(tmp_path):
    for name in ("a", "b"):
        save_map(spots([[0, 0], [1, 2]]), torch.tensor([0, 1]), NAMES, tmp_path, title="t", name=name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert PALETTE[1] in (tmp_path / "a.svg").read_text()
