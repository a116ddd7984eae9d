"""Groups of classes by hand; effects on classes and groups against SciPy's paired t test."""

import json

import numpy as np
import pytest
from scipy import stats

from augment.errors import DataError
from augment.evidence.effects import class_effects, class_groups, group_effects
from augment.evidence.statistics import class_image_variances, image_variance, paired_interval
from augment.storage.typed_json import to_json

SEED_HIGH = (870, 677, 161, 628, 319, 937, 775, 54, 499, 119)
CLASSES = ("a", "b", "c", "d")
COUNTS = (300, 100, 99, 29)
ARM = [(0.90, 0.8, 0.6, 0.5), (0.91, 0.8, 0.7, 0.3), (0.92, 0.7, 0.8, 0.4)]
REFERENCE = [(0.90, 0.7, 0.5, 0.2), (0.90, 0.6, 0.4, 0.2), (0.90, 0.6, 0.6, 0.2)]


def test_groups_are_shares_of_the_largest_class():
    assert class_groups(SEED_HIGH) == {"many": (0, 1, 3, 4, 5, 6, 8), "medium": (2, 9), "few": (7,)}


def test_groups_at_their_bounds():
    assert class_groups((300, 100, 99, 30, 29, 0)) == {"many": (0, 1), "medium": (2, 3), "few": (4, 5)}
    for largest in range(30, 3000, 30):  # rounding moves no class over a bound
        assert class_groups((largest, largest // 3, largest // 10)) == {"many": (0, 1), "medium": (2,)}


def test_a_balanced_set_has_many_alone_whatever_its_size():
    assert class_groups((5, 5, 5)) == class_groups((5000, 5000, 5000)) == {"many": (0, 1, 2)}


@pytest.mark.parametrize("counts", [(), (0, 0)])
def test_no_images_no_groups(counts):
    with pytest.raises(DataError, match="at least one class needs an image"):
        class_groups(counts)


def test_class_effects_are_paired_differences_in_points():
    rows = class_effects(CLASSES, COUNTS, ARM, REFERENCE)
    assert [(row.name, row.images) for row in rows] == list(zip(CLASSES, COUNTS, strict=True))
    for index, row in enumerate(rows):
        ours, theirs = ([100 * recalls[index] for recalls in table] for table in (ARM, REFERENCE))
        interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
        assert row.delta == pytest.approx((sum(ours) - sum(theirs)) / 3)
        assert row.ci95 == pytest.approx((interval.low, interval.high))


def test_group_effects_weigh_classes_alike():
    many, medium, few = group_effects(CLASSES, COUNTS, ARM, REFERENCE)
    assert (many.group, many.classes, many.images) == ("many", ("a", "b"), 400)
    assert (medium.classes, few.classes, few.images) == (("c",), ("d",), 29)
    per_seed = [5.0, 10.5, 6.0]
    interval = stats.ttest_1samp(per_seed, 0).confidence_interval(0.95)
    assert many.delta == pytest.approx(sum(per_seed) / 3)
    assert many.ci95 == pytest.approx((interval.low, interval.high))
    assert few.delta == pytest.approx(20.0)


def test_one_seed_and_seeds_without_spread_have_no_interval():
    rows = class_effects(CLASSES, COUNTS, ARM[:1], REFERENCE[:1])
    assert [row.delta for row in rows] == pytest.approx([0.0, 10.0, 10.0, 30.0])
    assert {row.ci95 for row in rows} == {None}
    same = group_effects(CLASSES, COUNTS, ARM, ARM)
    assert {(row.delta, row.ci95) for row in same} == {(0.0, None)}


def test_classes_without_test_images_are_left_out():
    support = (10, 10, 0, 0)
    assert [row.name for row in class_effects(CLASSES, COUNTS, ARM, REFERENCE, support)] == ["a", "b"]
    assert [row.group for row in group_effects(CLASSES, COUNTS, ARM, REFERENCE, support)] == ["many"]
    # the largest class still sets the groups, tested or not
    (row,) = group_effects(CLASSES, COUNTS, ARM, REFERENCE, (0, 0, 10, 0))
    assert (row.group, row.classes, row.images) == ("medium", ("c",), 99)


def test_rows_are_json():
    effects = [*class_effects(CLASSES, COUNTS, ARM, REFERENCE), *group_effects(CLASSES, COUNTS, ARM[:1], ARM[:1])]
    for row in effects:
        assert json.loads(json.dumps(to_json(row))) == to_json(row)
    assert set(to_json(effects[0])) == {"class", "images", "delta", "ci95"}
    assert to_json(effects[-1]) == {"group": "few", "classes": ["d"], "images": 29, "delta": 0.0, "ci95": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((CLASSES, COUNTS[:3], ARM, REFERENCE), "3 class counts for 4 classes"),
        ((CLASSES, COUNTS, [(0.1, 0.2)], REFERENCE[:1]), "2 and 4 recalls for 4 classes"),
        ((CLASSES, COUNTS, ARM, REFERENCE[:2]), "3 seeds against 2"),
        ((CLASSES, COUNTS, [], []), "No recalls for 4 classes"),
        ((CLASSES, COUNTS, ARM, REFERENCE, (1, 2)), "2 numbers of test images for 4 classes"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    for effects in (class_effects, group_effects):
        with pytest.raises(DataError, match=message):
            effects(*arguments)


def test_intervals_hold_the_chance_of_each_classs_test_images():
    """By hand: two classes of 50 test images each, of which an arm has other ones right in every seed."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 50)
    persistent = rng.integers(-1, 2, 100)  # what an image does to the difference in every seed
    ours = np.clip(0.5 + persistent / 2 + rng.normal(0, 0.1, (4, 100)), 0, 1).round()
    theirs = np.clip(0.5 - persistent / 2 + rng.normal(0, 0.1, (4, 100)), 0, 1).round()
    variances = class_image_variances(ours, theirs, truth.tolist(), 2)
    by_hand = [image_variance(ours[:, truth == label], theirs[:, truth == label]) for label in (0, 1)]
    assert variances == pytest.approx(by_hand) and min(variances) > 0
    recalls = [np.stack([side[:, truth == label].mean(1) for label in (0, 1)], 1).tolist() for side in (ours, theirs)]
    for plain, wider, extra in zip(
        class_effects(("a", "b"), (40, 40), *recalls),
        class_effects(("a", "b"), (40, 40), *recalls, None, variances),
        variances,
        strict=True,
    ):
        assert wider.delta == plain.delta
        halves = [(row.ci95[1] - row.ci95[0]) / 2 for row in (plain, wider)]
        assert halves[1] ** 2 == pytest.approx(halves[0] ** 2 + stats.norm.isf(0.025) ** 2 * extra)
    (group,) = group_effects(("a", "b"), (40, 40), *recalls, None, variances)
    gains = [100 * (np.mean(a) - np.mean(b)) for a, b in zip(*recalls, strict=True)]
    low, high, _ = paired_interval(gains, sum(by_hand) / 4)
    assert group.ci95 == pytest.approx((low, high))
