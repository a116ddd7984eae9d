"""Layers as features, of the diffusion model and the flow: joins, pooling, early ends, noise that hides the image.

What all models share is checked here; their own layers beside the rest of each model.
"""

import sys

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from augment import registry
from augment.datasets import LabelledImages
from augment.errors import ConfigError
from augment.generator import ImageSpec, evaluating
from augment.training import fit

pytestmark = pytest.mark.libraries

TINY = ImageSpec(1, 8, 8, 3)
SMALL = {"channels": (8, 16), "sampling_steps": 4}


def layers():
    """The private module beside the plugins, without naming the package twice."""
    package = registry.get("ddpm").__module__.rpartition(".")[0]
    return sys.modules[f"{package}._layers"]


@pytest.fixture
def ddpm():
    return sys.modules[registry.get("ddpm").__module__]


def make(spec=TINY, **options):
    torch.manual_seed(0)
    generator = registry.create("ddpm", spec, {**SMALL, **options})
    with torch.no_grad():  # the classes of a fresh network are nearly alike
        generator.unet.class_embedding.weight.mul_(10)
    return generator.eval()


def batch(spec=TINY, n=6):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(n, *spec.shape, generator=rng), torch.arange(n) % spec.num_classes


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_features_come_from_the_null_class_alone():
    generator = make()
    images, _ = batch()
    with evaluating(generator):
        before = generator.encode(images)
        generator.unet.class_embedding.weight[:3] += 1
        assert torch.equal(before, generator.encode(images))
        generator.unet.class_embedding.weight[3] += 1
        assert not torch.allclose(before, generator.encode(images))


def test_features_of_several_layers_and_noise_draws():
    generator = make()
    images, _ = batch()
    assert generator.layers == ("down0", "down1", "mid", "up0", "up1") and generator.timesteps == 1000
    with evaluating(generator):
        parts = [generator.encode(images, layer=layer, pool=1) for layer in ("down1", "mid", "up1")]
        assert [part.shape[1] for part in parts] == [16, 16, 8]
        assert torch.equal(generator.encode(images, layer="down1,mid,up1", pool=1), torch.cat(parts, dim=1))
        assert not torch.allclose(generator.encode(images, t=400), generator.encode(images, t=50))
        assert not torch.allclose(generator.encode(images, seed=1), generator.encode(images))
        spread = [
            torch.stack([generator.encode(images, t=500, noise_draws=draws, seed=seed) for seed in range(6)]).std(0)
            for draws in (1, 8)
        ]
        assert float(spread[1].mean()) < 0.6 * float(spread[0].mean())  # about 1 / sqrt(8)


def test_features_are_means_over_a_grid_of_parts():
    generator = make(ImageSpec(1, 28, 28, 2), channels=(8, 16))
    images, _ = batch(generator.spec)
    with evaluating(generator):
        map_ = generator.activations(images, ["up0"], t=50, noise_draws=1, seed=0)["up0"]
        assert map_.shape[2:] == (14, 14)
        whole, halves = (generator.encode(images, t=50, pool=pool) for pool in (1, 2))
        corner = halves.view(6, -1, 2, 2)[:, :, 0, 1]
        torch.testing.assert_close(whole, map_.mean((2, 3)))
        torch.testing.assert_close(corner, map_[:, :, :7, 7:].mean((2, 3)))
        assert torch.equal(generator.encode(images, t=50, pool=99), map_.flatten(1))


def test_layers_come_out_of_one_pass_that_ends_after_the_last_of_them():
    generator = make()
    images, _ = batch()
    ran = []
    for name, block in generator._blocks().items():
        block.register_forward_hook(lambda *_, name=name: ran.append(name))
    with evaluating(generator):
        found = dict(zip(generator.layers, generator.encode_layers(images, generator.layers, t=7), strict=True))
        assert ran == list(generator.layers)
        for name in ("mid", "down0,up0"):
            ran.clear()
            last = name.split(",")[-1]
            (z,) = generator.encode_layers(images, [name], t=7)
            assert ran == list(generator.layers)[: generator.layers.index(last) + 1]
            assert torch.equal(z, torch.cat([found[part] for part in name.split(",")], dim=1))
        mid, joined = generator.encode_layers(images, ["mid", "all"], t=7)
        assert torch.equal(mid, found["mid"]) and torch.equal(joined, torch.cat(list(found.values()), dim=1))


def test_a_pass_that_fails_leaves_no_hook_and_keeps_its_error():
    generator = make()
    generator.unet.mid_block.forward = None
    with pytest.raises(TypeError):
        generator.encode(batch()[0])
    assert not any(block._forward_hooks for block in generator._blocks().values())


def stripes(n=600):
    """Blurred stripes, upright in class 1, lying in class 0, of a place of their own."""
    phase, noise = torch.rand(n, 1, generator=rng()), torch.rand(n, 1, 8, 8, generator=rng(1))
    wave = torch.sin(2 * torch.pi * (torch.arange(8) / 8 + 0.2 * phase))
    labels = torch.arange(n) % 2
    picture = wave[:, None, None, :].expand(n, 1, 8, 8)
    picture = torch.where(labels.view(-1, 1, 1, 1) == 1, picture, picture.transpose(2, 3))
    return ((0.5 + 0.35 * picture + 0.1 * noise).clamp(0, 1) * 255).to(torch.uint8), labels


@pytest.fixture(scope="module", params=["cosine", "linear"])
def striped(request):
    """A model that has seen the stripes, without classes."""
    torch.manual_seed(0)
    options = {**SMALL, "schedule": request.param, "steps": 40, "batch_size": 32, "ema_decay": 0.9}
    generator = registry.create("ddpm", ImageSpec(1, 8, 8, 1), options)
    images, labels = stripes()
    fit(generator, LabelledImages(images, 0 * labels), None, seed=0, device="cpu", precision="fp32")
    return generator.eval()


def probed(generator, t, **options):
    """Share of 300 stripes that a linear probe on 300 others tells from standardised features."""
    images, labels = stripes()
    with evaluating(generator):
        z = generator.encode(images.float() / 255, t=t, **options)
    z = ((z - z.mean(0)) / z.std(0)).numpy()
    return LogisticRegression(max_iter=2000).fit(z[:300], labels[:300]).score(z[300:], labels[300:])


CHANCE = 4 * (0.25 / 300) ** 0.5
"""Four standard deviations of the accuracy of guesses."""


def test_a_linear_probe_learns_nothing_from_features_at_pure_noise(striped):
    assert probed(striped, 50) > 0.95
    for layer, pool in (("up0", 4), ("all", 1)):
        assert abs(probed(striped, 999, layer=layer, pool=pool) - 0.5) < CHANCE


def test_noise_that_images_share_would_give_them_away(striped, ddpm, monkeypatch):
    """Standardising takes a constant away and blows the rest up, so the test above is one that can fail."""
    shared = torch.randn(1, 1, 8, 8, generator=rng())
    monkeypatch.setattr(ddpm, "content_noise", lambda images, seed, kind: shared.expand_as(images))
    assert probed(striped, 999) > 0.9


def test_noise_is_normal_and_follows_content_and_draw():
    images = batch(ImageSpec(1, 28, 28, 2), 40)[0]
    noise = [layers().content_noise(images, draw, torch.randn) for draw in (0, 1)]
    assert torch.equal(noise[0][[7]], layers().content_noise(images[[7]], 0, torch.randn))
    flat = torch.cat(noise).flatten(1)
    assert float(flat.mean()) == pytest.approx(0, abs=0.02) and float(flat.std()) == pytest.approx(1, abs=0.02)
    correlations = torch.corrcoef(flat) - torch.eye(80)
    assert float(correlations.abs().max()) < 6 / 28  # between images, and between draws of one image


@pytest.mark.parametrize(
    "options",
    [{"t": 1000}, {"t": -1}, {"noise_draws": 0}, {"pool": 0}, {"layer": "up7"}, {"layer": ""}, {"layer": "mid,up7"}],
)
def test_features_that_are_not_there(options):
    with pytest.raises(ConfigError, match=r"0\.\.999|at least 1|Known: all, down0"):
        make().encode(batch()[0], **options)


def test_layers_take_the_options_of_encode_alone():
    generator = make()
    with pytest.raises(ConfigError, match="'noise'.*Known: noise_draws, pool, seed, t"):
        generator.encode_layers(batch()[0], ["mid"], noise=3)
    with evaluating(generator):
        (z,) = generator.encode_layers(batch()[0], ["mid"])
        assert torch.equal(z, generator.encode(batch()[0], layer="mid"))


def test_content_noise_follows_the_image_alone():
    images = batch(n=6)[0]
    content_noise = layers().content_noise
    noise = content_noise(images, 0)
    torch.testing.assert_close(content_noise(images[[4, 2]], 0), noise[[4, 2]], rtol=0, atol=0)
    assert not torch.equal(noise[0], noise[1]) and not torch.equal(noise, content_noise(images, 1))
    many = content_noise(batch(n=200)[0], 3)
    assert 0 <= many.min() and many.max() < 1
    assert abs(float(many.mean()) - 0.5) < 0.01 and abs(float(many.var()) - 1 / 12) < 0.003


def test_layers_are_couplings_and_latents():
    spec = ImageSpec(1, 28, 28, 2)
    generator, images = (
        registry.create("realnvp", spec, {"couplings": 4, "width": 8, "rank": 3}).eval(),
        batch(spec, 4)[0],
    )
    assert generator.layers == (*(f"coupling{index}" for index in range(1, 9)), "latent")
    ran, blocks = [], generator._blocks()
    for name, block in blocks.items():
        block.register_forward_hook(lambda *_, name=name: ran.append(name))
    with evaluating(generator):
        first, latent, joined = generator.encode_layers(images, ["coupling1", "latent", "coupling8,coupling1"], pool=1)
        assert ran == list(generator.layers)
        assert torch.equal(latent, generator.encode(images))
        assert joined.shape == (4, 16 + 8) and torch.equal(joined[:, 16:], first)
        ran.clear()
        halves = generator.encode(images, layer="coupling1", pool=2)
        assert ran == ["coupling1"]
        torch.testing.assert_close(halves.view(4, 8, 4).mean(2), first)
