"""The few-label study as a whole: what the generator sees, what choices are made on, what the numbers mean."""

from contextlib import contextmanager
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
import torch

from augment import registry, study_features
from augment.compute.workers import Workers
from augment.datasets import ImageSet, LabelledImages, load_dataset
from augment.errors import ConfigError, DataError, UsageError
from augment.generator import UNLABELLED, Tags
from augment.progress import Reporter
from augment.results.features_result import ComparisonAtK
from augment.studies import lifecycle
from augment.studies.features.conclusion import verdict
from augment.studies.features.config import FeaturesConfig
from augment.studies.features.plan import prepare
from augment.studies.features.resolve import layers_of
from augment.testing import MinimalGenerator

SEEN = []
"""Images and labels of every training step of the toy."""


class Toy(MinimalGenerator):
    """Its layer ``pooled`` is worth something, ``noise`` nothing; t = 9 of 10 hides the image."""

    timesteps = 10

    @property
    def layers(self):
        return ("pooled", "noise")

    def encode(self, images, *, t=3, layer="pooled"):
        pooled = torch.nn.functional.avg_pool2d(images, 2).flatten(1)
        image_hash = (images.flatten(1) * torch.arange(64)).sum(1, keepdim=True)
        noise = torch.sin(image_hash * 1e4 * torch.arange(1, 17))
        return noise if layer == "noise" or t == 9 else pooled * 10 / (1 + t)

    def training_step(self, images, labels, optimizers):
        SEEN.append((images.clone(), labels.clone()))
        return super().training_step(images, labels, optimizers)


class Shaped(MinimalGenerator):
    """Semi-supervised."""

    tags = Tags(conditional=True, reconstructs=True, decodes=True, semi_supervised=True)

    def loss(self, images, labels):
        SEEN.append((images.clone(), labels.clone()))
        return super().loss(images, labels.clamp(min=0))

    def after_training(self, images, labels):
        """Nothing to fit."""


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Toys are registered, nothing leaves this process, and every test has a cache of its own."""
    points = []
    for name, cls in (("toy", Toy), ("shaped", Shaped)):
        point = EntryPoint(name, f"acme:{cls.__name__}", registry.GROUP)
        vars(point)["dist"] = SimpleNamespace(name="acme", version="1.2")
        points.append(point)
        cls.name = name
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points)
    monkeypatch.setattr(EntryPoint, "load", lambda self: {"Toy": Toy, "Shaped": Shaped}[self.value.split(":")[1]])
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def alone(jobs, device):
        yield Workers(0)

    monkeypatch.setattr(lifecycle, "side_by_side", alone)
    SEEN.clear()


def configured(**changes):
    given = {"model": "toy", "dataset": "digits", "labels_per_class": (1, 4), "episodes": 2, "steps": 2, "plots": ()}
    given |= {"probes": ("linear",), "baselines": ("pixels", "untrained")}
    return FeaturesConfig.parse(**{**given, **changes})


def serve(monkeypatch, data):
    monkeypatch.setattr(FeaturesConfig, "load_data", lambda config, report: data)


# ---------------------------------------------------------------- the result


def test_the_document_has_a_row_for_every_method_head_and_k(monkeypatch):
    monkeypatch.setattr("augment.studies.features.study.default_updates", lambda images: 20)
    found = study_features(configured(baselines=("pixels", "cnn", "untrained"), probes=("linear", "knn"))).to_json()
    rows = {(row["method"], row["probe"], row["k"]) for row in found["rows"]}
    methods = [(method, probe) for method in ("toy", "pixels", "untrained") for probe in ("linear", "knn")]
    assert rows == {(*method, k) for method in [*methods, ("cnn", None)] for k in (1, 4)}
    for row in found["rows"]:
        low, high = row["ci95"]
        assert 0 <= low <= row["accuracy"] <= high <= 1 and row["episodes"] == 2
        assert row["accuracy"] == pytest.approx(sum(row["accuracies"]) / 2)
        if row["method"] == "untrained":
            assert row["t"] in (0, 3) and row["layer"] in ("pooled", "noise", "pooled,noise")  # its own choice
        else:
            assert (row["t"], row["layer"]) == ((3, "pooled") if row["method"] == "toy" else (None, None))
    assert found["chosen"] == {"t": 3, "layer": "pooled", "dimensions": 16}
    assert found["baselines"] == ["pixels", "cnn", "untrained"]
    assert all(guard["passed"] for guard in found["guards"])
    assert {row["against"] for row in found["comparisons"]} == {"pixels", "cnn", "untrained"}


def test_a_finished_study_is_not_computed_again():
    first = study_features(configured())
    SEEN.clear()
    again = study_features(configured())
    assert again.cached and not SEEN and again == first
    assert not study_features(configured(resume=False)).cached and SEEN


def test_pictures_and_maps_are_drawn(tmp_path):
    folder = study_features(configured(t="auto", layer="auto", plots=("pca",))).folder
    names = {file.name for file in folder.iterdir()}
    assert {"accuracy-linear.png", "accuracy-linear.svg", "layers.png", "timesteps.png", "report.html"} <= names
    assert {"embedding-pca-2d.png", "embedding-pca-3d.png", "reconstructions.png"} <= names


def test_second_stages_beat_the_head_on_the_labels_alone():
    stages = ("propagation", "pseudo-labels", "pseudo-cnn")
    found = study_features(configured(labels_per_class=(2,), second_stage=stages, baselines=("pixels",))).to_json()
    accuracy = {(row["method"], row["probe"]): row["accuracy"] for row in found["rows"]}
    assert set(accuracy) == {(method, probe) for method in ("toy", "pixels") for probe in ("linear", *stages)}
    for stage in stages:
        assert accuracy["pixels", stage] > accuracy["pixels", "linear"] + 0.05


def test_shuffled_labels_give_chance(digits, monkeypatch):
    def shuffled(part, seed):
        order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
        return LabelledImages(part.images, part.labels[order])

    serve(monkeypatch, ImageSet("digits", shuffled(digits.train, 0), shuffled(digits.test, 1), digits.classes))
    found = study_features(configured(labels_per_class=(16,), episodes=4, probes=("linear", "prototype"))).to_json()
    for row in found["rows"]:  # 359 test images and 4 draws: a standard error of 1.2 points
        assert row["accuracy"] == pytest.approx(0.1, abs=0.05)


# ---------------------------------------------------------------- what the generator sees


def test_the_generator_sees_training_images_without_labels_and_no_test_image(digits):
    study_features(configured(steps=12))
    allowed = {bytes(image.numpy().tobytes()) for image in digits.train.images}
    held = {bytes(image.numpy().tobytes()) for image in digits.test.images} - allowed
    seen = {bytes(image.mul(255).round().to(torch.uint8).numpy().tobytes()) for images, _ in SEEN for image in images}
    assert seen <= allowed and not seen & held
    assert {int(label) for _, labels in SEEN for label in labels} == {0}


def test_a_semi_supervised_generator_sees_the_k_labels_of_its_episode_and_no_others(digits):
    config = configured(model="shaped", labels_per_class=(2, 4), steps=20)
    plan = prepare(config, Reporter())
    found = study_features(config).to_json()
    assert found["generator"]["trained"] == 4
    shown = {
        tuple(sorted(plan.pool(rows).labels.ne(UNLABELLED).nonzero().flatten().tolist())): k
        for k in (2, 4)
        for rows in plan.episodes.rows(k)
    }
    assert len(shown) == 4
    for rows, k in shown.items():
        assert torch.bincount(digits.train.labels[list(rows)]).tolist() == [k] * 10
    labelled = {
        bytes(image.mul(255).round().to(torch.uint8).numpy().tobytes()): int(label)
        for images, labels in SEEN
        for image, label in zip(images, labels, strict=True)
        if label != UNLABELLED
    }
    allowed = {bytes(digits.train.images[row].numpy().tobytes()) for rows in shown for row in rows}
    assert labelled and set(labelled) <= allowed


def test_a_saved_generator_is_used_as_it_is(tmp_path):
    first = study_features(configured())
    SEEN.clear()
    found = study_features(configured(model=None, generator=first.folder / "generator", steps=None)).to_json()
    assert not SEEN and found["generator"]["cached"]
    ours = [row["accuracies"] for row in found["rows"] if row["method"] == "toy"]
    assert ours == [row["accuracies"] for row in first.to_json()["rows"] if row["method"] == "toy"]


def test_a_saved_generator_that_was_trained_with_classes_is_marked(digits, tmp_path):
    torch.manual_seed(0)
    Toy(Toy.Config.parse({}), digits.spec).save(tmp_path / "saved")
    found = study_features(configured(model=None, generator=tmp_path / "saved", steps=None)).to_json()
    guard = found["guards"][-1]
    assert not guard["passed"] and "trained with classes" in guard["detail"]


# ---------------------------------------------------------------- choices


def test_timestep_and_layer_are_chosen_on_validation_images_not_on_test_images(digits, monkeypatch):
    config = configured(t="auto", layer="auto")
    found = study_features(config).to_json()
    assert found["chosen"]["layer"] == "pooled" and found["chosen"]["t"] != 9
    grid = {(row["t"], row["layer"]): row["accuracy"] for row in found["map"]["grid"]}
    assert {0, 9} <= {t for t, _ in grid} and {layer for _, layer in grid} == {"pooled", "noise", "pooled,noise"}
    assert grid[9, "pooled"] == pytest.approx(0.1, abs=0.06)  # noise alone
    noise = torch.randint(0, 256, digits.test.images.shape, dtype=torch.uint8)
    serve(monkeypatch, ImageSet("digits", digits.train, LabelledImages(noise, digits.test.labels), digits.classes))
    other = study_features(config).to_json()
    assert other["map"]["grid"] == found["map"]["grid"] and other["chosen"] == found["chosen"]
    assert other["rows"][0]["accuracy"] < 0.25 < found["rows"][0]["accuracy"]


def test_validation_images_are_in_no_episode():
    plan = prepare(configured(t=(1, 5)), Reporter())
    assert plan.search is not None
    assert not set(plan.search.validation.tolist()) & set(plan.episodes.all_rows.tolist())
    assert prepare(configured(t=(1,), baselines=("pixels",)), Reporter()).search is None
    assert prepare(configured(t=(1,)), Reporter()).search is not None  # for the untrained net


def test_the_untrained_net_chooses_for_itself(digits):
    """Held to noise alone it would be at chance, and any model would beat it."""
    found = study_features(configured(t=(9,), layer="pooled")).to_json()
    own = {row["method"]: row for row in found["rows"] if row["k"] == 4}
    assert (own["toy"]["t"], own["toy"]["layer"]) == (9, "pooled")
    assert own["untrained"]["t"] == 0
    assert own["toy"]["accuracy"] < 0.25 < own["untrained"]["accuracy"]


def test_layers_are_listed():
    found = layers_of(configured(), Reporter())
    assert found == {
        "model": "toy",
        "layers": ["pooled", "noise"],
        "default": "pooled",
        "timesteps": 10,
        "options": {"t": 3},
    }


# ---------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"labels_per_class": (1, 500)}, DataError, r"k = 500 labels .* up to \d+ is possible"),
        ({"labels_per_class": (0,)}, ConfigError, "whole numbers from 1"),
        ({"probes": ("liner",)}, ConfigError, "Did you mean 'linear'"),
        ({"probes": ()}, ConfigError, "at least one --probe"),
        ({"baselines": ("pixel",)}, ConfigError, "Did you mean 'pixels'"),
        ({"plots": ("pcaa",)}, ConfigError, "Did you mean 'pca'"),
        ({"second_stage": ("magic",)}, ConfigError, "propagation, pseudo-cnn, pseudo-labels"),
        ({"episodes": 0}, ConfigError, "--episodes 0"),
        ({"export": "features.parquet"}, UsageError, r"\.npz"),
        ({"t": (10,)}, UsageError, "from 0 to 9"),
        ({"layer": "poled"}, UsageError, "Did you mean 'pooled'"),
        ({"encode": {"noise": 3}}, UsageError, "no option 'noise'"),
        ({"model": "shaped", "t": (3,)}, UsageError, "no option 't'"),
        ({"model": "shaped", "layer": "auto"}, UsageError, "--layer auto needs one generator"),
        ({"model": "shaped", "second_stage": ("propagation",)}, UsageError, "--second-stage needs one generator"),
        ({"model": "shaped", "export": "features.npz"}, UsageError, "--export needs one generator"),
        ({"model": None}, UsageError, "--generator FOLDER"),
        ({"model": "tow"}, UsageError, "Did you mean 'toy'"),
        ({"generator": "nowhere"}, ConfigError, "--steps"),
        ({"generator": "nowhere", "steps": None}, DataError, "not a saved generator"),
        ({"options": {"lr": "fast"}}, ConfigError, "lr='fast'"),
    ],
)
def test_wrong_input_is_named(changes, error, message):
    with pytest.raises(error, match=message):
        prepare(configured(**changes), Reporter())


def test_small_classes_shorten_the_default_curve():
    plan = prepare(configured(labels_per_class=None, baselines=("pixels",)), Reporter())
    assert plan.episodes.ks == (1, 2, 4, 8, 16, 32, 64, 128)
    assert prepare(configured(labels_per_class=None), Reporter()).episodes.ks[-1] == 64  # some images are for choosing


# ---------------------------------------------------------------- the verdict


def comparison(k, against, delta, low, high, p_holm=None):
    p = 0.01 if low > 0 or high < 0 else 0.3
    return ComparisonAtK("linear", "toy", against, delta, (low, high), p, 5, "paired t over seeds", p_holm=p_holm, k=k)


OURS = "Features of toy with a linear probe are worth"
NET = "an untrained net of the same shape"


@pytest.mark.parametrize(
    "rows, words",
    [
        (
            [(1, "pixels", 5, 4, 6), (1, "untrained", 3, 1, 5)],
            f"{OURS} more than pixels at k = 1 (+5.0 points), than {NET} at k = 1 (+3.0 points)",
        ),
        (
            [(1, "pixels", 5, 4, 6), (2, "pixels", 4, 3, 5), (1, "untrained", 3, -1, 7)],
            f"{OURS} more than pixels at k = 1 and 2 (+4.0 to +5.0 points); no evidence of more than {NET} at any k",
        ),
        (
            [(1, "pixels", -5, -6, -4), (1, "untrained", 3, -2, 4)],
            f"No evidence that f{OURS[1:]} more than pixels or {NET} at any k; they are worth less than pixels at "
            "k = 1 (−5.0 points)",
        ),
    ],
)
def test_the_verdict_follows_the_corrected_p(rows, words):
    found = [comparison(k, against, *numbers) for k, against, *numbers in rows]
    sure = f"p < .05 over draws of the labels, corrected for {len(rows)} comparisons; of one generator"
    assert verdict("toy", "linear", ("pixels", "untrained"), found) == f"{words} ({sure})."


def test_what_is_sure_of_one_k_alone_is_not_sure_of_one_among_thirty():
    found = [comparison(1, "pixels", 5, 4, 6, p_holm=0.3)]
    assert verdict("toy", "linear", ("pixels",), found).startswith("No evidence")


def test_one_episode_cannot_tell():
    row = ComparisonAtK("linear", "toy", "pixels", 5.0, None, 1e-9, 1, "McNemar", k=1)
    sentence = verdict("toy", "linear", ("pixels",), [row])
    assert sentence.startswith("No evidence") and sentence.endswith(
        "one episode cannot tell; repeat with --episodes 5."
    )


def test_long_runs_of_k_are_drawn_together():
    found = [comparison(k, "pixels", 2, 1, 3) for k in (1, 4, 8, 16, 64)]
    found += [comparison(k, "pixels", 0, -1, 1) for k in (2, 32)]
    sentence = verdict("toy", "linear", ("pixels",), sorted(found, key=lambda one: one.k))
    assert "pixels at k = 1, 4 to 16 and 64 (+2.0 points)" in sentence
