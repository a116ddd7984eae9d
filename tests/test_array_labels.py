"""Labels of an estimator's ``y``: missing ones are told by row, and whole numbers have one name whatever their type."""

import numpy as np
import pytest
import torch

from augment import registry
from augment.errors import ConfigError
from augment.estimators.classes import Classes, InvalidLabels, check_labels
from augment.estimators.synthetic_sampler import SyntheticSampler
from augment.generator import ImageSpec

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)


class NotAvailable:
    """As pandas' NA: no comparison with it is true or false."""

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


def labels_of(kind, missing, rows=(3,)):
    """Thirty labels of two classes, with ``missing`` in the rows."""
    first, second = ("a", "b") if kind is str else (kind(0), kind(1))
    labels = [first] * 20 + [second] * 10
    for row in rows:
        labels[row] = missing
    return labels


MISSING = {
    "None": labels_of(str, None),
    "NaN": labels_of(str, np.nan),
    "NumPy's NaN": labels_of(str, np.float32("nan")),
    "NA": labels_of(str, NotAvailable()),
    "NaT": labels_of(str, np.datetime64("NaT", "s")),
    "among numbers": labels_of(int, None),
}


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("form", [list, lambda labels: np.array(labels, object)])
def test_a_missing_label_is_told_by_its_row(name, form):
    y = form(MISSING[name])
    sampler = SyntheticSampler("vae", steps=1)
    for act in (sampler.fit, sampler.fit_resample):
        with pytest.raises(ValueError, match="y has a missing label .* in row 3, counted from 0, of 30") as caught:
            act(IMAGES, y)
        assert isinstance(caught.value, InvalidLabels) and caught.value.exit_code == 3


@pytest.mark.parametrize("form", [np.array, lambda y: np.array(y)[:, None], torch.tensor, list])
def test_missing_numbers_are_told_alike(form):
    y = form(labels_of(float, float("nan"), rows=(1, 4, 7, 9, 25)))
    with pytest.raises(ValueError, match="in row 1, 4, 7 and 2 more"):
        SyntheticSampler("vae", steps=1).fit_resample(IMAGES, y)


def test_text_among_numbers_is_told():
    with pytest.raises(ValueError, match=r"29 of the 30 labels in y are text, the others not"):
        SyntheticSampler("vae", steps=1).fit(IMAGES, np.array(labels_of(str, 7), object))


@pytest.mark.parametrize(
    "y",
    [
        *(None, [], np.array(["a", "b"]), np.array(["a", "b"], object), ["nan", "a"], [0, 1], [0.5, 2.0], [True]),
        np.eye(2),
        np.array([np.str_("a"), "b"], object),
    ],
)
def test_labels_that_are_all_there_pass(y):
    check_labels(y)


# ---------------------------------------------------------------- names

NAMED = ImageSpec(1, 8, 8, 3, ("1", "2", "3"))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float64, np.float32, np.float16, str, object])
def test_whole_numbers_have_one_name_whatever_their_type(dtype):
    y = np.array([1, 2, 2, 1]).astype(dtype)
    found = Classes.find(y, NAMED)
    assert found.numbers(y).tolist() == [0, 1, 1, 0]
    assert found.of(torch.tensor([1, 0])).tolist() == [y[1], y[0]]


@pytest.mark.parametrize("names", [("1.0", "2.0", "3.0"), ("2.5", "2.00", "1.0")])
@pytest.mark.parametrize("dtype", [int, float])
def test_a_class_that_was_a_float_is_known_by_the_whole_number(names, dtype):
    y = np.array([1, 2], dtype)
    numbers = [names.index(next(name for name in names if float(name) == value)) for value in (1, 2)]
    assert Classes.find(y, ImageSpec(1, 8, 8, 3, names)).numbers(y).tolist() == numbers


def test_true_and_false_are_names_before_they_are_numbers():
    y = np.array([True, False])
    assert Classes.find(y, ImageSpec(1, 8, 8, 2, ("True", "False"))).numbers(y).tolist() == [0, 1]
    assert Classes.find(y, ImageSpec(1, 8, 8, 2, ("1", "0"))).numbers(y).tolist() == [0, 1]


def test_the_very_name_goes_first():
    spec = ImageSpec(1, 8, 8, 3, ("2", "2.0", "2.5"))
    for label, number in ((2, 0), (2.0, 1), (2.5, 2), ("2", 0), ("2.0", 1)):
        y = np.array([label])
        assert Classes.find(y, spec).numbers(y).tolist() == [number]


@pytest.mark.parametrize("y", [np.array([0, 1, 2]), np.array([0.0, 2.0]), np.array([False, True])])
def test_numbers_that_are_names_of_other_classes_are_refused(y):
    with pytest.raises(ConfigError, match="some are names of other ones of them"):
        Classes.find(y, NAMED)


@pytest.mark.parametrize("y", [np.array([0.0, 1.0]), np.array([False, True]), np.array([1])])
def test_numbers_from_0_are_taken_where_no_name_says_otherwise(y):
    for names in ((), ("cat", "dog", "cow"), ("0", "1", "2"), ("0", "dog", "cow")):
        assert Classes.find(y, ImageSpec(1, 8, 8, 3, names)).numbers(y).tolist() == y.astype(int).tolist()


@pytest.mark.parametrize("y", [np.array([1.5, 2.0]), np.array(["1.0", "2.0"]), np.array([1, 4])])
def test_labels_without_a_class_are_refused(y):
    with pytest.raises(ConfigError, match="the generator's are 1, 2, 3. Name them alike"):
        Classes.find(y, NAMED)


def test_a_saved_generator_draws_the_same_class_for_2_and_2_0(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    options = {"width": 16, "latent_dim": 4}
    registry.create("vae", NAMED, options).save(tmp_path / "saved")
    y = np.array([1] * 20 + [2] * 10)
    sampler = SyntheticSampler(generator=tmp_path / "saved", strategy="balance", device="cpu", precision="fp32")
    whole, names = sampler.fit_resample(IMAGES, y)
    images, floats = sampler.fit_resample(IMAGES, y.astype(float))
    assert np.array_equal(images, whole)
    assert floats.dtype == np.float64 and np.array_equal(floats, names) and (floats[30:] == 2).all()
