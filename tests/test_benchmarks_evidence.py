"""The page of benchmarks/evidence.py: real runs, made short, and every figure on it from their documents."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("evidence", FOLDER / "evidence.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["evidence"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    del sys.modules["evidence"]


def call(bench, monkeypatch, folder, *more):
    short = ["--steps", "2", "--updates", "3", "--size", "120", "--seeds", "2", "--at-most", "2"]
    where = ["--out", str(folder / "out"), "--page", str(folder / "page.md")]
    monkeypatch.setattr(sys, "argv", ["evidence.py", "--dataset", "digits", *short, *where, *more])
    return bench.main()


def test_the_page_holds_the_figures_of_its_runs_and_a_second_start_computes_nothing(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "CHOICE", ("oversample", "model+balanced-softmax", f"{bench.ADJUSTED}+{bench.LAST}"))
    assert call(bench, monkeypatch, tmp_path, "--only", "choice", "--diffusion", "vae") == 0
    page = (tmp_path / "page.md").read_text()
    document = json.loads((tmp_path / "out" / "choice.json").read_text())
    assert document["scored_on"]["part"] == "validation" and document["verdict"]["text"] in page
    means = {}
    for row in document["arms"]:
        means.setdefault(row["arm"], []).append(100 * row["accuracy"])
    for arm, values in means.items():
        (shown,) = re.findall(rf"^\| \*{{0,2}}{re.escape(arm)}\*{{0,2}} \| ([\d.]+)", page, re.MULTILINE)
        assert float(shown) == pytest.approx(sum(values) / 2, abs=0.051)
    base, last = (means[f"vae+balanced-softmax{end}"] for end in ("", f"+{bench.LAST}"))
    change = sum(a - b for a, b in zip(last, base, strict=True)) / 2
    (told,) = re.findall(rf"\| {bench.LAST} \| vae\+balanced-softmax \| ([+\u2212]?[\d.]+)", page)
    assert float(told.replace("\u2212", "-")) == pytest.approx(change, abs=0.051)
    written = (tmp_path / "out" / "choice.json").read_text()
    assert call(bench, monkeypatch, tmp_path, "--only", "choice", "--diffusion", "vae") == 0
    assert json.loads((tmp_path / "out" / "choice.json").read_text()) == json.loads(written)


def test_every_arm_of_the_experiments_can_be_read(bench):
    from augment.arms import parse_arm
    from augment.synthetic.strategies import Usage

    for one in bench.experiments("ddpm", "dvae"):
        for name in one.settings.get("arms", ()):
            parse_arm(name, one.settings["model"], Usage.parse("partial"))


def test_a_page_without_results_says_so(bench, monkeypatch, tmp_path):
    assert call(bench, monkeypatch, tmp_path, "--write") == 0
    assert "Nothing has been measured" in (tmp_path / "page.md").read_text()
