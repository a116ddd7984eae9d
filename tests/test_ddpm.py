"""What the conformance kit does not cover of the diffusion model: its arithmetic, samplers, guidance."""

import sys

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from augment import registry
from augment.errors import ConfigError
from augment.generator import ImageSpec, draw, evaluating

pytestmark = pytest.mark.libraries

TINY = ImageSpec(1, 8, 8, 3)
SMALL = {"channels": (8, 16), "sampling_steps": 4}


def sibling(name):
    """A private module beside the plugins, without naming the package twice."""
    package = registry.get("ddpm").__module__.rpartition(".")[0]
    return sys.modules[f"{package}.{name}"]


@pytest.fixture(scope="module")
def process():
    return sibling("_diffusion")


@pytest.fixture(scope="module")
def ddpm():
    return sys.modules[registry.get("ddpm").__module__]


def make(spec=TINY, **options):
    torch.manual_seed(0)
    guidance = {} if options.get("conditional") is False else {"guidance": 1.0}
    generator = registry.create("ddpm", spec, {**SMALL, **guidance, **options})
    with torch.no_grad():  # the classes of a fresh network are nearly alike
        if generator.unet.class_embedding is not None:
            generator.unet.class_embedding.weight.mul_(10)
    return generator.eval()


def batch(spec=TINY, n=6):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(n, *spec.shape, generator=rng), torch.arange(n) % spec.num_classes


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# The forward process


@pytest.mark.parametrize("ours, theirs", [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_schedules_are_those_of_diffusers(process, ours, theirs):
    expected = DDPMScheduler(beta_schedule=theirs).alphas_cumprod
    torch.testing.assert_close(process.Diffusion(ours, "v").alpha_bar, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_a_right_prediction_gives_the_clean_image_back(process, prediction):
    diffusion = process.Diffusion("cosine", prediction)
    x, eps, t = torch.rand(5, 1, 4, 4), torch.randn(5, 1, 4, 4), torch.tensor([0, 10, 300, 600, 900])
    x_t = diffusion.add_noise(x, eps, t)
    torch.testing.assert_close(diffusion.to_x0(diffusion.target(x, eps, t), x_t, t), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_weights_are_min_snr_in_terms_of_the_clean_image(process, prediction):
    diffusion = process.Diffusion("cosine", prediction)
    x, eps, t = torch.rand(4, 1, 4, 4), torch.randn(4, 1, 4, 4), torch.tensor([100, 300, 500, 800])
    x_t, target = diffusion.add_noise(x, eps, t), diffusion.target(x, eps, t)
    wrong = target + 0.1 * torch.randn_like(target)
    error_x = (diffusion.to_x0(wrong, x_t, t) - x).square().mean((1, 2, 3))
    error = (wrong - target).square().mean((1, 2, 3))
    snr = diffusion.alpha_bar[t] / (1 - diffusion.alpha_bar[t])
    torch.testing.assert_close(diffusion.weight(t, 5.0) * error, snr.clamp(max=5) * error_x, rtol=1e-3, atol=1e-6)


# Samplers: where data are N(m, s^2), the best prediction is known, and what is drawn must be N(m, s^2)

M, S = 0.3, 0.2


def posterior_mean(process):
    alpha_bar = process.Diffusion("cosine", "v").alpha_bar

    def predict(x_t, t):
        a = alpha_bar[t]
        return M + a.sqrt() * S**2 / (a * S**2 + 1 - a) * (x_t - a.sqrt() * M)

    return predict


@pytest.mark.parametrize("name, steps", [("ddpm", 250), ("ddim", 250), ("dpm-solver++", 50)])
def test_samplers_draw_from_the_data_distribution(process, name, steps):
    noise = torch.randn(4000, 1, 2, 2, generator=rng())
    x = process.SAMPLERS[name](noise, posterior_mean(process), schedule="cosine", steps=steps, rng=rng(1))
    assert float(x.mean()) == pytest.approx(M, abs=0.01)
    assert float(x.std()) == pytest.approx(S, rel=0.06)


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpm-solver++"])
def test_samplers_may_begin_on_the_way(process, name):
    steps, first = 200, 120
    t = torch.full((4000,), process.timesteps(steps)[first])
    x = M + S * torch.randn(4000, 1, 2, 2, generator=rng())
    x_t = process.Diffusion("cosine", "v").add_noise(x, torch.randn(x.shape, generator=rng(2)), t)
    seen = []

    def predict(x_t, t):
        seen.append(t)
        return posterior_mean(process)(x_t, t)

    drawn = process.SAMPLERS[name](x_t, predict, schedule="cosine", steps=steps, first=first, rng=rng(1))
    assert seen == process.timesteps(steps)[first:]
    assert (float(drawn.mean()), float(drawn.std())) == pytest.approx((M, S), rel=0.06)
    kept = float(torch.corrcoef(torch.stack([drawn.flatten(), x.flatten()]))[0, 1])
    assert 0.05 < kept < 0.999  # something of the start is left, and something is new


@pytest.mark.parametrize("steps", [1, 7, 16, 1000])
def test_timesteps_are_the_scheduler_s(process, steps):
    scheduler = process._scheduler(DDPMScheduler, "cosine", steps)
    assert process.timesteps(steps) == scheduler.timesteps.tolist()
    assert process.timesteps(steps)[0] == 999


# The model


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 17), (2, 33, 9), (3, 64, 64)])
def test_any_size_and_channel_count(shape):
    spec = ImageSpec(*shape, num_classes=2)
    generator = make(spec)
    images, labels = batch(spec, 3)
    assert torch.isfinite(generator.loss(images, labels))
    with evaluating(generator):
        assert generator.sample(2, rng=rng()).shape == (2, *shape)
        assert generator.encode(images, pool=1).shape == (3, 16)


def test_deeper_networks_pad_to_their_coarsest_resolution():
    generator = make(ImageSpec(1, 28, 28, 2), channels=(8, 8, 16), attention=True)
    assert (generator.patch, generator.grid.cell, generator.grid.rows) == (2, 8, 4)
    assert generator.sample(2, rng=rng()).shape == (2, 1, 28, 28)


@pytest.mark.parametrize("size, side", [(7, "8..64"), (65, "8..64")])
def test_sizes_it_cannot_take(size, side):
    with pytest.raises(ConfigError, match=f"(?s){size} pixels.*{side}.*--image-size"):
        make(ImageSpec(1, size, size, 2))


def test_guidance_moves_away_from_the_prediction_without_class():
    plain, guided = make(), make(guidance=3.0)
    x_t, t, labels = torch.randn(3, 1, 8, 8), torch.full((3,), 600), torch.arange(3)
    with torch.no_grad():
        outputs = [plain._network(x_t, t, plain.condition(given)) for given in (labels, torch.full((3,), 3))]
        expected = plain.diffusion.to_x0(outputs[1] + 3 * (outputs[0] - outputs[1]), x_t, t).clamp(-1, 1)
        torch.testing.assert_close(guided.predict(x_t, t, labels), expected)
        assert not torch.allclose(plain.predict(x_t, t, labels), expected)


def test_labels_are_withheld_while_training_only():
    generator = make(label_dropout=0.3)
    torch.manual_seed(0)
    labels = torch.zeros(2000, dtype=torch.int64)
    assert torch.equal(generator._visible(labels), labels)
    hidden = generator.train()._visible(labels) == 3
    assert float(hidden.float().mean()) == pytest.approx(0.3, abs=0.04)


def test_an_unconditional_model_knows_no_classes():
    generator = make(conditional=False)
    assert not generator.tags.conditional and generator.unet.class_embedding is None
    zero, one = (generator.sample(3, torch.full((3,), label), rng=rng()) for label in (0, 1))
    assert torch.equal(zero, one)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"conditional": False, "guidance": 2.0}, "conditional=true"),
        ({"label_dropout": 0.0, "guidance": 2.0}, "set label_dropout to 0.1"),
        ({"channels": (12,)}, "multiples of 8"),
        ({"channels": ()}, "at least 1 item"),
        ({"sampler": "euler"}, "dpm-solver"),
        ({"sampling_steps": 1001}, "1000"),
    ],
)
def test_options_that_cannot_be_meant(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_guidance_has_no_part_in_an_unconditional_model():
    assert (make(guidance=None).config.guided, make(conditional=False).config.guided) == (2.0, 1.0)
    x_t, t, labels = torch.randn(3, 1, 8, 8), torch.full((3,), 600), torch.arange(3)
    calls = []
    generator = make(conditional=False)
    generator.unet.register_forward_hook(lambda *_: calls.append(1))
    generator.predict(x_t, t, labels)
    assert len(calls) == 1


def test_noise_on_black_and_white_areas_is_taken_away(ddpm):
    real, noise = torch.rand(50, 1, 8, 8, generator=rng()), 0.03 * torch.rand(50, 1, 8, 8, generator=rng(1))
    real[:, :, :4] = 0
    real[:, :, 7:] = 1
    drawn = (real + noise * (real == 0) - noise * (real == 1)).clamp(0, 1)
    black, white = ddpm.saturation(real, drawn).tolist()
    assert 0.02 < black < 0.05 and 0.95 < white < 0.98
    assert ddpm.saturation(real, torch.full_like(drawn, 0.5)).tolist() == pytest.approx([0.1, 0.9])
    middling = 0.2 + 0.6 * real
    assert ddpm.saturation(middling, drawn).tolist() == [0.0, 1.0]


def test_a_trained_model_draws_as_much_black_as_its_data_have():
    generator = make(sampling_steps=8)
    images, labels = batch(n=64)
    images = (images * 255).round() / 255
    images[:, :, :4] = 0
    with evaluating(generator):
        before = generator.sample(64, labels, rng=rng(5))
        generator.after_training(images, labels)
        after = generator.sample(64, labels, rng=rng(5))
    moved = after != before
    assert moved.any() and ((after == 0) | (after == 1))[moved].all()
    assert float((before - after).abs().max()) <= 0.1 + 1e-6


def test_options_that_do_not_go_together_are_named_without_the_others():
    with pytest.raises(ConfigError) as caught:
        make(conditional=False, guidance=2.0)
    assert str(caught.value).startswith("Options of DDPMConfig: guidance=2 weighs a class against none")


def test_image_to_image_keeps_more_the_weaker_it_is():
    generator = make(sampling_steps=20)
    images, labels = batch()
    distances = []
    for strength in (0.05, 0.4, 1.0):
        drawn = generator.sample_from(images, labels, strength, rng=rng())
        assert drawn.shape == images.shape and 0 <= float(drawn.min()) and float(drawn.max()) <= 1
        distances.append(float((drawn - images).square().mean()))
    assert distances[0] < 0.5 * distances[1] < 0.5 * distances[2]
    assert torch.equal(*(generator.sample_from(images, labels, 0.5, rng=rng(3)) for _ in range(2)))


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.1])
def test_image_to_image_refuses_other_strengths(strength):
    with pytest.raises(ConfigError, match=r"\(0, 1\]"):
        make().sample_from(*batch(), strength)


def test_samples_do_not_depend_on_the_autocast_around_them():
    generator = make()
    labels = torch.arange(6) % 3
    exact, half = (next(draw(generator, labels, 0, precision=precision)) for precision in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    torch.testing.assert_close(exact, half, atol=0.1, rtol=0)
