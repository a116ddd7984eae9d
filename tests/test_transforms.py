"""Classical augmentation of batches: what each transform and mixing does, and where its randomness comes from."""

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2

from augment.classifiers import transforms
from augment.classifiers.transforms import MIXINGS, TRANSFORMS, check_mixing, check_transforms, mixed, transformed
from augment.errors import ConfigError, DataError, UsageError

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
POLICIES = ("randaugment", "trivialaugment", "classical")
EVERY_IMAGE = 1.0


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=32, shape=(1, 28, 28)):
    """A bright disc off the centre on a dark ramp, each picture of its own brightness; nothing symmetric."""
    rows, columns = torch.meshgrid(*(torch.linspace(0, 1, side) for side in shape[1:]), indexing="ij")
    disc = ((rows - 0.4) ** 2 + (columns - 0.6) ** 2 < 0.06) * torch.linspace(100, 180, n)[:, None, None]
    return (disc + 60 * columns + 10)[:, None].expand(n, *shape).round().to(torch.uint8).contiguous()


def one_hot(n=32, classes=10):
    return torch.nn.functional.one_hot(torch.arange(n) % classes, classes).float()


def area(masks):
    return masks.sum((1, 2))


def height(masks):
    return masks.any(2).sum(1)


def top(masks):
    return masks.any(2).int().argmax(1)


def left(masks):
    return masks.any(1).int().argmax(1)


@pytest.fixture
def on_every_image(monkeypatch):
    monkeypatch.setattr(transforms, "SHARE", EVERY_IMAGE)


# Every transform


def test_the_transforms_are_policies_erasing_and_every_corruption():
    noises = {f"noise:{kind}" for kind in transforms.STRENGTHS}
    assert set(TRANSFORMS) == {"randaugment", "trivialaugment", "erasing", "classical"} | noises
    assert len(noises) == 8


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_gives_new_uint8_images_of_the_same_shape(name, shape):
    images = pictures(shape=shape)
    kept = images.clone()
    found = transformed(images, [name], rng())
    assert found.dtype == torch.uint8 and found.shape == images.shape
    assert not torch.equal(found, kept) and torch.equal(images, kept)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_draws_come_from_rng_alone_and_the_global_state_stays(name):
    images, given = pictures(), rng(3)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = transformed(images, [name], given)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(transformed(images, [name], rng(3)), first)
    assert not torch.equal(transformed(images, [name], given), first), "the generator moved on"


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "classical"])
def test_each_falls_to_about_half_of_the_images(name, monkeypatch):
    monkeypatch.setattr(transforms, "_applied", lambda name, images: 255 - images)
    images = pictures(n=1000, shape=(1, 8, 8))
    changed = (transformed(images, [name], rng()) != images).flatten(1)
    assert torch.equal(changed.any(1), changed.all(1))
    assert 0.45 < float(changed.any(1).float().mean()) < 0.55


def test_no_transforms_change_nothing():
    assert torch.equal(transformed(pictures(), [], rng()), pictures())


def test_transforms_are_applied_in_turn_each_to_its_own_half():
    images = torch.full((600, 1, 8, 8), 90, dtype=torch.uint8)
    found = transformed(images, ["noise:brightness", "noise:salt_pepper"], rng()).flatten(1)
    spotted = (found == 0).any(1) | (found == 255).any(1)
    brighter = found.median(1).values != 90
    shares = [float((spotted == a).logical_and(brighter == b).float().mean()) for a in (0, 1) for b in (0, 1)]
    assert all(0.17 < share < 0.33 for share in shares), shares


def test_the_mix_is_a_policy_and_then_erasing(monkeypatch):
    seen = []
    monkeypatch.setattr(transforms, "_applied", lambda name, images: seen.append(name) or images)
    transformed(pictures(), ["classical"], rng())
    assert seen == ["randaugment", "erasing"]


# Policies


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
def test_operations_differ_within_a_batch_and_not_by_place(name, on_every_image):
    images = pictures(n=1).expand(64, -1, -1, -1)
    found = transformed(images, [name], rng())
    kinds = found.flatten(1).unique(dim=0, return_inverse=True)[1]
    assert len(kinds.unique()) >= 5, "eight draws for 64 equal pictures"
    neighbours = (kinds[1:] == kinds[:-1]).float().mean()
    assert float(neighbours) < 0.4, "groups follow the order of the batch"


@pytest.mark.parametrize("name", POLICIES)
def test_policies_say_what_takes_other_channels(name):
    with pytest.raises(ConfigError, match=r"1 or 3 channels, these have 2.*'erasing'.*noise:"):
        transformed(pictures(shape=(2, 8, 8)), [name], rng())


@pytest.mark.parametrize("name", ["erasing", *(f"noise:{kind}" for kind in transforms.STRENGTHS)])
def test_the_others_take_any_channels(name):
    images = pictures(shape=(2, 9, 13))
    assert not torch.equal(transformed(images, [name], rng()), images)


def test_large_pictures():
    images = pictures(n=4, shape=(3, 256, 200))
    assert transformed(images, ["randaugment", "erasing", "noise:blur"], rng()).shape == images.shape


# Erasing and noise


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_erasing_fills_one_rectangle_with_the_mean_and_leaves_the_rest(shape, on_every_image):
    images = pictures(n=64, shape=shape)
    images[images == images.float().mean().round()] += 1  # so that every erased pixel shows
    mean = images.float().mean().round()
    found = transformed(images, ["erasing"], rng())
    hidden = found != images
    assert (found[hidden] - mean).abs().max() == 0
    rectangle = hidden.any(3, keepdim=True) & hidden.any(2, keepdim=True)
    assert torch.equal(hidden, rectangle)
    area = hidden.float().mean((1, 2, 3))
    assert 0 < float(area.min()) and float(area.max()) < 0.4 and float(area.max()) > 0.2
    assert len(hidden.flatten(1).unique(dim=0)) > 50, "a rectangle of its own for every picture"


def test_the_colour_is_of_each_channel(on_every_image):
    images = torch.tensor([10, 100, 200], dtype=torch.uint8)[:, None, None].repeat(20, 1, 8, 8)
    images[:10] += 4
    found = transformed(images, ["erasing"], rng())
    hidden = found != images
    for channel, mean in enumerate((12, 102, 202)):
        assert found[:, channel][hidden[:, channel]].unique().tolist() == [mean]


def test_rectangles_are_spread_as_those_of_torchvision(on_every_image):
    picture = torch.full((2000, 1, 48, 32), 255, dtype=torch.uint8)
    picture[:1000] = 0  # the mean is neither
    found = transformed(picture, ["erasing"], rng()) != picture
    erasing = v2.RandomErasing(p=1.0, value=1)
    torch.manual_seed(0)
    expected = torch.stack([erasing(image) for image in torch.zeros(2000, 1, 48, 32)]) == 1
    for measure in (area, height, top, left):
        ours, theirs = measure(found[:, 0]).float(), measure(expected[:, 0]).float()
        assert ks_2samp(ours, theirs).pvalue > 1e-3, measure


@pytest.mark.parametrize("kind, strength", transforms.STRENGTHS.items())
def test_noise_has_the_usual_strength(kind, strength, monkeypatch, on_every_image):
    seen = {}

    def recorded(images, kinds, strengths):
        seen.update(kinds=kinds, strength=strengths[kind], low=float(images.min()), high=float(images.max()))
        return (images + 0.6 / 255).clamp(0, 1)

    monkeypatch.setattr(transforms, "corrupt", recorded)
    images = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    found = transformed(images, [f"noise:{kind}"], rng())
    assert torch.equal(found.int(), (images.int() + 1).clamp(max=255)), "rounded to the nearest level"
    assert seen == {"kinds": (kind,), "strength": strength, "low": 0.0, "high": 1.0}


def test_brightness_of_a_constant_picture_stays_within_its_strength(on_every_image):
    found = transformed(torch.full((500, 1, 8, 8), 128, dtype=torch.uint8), ["noise:brightness"], rng())
    step = (found.float() - 128).flatten(1)
    assert float(step.std(1).max()) == 0
    reach = 255 * transforms.STRENGTHS["brightness"]
    assert 0.9 * reach < float(step.abs().max()) <= reach + 0.5
    assert abs(float(step.mean())) < 0.1 * reach


# Mixing


@pytest.mark.parametrize("name", MIXINGS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_targets_are_mixed_as_the_pictures_are(name, shape):
    """Pictures of two grey levels, whose label says which: a picture's mean is then its target's."""
    bright = torch.arange(40) % 2 == 0
    images = torch.where(bright[:, None, None, None], 200, 40).to(torch.uint8).expand(40, *shape)
    targets = torch.stack([bright, ~bright], dim=1).float()
    for seed in range(10):
        found, mixture = mixed(images, targets, name, rng(seed), alpha=1.0)
        assert found.dtype == torch.float32 and found.shape == images.shape and mixture.shape == targets.shape
        expected = mixture @ torch.tensor([200.0, 40.0])
        torch.testing.assert_close(found.mean((1, 2, 3)), expected, atol=1e-3, rtol=0)
        assert set(found.unique().tolist()) <= {200.0, 40.0} or name == "mixup"


def test_mixup_is_one_weighted_mean_of_two_images_for_the_whole_batch():
    images, targets = torch.rand(6, 1, 8, 8) * 255, torch.eye(6)
    found, mixture = mixed(images, targets, "mixup", rng(1), alpha=1.0)
    torch.testing.assert_close(found, torch.einsum("nm,mchw->nchw", mixture, images))
    shares = mixture.diag()
    torch.testing.assert_close(shares, shares[:1].expand(6))
    assert ((mixture > 0).sum(1) == 2).all() and ((mixture > 0).sum(0) == 2).all()


def test_cutmix_pastes_one_rectangle_of_the_partner():
    images, targets = torch.rand(6, 3, 16, 12) * 255, torch.eye(6)
    found, mixture = mixed(images, targets, "cutmix", rng(2), alpha=1.0)
    partner = (mixture - torch.diag(mixture.diag())).argmax(1)
    pasted = found != images
    assert torch.equal(pasted, pasted.any(3, keepdim=True) & pasted.any(2, keepdim=True))
    torch.testing.assert_close(torch.where(pasted, images[partner], images), found, atol=0, rtol=0)
    torch.testing.assert_close(pasted.float().mean((1, 2, 3)), 1 - mixture.diag())
    assert 0 < float(mixture[0, 0]) < 1


@pytest.mark.parametrize("name", MIXINGS)
def test_pairs_are_drawn_and_not_neighbours(name):
    pairs = set()
    for seed in range(20):
        mixture = mixed(torch.zeros(8, 1, 8, 8), torch.eye(8), name, rng(seed), alpha=1.0)[1]
        pairs.add(int((mixture - torch.diag(mixture.diag()))[0].argmax()))
    assert len(pairs) >= 5


@pytest.mark.parametrize("name", MIXINGS)
def test_weights_in_the_targets_keep_their_sum(name):
    targets = one_hot() * torch.linspace(0, 3, 32)[:, None]
    for seed in range(5):
        mixture = mixed(pictures(), targets, name, rng(seed))[1]
        torch.testing.assert_close(mixture.sum(0), targets.sum(0))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
@pytest.mark.parametrize("name", MIXINGS)
def test_shares_are_a_beta_distribution(name, alpha):
    draw = rng()
    images, targets = torch.zeros(2, 1, 64, 64), torch.eye(2)
    shares = torch.tensor([float(mixed(images, targets, name, draw, alpha)[1][0, 0]) for _ in range(400)])
    if name == "mixup":
        variance = 1 / (4 * (2 * alpha + 1))
        assert float(shares.var()) == pytest.approx(variance, rel=0.2)
        assert float(shares.mean()) == pytest.approx(0.5, abs=0.07)
    else:
        assert float(shares.mean()) > 0.55, "the rectangle is cut off at the border"


@pytest.mark.parametrize("name", MIXINGS)
def test_the_usual_alpha_is_the_papers(name):
    usual = mixed(pictures(), one_hot(), name, rng(4))
    written = mixed(pictures(), one_hot(), name, rng(4), alpha={"mixup": 0.2, "cutmix": 1.0}[name])
    assert torch.equal(usual[0], written[0]) and torch.equal(usual[1], written[1])


@pytest.mark.parametrize("name", MIXINGS)
def test_mixing_draws_from_rng_alone_and_changes_nothing_given(name):
    images, targets, given = pictures().float(), one_hot(), rng(3)
    kept = images.clone(), targets.clone()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = mixed(images, targets, name, given, alpha=1.0)[1]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, kept[0]) and torch.equal(targets, kept[1])
    torch.manual_seed(2)
    assert torch.equal(mixed(images, targets, name, rng(3), alpha=1.0)[1], first)
    assert not torch.equal(mixed(images, targets, name, given, alpha=1.0)[1], first)


# Errors


def test_unknown_names_list_the_known():
    with pytest.raises(UsageError, match=r"transform 'randaugmnt'. Did you mean 'randaugment'\?.*noise:blur"):
        check_transforms(["erasing", "randaugmnt"])
    with pytest.raises(UsageError, match="noise:gaussian"):
        transformed(pictures(), ["noise:gausian"], rng())
    with pytest.raises(UsageError, match="cutmix, mixup"):
        check_mixing("cutout")
    with pytest.raises(UsageError, match="cutmix, mixup"):
        mixed(pictures(), one_hot(), "cutout", rng())


def test_known_names_pass():
    check_transforms(list(TRANSFORMS))
    for name in MIXINGS:
        check_mixing(name)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_is_above_0(alpha):
    with pytest.raises(ConfigError, match=f"alpha is {alpha}"):
        mixed(pictures(), one_hot(), "mixup", rng(), alpha=alpha)


def test_images_and_targets_that_cannot_be_used():
    with pytest.raises(DataError, match="torch.float32; give uint8"):
        transformed(pictures().float(), ["erasing"], rng())
    for images, targets in (
        (pictures(), torch.arange(32)),
        (pictures(), one_hot().long()),
        (pictures(), one_hot(8)),
        (pictures()[0], one_hot(1)),
    ):
        with pytest.raises(DataError, match="cannot be mixed"):
            mixed(images, targets, "mixup", rng())
