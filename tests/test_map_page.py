"""The page with all maps: what it holds, whose text it shows, and that it asks nobody for anything."""

import base64
import io
import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augment.errors import DataError
from augment.report.figures import PALETTE, UNLABELLED_COLOUR
from augment.report.interactive import save_page

pytestmark = pytest.mark.libraries

NAMES = ["$x_1$", "_private", "<script>alert('no')</script> & co"]


class Reader(HTMLParser):
    """Elements with their attributes and the text within them."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.words.append("")
        if tag not in ("meta", "input", "path"):
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        while self.open and self.elements[self.open.pop()][0] != tag:
            pass

    def handle_data(self, data):
        for index in self.open:
            self.words[index] += data

    def text(self, wanted, **attributes):
        found = zip(self.elements, self.words, strict=True)
        return [text.strip() for (tag, each), text in found if tag == wanted and attributes.items() <= each.items()]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "deep" / "maps.html"
    labels = torch.tensor([0, 1, 2, 2, -1, 0, 1, 2, 0])
    flat, deep = np.arange(18.0).reshape(9, 2), np.arange(27.0).reshape(9, 3) / 7
    images = (torch.arange(9, dtype=torch.uint8) * 20).reshape(9, 1, 1, 1).expand(9, 1, 6, 4).contiguous()
    maps = [("PCA <2-D>", flat, labels), ("t-SNE & 3-D", deep, labels)]
    names = {"PCA <2-D>": ("PCA 1 (70% of variance)", "PCA 2 (3% of variance)")}
    save_page(maps, NAMES, file, title="<script>boo()</script> & so on", images=images, axes=names)
    return file.read_text("utf-8")


@pytest.fixture(scope="module")
def read(page):
    return Reader(page)


@pytest.fixture(scope="module")
def data(read):
    return json.loads(read.text("script", id="data")[0])


def test_the_page_holds_plotly_once_and_loads_nothing(page, read):
    from plotly.offline import get_plotlyjs

    assert page.count(get_plotlyjs()) == 1
    rest = page.replace(get_plotlyjs(), "")
    assert len(rest) < 30_000
    loading = {"src", "href", "srcset", "action", "data", "poster"}
    assert not [(tag, each) for tag, each in read.elements if loading & set(each)]
    assert {tag for tag, _ in read.elements} & {"link", "iframe", "img", "object", "form", "base"} == set()
    assert not re.search(r"https?:|//[a-z]+\.|@import|fetch\(|XMLHttpRequest|sendBeacon|import\(", rest)
    policy = next(each["content"] for tag, each in read.elements if each.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "form-action 'none'" in policy and "http" not in policy


def test_the_share_button_that_uploads_is_left_out(page):
    """plotly.js has one; with the buttons named one by one it is not shown."""
    assert re.search(r"modeBarButtons: BUTTONS\[", page) and "modeBarButtonsToAdd" not in page[-20_000:]
    buttons = re.search(r"const BUTTONS = \{.*?\n\};", page, re.DOTALL).group()
    assert set(re.findall(r'"(\w+)"', buttons)) == {
        *("toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"),
        *("zoom3d", "pan3d", "orbitRotation", "tableRotation", "resetCameraDefault3d"),
    }


def test_a_persons_text_is_shown_and_never_run(page, read, data):
    assert read.text("title") == read.text("h1") == ["<script>boo()</script> & so on"]
    assert read.text("option") == ["PCA <2-D>", "t-SNE & 3-D"]
    listed = [" ".join(text.split()) for text in read.text("span")]
    assert listed == ["$x_1$ (3)", "_private (2)", f"{NAMES[2]} (3)", "unlabelled (1)"]
    assert "<script>boo" not in page and "<script>alert" not in page
    assert len([1 for tag, _ in read.elements if tag == "script"]) == 3
    assert data["classes"]["2"]["hover"] == "&lt;script&gt;alert(&#x27;no&#x27;)&lt;/script&gt; &amp; co"


def test_every_map_has_one_trace_per_class_with_all_points(data):
    flat, deep = data["maps"]
    assert [(trace["label"], trace["index"]) for trace in flat["traces"]] == [
        *((-1, [4]), (0, [0, 5, 8]), (1, [1, 6]), (2, [2, 3, 7])),
    ]
    assert flat["traces"][1]["x"] == [0, 10, 16] and flat["traces"][1]["y"] == [1, 11, 17]
    assert (flat["dimensions"], deep["dimensions"]) == (2, 3) and "z" not in flat["traces"][0]
    np.testing.assert_allclose(deep["traces"][3]["z"], np.array([8, 11, 23]) / 7, atol=1e-4)
    assert flat["axes"] == ["PCA 1 (70% of variance)", "PCA 2 (3% of variance)"] and deep["axes"] == []


def test_colours_of_page_and_pictures_are_the_same(read, data):
    assert {label: look["colour"] for label, look in data["classes"].items()} == {
        **{str(index): PALETTE[index] for index in range(3)},
        "-1": UNLABELLED_COLOUR,
    }
    assert [each["fill"] for tag, each in read.elements if tag == "path"] == [*PALETTE[:3], UNLABELLED_COLOUR]


def test_controls_can_be_reached_and_have_names(read):
    assert ("html", {"lang": "en"}) in read.elements
    boxes = [each["value"] for tag, each in read.elements if tag == "input"]
    assert boxes == ["0", "1", "2", "-1"]
    assert "choice" in [each.get("for") for tag, each in read.elements if tag == "label"]
    assert [each["id"] for tag, each in read.elements if tag == "button"] == ["turning", "all", "none"]
    assert not [each for _, each in read.elements if "tabindex" in each or "onclick" in each]


def test_the_page_follows_the_readers_settings(page):
    for setting in ("prefers-color-scheme: dark", "prefers-reduced-motion: reduce", "max-width: 720px"):
        assert setting in page
    assert 'name="viewport"' in page


def test_pictures_lie_where_their_index_says(data):
    sprite = data["sprite"]
    assert (sprite["columns"], sprite["rows"]) == (3, 3)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite["url"].split(",")[1]))))
    assert sheet.shape == (18, 18)  # cells of 6 x 6; the pictures are 4 wide, in the middle
    cells = sheet.reshape(3, 6, 3, 6).transpose(0, 2, 1, 3).reshape(9, 6, 6)
    assert [np.unique(cell[:, 1:5]).tolist() for cell in cells] == [[20 * index] for index in range(9)]
    assert (cells[:, :, 0] == 0).all() and (cells[:, :, 5] == 0).all()


def test_pages_that_do_not_fit_are_refused(tmp_path):
    one = ("a", np.zeros((2, 2)), torch.tensor([0, 1]))
    for maps, images, words in (
        ([], None, "at least one map"),
        ([one], torch.zeros(3, 1, 2, 2, dtype=torch.uint8), "3 pictures for 2 points"),
        ([one], torch.zeros(2, 1, 2, 2), "uint8"),
        ([("a", np.zeros((2, 2)), torch.tensor([0, 9]))], None, "from 0 to 9"),
    ):
        with pytest.raises(DataError, match=words):
            save_page(maps, NAMES, tmp_path / "a.html", title="", images=images)
    assert not list(tmp_path.iterdir())


def test_the_template_is_packaged():
    root = Path(__file__).parents[1]
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "*.html" in data["augment.report"]
