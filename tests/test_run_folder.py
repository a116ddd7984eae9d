"""What a finished run and feature study leave in their folders, in which order, and what they take away."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from made_results import arm_scores, run_result, training_record

import augment
from augment import registry, study_features
from augment.cli.listing import doctor
from augment.datasets import load_dataset
from augment.datasets.regimes import Manifest
from augment.errors import DataError
from augment.progress import Reporter
from augment.results.embeddings import Embeddings
from augment.results.gallery import Gallery
from augment.results.predictions import Predictions
from augment.results.study_result import Cost
from augment.storage import files
from augment.storage.files import write_bytes, write_json
from augment.studies.features.config import FeaturesConfig
from augment.studies.features.plan import prepare
from augment.studies.lifecycle import environment, finish
from augment.studies.run.config import RunConfig
from augment.studies.run.pool import held_out
from augment.studies.run.study import folder_name

QUICK = {"dataset": "digits", "steps": 4, "device": "cpu", "precision": "fp32"}
TINY = {"width": 8, "latent_dim": 4, "batch_size": 8}
ROW = arm_scores("real", seconds=1.0)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache that the runs of this module share, set before those of single tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMENT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def run(folder, **settings):
    quick = {**QUICK, "updates": 4, "model": "vae", "classifiers": ("cart-pixels",), "size": 120, "options": TINY}
    return augment.run(RunConfig.parse(out=folder, **{**quick, **settings}))


@pytest.fixture(scope="module")
def finished(home, tmp_path_factory):
    """Two seeds, two generators, two classifiers; only read by the tests that share it."""
    arms = ("oversample", "vae", "cgan")
    options = {**TINY, "cgan.width": 8, "cgan.batch_size": 8}
    settings = {"seeds": 2, "classifiers": ("cnn", "cart-pixels"), "spread": True, "options": options}
    return run(tmp_path_factory.mktemp("runs"), arms=arms, **settings)


def features(folder, **settings):
    quick = {**QUICK, "model": "ae", "episodes": 2, "labels_per_class": (1,), "probes": ("knn",), "plots": ("pca",)}
    quick |= {"options": TINY} if settings.get("generator") is None else {}
    return study_features(FeaturesConfig.parse(out=folder, **{**quick, "baselines": ("pixels",), **settings}))


@pytest.fixture(scope="module")
def studied(home, tmp_path_factory):
    return features(tmp_path_factory.mktemp("features"))


def manifest_of(folder):
    document = json.loads((folder / "manifest.json").read_text())
    del document["sha256"]
    return Manifest(**document)


def keys(images):
    return [bytes(np.ascontiguousarray(image).tobytes()) for image in np.asarray(images)]


# ---------------------------------------------------------------- predictions


def test_predictions_make_the_accuracies_of_the_result(finished, digits):
    found = Predictions.load(finished.folder)
    seeds = finished.to_json()["seeds"]
    assert len(found.predicted) == len(finished.to_json()["arms"]) == 12
    for row in finished.to_json()["arms"]:
        index = seeds.index(row["seed"])
        predicted, truth = found.predicted[index, row["classifier"], row["arm"]], found.truth(index)
        assert predicted.dtype == truth.dtype == np.int32 and truth.tolist() == digits.test.labels.tolist()
        assert (predicted == truth).mean(1).tolist() == pytest.approx(row["trainings"])
        confusion = np.zeros((10, 10), int)
        for training in predicted:
            np.add.at(confusion, (truth, training), 1)
        assert confusion.tolist() == row["confusion"]


def test_truths_are_those_of_what_was_scored_on(tmp_path, digits):
    result = run(tmp_path, seeds=2, arms=("oversample",), score_on="validation")
    found = Predictions.load(result.folder)
    for index, folder in enumerate((result.folder, result.folder / "seed-1")):
        rows = list(held_out(digits.train.labels, manifest_of(folder), len(digits.test)))
        assert found.truth(index).tolist() == digits.train.labels[rows].tolist()
    shown = Gallery.load(result.folder).reconstructions
    trained_on = set(keys(digits.train.images[list(manifest_of(result.folder).train)]))
    assert len(shown.labels) == 20 and not trained_on & set(keys(shown.originals))


# ---------------------------------------------------------------- galleries


def test_the_gallery_shows_samples_beside_the_drawn_images_and_test_images_restored(finished, digits):
    found = Gallery.load(finished.folder)
    assert found.model == "vae" and found.classes == digits.classes
    drawn = list(manifest_of(finished.folder).train)
    by_pixels = dict(zip(keys(digits.train.images[drawn]), digits.train.labels[drawn].tolist(), strict=True))
    samples, made = found.samples, found.reconstructions
    assert samples.labels.tolist() == sorted([*range(10)] * 8)
    assert [by_pixels[key] for key in keys(samples.nearest)] == samples.nearest_labels.tolist()
    difference = (samples.images.astype(float) - samples.nearest) / 255
    assert np.allclose(samples.distances, np.sqrt((difference**2).mean(axis=(1, 2, 3))), atol=1e-6)
    unseen = dict(zip(keys(digits.test.images), digits.test.labels.tolist(), strict=True))
    assert [unseen[key] for key in keys(made.originals)] == made.labels.tolist() == sorted([*range(10)] * 2)
    with torch.no_grad():
        generator = registry.load_generator(finished.folder / "generator")
        again = generator.reconstruct(torch.from_numpy(made.originals).float() / 255)
    assert np.abs((again * 255).round().numpy() - made.images).max() <= 1


def test_a_model_that_restores_nothing_leaves_samples_alone(tmp_path):
    folder = run(tmp_path, model="cgan", arms=("oversample",), options={"width": 8, "batch_size": 8}).folder
    found = Gallery.load(folder)
    assert len(found.samples.labels) == 80 and found.reconstructions is None


# ---------------------------------------------------------------- how it was made


def test_the_result_says_where_when_and_at_what_cost(finished):
    document = json.loads((finished.folder / "result.json").read_text())
    assert document == finished.to_json() and document["schema"] == "augment.run/8"
    assert document["environment"] == asdict(environment("cpu"))
    ended = datetime.fromisoformat(document["finished_at"])
    assert ended.utcoffset() == timedelta(0) and timedelta(0) <= datetime.now(UTC) - ended < timedelta(hours=1)
    trainings = [json.loads(file.read_text()) for file in finished.folder.rglob("training.json")]
    assert len(trainings) == 5  # two generators of two seeds, and one on the first subset again
    cost = document["cost"]
    assert cost["generator_seconds"] == pytest.approx(sum(one["seconds"] for one in trainings), abs=0.01)
    classifiers = [row["seconds"] for row in (*document["arms"], *document["spread"])]
    assert len(classifiers) == 16 and all(classifiers)
    assert cost["classifier_seconds"] == pytest.approx(sum(classifiers), abs=0.01)
    assert cost["seconds"] == document["seconds"] > 0


def test_an_environment_has_all_that_decides_a_number_and_the_doctor_shows_it():
    found = asdict(environment("cpu"))
    assert set(found) == {"augment", "python", "torch", "numpy", "platform", "processor", "device", "threads"}
    assert found["torch"] == torch.__version__ and found["numpy"] == np.__version__ and found["processor"]
    assert found["threads"] == torch.get_num_threads() and found["device"] == "cpu"
    state = vars(doctor())
    assert {name: state[name] for name in found if name != "device"} == {
        name: value for name, value in found.items() if name != "device"
    }


# ---------------------------------------------------------------- order, and what goes


def test_the_result_is_written_when_all_else_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))  # a cached generator would have no checkpoint
    before, write = {}, write_json

    def watched(path, document):
        if path.name == "result.json":
            before.update((file.relative_to(path.parent), file.stat().st_mtime_ns) for file in path.parent.rglob("*"))
        write(path, document)

    monkeypatch.setattr(files, "write_json", watched)
    folder = run(tmp_path / "runs", arms=("oversample", "vae"), save_images=True).folder
    (training,) = [file for file in before if file.name == "checkpoint"]  # goes only after the result is safe
    assert not (folder / training).exists()
    gone = {file for file in before if training in (file, *file.parents)}
    after = {file.relative_to(folder): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    kept = {file: when for file, when in before.items() if file not in gone and (folder / file).is_file()}
    assert {file: when for file, when in after.items() if file.name != "result.json"} == kept
    names = {str(file) for file in kept}
    assert {"gallery.safetensors", "predictions.safetensors", "generator/README.md", "samples.png"} <= names
    assert "synthetic/vae/metadata.jsonl" in names


@pytest.mark.parametrize("name", ["gallery.safetensors", "predictions.safetensors", "README.md"])
def test_a_disk_that_fills_up_is_an_error_and_leaves_no_result(tmp_path, monkeypatch, name):
    write = write_bytes

    def full(path, content):
        if path.name == name:
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(DataError, match=f"{name}: No space left on device"):
        run(tmp_path, arms=("oversample",))
    assert not list(tmp_path.rglob("result.json"))


def test_without_checkpoints_an_unfinished_folder_still_has_its_generator(tmp_path):
    first = run(tmp_path, arms=("oversample",))
    weights = first.folder / "generator" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    (first.folder / "result.json").unlink()
    again = run(tmp_path, arms=("oversample",))
    assert again.to_json()["generators"][0]["cached"] and weights.stat().st_mtime_ns == before
    assert again.to_json()["cost"]["generator_seconds"] == first.to_json()["cost"]["generator_seconds"] > 0
    assert (again.folder / "gallery.safetensors").read_bytes() and Gallery.load(again.folder)


def training(folder, stopped, *, seconds=1.0):
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "last.safetensors").write_bytes(b"weights")
    training_record(stopped=stopped, seconds=seconds).write(folder)


def test_checkpoints_go_but_for_trainings_that_ran_out_of_time(tmp_path):
    training(tmp_path / "generator", "finished")
    training(tmp_path / "seed-1" / "generator", "max_seconds", seconds=2.5)
    training(tmp_path / "seed-2" / "generator-gan", "The samples have collapsed.")
    (tmp_path / "other" / "checkpoint").mkdir(parents=True)  # of a training that has not ended
    result = finish(tmp_path, run_result(arms=(ROW,)), seconds=2.004)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("checkpoint")) == [
        "other/checkpoint",
        "seed-1/generator/checkpoint",
    ]
    assert result.cost == Cost(seconds=2.0, generator_seconds=4.5, classifier_seconds=1.0)
    assert json.loads((tmp_path / "result.json").read_text()) == result.to_json()
    assert (result.folder, result.seconds) == (tmp_path, 2.0)


def test_a_result_that_cannot_be_written_leaves_the_checkpoints(tmp_path, monkeypatch):
    training(tmp_path / "generator", "finished")
    with pytest.raises(ValueError, match="JSON"):
        finish(tmp_path, run_result(arms=(replace(ROW, accuracy=float("nan")),)), seconds=1.0)
    assert (tmp_path / "generator" / "checkpoint").exists() and not (tmp_path / "result.json").exists()


def test_arms_whose_names_look_alike_have_folders_of_their_own():
    arms = ("vae+cap:2", "vae:cap+2", "vae", "vae_cap_2")
    assert [folder_name(arm, arms) for arm in arms] == ["vae_cap_2", "vae_cap_2-1", "vae", "vae_cap_2-2"]


# ---------------------------------------------------------------- feature studies


def test_a_feature_study_leaves_its_maps_as_numbers(studied, digits):
    found = Embeddings.load(studied.folder)
    assert found.classes == digits.classes and found.labels.tolist() == digits.train.labels.tolist()
    assert [(each.title, each.method, each.dimensions) for each in found.maps] == [
        ("PCA, 2-D", "pca", 2),
        ("PCA, 3-D", "pca", 3),
    ]
    assert [len(each.axes) for each in found.maps] == [2, 3] and "% of variance" in found.maps[0].axes[0]
    flat, solid = (each.points for each in found.maps)
    assert np.allclose(np.abs(flat), np.abs(solid[:, :2]), atol=1e-3) and flat.std() > 0


def test_a_feature_study_says_where_when_and_at_what_cost(studied):
    document = json.loads((studied.folder / "result.json").read_text())
    assert document["schema"] == "augment.features/6" and document["environment"] == asdict(environment("cpu"))
    rows = document["rows"]
    assert document["cost"]["classifier_seconds"] == pytest.approx(sum(row["seconds"] for row in rows), abs=0.01)
    assert document["cost"]["generator_seconds"] == pytest.approx(document["generator"]["seconds"], abs=0.01)
    assert datetime.fromisoformat(document["finished_at"]).utcoffset() == timedelta(0)
    assert not list(studied.folder.rglob("checkpoint"))


def test_a_feature_study_restores_images_that_were_held_back(studied, digits):
    found = Gallery.load(studied.folder)
    recipe = json.loads((studied.folder / "config.json").read_text())["settings"]
    assert found.samples is None and recipe["model"] == "ae"
    every = keys(digits.train.images)
    rows = {every.index(key) for key in keys(found.reconstructions.originals)}
    quick = {**QUICK, "model": "ae", "episodes": 2, "labels_per_class": (1,)}
    manifest = prepare(FeaturesConfig.parse(**quick), Reporter()).manifest
    assert rows <= set(manifest.validation) and len(found.reconstructions.labels) == len(rows) >= 15


def test_what_a_saved_generator_has_seen_is_not_known_so_test_images_are_restored(studied, tmp_path, digits):
    saved = studied.folder / "generator"
    before = {file.name: file.stat().st_mtime_ns for file in saved.iterdir()}
    found = features(tmp_path, model=None, generator=saved, steps=None, plots=())
    shown = Gallery.load(found.folder).reconstructions
    assert set(keys(shown.originals)) <= set(keys(digits.test.images)) and len(shown.labels) == 20
    assert Embeddings.load(found.folder) is None
    assert {file.name: file.stat().st_mtime_ns for file in saved.iterdir()} == before
    assert found.to_json()["cost"]["generator_seconds"] == 0


def test_a_generator_that_draws_the_classes_shows_samples_in_a_feature_study(finished, tmp_path):
    found = features(tmp_path, model=None, generator=finished.folder / "generator", steps=None, plots=())
    samples = Gallery.load(found.folder).samples
    assert samples.labels.tolist() == sorted([*range(10)] * 8) and 0 < samples.distances.min()
