"""Charts as files: equal ones are equal files, nothing is blank or cut off, and words of people stay what they are."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from augment.report.chart import (
    BarGroup,
    Bars,
    Chart,
    HeatMap,
    Interval,
    Intervals,
    Lines,
    PointGroup,
    Scatter,
    Series,
    Table,
)
from augment.report.figures import PALETTE
from augment.report.looks import GREY, INK
from augment.report.static_charts import begin_static, draw

pytestmark = pytest.mark.libraries

HOSTILE = "<b>$\\frac$</b> & co"
LONG = "a class of sixty characters, so that it has no room anywhere"
WIDE = "日本語の名前日本語の名前"
BASE = {"section": "s", "title": f"About {HOSTILE}", "caption": "c", "facets": {}, "table": Table((), ())}
VALUES = ((0.0, 0.25, None), (1.0, 0.5, 0.75))
TEXT = (("0", "25", ""), ("100", "50", "75"))


def lines(*series, name="lines", **more):
    return Lines(name, **BASE, series=series, x_title="images", y_title="accuracy", **more)


def heat_map(name="cells", x=("a", "b", HOSTILE), y=("one", LONG), values=VALUES, text=TEXT, **more):
    return HeatMap(name, **BASE, x=x, y=y, values=values, text=text, x_title="class", **more)


def square(side, name="confusion"):
    names = tuple(f"{index:03d} {LONG}" for index in range(side))
    values = tuple(tuple(0.1 if row != column else 0.9 for column in range(side)) for row in range(side))
    text = tuple(("1234",) * side for _ in range(side))
    return HeatMap(
        name, **BASE, x=names, y=names, values=values, text=text, x_title="predicted", y_title="true", square=True
    )


LINE = Series("m1", (1.0, 10.0), (0.5, 0.7), (0.4, None), (0.55, None), rank=0)
GREY_LINE = Series(HOSTILE, (1.0, 10.0), (0.2, 0.3), dashed=True)
BANDED = Series("m2", tuple(range(20)), (0.5,) * 20, (0.25,) * 20, (0.75,) * 20, rank=1)
ROWS = (Interval("m1", 2.0, 1.0, 2.5, "m1", True), Interval(LONG, 1.0, -1.0, 3.0), Interval(HOSTILE, 0.5, None, None))
POINTS = (PointGroup(HOSTILE, ((0.0, 0.0), (1.0, 2.0)), 0), PointGroup(LONG, ((2.0, 1.0),), 12))
BARS = (BarGroup("real", (1, 2)), BarGroup("new", (3, 0), 0))
DEEP = tuple(PointGroup(group.name, tuple((*point, 1.0) for point in group.points), group.index) for group in POINTS)
CHARTS = [
    lines(LINE, GREY_LINE, percent=True),
    lines(LINE, GREY_LINE, name="logarithmic", x_log=True, y_log=True),
    lines(Series("m1", (3.0,), (1.0,), (0.5,), (2.0,), rank=0), GREY_LINE, name="points", x_log=True, zero=True),
    lines(Series(LONG, (0.0, 1.0), (0.5, 0.6), rank=0), BANDED, name="band"),
    lines(Series("a", (0.0, 1.0), (0.5, 0.6), rank=0), name="places", x_labels=("1", "350")),
    Intervals("rows", **BASE, rows=ROWS, x_title="points"),
    Intervals("shares", **BASE, rows=ROWS[:1], zero=False, percent=True),
    heat_map(frame=(1, 2)),
    heat_map("diverging", scale="diverging", percent=False),
    heat_map("narrow", x=(WIDE,), y=("1",), values=((0.5,),), text=(("50",),)),
    square(3), square(100, "hundred"),
    Bars("bars", **BASE, categories=(LONG, "b"), groups=BARS, stacked=True),
    Bars("many", **BASE, categories=tuple(f"{LONG}{i}" for i in range(100)), groups=(BarGroup("real", (1.0,) * 100),)),
    Scatter("flat", **BASE, groups=POINTS, axes=("$a$", "b")),
    Scatter("deep", **BASE, groups=DEEP),
]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every chart, drawn once."""
    folder = tmp_path_factory.mktemp("charts") / "new"
    return folder, begin_static(CHARTS, folder, workers=0)()


def test_each_chart_is_a_png_and_an_svg(written):
    folder, paths = written
    assert paths == [folder / f"{chart.name}{suffix}" for chart in CHARTS for suffix in (".png", ".svg")]
    assert sorted(paths) == sorted(folder.iterdir())


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_pictures_show_something_and_have_a_sensible_size(chart, written):
    with Image.open(written[0] / f"{chart.name}.png") as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert 200 < pixels.shape[0] < 2200 and 600 < pixels.shape[1] < 2200
    assert (pixels < 200).mean() > 0.004
    frame = (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:])
    assert all((edge == 255).all() for edge in frame)  # nothing runs over the rim


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_drawings_hold_the_words_as_they_are(chart, written):
    content = (written[0] / f"{chart.name}.svg").read_text("utf-8")
    assert "&lt;b&gt;$\\frac$&lt;/b&gt; &amp; co" in content and "<b>" not in content
    assert "About" in "".join(ET.fromstring(content).itertext()) and "<dc:date>" not in content


def test_equal_charts_are_equal_files_whoever_draws_them(written, tmp_path):
    chosen = [chart for chart in CHARTS if chart.name in ("lines", "rows", "cells", "bars", "flat")]
    for path in begin_static(chosen, tmp_path, workers=2)():
        assert path.read_bytes() == (written[0] / path.name).read_bytes()


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
@pytest.mark.filterwarnings("ignore:Glyph .* missing from font:UserWarning")
def test_no_text_is_cut_off_or_read_as_a_formula(chart):
    figure = draw(chart)
    figure.draw_without_rendering()
    page = figure.bbox.padded(1)
    axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    hidden = {  # ticks outside of the limits are kept, and not drawn
        id(tick.label1)
        for axis in axes
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    drawn = [text for text in figure.findobj(Text) if text.get_text().strip() and id(text) not in hidden]
    assert not any(text.get_parse_math() for text in drawn if "$" in text.get_text())
    if not isinstance(chart, Scatter):  # whose file is cut to what is drawn
        boxes = {text.get_text(): text.get_window_extent() for text in drawn}
        assert not [
            name for name, box in boxes.items() if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1))
        ]


def test_a_chart_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="Chart is no chart"):
        draw(Chart("n", **BASE))


# numbers


def plot(chart):
    return draw(chart).axes[0]


def segments(axes):
    return {
        (to_hex(each.get_color()[0]), *map(float, segment.flatten()))
        for each in axes.collections
        if isinstance(each, LineCollection)
        for segment in each.get_segments()
    }


def test_lines_and_their_bars_are_where_the_numbers_are():
    axes = plot(CHARTS[0])
    one, grey = axes.lines
    assert list(zip(*one.get_data(), strict=True)) == [(1, 0.5), (10, 0.7)] and to_hex(one.get_color()) == PALETTE[0]
    assert to_hex(grey.get_color()) == GREY and grey.is_dashed() and not one.is_dashed()
    assert segments(axes) == {(PALETTE[0], 1, 0.4, 1, 0.55)}
    assert axes.yaxis.get_major_formatter()(0.5) == "50%"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "10"]


def test_many_places_have_a_band():
    (band,) = [each for each in plot(lines(BANDED)).collections if isinstance(each, PolyCollection)]
    corners = band.get_paths()[0].vertices
    assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == ([0, 0.25], [19, 0.75])


def test_rows_have_their_intervals_and_are_open_without_evidence():
    axes = plot(next(chart for chart in CHARTS if chart.name == "rows"))
    assert {each for each in segments(axes) if each[1] != each[3]} == {(INK, 1, 0, 2.5, 0), (GREY, -1, 1, 3, 1)}
    dots = [each for each in axes.collections if isinstance(each, PathCollection)]
    places = {
        tuple(place): to_hex(face)
        for each in dots
        for place, face in zip(each.get_offsets().tolist(), each.get_facecolors(), strict=False)
    }
    assert places == {(2, 0): INK, (1, 1): "#ffffff", (0.5, 2): "#ffffff"}
    assert axes.get_ylim() == (2.5, -0.5)  # the first row at the top


def test_cells_hold_their_numbers_and_the_chosen_one_is_framed():
    axes = plot(next(chart for chart in CHARTS if chart.name == "cells"))
    shown = axes.images[0].get_array()
    assert shown.mask.tolist() == [[False, False, True], [False] * 3] and shown[1].tolist() == [1, 0.5, 0.75]
    numbers = {
        text.get_position(): text.get_text() for text in axes.texts if text.get_text() in ("0", "25", "100", "50", "75")
    }
    assert numbers == {(0, 0): "0", (1, 0): "25", (0, 1): "100", (1, 1): "50", (2, 1): "75"}
    assert {each.get_bbox().bounds for each in axes.patches if isinstance(each, Rectangle)} == {(1.5, 0.5, 1, 1)}


def test_a_hundred_classes_have_colours_and_some_names_but_no_numbers():
    axes = plot(square(100))
    assert not [text for text in axes.texts if text.get_text() == "1234"]
    assert 40 < len(axes.texts) < 140 and [text for text in plot(square(5)).texts if text.get_text() == "1234"]


def test_stacked_bars_stand_on_each_other():
    axes = plot(next(chart for chart in CHARTS if chart.name == "bars"))
    boxes = [(bar.get_y(), bar.get_height(), bar.get_hatch()) for bar in axes.patches]
    assert boxes == [(0, 1, None), (0, 2, None), (1, 3, "///"), (2, 0, "///")]
