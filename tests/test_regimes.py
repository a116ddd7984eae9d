"""Class counts against closed forms, and splits that are exact, seeded and frozen."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from augment.datasets.catalogue import REGIMES, default_regime
from augment.datasets.regimes import PRESETS, Manifest, class_counts, class_shares, draw_note, draw_split
from augment.errors import ConfigError, DataError, UsageError
from augment.studies.run.config import RunConfig
from augment.studies.run.pool import held_out
from augment.studies.sweep.config import SweepConfig

PLENTY = (6000,) * 10


def split(labels, counts, seed=0, **changes):
    described = {"dataset": "toy", "dataset_sha256": "ab", "regime": "high", "imbalance_factor": 100.0, **changes}
    return draw_split(labels, counts, seed=seed, **described)


# ---------------------------------------------------------------- counts


def test_natural_takes_all_and_a_smaller_size_in_the_proportions_there_are():
    mine = (170, 90, 30, 8, 3)
    assert class_counts("natural", mine) == mine
    assert class_counts("natural", mine, size=100) == (56, 30, 10, 3, 1)  # 56.5, 29.9, 10.0, 2.7, 1.0
    assert sum(class_counts("natural", PLENTY)) == 60_000  # the default size of the others is none of its
    with pytest.raises(DataError, match="170 there"):
        class_counts("natural", mine, size=400)
    with pytest.raises(DataError, match="Class 1 has no image to train on.*--merge-classes"):
        class_counts("natural", (4, 0, 3))


def test_what_is_drawn_is_told_with_the_classes_that_it_makes_rare():
    names = tuple("abcdefg")
    assert draw_note(names, (5, 3), (5, 3)) == "All 8 training images are used, the classes as they come."
    assert draw_note(names, (50, 30), (25, 15)) == "40 of 80 training images are used."
    cut = draw_note(names, (100, 100, 100), (80, 8, 30))
    assert cut == "118 of 300 training images are used. Made rare: b (8 of 100)."  # c has 0.76 of its share
    many = draw_note(names, (100,) * 7, (100, *[1] * 6))
    assert "b (1 of 100), c (1 of 100)" in many and many.endswith("and 1 more.")


def test_a_persons_own_images_are_taken_as_they_come(tmp_path):
    assert {name: default_regime(name) for name in ("digits", "./mine", "/data/digits")} == {
        "digits": "high",
        "./mine": "natural",
        "/data/digits": "natural",
    }
    own = {"dataset": "./mine", "model": "vae"}
    assert RunConfig.parse(**own).regime == "natural"
    assert RunConfig.parse(**own, class_counts=(3, 2)).regime == "explicit"
    assert RunConfig.parse(**{**own, "dataset": "digits"}).regime == "high"
    assert SweepConfig.parse({**own, "dataset": ["./mine", "./yours"]}).values["regime"] == ("natural",)
    with pytest.raises(ConfigError, match="high and natural. Give one with --regime"):
        SweepConfig.parse({**own, "dataset": [str(tmp_path), "digits"]})


def test_balanced_is_equal_shares():
    assert class_counts("balanced", PLENTY, size=5000) == (500,) * 10
    assert sorted(class_counts("balanced", PLENTY, size=1003)) == [100] * 7 + [101] * 3


def test_semi_has_two_classes_at_a_sixth():
    counts = class_counts("semi", PLENTY, size=5000)
    assert sorted(counts) == [100] * 2 + [600] * 8
    assert sorted(class_counts("semi", (100,) * 2, size=70)) == [10, 60]  # of two classes one is the minority
    assert class_counts("semi", (100,), size=70) == (70,)


def test_high_follows_the_power_law():
    counts = sorted(class_counts("high", PLENTY, size=5000, imbalance_factor=100), reverse=True)
    head = 5000 / sum(100 ** (-rank / 9) for rank in range(10))
    assert (counts[0], counts[-1]) == (2015, 20)
    assert all(abs(count - head * 100 ** (-rank / 9)) < 1 for rank, count in enumerate(counts))


def test_a_factor_of_one_is_balanced():
    assert class_counts("high", PLENTY, size=5000, imbalance_factor=1) == (500,) * 10


def test_high_with_one_class():
    assert class_counts("high", (50,), size=30) == (30,)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_published_counts_and_scale(name):
    published = {
        "seed-high": (870, 677, 161, 628, 319, 937, 775, 54, 499, 119),
        "gamo": (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40),
    }[name]
    assert class_counts(name, PLENTY) == published
    doubled = class_counts(name, (20_000,) * 10, size=2 * sum(published))
    assert doubled == tuple(2 * count for count in published)


def test_explicit_counts_are_taken_as_they_are():
    assert class_counts("explicit", (9, 9, 9), explicit=(3, 1, 9)) == (3, 1, 9)
    assert class_counts("explicit", (9, 9, 9), explicit=(3, 1, 9), size=13) == (3, 1, 9)


@pytest.mark.parametrize(
    ("regime", "factor"),
    [("balanced", 1), ("semi", 1), ("seed-high", 1), ("gamo", 1), *(("high", factor) for factor in (1, 7.5, 100, 1e6))],
)
def test_sums_are_exact_no_class_is_empty_and_order_is_kept(regime, factor):
    shares = class_shares(regime, 10, imbalance_factor=factor, seed=3)
    for size in (*range(10, 130), 999, 1000, 4999, 5000, 50_000):
        counts = np.array(class_counts(regime, (50_000,) * 10, size=size, imbalance_factor=factor, seed=3))
        assert counts.sum() == size and counts.min() >= 1
        by_share = counts[np.argsort(-shares, kind="stable")]
        distinct = np.diff(np.sort(shares)[::-1]) < -1e-12
        assert (np.diff(by_share)[distinct] <= 0).all(), (size, by_share)


def test_a_class_lifted_to_one_image_gets_no_remainder_on_top():
    for size in range(10, 200):
        exact = np.sort(class_shares("high", 10, imbalance_factor=100, seed=0))[::-1] * size
        counts = np.sort(class_counts("high", PLENTY, size=size))[::-1]
        assert (counts[exact < 1] == 1).all(), (size, exact, counts)


def test_the_seed_draws_which_classes_are_rare():
    orders = {class_counts("high", PLENTY, size=5000, seed=seed) for seed in range(6)}
    assert len(orders) == 6
    assert len({tuple(sorted(counts)) for counts in orders}) == 1
    assert class_counts("high", PLENTY, size=5000, seed=4) == class_counts("high", PLENTY, size=5000, seed=4)


@pytest.mark.parametrize("regime", ["balanced", "semi", "high"])
@pytest.mark.parametrize("available", [(140,) * 10, (30, 500, 44), (1, 1, 1, 1), (3, 900), (7,)])
def test_without_a_size_the_largest_that_fits_is_taken(regime, available):
    def fits(size):
        try:
            class_counts(regime, available, size=size, seed=1)
        except DataError:
            return False
        return True

    largest = max(size for size in range(len(available), min(5000, sum(available)) + 1) if fits(size))
    assert sum(class_counts(regime, available, seed=1)) == largest


def test_without_a_size_plenty_of_images_give_5000():
    for regime in ("balanced", "semi", "high"):
        assert sum(class_counts(regime, PLENTY)) == 5000


# ---------------------------------------------------------------- refusals


def test_too_few_images_give_the_numbers():
    with pytest.raises(DataError) as caught:
        class_counts("balanced", (10, 3, 10, 2), size=20)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert "class 1: 5 wanted, 3 there" in message and "class 3: 5 wanted, 2 there" in message
    assert "class 0" not in message and "class 2" not in message
    assert "smaller --size" in message


def test_a_preset_that_does_not_fit_gives_the_numbers():
    with pytest.raises(DataError, match="class 0: 4000 wanted, 140 there"):
        class_counts("gamo", (140,) * 10)


def test_a_class_without_images():
    with pytest.raises(DataError, match="class 1: 1 wanted, 0 there"):
        class_counts("balanced", (5, 0, 5))


@pytest.mark.parametrize(("given", "meant"), [("hihg", "high"), ("Balance", "balanced"), ("seedhigh", "seed-high")])
def test_an_unknown_regime_names_the_nearest(given, meant):
    with pytest.raises(UsageError, match=f"Unknown regime '{given}'. Did you mean '{meant}'") as caught:
        class_counts(given, PLENTY)
    assert caught.value.exit_code == 2
    assert all(name in str(caught.value) for name in REGIMES)


@pytest.mark.parametrize("factor", [0, 0.99, -3, 1.1e6, float("inf"), float("nan")])
def test_an_imbalance_factor_out_of_range(factor):
    with pytest.raises(ConfigError, match=r"factor is .*between 1 and 1,000,000"):
        class_counts("high", PLENTY, imbalance_factor=factor)


@pytest.mark.parametrize("size", [-1, 0, 9])
def test_a_size_below_one_image_per_class(size):
    with pytest.raises(ConfigError, match=f"--size {size} is less than one image for each of the 10 classes"):
        class_counts("high", PLENTY, size=size)


@pytest.mark.parametrize(
    ("explicit", "size", "message"),
    [
        ((1, 2), None, "2 numbers; the data set has 3"),
        ((1, 0, 5), None, "has 0; every class needs at least 1"),
        ((1, -2, 5), None, "has -2"),
        ((1, 2, 3), 7, "--size 7 contradicts --class-counts, which add up to 6"),
    ],
)
def test_explicit_counts_that_make_no_sense(explicit, size, message):
    with pytest.raises(ConfigError, match=message):
        class_counts("explicit", (9, 9, 9), explicit=explicit, size=size)


def test_explicit_and_class_counts_go_together():
    with pytest.raises(UsageError, match="--class-counts goes with --regime explicit"):
        class_counts("explicit", PLENTY)
    with pytest.raises(UsageError, match="--class-counts goes with --regime explicit"):
        class_counts("high", (9, 9), explicit=(1, 2))


def test_a_preset_is_for_ten_classes():
    with pytest.raises(ConfigError, match="'gamo' is for 10 classes; this data set has 3"):
        class_counts("gamo", (5000,) * 3)
    with pytest.raises(ConfigError, match="is for 10 classes"):
        class_counts("seed-high", (5000,) * 3, size=900)


# ---------------------------------------------------------------- the split


@pytest.fixture
def labels():
    return torch.arange(3).repeat_interleave(200)[torch.randperm(600, generator=torch.Generator().manual_seed(5))]


def test_the_draw_is_exact_and_without_replacement(labels):
    manifest = split(labels, (120, 40, 7))
    train = list(manifest.train)
    assert torch.bincount(labels[train]).tolist() == [120, 40, 7]
    assert train == sorted(set(train))
    assert (manifest.size, manifest.class_counts) == (167, (120, 40, 7))


def test_five_percent_of_each_class_validate(labels):
    manifest = split(labels, (120, 40, 7))
    validation = list(manifest.validation)
    assert torch.bincount(labels[validation], minlength=3).tolist() == [6, 2, 0]
    assert validation == sorted(set(validation)) and set(validation) < set(manifest.train)


def test_the_draw_follows_its_seed_alone(labels):
    assert split(labels, (50, 50, 50), seed=1) == split(labels, (50, 50, 50), seed=1)
    drawn = {split(labels, (50, 50, 50), seed=seed).train for seed in range(5)}
    assert len(drawn) == 5
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state()
    split(labels, (50, 50, 50), seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_all_images_can_be_drawn(labels):
    assert split(labels, (200, 200, 200)).train == tuple(range(600))


def test_every_image_is_as_likely(labels):
    times = torch.zeros(600)
    for seed in range(200):
        times[list(split(labels, (20, 20, 20), seed=seed).train)] += 1
    assert times.sum() == 200 * 60
    assert times.max() < 45 and times.min() > 4  # binomial(200, 0.1): mean 20, standard deviation 4.2


def test_a_draw_of_more_than_there_is_is_refused(labels):
    with pytest.raises(DataError, match="class 1: 201 wanted, 200 there"):
        split(labels, (10, 201, 10))


def test_only_the_long_tail_records_a_factor(labels):
    assert split(labels, (9, 9, 9)).imbalance_factor == 100.0
    assert split(labels, (9, 9, 9), regime="semi").imbalance_factor is None


# ---------------------------------------------------------------- the manifest


def test_a_manifest_survives_json(labels):
    manifest = split(labels, (120, 40, 7), seed=3)
    document = json.loads(json.dumps(manifest.to_json()))
    assert document["sha256"] == manifest.sha256 and re.fullmatch("[0-9a-f]{64}", manifest.sha256)
    del document["sha256"]
    again = Manifest(**{name: tuple(value) if isinstance(value, list) else value for name, value in document.items()})
    assert again == manifest and again.sha256 == manifest.sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "other"},
        {"dataset_sha256": "cd"},
        {"regime": "semi"},
        {"imbalance_factor": 99.0},
        {"seed": 1},
        {"class_counts": (4, 6)},
        {"train": (0, 1, 3)},
        {"validation": (1,)},
    ],
)
def test_every_field_is_in_the_hash(changes):
    manifest = Manifest("toy", "ab", "high", 100.0, 0, (5, 5), (0, 1, 2), (0,))
    assert replace(manifest, **changes).sha256 != manifest.sha256


def test_held_out_images_are_of_no_split_and_equal_in_number():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 12)
    manifest = split(labels, (40, 10, 5), seed=3)
    rows = held_out(labels, manifest, most=100)
    assert labels[list(rows)].bincount().tolist() == [7, 7, 7]  # class 2 has 7 left
    assert not set(rows) & set(manifest.train)
    assert rows == held_out(labels, manifest, most=100) and len(held_out(labels, manifest, most=6)) == 6
    with pytest.raises(DataError, match="smaller --size"):
        held_out(labels, split(labels, (40, 10, 12), seed=3), most=100)
