"""What the images do not allow is told before anything is trained, with the name of the data set."""

import pytest
import torch

import augment
from augment import study_features
from augment.datasets import ImageSet, LabelledImages
from augment.errors import ConfigError, DataError
from augment.generators import scoring
from augment.progress import Reporter
from augment.studies.features.config import FeaturesConfig
from augment.studies.run import estimate
from augment.studies.run.config import RunConfig
from augment.training import fitting

QUICK = {"steps": 2, "updates": 2, "device": "cpu", "precision": "fp32", "dataset": "pets", "model": "vae"}


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """Nothing may be trained: neither by the loop nor to measure how long it takes."""

    def refuse(*args, **kwargs):
        raise AssertionError("something was trained")

    monkeypatch.setattr(fitting, "Loop", refuse)


def pets(train, test, *, equal=False):
    """Noise of so many images of each class."""
    rng = torch.Generator().manual_seed(0)

    def part(counts):
        images = torch.randint(0, 256, (sum(counts), 1, 8, 8), dtype=torch.uint8, generator=rng)
        images = images[:1].expand_as(images).clone() if equal else images
        return LabelledImages(images, torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)))

    return ImageSet("pets", part(train), part(test), tuple("abc"[: len(train)]))


def run(monkeypatch, tmp_path, data, **settings):
    monkeypatch.setattr(RunConfig, "load_data", lambda self, report: data)
    counts = data.train.counts(len(data.classes))
    given = {"regime": "explicit", "class_counts": counts, "classifiers": ("cart-pixels",), **QUICK, **settings}
    augment.run(RunConfig.parse(out=tmp_path / "runs", **given))


@pytest.mark.parametrize("test", [(1, 1), (2, 1), (3, 0), (0, 1)])
def test_a_run_needs_four_test_images(monkeypatch, tmp_path, test):
    words = f"pets has too few test images to score against: {sum(test)}, and at least 4 are needed. Add"
    with pytest.raises(DataError, match=words):
        run(monkeypatch, tmp_path, pets((10, 10), test))
    assert not (tmp_path / "runs").exists()


def test_so_do_its_estimate_and_one_with_a_budget(monkeypatch, tmp_path):
    monkeypatch.setattr(RunConfig, "load_data", lambda self, report: pets((10, 10), (1, 1)))
    with pytest.raises(DataError, match="pets has too few test images"):
        estimate.estimate(RunConfig.parse(out=tmp_path, regime="balanced", **QUICK), Reporter())
    with pytest.raises(DataError, match="pets has too few test images"):
        run(monkeypatch, tmp_path, pets((10, 10), (1, 1)), max_minutes=1.0)


@pytest.mark.parametrize("test", [(2, 2), (4, 0)])
def test_four_are_enough(monkeypatch, tmp_path, test):
    with pytest.raises(AssertionError, match="something was trained"):
        run(monkeypatch, tmp_path, pets((10, 10), test))


@pytest.mark.parametrize(
    ("counts", "test", "words"),
    [
        ((10, 4), (6, 6), "pets: No training images are left to validate on"),
        ((9, 3), (6, 6), "pets has too few images to validate on: 2, and at least 4 are needed"),
        ((7, 3), (1, 1), "pets has too few images to validate on: 2, .* no more than the 2 test images"),
    ],
)
def test_images_to_validate_on_are_counted_before(monkeypatch, tmp_path, counts, test, words):
    with pytest.raises(DataError, match=words):
        run(monkeypatch, tmp_path, pets((10, 4), test), class_counts=counts, score_on="validation", max_minutes=1.0)


@pytest.mark.parametrize(
    ("arm", "train", "words"),
    [
        ("vae+teacher:folds=2", (1, 1), "no class has two images"),
        ("ddpm+translation:below=5", (3, 1), "at least below=5, and the largest class has 3"),
    ],
)
def test_arms_that_the_images_do_not_allow(monkeypatch, tmp_path, arm, train, words):
    with pytest.raises((ConfigError, DataError), match=words):
        run(monkeypatch, tmp_path, pets(train, (6, 6)), arms=(arm,))


@pytest.mark.parametrize("data", [pets((1,), (6,)), pets((4, 4), (6, 6), equal=True)])
def test_equal_images_have_no_components(monkeypatch, tmp_path, data):
    other = ImageSet("pets", data.train, pets((6,) * len(data.classes), (9,) * len(data.classes)).test, data.classes)
    with pytest.raises(DataError, match="pets: All training images are equal: they have no principal components"):
        run(monkeypatch, tmp_path, other, classifiers=("cnn", "cart-pca"))
    with pytest.raises(AssertionError, match="something was trained"):
        run(monkeypatch, tmp_path, other, classifiers=("cart-pixels",))


@pytest.mark.parametrize(
    ("train", "settings", "words"),
    [
        ((2, 2), {}, "pets: 4 points are too few for t-SNE, which needs 5"),
        ((4, 3), {"second_stage": ("propagation",)}, "pets: 7 features have no 7 neighbours each"),
    ],
)
def test_a_feature_study_counts_its_images_before(monkeypatch, tmp_path, train, settings, words):
    monkeypatch.setattr(FeaturesConfig, "load_data", lambda self, report: pets(train, (3, 3)))
    given = {"dataset": "pets", "model": "vae", "steps": 2, "device": "cpu", "precision": "fp32", "episodes": 1}
    with pytest.raises(DataError, match=words):
        study_features(FeaturesConfig.parse(out=tmp_path, **given, **settings))


@pytest.mark.parametrize(("test", "words"), [((1, 1), "pets has too few test images to score against: 2")])
def test_scores_name_the_data_set(monkeypatch, tmp_path, test, words):
    monkeypatch.setattr(scoring, "load_dataset", lambda *args, **kwargs: pets((10, 10), test))
    with pytest.raises(DataError, match=words):
        scoring.score("pets", tmp_path)


def test_scores_of_some_classes_need_test_images_of_those(monkeypatch, tmp_path):
    from PIL import Image

    data = pets((10, 10), (9, 2))
    monkeypatch.setattr(scoring, "load_dataset", lambda *args, **kwargs: data)
    (tmp_path / "b").mkdir()
    for index, image in enumerate(data.train.images[10:16]):
        Image.fromarray(image[0].numpy()).save(tmp_path / "b" / f"{index}.png")
    with pytest.raises(DataError, match="pets has too few test images of the classes in .* to score against: 2"):
        scoring.score("pets", tmp_path, device="cpu")
