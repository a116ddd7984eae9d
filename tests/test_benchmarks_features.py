"""docs/features.md: which result stands in which table."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("few_labels_page", BENCHMARKS / "few_labels_page.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def row(method, probe, k, accuracy):
    interval = [accuracy - 0.01, accuracy + 0.01]
    found = {"method": method, "probe": probe, "t": None, "layer": None, "k": k, "accuracy": accuracy, "ci95": interval}
    return {**found, "episodes": 1, "accuracies": [accuracy], "chosen": [], "seconds": 1.0}


def document(name, base, baselines=("untrained",), ks=(2, 8)):
    methods = [
        (name, "linear"),
        (name, "propagation"),
        *((one, "linear" if one != "cnn" else None) for one in baselines),
    ]
    return {
        "dataset": {"name": "toys", "channels": 1, "height": 8, "width": 8},
        "protocol": {
            "pool_images": 60,
            "test_images": 20,
            "episodes": 5,
            "choice": "10 images",
            "regularisation": "inside",
            "standardised_by": "50 images",
        },
        "generator": {
            "name": name,
            "precision": "fp32",
            "device": "cpu",
            "stopped": "finished",
            "steps": 7,
            "seconds": 60,
            "trained": 1,
        },
        "chosen": {"t": None, "layer": "latent", "dimensions": 4},
        "baselines": list(baselines),
        "rows": [
            row(method, probe, k, base + 0.01 * k + 0.1 * index)
            for index, (method, probe) in enumerate(methods)
            for k in ks
        ],
    }


@pytest.fixture
def page(pages, tmp_path):
    results = {
        "first": document("a", 0.1, ("pixels", "cnn", "untrained")),
        "second": document("b", 0.2),
        "a with supervision (k labels)": document("a", 0.3, (), ks=(8,)),
    }
    pages.Page(results, "mnist", tmp_path).write(tmp_path / "docs" / "features.md")
    return (tmp_path / "docs" / "features.md").read_text()


def cells(page, label, heading):
    (section,) = [part for part in page.split("## ") if part.startswith(heading)]
    (line,) = [line for line in section.splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_models_and_baselines_stand_in_one_table(page):
    assert cells(page, "first", "Linear probe") == ["12.0 ± 1.0", "18.0 ± 1.0"]
    assert cells(page, "second", "Linear probe") == ["22.0 ± 1.0", "28.0 ± 1.0"]
    assert cells(page, "pixels", "Linear probe") == ["32.0 ± 1.0", "38.0 ± 1.0"]
    assert cells(page, "CNN from scratch", "Linear probe") == ["42.0 ± 1.0", "48.0 ± 1.0"]
    assert cells(page, "untrained first", "Linear probe") == ["52.0 ± 1.0", "58.0 ± 1.0"]
    assert cells(page, "untrained second", "Linear probe") == ["42.0 ± 1.0", "48.0 ± 1.0"]


def test_the_best_generator_stands_beside_the_study_and_the_aim(page):
    assert cells(page, "best here, any probe", "Linear probe") == [
        "32.0 (second, propagation)",
        "38.0 (second, propagation)",
    ]
    assert cells(page, "aim", "Linear probe") == ["93.0", "97.5"]
    assert cells(page, "study: GAN features", "Linear probe") == ["81.8", "90.7"]


def test_generators_that_saw_labels_have_a_table_of_their_own(page):
    assert cells(page, "a with supervision", "Options that shape") == ["38.0 ± 1.0"]
    assert page.count("a with supervision") == 1


def test_what_was_chosen_is_listed(page):
    assert cells(page, "second", "What was chosen") == ["-", "latent", "4", "7", "1.0"]
