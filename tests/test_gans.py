"""What the conformance kit does not cover of the adversarial generators: sizes, options, the game, augmentation."""

import math
import sys

import pytest
import torch

from augment import registry
from augment.errors import ConfigError
from augment.generator import ImageSpec, evaluating

MODELS = ("cgan", "biggan")
TINY = ImageSpec(1, 8, 8, 3)
SMALL = {
    "cgan": {"width": 4, "latent_dim": 8, "embedding_dim": 4},
    "biggan": {"width": 8, "latent_dim": 8, "embedding_dim": 4},
}


def make(model, spec=TINY, **options):
    torch.manual_seed(0)
    return registry.create(model, spec, {**SMALL[model], "warmup": 0.0, "batch_size": 12, **options})


def batch(spec=TINY, n=6):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(n, *spec.shape, generator=rng), torch.arange(n) % spec.num_classes


@pytest.fixture(scope="module")
def adversarial():
    """The private module beside the plugins, without naming the package twice."""
    package = registry.get("biggan").__module__.rpartition(".")[0]
    return sys.modules[f"{package}._adversarial"]


# Sizes and options


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 17), (2, 33, 9), (3, 64, 64)])
def test_any_size_and_channel_count(model, shape):
    generator = make(model, ImageSpec(*shape, num_classes=2))
    images, labels = batch(generator.spec, 4)
    terms = generator.training_step(images, labels, generator.configure_optimizers())
    assert all(torch.isfinite(value) for value in terms.values())
    with evaluating(generator):
        assert generator.sample(2).shape == (2, *shape)
        assert generator.encode(images).shape[0] == 4


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("height, width", [(7, 28), (28, 65)])
def test_a_size_outside_8_to_64_says_what_to_do(model, height, width):
    with pytest.raises(ConfigError, match=r"8\.\.64.*--image-size (8|64)"):
        make(model, ImageSpec(1, height, width, 2))


@pytest.mark.parametrize("model", MODELS)
def test_unconditional_has_no_class_anywhere(model):
    generator = make(model, conditional=False)
    assert not generator.tags.conditional and registry.get(model).tags.conditional
    assert not [name for name, _ in generator.named_parameters() if "embedding" in name or "projection" in name]
    with evaluating(generator):
        first, other = (
            generator.sample(4, torch.full((4,), label), rng=torch.Generator().manual_seed(1)) for label in (0, 1)
        )
    assert torch.equal(first, other)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "option", [{"diffaugment": ["blur"]}, {"d_steps": 0}, {"betas": [0.5]}, {"lr_d": 0.0}, {"collapse_patience": -1}]
)
def test_options_out_of_range(model, option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        make(model, **option)


# The game


def test_hinge_losses_in_closed_form(adversarial):
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, -0.5, 1.0])
    assert adversarial.hinge_d(real, fake) == pytest.approx(0.5 / 2 + (0.5 + 2) / 3)
    assert adversarial.hinge_g(fake) == pytest.approx(2.5 / 3)


@pytest.mark.parametrize("model", MODELS)
def test_two_optimizers_with_two_learning_rates_cover_one_net_each(model):
    generator = make(model, lr=0.1, lr_d=0.2, betas=[0.3, 0.4])
    first, second = generator.configure_optimizers()
    assert (first.param_groups[0]["lr"], second.param_groups[0]["lr"]) == (0.1, 0.2)
    assert first.param_groups[0]["betas"] == second.param_groups[0]["betas"] == (0.3, 0.4)
    assert first.param_groups[0]["params"] == list(generator.synthesis.parameters())
    assert second.param_groups[0]["params"] == list(generator.discriminator.parameters())


@pytest.mark.parametrize("d_steps", [1, 3])
def test_d_steps_updates_of_the_discriminator_for_one_of_the_synthesis_net(d_steps):
    generator = make("cgan", d_steps=d_steps)
    optimizers = generator.configure_optimizers()
    generator.training_step(*batch(), optimizers)
    counts = [int(next(iter(optimizer.state.values()))["step"]) for optimizer in optimizers]
    assert counts == [1, d_steps]


@pytest.mark.parametrize("model", MODELS)
def test_each_update_moves_its_own_net_alone(model):
    generator = make(model)
    images, labels = batch()
    synthesis, discriminator = generator.configure_optimizers()
    drawn = generator.synthesis(generator.noise(6), labels)

    def moved(update):
        before = {name: p.detach().clone() for name, p in generator.named_parameters()}
        update()
        return {name.partition(".")[0] for name, p in generator.named_parameters() if not torch.equal(p, before[name])}

    assert moved(lambda: generator._update_discriminator(images, drawn.detach(), labels, discriminator)) == {
        "discriminator"
    }
    generator.zero_grad()
    assert moved(lambda: generator._update_synthesis(drawn, images, labels, synthesis)) == {"synthesis"}
    assert all(p.grad is None for p in generator.discriminator.parameters())


@pytest.mark.parametrize("model", MODELS)
def test_the_class_enters_the_discriminator_by_a_projection(model):
    discriminator = make(model).discriminator
    x = batch()[0]
    with evaluating(discriminator):
        *_, last = discriminator.feature_maps(x)
        features = last.sum((2, 3))
        zeroth, first = (discriminator(x, torch.full((6,), label)) for label in (0, 1))
        v = discriminator.projection.weight
    torch.testing.assert_close(first - zeroth, features @ (v[1] - v[0]))


# Features


@pytest.mark.parametrize("model", MODELS)
def test_encode_joins_the_layers_or_gives_one(model):
    generator, images = make(model, ImageSpec(1, 28, 28, 3)), batch(ImageSpec(1, 28, 28, 3))[0]
    assert generator.layers == ("block1", "block2", "block3")
    single = [generator.encode(images, layer=layer) for layer in generator.layers]
    assert torch.equal(generator.encode(images), torch.cat(single, dim=1))
    assert torch.equal(generator.encode(images, layer="block3,block1"), torch.cat([single[2], single[0]], dim=1))
    for one, other in zip(generator.encode_layers(images, generator.layers[::-1]), single[::-1], strict=True):
        assert torch.equal(one, other)
    with evaluating(generator):
        first, *_ = generator.discriminator.feature_maps(2 * images - 1)
    torch.testing.assert_close(generator.encode(images, layer="block1", pool=1), first.mean((2, 3)))
    torch.testing.assert_close(single[0].view(6, -1, 2, 2)[:, :, 1, 0], first[:, :, 7:, :7].mean((2, 3)))


@pytest.mark.parametrize("model", MODELS)
def test_a_pass_ends_after_the_last_wanted_block(model):
    generator, images = make(model, ImageSpec(1, 28, 28, 3)), batch(ImageSpec(1, 28, 28, 3))[0]
    ran = []
    for index, block in enumerate(generator.discriminator.blocks, start=1):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    generator.encode(images, layer="block2")
    assert ran == [1, 2]


def test_an_unknown_layer_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"'blok1'.*Did you mean 'block1'.*all, block1, block2"):
        make("cgan").encode(batch()[0], layer="blok1")


# Augmentation


def ramps(n=64, channels=2):
    """Images of which no two pixels are equal, none of them grey (0)."""
    side = torch.linspace(-1, -0.1, 64).view(8, 8)
    return side.expand(n, channels, 8, 8) * torch.arange(1, channels + 1).view(1, -1, 1, 1) / channels


def test_no_kinds_of_augmentation_leave_images_as_they_are(adversarial):
    x = ramps()
    assert adversarial.diff_augment(x, ()) is x


def test_translation_shifts_by_up_to_an_eighth_and_fills_with_grey(adversarial):
    x, shifts = ramps(), set()
    torch.manual_seed(0)
    for before, after in zip(x, adversarial.diff_augment(x, ["translation"]), strict=True):
        found = []
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                moved = torch.zeros(2, 10, 10)
                moved[:, 1 + down : 9 + down, 1 + right : 9 + right] = before
                found += [(down, right)] if torch.equal(moved[:, 1:9, 1:9], after) else []
        assert len(found) == 1
        shifts |= set(found)
    assert len(shifts) == 9


def test_cutout_greys_one_square_of_half_a_side(adversarial):
    x = ramps()
    torch.manual_seed(0)
    out = adversarial.diff_augment(x, ["cutout"])
    grey = out == 0
    assert torch.equal(out[~grey], x[~grey])
    rows, columns = grey[:, 0].any(2).sum(1), grey[:, 0].any(1).sum(1)
    assert torch.equal(grey[:, 0].sum((1, 2)), rows * columns)
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3, 4}


def test_colour_of_grey_images_is_brightness_and_contrast_alone(adversarial):
    x = ramps(channels=1)
    torch.manual_seed(0)
    out = adversarial.diff_augment(x, ["colour"])
    slope = (out.amax((1, 2, 3)) - out.amin((1, 2, 3))) / (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))
    assert 0.5 <= slope.min() < 0.6 and 1.4 < slope.max() <= 1.5
    change = out.mean((1, 2, 3)) - x.mean((1, 2, 3))
    assert -0.5 <= change.min() < -0.4 and 0.4 < change.max() <= 0.5


def test_colour_changes_saturation_where_there_are_channels(adversarial):
    torch.manual_seed(0)
    x = ramps(channels=3)
    out = adversarial.diff_augment(x, ["colour"])
    ratio = (out[:, 2] - out[:, 0]).mean((1, 2)) / (x[:, 2] - x[:, 0]).mean((1, 2))
    assert ratio.min() < 0.2 and ratio.max() > 1.5


@pytest.mark.parametrize("kinds", [["translation"], ["cutout"], ["translation", "cutout"]])
def test_gradients_pass_through_what_is_left_of_an_image(adversarial, kinds):
    x = ramps().clone().requires_grad_()
    kept = x.detach().clone()
    out = adversarial.diff_augment(x, kinds)
    out.sum().backward()
    assert torch.equal(x.detach(), kept)
    assert 0.3 < (x.grad != 0).float().mean() < 1


# BigGAN's own


def test_truncation_cuts_the_normal_off():
    generator = make("biggan", latent_dim=64, truncation=1.0)
    z = generator.sampling_noise(2000, torch.Generator().manual_seed(0))
    assert z.abs().max() <= 1
    density, inside = math.exp(-0.5) / math.sqrt(2 * math.pi), math.erf(1 / math.sqrt(2))
    assert z.std().item() == pytest.approx(math.sqrt(1 - 2 * density / inside), abs=0.005)
    assert generator.noise(2000).abs().max() > 3


def test_truncation_of_none_or_of_much_is_the_normal():
    for truncation in (None, 50.0):
        z = make("biggan", latent_dim=64, truncation=truncation).sampling_noise(2000, None)
        assert torch.isfinite(z).all() and z.std().item() == pytest.approx(1, abs=0.01) and z.abs().max() > 3


def test_every_block_gets_a_share_of_the_noise():
    generator = make("biggan", ImageSpec(1, 64, 64, 3), latent_dim=10)
    assert generator.synthesis.shares == [3, 3, 2, 2]
    z = torch.randn(1, 10)
    with evaluating(generator):
        x = generator.synthesis(z, torch.zeros(1, dtype=torch.int64))
        for place in range(10):
            other = z.clone()
            other[0, place] += 1
            assert not torch.equal(generator.synthesis(other, torch.zeros(1, dtype=torch.int64)), x), place
