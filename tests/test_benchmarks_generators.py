"""The script behind docs/generators.md: one model on digits as a whole, what a second start does, and the page."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from augment import registry
from augment.datasets import LabelledImages, load_dataset

MODULES = ("generators", "generator_rows", "generator_setup", "generator_page")


@pytest.fixture(scope="module")
def bench():
    """The script's modules, importable as when the script is run."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.pop(0)
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def measured(bench, tmp_path_factory):
    """Everything the script leaves after one call with tiny budgets: its arguments, results and page."""
    folder = tmp_path_factory.mktemp("generators")
    words = ["--dataset", "digits", "--models", "vae,plain VAE", "--steps", "3", "--updates", "3", "--samples", "60"]
    words += ["--precision", "fp32", "--out", str(folder / "out"), "--page", str(folder / "docs" / "generators.md")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMENT_HOME", str(folder / "home"))
        assert bench.generators.main(words) == 0
    return SimpleNamespace(words=words, out=folder / "out", page=folder / "docs" / "generators.md")


def rows(page):
    """Cells of the tables' rows by their first cell, in order of appearance."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.split("\n") if line[:2] == "| "]
    return [row for row in cells if len(row) == 13 and row[0] != "model"]


def test_one_call_measures_both_sets_and_writes_the_page(measured):
    page = measured.page.read_text()
    assert [row[0] for row in rows(page)] == ["plain VAE", "vae", "real images"] * 2
    assert "Written by `python benchmarks/generators.py --dataset digits --steps 3 --updates 3 --samples 60`." in page
    assert "## All 1,438 training images" in page
    assert "## A long tail of 360 training images" in page
    for name in ("samples-vae", "samples-longtail-vae", "samples-plain-vae", "samples-longtail-plain-vae"):
        assert f"(img/{name}.png)" in page
        assert (measured.page.parent / "img" / f"{name}.png").exists()
    assert str(measured.out.parent) not in page
    assert max(map(len, (line for line in page.split("\n") if line[:1] not in "|!"))) <= 120


def test_a_result_holds_every_figure_of_the_table(measured):
    row = json.loads((measured.out / "longtail-vae.json").read_text())
    assert row["fidelity"]["n"] == row["memorisation"]["n"] == row["sampling"]["n"] == 60
    assert row["fidelity"]["kid"] > row["fidelity"]["kid_floor"]
    assert 0 <= row["cas"] <= 1
    assert 0 <= row["label_consistency"] <= 1
    assert (row["training"]["steps"], row["training"]["stopped"]) == (3, "finished")
    assert row["training"]["seconds"] > 0 < row["training"]["cpu_seconds"]
    assert row["config"]["batch_size"] == 32  # its own default
    real = json.loads((measured.out / "longtail-real.json").read_text())
    assert sum(real["counts"]) == 360
    assert real["label_consistency"] > 0.95  # the shipped extractor on digits it has not seen


def test_a_model_without_classes_has_no_figure_that_needs_them(measured):
    row = json.loads((measured.out / "all-plain-vae.json").read_text())
    assert (row["cas"], row["label_consistency"]) == (None, None)
    assert rows(measured.page.read_text())[0][5:7] == ["-", "-"]


def test_a_second_start_measures_only_what_is_missing(bench, measured, monkeypatch):
    before = {file.name: file.read_bytes() for file in measured.out.glob("*.json")}
    (measured.out / "all-vae.json").unlink()
    monkeypatch.setattr(bench.generator_rows.trained, "fit_into", None)  # the training itself was kept
    assert bench.generators.main(measured.words) == 0
    after = {file.name: file.read_bytes() for file in measured.out.glob("*.json")}
    assert {name for name in before if before[name] != after[name]} <= {"all-vae.json"}
    again, first = (json.loads(found["all-vae.json"]) for found in (after, before))
    assert again["fidelity"] == first["fidelity"]
    assert again["training"] == first["training"]


def test_the_page_alone_can_be_written_anew_and_marks_what_is_stale(bench, measured, monkeypatch):
    words = ["--dataset", "digits", "--write", "--out", str(measured.out), "--page", str(measured.page)]
    page = measured.page.read_text()
    measured.page.unlink()
    assert bench.generators.main(words) == 0
    assert rows(measured.page.read_text()) == rows(page)
    assert "\\*" not in page
    real_code = bench.generator_rows.generator_code
    monkeypatch.setattr(bench.generator_rows, "generator_code", lambda cls: real_code(cls) + "changed")
    assert bench.generators.main(words) == 0
    stale = measured.page.read_text()
    assert [row[0] for row in rows(stale)][:3] == ["plain VAE\\*", "vae\\*", "real images"]
    assert "measured before the last change" in stale


def test_a_model_that_fails_is_left_out_and_told(bench, measured, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no luck today")

    monkeypatch.setattr(bench.generator_rows.trained, "fit_into", fail)
    words = [*measured.words, "--sets", "all", "--out", str(tmp_path / "out")]
    assert bench.generators.main(words) == 1
    told = capsys.readouterr().err
    assert "vae on all is left out: RuntimeError: no luck today" in told
    assert "No page is written" in told


def test_the_long_tail_is_the_one_a_run_draws(bench):
    from augment.progress import Reporter
    from augment.studies.run.config import RunConfig
    from augment.studies.run.plan import prepare

    plan = prepare(RunConfig.parse(dataset="digits", model="vae", regime="high", device="cpu"), Reporter())
    part = bench.generator_setup.training_set(load_dataset("digits"), "longtail")
    assert part.manifest.train == plan.manifest(0).train
    assert part.manifest.validation == plan.manifest(0).validation


def test_the_key_covers_shared_blocks_options_data_and_settings(bench, tmp_path, monkeypatch):
    rows, setup = bench.generator_rows, bench.generator_setup
    settings = setup.Settings.of(None, 5000, steps=None, minutes=None, device="cpu", precision="fp32", threads=1)
    assert settings.updates == 600
    data = load_dataset("digits")
    parts = [setup.training_set(data, name) for name in setup.SETS]
    keys = {rows.row_key(title, part, settings) for title in ("plain VAE", "vae", "ae") for part in parts}
    keys |= {rows.row_key("vae", parts[0], replace(settings, samples=10))}
    assert len(keys) == 7

    (tmp_path / "mine.py").write_text("from ._blocks import Block\nclass Mine: ...\n")
    (tmp_path / "_blocks.py").write_text("class Block: ...\n")
    (tmp_path / "_other.py").write_text("class Other: ...\n")
    monkeypatch.setattr(rows.inspect, "getfile", lambda cls: str(tmp_path / "mine.py"))
    cls = registry.get("vae")
    codes = [rows.generator_code(cls)]
    for name in ("_other.py", "_blocks.py", "mine.py"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "# changed\n")
        codes.append(rows.generator_code(cls))
    assert codes[0] == codes[1]
    assert len({*codes}) == 3


def test_cas_and_consistency_of_real_images_and_of_mislabelled_ones(bench):
    data = load_dataset("digits")
    extractor = bench.generators.load_extractor("digits", 1)
    shifted = (data.test.labels + 1) % 10
    assert bench.generator_rows.consistency(data.test.images, data.test.labels, extractor) > 0.95
    assert bench.generator_rows.consistency(data.test.images, shifted, extractor) < 0.05
    settings = SimpleNamespace(updates=60, device="cpu", precision="fp32")
    about = SimpleNamespace(data=data, settings=settings)
    right = bench.generator_rows.cas(LabelledImages(data.train.images, data.train.labels), about)
    wrong = bench.generator_rows.cas(LabelledImages(data.train.images, (data.train.labels + 1) % 10), about)
    assert right > 0.8 > 0.1 > wrong


def test_samples_are_asked_for_in_equal_shares(bench):
    labels = bench.generator_setup.torch.bincount(bench.generator_rows.balanced_labels(60, 10))
    assert torch.equal(labels, torch.full((10,), 6))


def test_a_name_that_is_not_there_is_a_mistake(bench, capsys):
    with pytest.raises(SystemExit):
        bench.generators.main(["--models", "vea"])
    assert "unknown models vea; known: plain VAE, ae" in capsys.readouterr().err
