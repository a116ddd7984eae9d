"""Charts as plotly's JSON: valid by plotly's own schema, free of markup from people, and with every bound in place."""

import json
import math

import numpy as np
import plotly.graph_objects as go
import pytest

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
from augment.report.looks import DIVERGING, GREY, SEQUENTIAL, ink_on
from augment.report.plotly_charts import figure
from augment.report.plotly_parts import escaped

pytestmark = pytest.mark.libraries

HOSTILE = "<b>$x^2$</b> & <a href='javascript:alert(1)'>co</a> %{x} &lt;br&gt;"
BASE = {"name": "n", "section": "s", "title": "t", "caption": "c", "facets": {}, "table": Table((), ())}


def lines(*series, **more):
    return Lines(**BASE, series=series, x_title="images", y_title="accuracy", **more)


def heat_map(**more):
    values = ((0.0, 0.25, None), (1.0, 0.5, 0.75))
    text = (("0", "25", ""), ("100", "50", "75"))
    return HeatMap(**{**BASE, "x": ("a", "b", "c"), "y": ("one", "two"), "values": values, "text": text, **more})


def scatter(dimensions, name="a"):
    return Scatter(**BASE, groups=(PointGroup(name, ((0.5,) * dimensions, (1.5,) * dimensions), 12),), axes=())


BANDED = Series("band", tuple(range(20)), tuple(range(20)), (None, *range(19)), (None, *range(2, 21)), key="m1", rank=3)
LINE = Series("m1", (1.0, 10.0), (0.5, 0.7), (0.4, None), (0.55, None), key="m1", rank=0, notes=("arm", ""))
GREY_LINE = Series("real", (1.0, 10.0), (0.2, 0.3), dashed=True)
ROWS = (
    Interval("m1", 2.0, 1.0, 2.5, "m1", True), Interval("m2", 1.0, -1.0, 3.0, "m2", True),
    Interval("real", 0.5, None, None),
)  # fmt: skip
CHARTS = {
    "lines": lines(LINE, GREY_LINE, percent=True),
    "logarithmic": lines(LINE, GREY_LINE, x_log=True, y_log=True),
    "one point each": lines(Series("m1", (3.0,), (1.0,), (0.5,), (2.0,), rank=0), x_log=True, zero=True),
    "named places": lines(Series("m1", (0.0, 1.0), (0.5, 0.6), rank=0), x_labels=("t 1", "t 2")),
    "band": lines(BANDED),
    "long": lines(Series("loss", tuple(map(float, range(90))), (1.0,) * 90, rank=0)),
    "no lines": lines(),
    "intervals": Intervals(**BASE, rows=ROWS, x_title="points"),
    "shares": Intervals(**BASE, rows=ROWS, zero=False, percent=True),
    "heat map": heat_map(x_title="class", frame=(1, 2)),
    "diverging": heat_map(scale="diverging", percent=False),
    "confusion": heat_map(square=True),
    "wide": heat_map(x=tuple("abcdefgh" * 12), values=((0.5,) * 96,) * 2, text=(("50",) * 96,) * 2),
    "bars": Bars(
        **BASE, categories=("a", "b"), groups=(BarGroup("real", (1, 2)), BarGroup("new", (3, 0), 0)), stacked=True
    ),
    "flat": scatter(2),
    "deep": scatter(3),
    "no points": Scatter(**BASE),
}


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_valid_by_plotlys_schema_and_json(name):
    found = figure(CHARTS[name])
    go.Figure(found)  # raises on a property that plotly does not know
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "width" not in found["layout"] and 130 <= found["layout"]["height"] <= 1100
    assert not {"font", "paper_bgcolor", "plot_bgcolor", "template"} & set(found["layout"])


def test_the_schema_catches_a_wrong_property():
    found = figure(CHARTS["lines"])
    with pytest.raises(ValueError, match="Invalid property"):
        go.Figure({**found, "layout": {**found["layout"], "y_axis": {}}})


def test_a_chart_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="Chart is no chart"):
        figure(Chart(**BASE))


# words of people


def texts(value):
    """Every text of a document, outside of plotly's own templates."""
    if isinstance(value, dict):
        return [
            text for key, each in value.items() if key not in ("hovertemplate", "legendgroup") for text in texts(each)
        ]
    return (
        [text for each in value for text in texts(each)]
        if isinstance(value, list)
        else [value] * isinstance(value, str)
    )


@pytest.mark.parametrize(
    "chart",
    [
        Lines(**BASE, series=(Series(HOSTILE, (1.0,), (1.0,), notes=(HOSTILE,)), LINE), x_title=HOSTILE),
        lines(Series(HOSTILE, tuple(range(99)), (0.5,) * 99), BANDED),
        lines(Series("a", (0.0,), (1.0,)), x_labels=(HOSTILE,)),
        Intervals(**BASE, rows=(Interval(HOSTILE, 1, 0, 2),), x_title=HOSTILE),
        heat_map(x=(HOSTILE, "b", "c"), y=(HOSTILE, "two"), x_title=HOSTILE, text=((HOSTILE,) * 3,) * 2),
        heat_map(x=(HOSTILE, "b", "c"), y=(HOSTILE, "two"), square=True),
        Bars(**BASE, categories=(HOSTILE,), groups=(BarGroup(HOSTILE, (1,)),), y_title=HOSTILE),
        scatter(2, HOSTILE), scatter(3, HOSTILE), Scatter(**{**vars(scatter(3)), "axes": (HOSTILE,) * 3}),
    ],
)  # fmt: skip
def test_markup_of_people_is_text(chart):
    for text in texts(figure(chart)):
        bare = text.replace("<br>", "")  # the only tag that is ours
        assert not {"<", ">", "$"} & set(bare) and "<a" not in text
        assert all(entity.startswith(("amp;", "lt;", "gt;", "#36;")) for entity in bare.split("&")[1:])


def test_templates_hold_no_words_of_people():
    templates = {
        trace["hovertemplate"]
        for chart in CHARTS.values()
        for trace in figure(chart)["data"]
        if "hovertemplate" in trace
    }
    assert templates == {
        "%{customdata}<extra></extra>",
        "%{fullData.name}<extra></extra>",
        "%{fullData.name}<br>%{x:,}: %{y:.4g}<extra></extra>",
    }


def test_escaping_keeps_every_letter():
    assert escaped("a <b>\n $1 & 2") == "a &lt;b&gt; &#36;1 &amp; 2"


def test_long_names_are_short_beside_the_plot_and_whole_in_the_hover():
    name = "a class of images " * 5
    found = figure(Intervals(**BASE, rows=(Interval(name, 1, None, None),)))
    (shown,) = found["layout"]["yaxis"]["ticktext"]
    assert len(shown) <= 24 and found["data"][0]["customdata"][0].startswith(name.strip())


def test_names_that_look_alike_stay_apart():
    alike = ("x" * 60 + "a" + "y" * 60, "x" * 60 + "b" + "y" * 60)
    found = figure(heat_map(y=alike))
    assert found["layout"]["yaxis"]["tickvals"] == [0, 1] and len(set(found["layout"]["yaxis"]["ticktext"])) == 1


# numbers


def test_error_bars_end_at_the_bounds():
    one, grey = figure(CHARTS["lines"])["data"]
    bars = one["error_y"]
    assert bars["array"] == [pytest.approx(0.05), None] and bars["arrayminus"] == [pytest.approx(0.1), None]
    assert one["customdata"][0] == "m1<br>images 1: 50.0% (40.0% to 55.0%)<br>arm"
    assert one["customdata"][1] == "m1<br>images 10: 70.0%"
    assert "error_y" not in grey and (grey["line"]["color"], grey["line"]["dash"]) == (GREY, "dash")
    assert (one["line"]["color"], one["line"]["dash"], one["meta"]) == (PALETTE[0], "solid", {"key": "m1"})
    assert "meta" not in grey and one["marker"]["symbol"] != grey["marker"]["symbol"]


def test_bands_go_there_and_back_and_hide_with_their_line():
    band, line = figure(CHARTS["band"])["data"]
    assert band["x"] == [*range(1, 20), *range(19, 0, -1)] and band["y"] == [*range(19), *range(20, 1, -1)]
    assert band["meta"] == line["meta"] == {"key": "m1"} and band["legendgroup"] == line["legendgroup"]
    assert band["fill"] == "toself" and not band["showlegend"] and "error_y" not in line


def test_rows_hide_by_key_and_are_open_without_evidence():
    data = figure(CHARTS["intervals"])["data"]
    assert [(trace["y"], trace["x"], trace.get("meta")) for trace in data] == [
        ([0], [2.0], {"key": "m1"}), ([1], [1.0], {"key": "m2"}), ([2], [0.5], None),
    ]  # fmt: skip
    assert [trace["marker"]["symbol"] for trace in data] == [["circle"], ["circle-open"], ["circle-open"]]
    assert data[0]["error_x"]["array"] == [0.5] and data[0]["error_x"]["arrayminus"] == [1.0]
    assert data[2]["error_x"]["array"] == [None] and data[2]["marker"]["color"] == GREY != data[0]["marker"]["color"]
    layout = figure(CHARTS["intervals"])["layout"]
    assert layout["xaxis"]["zeroline"] and layout["yaxis"]["range"] == [2.5, -0.5]
    assert [trace["marker"]["symbol"] for trace in figure(CHARTS["shares"])["data"]] == [["circle"]] * 3


def test_cells_have_their_values_and_readable_numbers():
    cells, numbers = figure(CHARTS["heat map"])["data"]
    assert cells["z"] == [[0.0, 0.25, None], [1.0, 0.5, 0.75]] and (cells["zmin"], cells["zmax"]) == (0, 1)
    assert cells["customdata"][0] == ["one<br>a<br>0.0%", "one<br>b<br>25.0%", ""] and not cells["hoverongaps"]
    places = dict(zip(zip(numbers["x"], numbers["y"], strict=True), numbers["text"], strict=True))
    assert places == {(0, 0): "0", (1, 0): "25", (0, 1): "100", (1, 1): "50", (2, 1): "75"}
    assert numbers["textfont"]["color"][0] == "#ffffff" and numbers["textfont"]["color"][2] == "#000000"
    frames = figure(CHARTS["heat map"])["layout"]["shapes"]
    assert {(shape["x0"], shape["x1"], shape["y0"], shape["y1"]) for shape in frames} == {(1.5, 2.5, 0.5, 1.5)}


def test_confusion_shows_counts_with_shares():
    assert figure(CHARTS["confusion"])["data"][0]["customdata"][1][0] == "two → a<br>100 (100.0%)"


def test_diverging_scales_are_centred_on_zero():
    cells = figure(CHARTS["diverging"])["data"][0]
    assert cells["zmin"] == -cells["zmax"] == -1 and cells["colorscale"][2] == [0.5, DIVERGING[2]]


def test_a_hundred_columns_have_no_numbers_and_few_names():
    found = figure(CHARTS["wide"])
    assert len(found["data"]) == 1 and found["data"][0]["showscale"]
    assert len(found["layout"]["xaxis"]["tickvals"]) <= 25


@pytest.mark.parametrize("scale", [SEQUENTIAL, DIVERGING])
def test_numbers_have_contrast_on_every_colour(scale):
    def luminance(rgb):
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(np.array([0.2126, 0.7152, 0.0722]) @ linear)

    colours = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in scale])
    for place in np.linspace(0, 1, 101):
        at = place * (len(scale) - 1)
        ground = luminance(np.array([np.interp(at, range(len(scale)), colours[:, channel]) for channel in range(3)]))
        ink = 0.0 if ink_on(scale, place) == "#000000" else 1.0
        assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) > 4.5


def test_classes_differ_in_colour_and_marker():
    for name, kind in (("flat", "scatter"), ("deep", "scatter3d")):
        (trace,) = figure(CHARTS[name])["data"]
        assert (trace["type"], trace["marker"]["color"], trace["marker"]["symbol"]) == (kind, PALETTE[12], "square")
        assert trace["x"] == trace["y"] == [0.5, 1.5] and ("z" in trace) == (name == "deep")


def test_tens_of_models_differ_in_colour_or_marker():
    series = [Series(str(rank), (1.0,), (1.0,), rank=rank) for rank in range(100)]
    traces = figure(lines(*series))["data"]
    assert len({(trace["line"]["color"], trace["marker"]["symbol"]) for trace in traces}) == 100


def test_ticks_of_sizes_have_room_and_logarithms_keep_their_numbers():
    sizes = tuple(float(10 * 2**place) for place in range(10))
    axis = figure(lines(Series("a", sizes, sizes), x_log=True))["layout"]["xaxis"]
    assert axis["type"] == "log" and axis["ticktext"][0] == "10" and axis["ticktext"][-1] == "5,120"
    gaps = np.diff([math.log(value) for value in axis["tickvals"]])
    assert gaps.min() >= 0.1 * math.log(512) - 1e-9


def test_shares_never_have_an_axis_beyond_all():
    for name, axis in (("lines", "yaxis"), ("shares", "xaxis")):
        layout = figure(CHARTS[name])["layout"][axis]
        assert -0.05 < layout["minallowed"] < 0 and 1 < layout["maxallowed"] < 1.05
    assert "maxallowed" not in figure(CHARTS["intervals"])["layout"]["xaxis"]
