"""The table of recipes: a short real run, kept in parts, and every figure from what is kept."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from augment.arms import parse_arm
from augment.arms.grammar import Usage

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("recipes", FOLDER / "recipes.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["recipes"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    del sys.modules["recipes"]


def call(bench, monkeypatch, folder, *more):
    page = folder / "page.md"
    page.write_text("# Recipes\n<!-- recipes -->\n<!-- /recipes -->\n")
    short = ["--steps", "2", "--updates", "3", "--size", "120", "--seeds", "2", "--only", "vae-500-600"]
    where = ["--out", str(folder / "out"), "--runs", str(folder / "runs"), "--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["recipes.py", "--dataset", "digits", *short, *where, *more])
    assert bench.main() == 0
    return page.read_text()


def test_a_part_is_kept_and_the_page_holds_its_figures(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "RECIPES", dict(list(bench.RECIPES.items())[:2]))
    page = call(bench, monkeypatch, tmp_path)
    kept = json.loads((tmp_path / "out" / "vae-500-600.json").read_text())
    assert {name for name in kept["accuracies"]} == {bench.RIVAL, "balanced-softmax", *bench.RECIPES.values()}
    rival = kept["accuracies"][bench.RIVAL]
    gains = [100 * (a - b) for a, b in zip(kept["accuracies"][bench.RECIPES["origin"]], rival, strict=True)]
    assert bench.gains(kept, "origin") == pytest.approx(gains)
    assert f"| vae, 120, 600 | {50 * sum(rival):.1f} |" in page
    assert f"{bench.signed(sum(gains) / 2)} ({', '.join(map(bench.signed, gains))}) |" in page
    monkeypatch.setattr(bench, "run", None)  # a second start computes nothing
    assert call(bench, monkeypatch, tmp_path) == page == call(bench, monkeypatch, tmp_path, "--write")


def test_every_part_is_there_once_and_its_arms_can_be_read(bench):
    names = [part.name for part in bench.parts()]
    assert len(names) == len(set(names)) == 2 * (len(bench.MODELS) + 2 * len(bench.BOTH_ENDS))
    for arm in bench.RECIPES.values():
        parse_arm(arm, "ddpm", Usage.parse("even"))
