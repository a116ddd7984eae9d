"""The page of benchmarks/evidence.py: real runs, made short, and every figure on it from their documents."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from augment.studies.run.identity import default_usage

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
    names = [one.name for one in bench.experiments("ddpm", "dvae")]
    (folder / "page.md").write_text("".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in names))
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
    from augment.arms.grammar import Usage

    for one in bench.experiments("ddpm", "dvae"):
        for name in one.settings.get("arms", ()):
            parse_arm(name, one.settings["model"], Usage.parse("partial"))


def test_parts_without_a_result_stay_as_they_are_and_the_real_page_has_them_all(bench, monkeypatch, tmp_path):
    assert call(bench, monkeypatch, tmp_path, "--write") == 0
    page = (FOLDER.parent / "docs" / "evidence.md").read_text()
    for one in bench.experiments("ddpm", "dvae"):
        assert f"<!-- {one.name} -->\n<!-- /{one.name} -->\n" in (tmp_path / "page.md").read_text()
        assert page.count(f"<!-- {one.name} -->") == page.count(f"<!-- /{one.name} -->") == 1
    assert f"`{default_usage((2, 1))}`" in page and f"`{default_usage((1, 1))}`" in page


def test_a_run_of_trees_alone_makes_a_part(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "TREES", ("oversample", "copies:erasing", "model"))
    assert call(bench, monkeypatch, tmp_path, "--only", "trees", "--autoencoder", "vae") == 0
    page = (tmp_path / "page.md").read_text()
    assert "## Decision trees on a long tail" in page and "| arm (cart-pca) |" in page
    assert "Regime `high`, 2 seeds, generator `vae`" in page and "Schema `augment.run/8`" in page
