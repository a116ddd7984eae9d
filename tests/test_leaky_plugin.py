"""The leaky example: what looks excellent by its scores is failed by the kit or by a guard."""

import json
import tomllib
from pathlib import Path

import pytest
import torch

from augment import registry
from augment.compute.sampling import sample_images
from augment.datasets import LabelledImages, load_dataset
from augment.datasets.class_folders import save_class_folders
from augment.errors import DataError
from augment.evidence.guards import Fingerprint, no_test_images, refuse_test_images
from augment.generator import GeneratorConfig
from augment.generators.scoring import score
from augment.testing import MinimalGenerator
from augment.training import fit

EXAMPLE = Path(__file__).parents[1] / "examples" / "leaky"
COPIES = {"check_samples_are_new", "check_keeps_no_images"}
SHORT = {"steps": 3, "batch_size": 32}


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(autouse=True)
def registered(tmp_path, monkeypatch):
    """The example as if it were installed: its module, and the entry points of its own pyproject.toml."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    lines = [f"{name} = {target}" for name, target in project["entry-points"][registry.GROUP].items()]
    info = tmp_path / "site" / "augment_leaky-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{registry.GROUP}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path / "site")


def trained(name, digits, **options):
    generator = registry.create(name, digits.spec, {**SHORT, **options})
    fit(generator, digits.train, None, seed=1, device="cpu", precision="fp32")
    return generator


def test_the_kit_fails_the_hoarder_with_a_clear_message(augment):
    code, out, _ = augment("plugins", "check", "hoarder", "--json")
    assert code == 5
    failed = {check["check"]: check["message"] for check in json.loads(out)["checks"] if check["outcome"] == "failed"}
    assert set(failed) == COPIES
    assert "24 of 24 samples are copies of training images" in failed["check_samples_are_new"]
    assert "'memory': 24" in failed["check_keeps_no_images"]


def test_the_hoarder_looks_excellent_and_the_scores_tell(digits, tmp_path):
    trained("hoarder", digits).save(tmp_path / "hoarder")
    found = score("digits", tmp_path / "hoarder", n=150, device="cpu").to_json()["fidelity"]
    assert found["kid"] < found["kid_floor_range"][1] + 0.002 and found["precision"] > found["precision_floor"] - 0.1
    assert found["memorisation"] > 0.9 and found["near_copies"] > 0.5 > found["near_copies_floor"]


def test_the_kit_cannot_know_what_the_peeker_reads(augment):
    code, out, _ = augment("plugins", "check", "peeker", "--json")
    assert (code, json.loads(out)["passed"]) == (0, True)


def test_the_guard_fires_on_the_peeker_and_on_no_honest_model(digits):
    known, labels = Fingerprint(digits.test.images), torch.arange(40) % 10
    stolen = sample_images(trained("peeker", digits), labels, seed=3)
    guard = no_test_images({"real": digits.train.images, "synthetic": stolen}, known)
    assert not guard.passed
    assert "real: 0 of" in guard.detail and "synthetic: 40 of 40 are test images" in guard.detail
    honest = sample_images(MinimalGenerator(GeneratorConfig(), digits.spec), labels, seed=3)
    assert no_test_images({"real": digits.train.images, "synthetic": honest}, known).passed
    with pytest.raises(DataError, match="The filter's teacher would be chosen on test images: 40 of the 40"):
        refuse_test_images(stolen, known, "the filter's teacher")


def test_the_score_of_stolen_images_has_a_failed_guard(digits, tmp_path):
    labels = torch.arange(40) % 10
    images = LabelledImages(sample_images(trained("peeker", digits), labels, seed=3), labels)
    save_class_folders(tmp_path / "x", images.images, images.labels, digits.classes)
    failed = [guard for guard in score("digits", tmp_path / "x", device="cpu").guards if not guard.passed]
    assert [guard.name for guard in failed] == ["no test image in training"]
    assert "40 of 40 are test images pixel for pixel" in failed[0].detail


def test_a_run_with_the_peeker_is_invalid_however_good_it_looks(augment):
    arms = ["--arm", "oversample", "--arm", "peeker+balance", "--classifier", "cart-pixels", "--size", "200"]
    settings = ["--steps", "2", "--device", "cpu", "--precision", "fp32", "--fail-under", "0"]
    code, out, err = augment("run", "--dataset", "digits", "--model", "peeker", *arms, *settings, "--json")
    assert (code, err) == (7, "")
    document = json.loads(out)
    assert document["verdict"]["decision"] == "invalid" and document["verdict"]["delta"] is None
    (failed,) = (guard for guard in document["guards"] if not guard["passed"])
    assert failed["name"] == "no test image in training" and "images of peeker" in failed["detail"]
    accuracy = {row["arm"]: row["accuracy"] for row in document["arms"]}
    assert accuracy["peeker+balance"] > accuracy["oversample"] + 0.1  # that is why one must look
