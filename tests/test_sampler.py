"""The sampler keeps imbalanced-learn's contract, adds what the strategy asks for and changes no real row."""

import pickle
import random
import sys
from collections import Counter
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import estimator_checks_generator
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.utils.estimator_checks import parametrize_with_checks

import augment
from augment import registry
from augment.errors import ConfigError, UsageError
from augment.estimators import synthetic_sampler as sampler
from augment.estimators.feature_extractor import FeatureExtractor
from augment.estimators.images import ImageLayout, InvalidImages
from augment.estimators.synthetic_sampler import SyntheticSampler
from augment.generator import ImageSpec
from augment.training import trained

pytestmark = pytest.mark.libraries

MODULE = '''"""Paints each class in a grey of its own, and keeps what it was trained on."""
import torch
from augment.generator import GeneratorConfig, Tags
from augment.testing import MinimalGenerator

class Painter(MinimalGenerator):
    class Config(GeneratorConfig):
        conditional: bool = True
        batch_size: int = 1000
    trainings, specs = [], []

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.tags = Tags(conditional=config.conditional, edits=True)

    def training_step(self, images, labels, optimizers):
        if "mine" not in vars(self):
            self.mine = set()
            Painter.trainings.append(self.mine)
            Painter.specs.append(self.spec)
        firsts = images.flatten(1)[:, :2].mul(255).round().long()
        self.mine |= {(label, *first) for label, first in zip(labels.tolist(), firsts.tolist())}
        return super().training_step(images, labels, optimizers)

    def sample(self, n, labels=None, *, rng=None):
        grey = ((10 * labels + 100) / 255).view(-1, 1, 1, 1).expand(-1, *self.spec.shape).clone()
        grey[:, :, 0, 0] = torch.randint(90, (n, 1), generator=rng) / 255
        return grey

    def sample_from(self, images, labels, strength, *, rng=None):
        edited = images.clone()
        edited[:, :, 0, 0] = strength
        return edited
'''
STEPS = 2
BUILT_IN = registry.registered()
PLACE = {"device": "cpu", "precision": "fp32"}
TINY = {"options": {"width": 16, "latent_dim": 4}, "steps": 2, **PLACE}
SIZES = (60, 20, 3)


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory):
    """``painter`` beside the built-in generators; their metadata and code are read once, as hundreds of fits ask."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "acme_painter.py").write_text(MODULE)
    point = EntryPoint("painter", "acme_painter:Painter", registry.GROUP)
    vars(point)["dist"] = SimpleNamespace(name="acme", version="1.2")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(registry, "registered", lambda: {**BUILT_IN, "painter": point})
        patch.setattr(registry, "version", lambda name: f"{name} 1")
        patch.setattr(trained, "plugin_code", lambda cls: cls.__name__)
        yield
    del sys.modules["acme_painter"]


@pytest.fixture(autouse=True)
def painter(tmp_path, monkeypatch):
    """The class, with nothing trained and nothing in the cache."""
    cls = registry.get("painter")
    cls.trainings.clear()
    cls.specs.clear()
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    return cls


def images_of(sizes=SIZES, seed=0):
    """uint8 ``(N, 1, 8, 8)`` of shuffled classes, the row's number in the first pixel, ten times the class next."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    images = rng.integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    images[:, 0, 0, 1] = 10 * labels
    return images, labels


def sampling(model="painter", **changes):
    return SyntheticSampler(model, **{"steps": STEPS, **PLACE, **changes})


# ---------------------------------------------------------------- conformance

EQUALISING = SyntheticSampler("vae", sampling_strategy="not majority", **TINY)
CHECKS = list(
    estimator_checks_generator(
        EQUALISING,
        mark="xfail",
        expected_failed_checks={"check_samplers_pandas_sparse": "images are dense: no column stays sparse"},
    )
)


@pytest.mark.parametrize(
    ("estimator", "check"), CHECKS, ids=lambda part: getattr(getattr(part, "func", part), "__name__", "")
)
def test_imbalanced_learns_checks(estimator, check):
    check(estimator)


@parametrize_with_checks([EQUALISING])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


# ---------------------------------------------------------------- how many


@pytest.mark.parametrize(
    "wanted",
    [
        "minority",
        "not minority",
        "not majority",
        "all",
        {2: 33, 0: 60},
        lambda y: {1: int((y == 0).sum()) + 4},
    ],
)
def test_sampling_strategy_means_what_it_does_elsewhere(wanted):
    images, labels = images_of()
    other = RandomOverSampler(sampling_strategy=wanted, random_state=0)
    expected = Counter(other.fit_resample(images.reshape(len(images), -1), labels)[1])
    ours = sampling(sampling_strategy=wanted)
    assert Counter(ours.fit_resample(images, labels)[1]) == expected
    assert ours.sampling_strategy_ == other.sampling_strategy_ == ours.fit(images, labels).sampling_strategy_


def test_a_ratio_of_two_classes():
    images, labels = images_of((40, 10))
    assert Counter(sampling(sampling_strategy=0.5).fit_resample(images, labels)[1]) == {0: 40, 1: 20}
    with pytest.raises(ValueError, match="only when the type of target is binary"):
        sampling(sampling_strategy=0.5).fit_resample(*images_of())


@pytest.mark.parametrize(
    ("strategy", "added"),
    [
        (None, (0, 20, 15)),  # half of 40 missing; 5 times 3 is less than half of 57
        ("partial", (0, 20, 15)),
        ("partial:share=0.25,cap=100", (0, 10, 14)),
        ("balance", (0, 40, 57)),
        ("ratio:ratio=0.5", (30, 10, 2)),
        ("partial-noise:strength=0.25", (0, 20, 15)),
    ],
)
def test_strategy_counts(strategy, added):
    images, labels = images_of()
    found = sampling(strategy=strategy)
    _, resampled = found.fit_resample(images, labels)
    assert tuple(np.bincount(resampled) - SIZES) == added
    assert found.sampling_strategy_ == dict(enumerate(added)) == found.fit(images, labels).sampling_strategy_


def test_a_source_goes_with_sampling_strategy():
    images, labels = images_of()
    found = sampling(strategy="partial-noise:below=10", sampling_strategy={2: 7})
    assert Counter(found.fit_resample(images, labels)[1]) == {0: 60, 1: 20, 2: 7}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"strategy": "partial", "sampling_strategy": {2: 7}}, UsageError, "both say how many images a class gets"),
        ({"strategy": "balance+partial-noise", "sampling_strategy": "all"}, UsageError, "Leave 'balance' out"),
        ({"strategy": "partial+weight:weight=0.2"}, UsageError, "'weight:weight=0.2' says how a classifier learns"),
        ({"strategy": "batch-share"}, UsageError, "trains no classifier"),
        ({"strategy": "class-mixup"}, UsageError, "trains no classifier"),
        ({"strategy": "real-last"}, UsageError, "trains no classifier"),
        ({"strategy": "real-norm"}, UsageError, "trains no classifier"),
        ({"strategy": "partail"}, UsageError, "Did you mean 'partial'"),
        ({"strategy": "partial:share=2"}, ConfigError, "share='2'"),
        ({"sampling_strategy": "majority"}, ValueError, "'sampling_strategy' parameter"),
        ({"sampling_strategy": {2: 2}}, ValueError, "greater or equal to the original"),
        ({"sampling_strategy": {"two": 90}}, ValueError, "not present in the data"),
        ({"model": None}, UsageError, "SyntheticSampler needs a model"),
        ({"model": "paniter"}, UsageError, "Did you mean 'painter'"),
        ({"options": {"learning": 1}}, ConfigError, "learning"),
        ({"options": {"conditional": False}}, ConfigError, "samples without classes"),
        ({"strategy": "neighbourhood"}, UsageError, "needs a generator tagged decodes"),
        ({"model": "vae", "strategy": "partial-noise"}, UsageError, "needs a generator tagged edits"),
        ({"image_shape": (1, 4, 16)}, InvalidImages, r"images of \(1, 4, 16\)"),
        ({"image_shape": (8,)}, InvalidImages, r"give \(C, H, W\)"),
        ({"device": "tpu"}, ConfigError, "tpu"),
    ],
)
def test_mistakes_are_told_before_training(painter, changes, error, words):
    with pytest.raises(error, match=words):
        sampling(**changes).fit_resample(*images_of())
    assert not painter.trainings


def test_input_that_cannot_be_resampled(painter):
    images, labels = images_of()
    for X, y, words in (
        (images, labels[1:], "inconsistent numbers of samples"),
        (images, np.zeros(len(images)), "more than 1 class"),
        (images, np.linspace(0, 1, len(images)), "Unknown label type"),
        (images.astype(np.float32), labels, r"lie in \[0, 1\]"),
        (images.astype(np.int64), labels, "these are int64"),
    ):
        with pytest.raises(ValueError, match=words):
            sampling().fit_resample(X, y)
    assert not painter.trainings


# ---------------------------------------------------------------- what comes out


def test_real_rows_come_first_and_synthetic_ones_follow():
    images, labels = images_of()
    kept = images.copy()
    found = sampling()
    resampled, names = found.fit_resample(images, labels)
    assert np.array_equal(resampled[: len(images)], kept) and np.array_equal(images, kept)
    assert np.array_equal(names[: len(images)], labels)
    assert names[len(images) :].tolist() == [1] * 20 + [2] * 15
    assert np.array_equal(resampled[len(images) :, 0, 4, 4], 10 * names[len(images) :] + 100)
    assert found.is_synthetic_.dtype == bool and found.parent_indices_.dtype == np.int64
    assert found.is_synthetic_.tolist() == [False] * 83 + [True] * 35
    assert found.parent_indices_.tolist() == [*range(83), *[-1] * 35]
    assert found.filter_summary_ is None


@pytest.mark.parametrize("flat", [False, True])
def test_real_rows_are_not_clipped(flat):
    images, labels = images_of()
    unit = (images / 255).astype(np.float32)
    unit.flat[7], unit.flat[9] = np.float32(1.0000001), np.float32(-1e-8)
    unit = unit.reshape(len(unit), -1) if flat else unit
    resampled, _ = sampling().fit_resample(unit, labels)
    assert np.array_equal(resampled[: len(unit)], unit) and resampled[len(unit) :].max() <= 1


def test_parents_are_rows_of_the_input():
    images, labels = images_of()
    found = sampling(strategy="partial-noise:strength=0.8,below=10")
    resampled, names = found.fit_resample(images, labels)
    parents = found.parent_indices_
    drawn = found.is_synthetic_ & (names == 1)
    edited = found.is_synthetic_ & (names == 2)
    assert set(parents[drawn]) == {-1}
    assert Counter(parents[edited].tolist()) == dict.fromkeys(np.flatnonzero(labels == 2).tolist(), 5)
    assert (resampled[edited][:, 0, 0, 0] == 204).all()
    assert np.array_equal(resampled[edited][:, 0, 1:], images[parents[edited]][:, 0, 1:])


def test_a_generator_without_classes_may_edit_images_of_all():
    images, labels = images_of()
    found = sampling(strategy="balance+partial-noise", options={"conditional": False})
    _, names = found.fit_resample(images, labels)
    assert np.bincount(names).tolist() == [60, 60, 60]
    assert np.array_equal(labels[found.parent_indices_], names)


def forms(images):
    unit = images / 255
    return {
        "grey": images[:, 0],
        "float32": unit.astype(np.float32),
        "float64": unit,
        "flat": images.reshape(len(images), -1),
        "flat float": unit.reshape(len(images), -1),
        "list": images.tolist() and unit.tolist(),
        "tensor": torch.from_numpy(images),
        "tensor float": torch.from_numpy(unit[:, 0]),
        "tensor half": torch.from_numpy(unit.reshape(len(images), -1)).half(),
    }


@pytest.mark.parametrize("form", forms(images_of()[0]))
def test_the_form_of_the_input_is_that_of_the_output(form):
    images, labels = images_of()
    expected, _ = sampling().fit_resample(images, labels)
    given = forms(images)[form]
    found = sampling()
    resampled, _ = found.fit_resample(given, labels)
    assert type(resampled) is type(given) and found.is_synthetic_.sum() == 35
    if isinstance(given, list):
        assert resampled[: len(given)] == given
        given, resampled = np.array(given), np.array(resampled)
    assert resampled.dtype == given.dtype and resampled.shape[1:] == given.shape[1:]
    assert (resampled[: len(given)] == given).all()
    values = np.asarray(resampled, np.float64).reshape(len(resampled), -1)
    scale = 1 if resampled.dtype in (np.uint8, torch.uint8) else 255
    np.testing.assert_allclose(values * scale, expected.reshape(len(expected), -1), atol=0.1)


@pytest.mark.parametrize("columns", [5, 64, 70, 192])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8])
def test_tables_become_images_and_come_back(columns, dtype):
    """Within half of the 256 levels of each column's range; constant columns are what they were."""
    rng = np.random.default_rng(0)
    table = (rng.normal(size=(50, columns)) * 20 + 90).clip(0, 255).astype(dtype)
    table[:, 3] = 7
    layout = ImageLayout.learn(table)
    back = layout.restored(layout.images(table), table)
    assert back.dtype == dtype and (back[:, 3] == 7).all()
    step = np.ptp(table, axis=0).astype(np.float64) / 255
    slack = 1e-4 if np.dtype(dtype).kind == "f" else 0.5
    assert (np.abs(back.astype(np.float64) - table) <= (0 if dtype == np.uint8 else step / 2 + slack)).all()
    black = layout.restored(torch.zeros(2, *layout.shape, dtype=torch.uint8), table)
    np.testing.assert_allclose(black, [0 * table[0]] * 2 if dtype == np.uint8 else [table.min(0)] * 2)


def test_a_table_whose_columns_are_scaled():
    rng = np.random.default_rng(0)
    table, labels = rng.normal(size=(40, 6)) * 100, np.repeat([0, 1], [30, 10])
    table[:, 5] = -3
    resampled, names = sampling(strategy="balance").fit_resample(table, labels)
    low, high = table.min(0), table.max(0)
    painted = low + (high - low) * 110 / 255
    np.testing.assert_allclose(resampled[40:, 1:], np.tile(painted[1:], (20, 1)))  # column 0 is random
    assert np.array_equal(resampled[:40], table) and (names[40:] == 1).all()


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize(
    "names",
    [
        np.array(["cat", "a dog", "zebra"]),
        np.array(["cat", "a dog", "zebra"], dtype=object),
        np.array([7, -1, 300]),
        np.array([2.5, 1.0, -3.0]) * 2,
        np.array([9, 10, 2], dtype=np.uint8),
    ],
)
def test_classes_of_any_type(painter, names):
    images, labels = images_of()
    _, expected = sampling().fit_resample(images, labels)
    found = sampling()
    _, resampled = found.fit_resample(images, names[labels])
    assert resampled.dtype == names.dtype
    assert Counter(resampled) == {names[label]: count for label, count in Counter(expected).items()}
    assert found.sampling_strategy_ == {names[0]: 0, names[1]: 20, names[2]: 15}
    ascending = sorted(names)
    assert painter.specs[-1] == ImageSpec(1, 8, 8, 3, tuple(map(str, ascending)))
    assert {names[pixel // 10] == ascending[label] for label, _, pixel in painter.trainings[-1]} == {True}


def test_labels_as_tensors_lists_and_one_column_each():
    images, labels = images_of()
    _, expected = sampling().fit_resample(images, labels)
    _, tensor = sampling().fit_resample(torch.from_numpy(images), torch.from_numpy(labels).int())
    assert tensor.dtype == torch.int32 and tensor.tolist() == expected.tolist()
    assert sampling().fit_resample(images, labels.tolist())[1] == expected.tolist()
    _, columns = sampling().fit_resample(images, np.eye(3, dtype=int)[labels])
    assert np.array_equal(columns, np.eye(3)[expected])


def test_saved_generators_know_classes_by_name_or_number(painter, tmp_path):
    images, labels = images_of()
    names = np.array(["cat", "a dog", "zebra"])[labels]
    registry.create("painter", ImageSpec(1, 8, 8, 4, ("zebra", "cow", "cat", "a dog"))).save(tmp_path / "named")
    registry.create("painter", ImageSpec(1, 8, 8, 6)).save(tmp_path / "numbered")
    named = SyntheticSampler(generator=tmp_path / "named", strategy="balance", **PLACE)
    resampled, found = named.fit_resample(images, names)
    assert Counter(found) == {"cat": 60, "a dog": 60, "zebra": 60}
    painted = {(name, int(grey)) for name, grey in zip(found[83:], resampled[83:, 0, 4, 4], strict=True)}
    assert painted == {("a dog", 130), ("zebra", 100)}
    numbered = clone(named).set_params(generator=tmp_path / "numbered", options={})
    resampled, found = numbered.fit_resample(images.reshape(83, -1), 2.0 * labels)
    painted = {(name, int(grey)) for name, grey in zip(found[83:], resampled[83:, 36], strict=True)}
    assert painted == {(2.0, 120), (4.0, 140)} and not painter.trainings
    with pytest.raises(ConfigError, match=r"a dog, cat, zebra; the generator's are the numbers from 0 to 5"):
        numbered.fit_resample(images, names)
    with pytest.raises(ConfigError, match=r"are 0, 3, 6; the generator's are the numbers"):
        numbered.fit_resample(images, 3 * labels)
    with pytest.raises(UsageError, match="leave steps out"):
        clone(named).set_params(steps=3).fit_resample(images, names)


# ---------------------------------------------------------------- training and randomness


def test_training_is_reused_for_equal_images_and_labels_only(painter):
    images, labels = images_of((15, 6, 3))  # none is held back: what differs below is what is learnt alone
    sampling().fit_resample(images, labels)
    sampling(strategy="balance").fit_resample(images / 255, labels)
    assert len(painter.trainings) == 1
    swapped = labels.copy()
    swapped[[np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 1)[0]]] = 1, 0
    for X, y, changes in ((images, swapped, {}), (images[::-1], labels, {}), (images, labels, {"steps": 3})):
        before = len(painter.trainings)
        sampling(**changes).fit_resample(X, y)
        assert len(painter.trainings) == before + 1


def test_5_percent_of_each_class_are_held_back(painter):
    images, labels = images_of()
    sampling().fit_resample(images, labels)
    assert Counter(label for label, *_ in painter.trainings[-1]) == {0: 57, 1: 19, 2: 3}


def test_seeds():
    images, labels = images_of()
    runs = [sampling(random_state=seed).fit_resample(images, labels)[0] for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert (runs[0][83:, 0, 0, 0] != runs[2][83:, 0, 0, 0]).mean() > 0.8
    states = [np.random.RandomState(5) for _ in range(2)]
    drawn = [sampling(random_state=state).fit_resample(images, labels)[0] for state in states]
    assert np.array_equal(*drawn)
    again = sampling(random_state=states[0]).fit_resample(images, labels)[0]
    assert not np.array_equal(again, drawn[0])


def test_the_global_random_state_is_left_alone():
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = state()
    for _ in range(2):  # trained, then cached
        SyntheticSampler("vae", **TINY).fit_resample(*images_of())
    assert state() == before


# ---------------------------------------------------------------- in imbalanced-learn


def test_only_training_rows_are_resampled(painter):
    images, labels = images_of((60, 24))
    model = make_pipeline(
        sampling(strategy="balance"),
        FeatureExtractor("vae", **TINY),
        LogisticRegression(max_iter=1000),
    )
    folds = StratifiedKFold(2)
    found = cross_validate(model, images, labels, cv=folds, return_estimator=True, error_score="raise")
    assert len(painter.trainings) == 2
    parts = folds.split(images, labels)
    for (train, _), seen, fitted in zip(parts, painter.trainings, found["estimator"], strict=True):
        assert {row for _, row, _ in seen} <= set(train.tolist())
        assert fitted[0].is_synthetic_.sum() == 18 and len(fitted[0].parent_indices_) == 60
        assert len(fitted.predict(images[:7])) == 7


def test_a_grid_search_over_strategies_trains_once_per_fold(painter):
    images, labels = images_of((60, 24))
    model = make_pipeline(sampling(), LogisticRegression(max_iter=1000))
    grid = {"syntheticsampler__strategy": ["balance", "partial:share=0"]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(images.reshape(84, -1) / 255, labels)
    assert len(painter.trainings) == 3  # two folds, and all rows at last
    assert search.best_estimator_[0].strategy in grid["syntheticsampler__strategy"]


@pytest.mark.parametrize("shape", [[1, 8, 8], (8, 8), np.array([1, 8, 8])])
def test_a_shape_is_kept_as_it_was_given(shape):
    images, labels = images_of()
    given = sampling(image_shape=shape)
    resampled, _ = given.fit_resample(images.reshape(83, -1), labels)
    assert given.layout_.shape == (1, 8, 8) and given.image_shape is shape
    other = clone(given).fit_resample(images.reshape(83, -1), labels)[0]
    assert np.array_equal(other, resampled)


def test_clones_and_pickles():
    images, labels = images_of()
    given = sampling(strategy="balance", sampling_strategy="auto", max_minutes=1.0)
    given.fit_resample(images, labels)
    other = clone(given)
    assert other.get_params() == given.get_params() and not hasattr(other, "generator_")
    back = pickle.loads(pickle.dumps(given))
    assert np.array_equal(back.is_synthetic_, given.is_synthetic_)
    weights = back.generator_.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in given.generator_.state_dict().items())
    assert np.array_equal(back.fit_resample(images, labels)[0], given.fit_resample(images, labels)[0])


def test_what_a_table_left_is_forgotten():
    images, labels = images_of()
    found = sampling()
    found.fit_resample(images.reshape(83, -1), labels)
    assert found.n_features_in_ == 64 and len(found.get_feature_names_out()) == 64
    found.fit_resample(images, labels)
    assert not hasattr(found, "n_features_in_")


def test_it_is_public():
    assert augment.SyntheticSampler is SyntheticSampler and "SyntheticSampler" in augment.__all__


# ---------------------------------------------------------------- the filter


def test_the_teachers_refuse_copies(monkeypatch):
    """Images edited in one pixel are copies; a band and a distance that let all pass leave that as the only ground."""
    monkeypatch.setattr(sampler, "default_updates", lambda n_real: 3)
    images, labels = images_of()
    found = sampling(strategy="partial-noise:below=10+teacher:folds=2,low=0,high=1,far=1,rounds=2")
    with pytest.warns(UserWarning, match="found too few images .* 2 0 of 15"):
        resampled, names = found.fit_resample(images, labels)
    assert (names == 2).sum() == 3
    report = found.filter_summary_
    assert report.tallies[2].refused["copy"] == report.tallies[2].drawn > 15
    assert len(resampled) == len(names) == len(found.is_synthetic_) == len(found.parent_indices_)
    assert found.is_synthetic_.sum() == (names == 1).sum() - 20
