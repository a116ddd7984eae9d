"""The transformer keeps scikit-learn's contract, trains without labels and once, and takes images in any usual form."""

import copy
import io
import pickle
import random
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from augment import registry
from augment.compute.encoding import encode_set
from augment.errors import ConfigError, DataError, UsageError
from augment.estimators.feature_extractor import FeatureExtractor
from augment.estimators.images import InvalidImages
from augment.generator import ImageSpec
from augment.training import trained

pytestmark = pytest.mark.libraries

MODULE = '''"""A generator that counts its updates, keeps the labels it saw, and can encode at two layers."""
from augment.testing import MinimalGenerator

class Counting(MinimalGenerator):
    timesteps = 11
    layers = ("pixels", "latents")
    updates, labels = 0, set()

    def training_step(self, images, labels, optimizers):
        Counting.updates += 1
        Counting.labels |= {(self.spec.num_classes, label) for label in labels.tolist()}
        return super().training_step(images, labels, optimizers)

    def encode(self, images, *, t=0, layer="latents", noise_draws=1):
        found = images.flatten(1) if layer == "pixels" else self.features(images)
        return found * (1 - t / 10) * noise_draws
'''
STEPS = 3
BUILT_IN = registry.registered()
PLACE = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory):
    """``counting`` beside the built-in generators; their metadata and code are read once, as hundreds of fits ask."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "acme_counting.py").write_text(MODULE)
    point = EntryPoint("counting", "acme_counting:Counting", registry.GROUP)
    vars(point)["dist"] = SimpleNamespace(name="acme", version="1.2")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(registry, "registered", lambda: {**BUILT_IN, "counting": point})
        patch.setattr(registry, "version", lambda name: f"{name} 1")
        patch.setattr(trained, "plugin_code", lambda cls: cls.__name__)
        yield
    del sys.modules["acme_counting"]


@pytest.fixture(autouse=True)
def counting(tmp_path, monkeypatch):
    """The class, with nothing counted and nothing in the cache."""
    cls = registry.get("counting")
    cls.updates = 0
    cls.labels.clear()
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    return cls


@pytest.fixture(scope="module")
def digits():
    """uint8 ``(240, 1, 8, 8)`` and labels of three classes."""
    pixels, labels = load_digits(n_class=3, return_X_y=True)
    return (pixels[:240] * 15).astype(np.uint8).reshape(-1, 1, 8, 8), labels[:240]


def extractor(model="counting", **changes):
    return FeatureExtractor(model, **{"steps": STEPS, **PLACE, **changes})


def tiny(model):
    return extractor(model, options=dict(registry.get(model).test_options), steps=2)


@parametrize_with_checks([FeatureExtractor("vae", options={"width": 16, "latent_dim": 4}, steps=2, **PLACE)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


# ---------------------------------------------------------------- training


def test_features_are_the_trained_generators(digits, counting):
    images, _ = digits
    fitted = extractor(t=3, layer="latents", noise_draws=2)
    features = fitted.fit_transform(images)
    assert counting.updates == STEPS
    assert features.shape == (240, 4) and features.dtype == np.float32
    with torch.no_grad():
        direct = fitted.generator_.encode(torch.from_numpy(images) / 255, t=3, layer="latents", noise_draws=2)
    np.testing.assert_allclose(features, direct.numpy(), rtol=1e-5, atol=1e-6)
    assert fitted.generator_.spec == ImageSpec(1, 8, 8, 1)


def test_labels_are_never_seen(digits, counting):
    images, labels = digits
    informed = extractor().fit(images, labels).transform(images)
    assert counting.labels == {(1, 0)}
    assert np.array_equal(informed, extractor(random_state=0).fit(images).transform(images))


def test_every_part_of_the_options_reaches_the_model(digits):
    images, _ = digits
    fitted = extractor(options={"lr": 0.5, "steps": 99}, encode_options={"layer": "pixels", "t": 5}).fit(images)
    assert (fitted.generator_.config.lr, fitted.generator_.config.steps) == (0.5, STEPS)
    np.testing.assert_allclose(fitted.transform(images), images.reshape(240, -1) / 255 / 2, atol=1e-6)


def test_training_is_reused(digits, counting):
    images, _ = digits
    first = extractor().fit(images)
    extractor(t=4, layer="pixels").fit(images.astype(np.float64) / 255)
    assert counting.updates == STEPS
    again = extractor().fit(images)
    assert np.array_equal(first.transform(images), again.transform(images))
    for change in ({"steps": 4}, {"options": {"lr": 0.1}}, {"random_state": 1}, {"max_minutes": 5.0}):
        before = counting.updates
        extractor(**change).fit(images)
        assert counting.updates > before, change
    before = counting.updates
    extractor().fit(images[::-1])
    assert counting.updates == before + STEPS


def test_a_cache_that_cannot_be_written(digits, counting, tmp_path):
    (tmp_path / "home").write_text("a file in the way")
    features = extractor().fit_transform(digits[0])
    extractor().fit(digits[0])
    assert np.isfinite(features).all() and counting.updates == 2 * STEPS


def test_random_state(digits, counting):
    images, _ = digits
    features = {seed: extractor(random_state=seed).fit_transform(images) for seed in (0, 1)}
    assert np.abs(features[0] - features[1]).max() > 0.01
    assert np.array_equal(features[1], extractor(random_state=np.int64(1)).fit_transform(images))
    before = counting.updates
    drawn = [extractor(random_state=np.random.RandomState(5)).fit_transform(images) for _ in range(2)]
    assert np.array_equal(*drawn) and counting.updates == before + STEPS
    extractor(random_state=None).fit(images), extractor(random_state=None).fit(images)
    assert counting.updates == before + 3 * STEPS
    with pytest.raises(ValueError, match="cannot be used to seed"):
        extractor(random_state="seven").fit(images)


def test_the_global_random_state_is_leftalone(digits):
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = state()
    for _ in range(2):  # trained, then cached
        fitted = tiny("vae").fit(digits[0])
    pickle.loads(pickle.dumps(fitted)).transform(digits[0])
    assert state() == before


# ---------------------------------------------------------------- in scikit-learn


def test_a_grid_search_trains_once_per_fold(digits, counting, tmp_path):
    """At t = 10 nothing of the image is left, so that accuracy is chance: the largest class's share."""
    images, labels = digits
    pipeline = make_pipeline(extractor(), LogisticRegression(max_iter=1000), memory=str(tmp_path / "memory"))
    grid = {"featureextractor__t": [10, 0], "featureextractor__layer": ["latents", "pixels"]}
    search = GridSearchCV(pipeline, grid, cv=StratifiedKFold(2)).fit(images, labels)
    assert counting.updates == 3 * STEPS  # two folds, and all images at last
    found = zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True)
    scores = {(one["featureextractor__layer"], one["featureextractor__t"]): score for one, score in found}
    chance = np.bincount(labels).max() / len(labels)
    assert abs(scores["latents", 10] - chance) < 0.02 and abs(scores["pixels", 10] - chance) < 0.02
    assert scores["pixels", 0] > 0.9 and scores["pixels", 0] == search.best_score_
    assert search.best_estimator_[0].get_params()["t"] == 0 and search.score(images, labels) > 0.97


def test_tensors_can_be_cross_validated(digits):
    images, labels = digits
    model = make_pipeline(extractor(layer="pixels"), LogisticRegression(max_iter=1000))
    scores = cross_val_score(model, torch.from_numpy(images), labels, cv=2, error_score="raise")
    assert scores.min() > 0.9


def test_clones_are_unfitted(digits):
    fitted = extractor(t=2, encode_options={"noise_draws": 3}).fit(digits[0])
    other = clone(fitted)
    assert other.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        other.transform(digits[0])
    with pytest.raises(NotFittedError):
        other.get_feature_names_out()


@pytest.mark.parametrize("model", ["counting", "cgan"])
def test_fitted_extractors_travel(digits, model):
    images, _ = digits
    fitted = tiny(model).fit(images)
    features = fitted.transform(images)
    if model == "cgan":  # its weights are parametrised
        with pytest.raises(RuntimeError, match="Serialization of parametrized modules"):
            pickle.dumps(fitted.generator_)
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    for other in (pickle.loads(pickle.dumps(fitted)), joblib.load(file), copy.deepcopy(fitted)):
        assert np.array_equal(other.transform(images), features)
        assert other.generator_ is not fitted.generator_ and not other.generator_.training
    assert np.array_equal(fitted.transform(images), features)
    assert clone(pickle.loads(pickle.dumps(tiny(model)))).get_params() == tiny(model).get_params()


class Frame:
    """A data frame, as far as it matters here."""

    def __init__(self, values, names):
        self.values, self.names, self.shape = values, names, values.shape

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)

    def __len__(self):
        return len(self.values)


def test_names_of_features(digits, monkeypatch):
    monkeypatch.setattr("sklearn.utils.validation._get_feature_names", lambda X: getattr(X, "names", None))
    images, _ = digits
    frame = Frame(images.reshape(240, -1), np.array([f"p{index}" for index in range(64)], dtype=object))
    fitted = extractor().fit(frame)
    assert fitted.n_features_in_ == 64 and fitted.feature_names_in_.tolist() == frame.names.tolist()
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(Frame(frame.values, frame.names[::-1]))
    assert fitted.get_feature_names_out().tolist() == [f"featureextractor{index}" for index in range(4)]
    fitted.set_params(layer="pixels").fit(images)
    assert len(fitted.get_feature_names_out()) == 64
    assert not hasattr(fitted, "n_features_in_") and not hasattr(fitted, "feature_names_in_")


# ---------------------------------------------------------------- saved generators


def test_a_saved_generator_is_not_trained(digits, counting, tmp_path):
    images, _ = digits
    generator = registry.create("counting", ImageSpec(1, 8, 8, 10))
    generator.save(tmp_path / "saved")
    (expected,) = encode_set(generator, torch.from_numpy(images), layers=["latents"])
    for given in (images, images.reshape(240, -1), images[:, 0] / 255):
        fitted = FeatureExtractor(generator=tmp_path / "saved", **PLACE).fit(given)
        assert np.array_equal(fitted.transform(given), expected.numpy())
    assert counting.updates == 0
    FeatureExtractor("counting", generator=str(tmp_path / "saved")).fit(images)


def test_saved_generators_that_do_not_fit(digits, tmp_path):
    images, _ = digits
    registry.create("counting", ImageSpec(1, 4, 16, 1)).save(tmp_path / "saved")
    saved = FeatureExtractor(generator=tmp_path / "saved", **PLACE)
    assert saved.fit(images.reshape(240, -1)).layout_.shape == (1, 4, 16)  # its shape, not the guessed one
    for given in (images[:, :, :7], images.reshape(240, -1)[:, :63], np.zeros((5, 3, 4, 16), np.uint8)):
        with pytest.raises(InvalidImages, match=r"\(1, 4, 16\)"):
            clone(saved).fit(given)
    with pytest.raises(UsageError, match="leave options, steps out"):
        clone(saved).set_params(options={"lr": 1}, steps=2).fit(images)
    with pytest.raises(UsageError, match="holds a 'counting' generator, not 'vae'"):
        clone(saved).set_params(model="vae").fit(images)
    with pytest.raises(DataError, match="not a saved generator"):
        FeatureExtractor(generator=tmp_path).fit(images)


# ---------------------------------------------------------------- what is asked for wrongly


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": None}, UsageError, "Models: .*vae"),
        ({"model": "countign"}, UsageError, "Did you mean 'counting'"),
        ({"options": {"learning": 1}}, ConfigError, "learning"),
        ({"steps": 0}, ConfigError, "steps=0"),
        ({"layer": "latent"}, UsageError, "Did you mean 'latents'"),
        ({"encode_options": {"depth": 3}}, UsageError, "no option 'depth'"),
        ({"model": "vae", "t": 50}, UsageError, "no option 't'"),
        ({"device": "tpu"}, ConfigError, "tpu"),
        ({"precision": "fp8"}, ConfigError, "fp8"),
        ({"image_shape": (1, 4, 16)}, InvalidImages, r"images of \(1, 4, 16\)"),
    ],
)
def test_mistakes_are_told_before_training(digits, counting, changes, error, words):
    with pytest.raises(error, match=words):
        extractor(**changes).fit(digits[0])
    assert counting.updates == 0


def bad(images):
    unit = images / 255
    nan = unit.copy()
    nan[3, 0, 2, 2] = np.nan
    return [
        (images.astype(np.float32), r"lie in \[0, 1\]; these go from 0 to 240"),
        (unit - 0.1, r"from -0\.1"),
        (nan, "from nan"),
        (images.astype(np.int64), "these are int64"),
        (images > 9, "these are bool"),
        (images.transpose(0, 2, 3, 1), "channels first"),
        (images[:0], "at least one"),
        (torch.from_numpy(images).float(), "from 0 to 240"),
    ]


@pytest.mark.parametrize("index", range(8))
def test_arrays_that_are_no_images(digits, counting, index):
    images, _ = digits
    array, words = bad(images)[index]
    fitted = extractor().fit(images)
    for act in (extractor().fit, fitted.transform):
        with pytest.raises(InvalidImages, match=words) as caught:
            act(array)
    assert isinstance(caught.value, ValueError) and caught.value.exit_code == 3
    assert counting.updates == STEPS


@pytest.mark.parametrize("model", ["vae", "realnvp"])
@pytest.mark.parametrize(("height", "width"), [(100, 28), (6, 6)])
def test_a_size_that_a_model_does_not_take_is_told_without_a_command(model, height, width):
    with pytest.raises(InvalidImages, match=r"takes .*8\.\.64\. Resize the images to (64 x 64|8 x 8) pixels") as caught:
        tiny(model).fit(np.zeros((5, height, width), np.uint8))
    assert "--" not in str(caught.value)


def test_another_form_than_in_fit(digits):
    images, _ = digits
    flat = images.reshape(240, -1)
    fitted = extractor().fit(images)
    assert np.array_equal(fitted.transform(flat), fitted.transform(images))
    for other in (flat[:, :63], images[..., :7], np.repeat(images, 3, axis=1)):
        with pytest.raises(InvalidImages, match=r"\(1, 8, 8\)"):
            fitted.transform(other)
    with pytest.raises(InvalidImages, match="Scale both alike"):
        fitted.transform(flat.astype(np.float32))
    scaled = extractor().fit(flat.astype(np.float32))
    with pytest.raises(InvalidImages, match="columns are scaled"):
        scaled.transform(images)


# ---------------------------------------------------------------- forms of images


def test_all_forms_of_the_same_images_have_the_same_features(digits):
    images, _ = digits
    unit = torch.from_numpy(images) / 255
    expected = extractor().fit_transform(images)
    for form in (
        images[:, 0],
        list(images),
        unit,
        unit.requires_grad_(),
        images.reshape(240, 64),
        unit.reshape(240, 64),
    ):
        assert np.array_equal(extractor().fit_transform(form), expected)


def test_image_shape_of_flattened_images(digits):
    images, _ = digits
    wide = images.reshape(240, 64)
    fitted = extractor(image_shape=(1, 4, 16), layer="pixels").fit(wide)
    assert fitted.generator_.spec.shape == (1, 4, 16)
    np.testing.assert_allclose(fitted.transform(wide), wide / 255, atol=1e-6)
    with pytest.raises(InvalidImages, match=r"rows of 63 values; images of \(1, 4, 16\), 64 values"):
        clone(fitted).fit(wide[:, :63])
