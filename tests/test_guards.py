"""Every guard: once where it holds, once where it fires."""

import numpy as np
import pytest
import torch

from augment.datasets import LabelledImages, load_dataset
from augment.errors import DataError
from augment.evidence import guards
from augment.evidence.guards import (
    MISTAKES,
    Fingerprint,
    equal_updates,
    no_test_images,
    refuse_test_images,
    same_scaling,
)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def brighter(images):
    return (images.float() + 20).clamp(max=255).to(torch.uint8)


# ---------------------------------------------------------------- test images


def test_a_fingerprint_counts_exact_and_near_copies(digits):
    test = Fingerprint(digits.test.images[:50])
    mixed = torch.cat([digits.train.images[:7], digits.test.images[[3, 3, 9]], brighter(digits.test.images[10:14])])
    assert (test.exact(mixed), test.near(mixed)) == (3, 7)
    assert (test.exact(digits.test.images[50:]), test.near(digits.test.images[50:])) == (0, 0)
    assert (test.exact(mixed[:0]), test.near(mixed[:0])) == (0, 0)


def test_a_flat_test_image_is_an_exact_copy_and_near_to_no_other():
    flat = torch.full((1, 1, 8, 8), 9, dtype=torch.uint8)
    assert (Fingerprint(flat).exact(flat), Fingerprint(flat).near(flat)) == (1, 1)
    assert Fingerprint(flat).near(flat + 1) == 0


def test_no_test_images_holds_and_tells_near_copies(digits):
    known = Fingerprint(digits.test.images)
    parts = {"real": digits.train.images, "synthetic": brighter(digits.test.images[:5])}
    guard = no_test_images(parts, known)
    assert guard.passed and guard == no_test_images(parts, digits.test.images)
    assert guard.detail == (
        "real: 0 of 1,438 are test images pixel for pixel, 0 more are near copies of one; "
        "synthetic: 0 of 5 are test images pixel for pixel, 5 more are near copies of one"
    )


def test_no_test_images_fires_on_one_image_in_one_part(digits):
    leaky = torch.cat([digits.train.images[:20], digits.test.images[-1:]])
    guard = no_test_images({"real": digits.train.images, "pool": leaky}, digits.test.images)
    assert not guard.passed
    assert "pool: 1 of 21 are test images pixel for pixel, 0 more" in guard.detail
    assert "real: 0 of 1,438" in guard.detail


def test_images_of_another_shape_cannot_be_compared(digits):
    with pytest.raises(DataError, match=r"\(3, 8, 8\) cannot be compared with a set of \(1, 8, 8\)"):
        no_test_images({"real": digits.train.images.repeat(1, 3, 1, 1)}, digits.test.images)
    with pytest.raises(DataError, match="uint8"):
        Fingerprint(torch.rand(2, 1, 8, 8))


def test_nothing_is_chosen_on_test_images(digits):
    test = Fingerprint(digits.test.images)
    refuse_test_images(digits.train.images, test, "the filter's threshold")
    refuse_test_images(brighter(digits.test.images), test, "the filter's threshold")  # look-alikes are no proof
    validation = torch.cat([digits.train.images[:8], digits.test.images[:2]])
    with pytest.raises(DataError, match=r"^The filter's threshold would be chosen on test images: 2 of the 10 images"):
        refuse_test_images(validation, test, "the filter's threshold")


# ---------------------------------------------------------------- updates


def test_equal_updates_hold():
    guard = equal_updates({"real": {1500}, "oversample": {1500}})
    assert guard.passed and guard.detail == "1,500 updates"
    assert equal_updates({}).passed


@pytest.mark.parametrize("taken", [{"real": {1500}, "ddpm": {3000}}, {"real": {1500}, "ddpm": {1500, 1501}}])
def test_equal_updates_fire(taken):
    guard = equal_updates(taken)
    assert not guard.passed
    assert "real: 1,500 updates; ddpm: " in guard.detail


# ---------------------------------------------------------------- scaling


def long_tail(part, first=80):
    """Fewer and fewer images of each class."""
    rows = [(part.labels == k).nonzero().flatten()[: max(3, int(first * 0.7**k))] for k in range(10)]
    return part.subset(torch.cat(rows))


def spoiled(part, how):
    return LabelledImages(how(part.images.float()).round().clamp(0, 255).to(torch.uint8), part.labels)


def honest(part, count=300):
    """Stand-in for a generator: another mixture of classes, blurred and a little dim."""
    rare = part.subset(torch.nonzero(part.labels >= 5).flatten()[:count])
    smooth = torch.nn.functional.avg_pool2d(rare.images.float(), 3, stride=1, padding=1, count_include_pad=False)
    return LabelledImages((0.8 * rare.images + 0.2 * smooth).round().to(torch.uint8), rare.labels)


def test_scaling_holds_for_honest_images_of_other_classes(digits):
    guard = same_scaling(long_tail(digits.train), honest(digits.train), digits.test)
    assert guard.passed, guard.detail
    assert "synthetic" in guard.detail and "test" in guard.detail and " +- " in guard.detail


@pytest.mark.parametrize("mistake", MISTAKES)
def test_scaling_fires_and_names_the_mistake(digits, mistake):
    train = long_tail(digits.train)
    guard = same_scaling(train, spoiled(honest(digits.train), MISTAKES[mistake]), digits.test)
    assert not guard.passed
    assert f"they look like training images {mistake}" in guard.detail.split("; ")[0]
    guard = same_scaling(train, honest(digits.train), spoiled(digits.test, MISTAKES[mistake]))
    assert not guard.passed
    assert f"they look like training images {mistake}" in guard.detail.split("; ")[1]


def test_scaling_does_not_take_a_generator_that_learnt_nothing_for_a_mistake(digits):
    """Grey everywhere, at the mean of the real images: bad, and scaled as they are."""
    assert same_scaling(digits.train, spoiled(digits.train, lambda level: 78 + 0.2 * (level - 78)), digits.test).passed


def test_scaling_fires_on_a_scale_nobody_listed(digits):
    standardised = spoiled(digits.train, lambda level: 128 + 50 * (level - 78) / 96)
    guard = same_scaling(digits.train, standardised, digits.test)
    assert not guard.passed and "mean differs by +50 levels" in guard.detail


def test_classes_are_compared_with_themselves():
    """Dark images of a dark class are honest, and would look halved or cut off beside all training images."""
    rng = torch.Generator().manual_seed(0)
    dark, bright = (torch.randint(low, low + 60, (400, 1, 8, 8), generator=rng) for low in (0, 190))
    labels = torch.arange(2).repeat_interleave(400)
    train = LabelledImages(torch.cat([dark, bright]).to(torch.uint8), labels)
    only_dark = train.subset(range(200))
    assert same_scaling(train, only_dark, train).passed
    one_class = LabelledImages(train.images, torch.zeros_like(labels))
    assert not same_scaling(one_class, only_dark, one_class).passed


def test_classes_that_were_not_trained_on_are_compared_with_all(digits):
    others = LabelledImages(digits.test.images, digits.test.labels + 10)
    assert same_scaling(digits.train, others, digits.test).passed
    halved = spoiled(others, lambda level: level / 2)
    assert not same_scaling(digits.train, halved, digits.test).passed


def test_no_or_few_synthetic_images_pass_and_it_is_said(digits):
    for none in (None, digits.train.subset([])):
        guard = same_scaling(digits.train, none, digits.test)
        assert guard.passed and "no synthetic images" in guard.detail
    few = spoiled(digits.train.subset(range(guards.FEWEST - 1)), lambda level: level / 2)
    guard = same_scaling(digits.train, few, digits.test)
    assert guard.passed and "29 synthetic images, too few to tell" in guard.detail


def test_dark_pictures_are_no_halved_ones():
    """Rounding of a set whose levels are all low must not look like a mistake."""
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(0, 4, (600, 1, 8, 8), generator=rng).to(torch.uint8)
    part = LabelledImages(images, torch.zeros(600, dtype=torch.int64))
    assert same_scaling(part.subset(range(300)), part.subset(range(300, 600)), part).passed


def photos(count, rng, mean, deviation=30, channels=3):
    """Pictures of 12 x 12 that are bright or dark as a whole."""
    brightness = rng.normal(mean, deviation, (count, 1, 1, 1))
    pixels = np.clip(brightness + rng.normal(0, 50, (count, channels, 12, 12)), 0, 255).astype(np.uint8)
    return LabelledImages(torch.from_numpy(pixels), torch.zeros(count, dtype=torch.int64))


def of_classes(count, rng):
    """Photos of a dark, a grey and a bright class."""
    labels = torch.from_numpy(rng.integers(0, 3, count))
    parts = [photos(int((labels == label).sum()), rng, mean).images for label, mean in enumerate((70, 127, 185))]
    return LabelledImages(torch.cat(parts), labels.sort().values)


def day_and_night(count, rng):
    """Half of them dark and half of them bright."""
    night = rng.random(count) < 0.5
    images = torch.where(
        torch.from_numpy(night)[:, None, None, None], *(photos(count, rng, m).images for m in (40, 215))
    )
    return LabelledImages(images, torch.zeros(count, dtype=torch.int64))


HONEST = {
    "grey level 127": lambda count, rng: photos(count, rng, 127),
    "one channel": lambda count, rng: photos(count, rng, 127, channels=1),
    "of all brightnesses": lambda count, rng: photos(count, rng, 127, deviation=60),
    "dark": lambda count, rng: photos(count, rng, 60),
    "three classes": of_classes,
    "day and night": day_and_night,
}


@pytest.mark.parametrize("kind", HONEST)
@pytest.mark.parametrize(("trained", "tested"), [(400, 100), (60, 30)])
def test_parts_of_one_distribution_are_on_one_scale(kind, trained, tested):
    """By the levels alone 10 to 35 of 100 draws of grey photos looked inverted."""
    draw, alarms = HONEST[kind], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        guard = same_scaling(draw(trained, rng), draw(tested, rng), draw(tested, rng))
        alarms += [] if guard.passed else [guard.detail]
    assert len(alarms) <= 1, alarms


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("mean", [60, 90, 200])
@pytest.mark.parametrize("tested", [100, 30])
def test_mistakes_of_dark_and_of_bright_pictures_are_beyond_chance(mistake, mean, tested):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        train, other = photos(400, rng, mean), photos(tested, rng, mean)
        guard = same_scaling(train, None, spoiled(other, MISTAKES[mistake]))
        assert not guard.passed and f"they look like training images {mistake}" in guard.detail


def test_nothing_is_said_of_an_inversion_that_levels_do_not_show():
    rng = np.random.default_rng(0)
    train, other = photos(400, rng, 127), photos(100, rng, 127)
    assert same_scaling(train, spoiled(other, MISTAKES["inverted"]), other).passed


def test_a_few_images_may_be_bright_by_chance():
    """Of 30 images that are black or white 22 are white: 60 levels more than half of them, and one draw in 100."""
    levels = torch.tensor([0] * 8 + [255] * 22, dtype=torch.uint8)
    few = LabelledImages(levels[:, None, None, None].expand(-1, 1, 8, 8).clone(), torch.zeros(30, dtype=torch.int64))
    half = torch.tensor([0, 255] * 20, dtype=torch.uint8)
    train = LabelledImages(half[:, None, None, None].expand(-1, 1, 8, 8).clone(), torch.zeros(40, dtype=torch.int64))
    assert float(few.images.double().mean() - train.images.double().mean()) > guards.ANOTHER_SCALE
    assert same_scaling(train, few, train).passed


def test_chance_is_the_same_each_time_and_no_other_stream_is_used():
    rng = np.random.default_rng(0)
    train, other = photos(400, rng, 60), photos(100, rng, 60)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    seen, expected = guards._exchanged(other, train)
    again = guards._exchanged(other, train)
    assert torch.equal(seen, again[0]) and torch.equal(expected, again[1])
    assert torch.equal(torch.get_rng_state(), states[0]) and np.random.get_state()[1].tolist() == states[1]
    assert len({float(row) for row in seen @ torch.arange(256.0, dtype=torch.float64)}) == guards.EXCHANGES


def test_exchanges_spread_as_fresh_draws_do(monkeypatch):
    """Of several classes, and where only some of the images are exchanged: without a factor they spread 1.6 times."""
    levels = torch.arange(256, dtype=torch.float64)

    def shifts(mixtures):
        return (mixtures[0] - mixtures[1]) @ levels

    rng = np.random.default_rng(0)
    fresh = torch.stack([shifts(guards._mixtures(of_classes(100, rng), of_classes(400, rng))) for _ in range(150)])
    part, train = of_classes(100, rng), of_classes(400, rng)
    found = shifts(guards._exchanged(part, train))
    assert abs(float(found.mean())) < 0.5 and 0.75 < float(found.std() / fresh.std()) < 1.3
    monkeypatch.setattr(guards, "COMPARED", 60)
    assert 0.75 < float(shifts(guards._exchanged(part, train)).std() / found.std()) < 1.3
