"""Parts of the adversarial generators: norms and attention, final statistics, the collapse alarm."""

import math
import re
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from augment import registry
from augment.datasets import LabelledImages
from augment.generator import ImageSpec, StopTraining
from augment.training import fit

MODELS = ("cgan", "biggan")
TINY = ImageSpec(1, 8, 8, 3)
SMALL = {
    "cgan": {"width": 4, "latent_dim": 8, "embedding_dim": 4},
    "biggan": {"width": 8, "latent_dim": 8, "embedding_dim": 4},
}


def make(model, spec=TINY, **options):
    torch.manual_seed(0)
    return registry.create(model, spec, {**SMALL[model], "warmup": 0.0, "batch_size": 12, **options})


def dots(n=48):
    """A bright dot at any place, on a grey level that tells the class."""
    rng, labels = torch.Generator().manual_seed(0), torch.arange(n) % 3
    images = (60 * labels)[:, None, None, None].expand(n, 1, 8, 8).contiguous()
    rows, columns = torch.randint(8, (2, n), generator=rng)
    images[torch.arange(n), 0, rows, columns] = 255
    return LabelledImages(images.to(torch.uint8), labels)


def trained(generator, steps, **how):
    return fit(generator, dots(), None, seed=0, steps=steps, device="cpu", precision="fp32", **how)


@pytest.fixture(scope="module")
def shared():
    """The modules that hold the parts, without naming their package twice."""
    biggan = registry.get("biggan").__module__
    homes = {"biggan": biggan, **{name: biggan.replace("biggan", f"_{name}") for name in ("adversarial", "layers")}}
    return SimpleNamespace(**{name: sys.modules[home] for name, home in homes.items()})


# Norms and attention


def test_spectral_norm_is_that_of_the_weights_in_use_after_averaging(shared):
    generator = make("biggan", ema_decay=0.9)
    trained(generator, 8)
    weights = [
        (name, module.weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else module.weight)
        for name, module in generator.named_modules()
        if hasattr(module, "parametrizations")
    ]
    assert len(weights) > 10
    for name, weight in weights:  # the worst of all layers is off by 0.005 to 0.016 over 12 seeds
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.04), name


def test_settling_mends_averaged_singular_vectors(shared):
    layer = shared.biggan.spectral(nn.Linear(6, 5)).eval()
    for buffer in layer.buffers():
        buffer.mul_(0.8)  # as the average of vectors that turned
    assert torch.linalg.matrix_norm(layer.weight, 2) > 1.3
    shared.layers.settle_spectral_norms(layer)
    assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-4)
    assert not layer.training and not layer.parametrizations.weight.training


def test_standing_statistics_are_the_mean_of_those_of_the_batches(shared):
    norm = nn.BatchNorm2d(2).eval()
    norm.running_mean.fill_(99.0)
    batches = torch.randn(3, 5, 2, 4, 4)
    with shared.layers.standing_statistics(norm):
        for each in batches:
            norm(each)
    torch.testing.assert_close(norm.running_mean, batches.mean((0, 1, 3, 4)))
    torch.testing.assert_close(norm.running_var, batches.transpose(1, 2).flatten(2).var(2).mean(0))
    assert norm.momentum == 0.1 and not norm.training


@pytest.mark.parametrize("model", MODELS)
def test_samples_in_eval_mode_are_what_training_saw(model):
    """With the running averages of training in place of standing statistics the difference is far larger."""
    generator = make(model, ema_decay=0.9)
    trained(generator, 12)
    labels = torch.arange(300) % 3
    z = generator.noise(300)
    with torch.no_grad():
        in_eval = generator.synthesis(z, labels)
        in_train = generator.synthesis.train()(z, labels)
    assert (in_eval - in_train).square().mean() < 0.05 * in_train.var(dim=0).mean()


def test_conditional_batch_norm_is_an_affine_map_of_the_plain_one(shared):
    norm, x = shared.biggan.ConditionalBatchNorm2d(4, 3), torch.randn(6, 4, 5, 5)
    condition = torch.randn(6, 3)
    gain, bias = (condition @ part.weight.T for part in (norm.gain, norm.bias))
    expected = nn.functional.batch_norm(x, None, None, training=True) * (1 + gain)[..., None, None]
    torch.testing.assert_close(norm(x, condition), expected + bias[..., None, None])


def test_self_attention_starts_as_the_identity_and_attends_over_pooled_positions(shared):
    attention, x = shared.biggan.SelfAttention2d(16), torch.randn(2, 16, 6, 6)
    assert torch.equal(attention(x), x)
    with torch.no_grad():
        attention.gamma.fill_(0.5)
    query = attention.query(x).flatten(2).transpose(1, 2)
    key, value = (
        nn.functional.max_pool2d(part(x), 2).flatten(2).transpose(1, 2) for part in (attention.key, attention.value)
    )
    attended = nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    expected = x + 0.5 * attention.out(attended.transpose(1, 2).unflatten(2, (6, 6)))
    torch.testing.assert_close(attention(x), expected)


def test_orthogonal_penalty_in_closed_form(shared):
    layer = shared.biggan.spectral(nn.Linear(2, 2, bias=False))
    assert shared.biggan.orthogonal_penalty(layer).item() == pytest.approx(0, abs=1e-10)
    layer.weight = torch.tensor([[2.0, 0.0], [2.0, 0.0]])  # of norm sqrt(8): rows of 1/sqrt(2), whose product is 1/2
    shared.layers.settle_spectral_norms(layer)
    assert shared.biggan.orthogonal_penalty(layer).item() == pytest.approx(2 * 0.5**2, rel=1e-4)


# The alarm


def test_diversity_in_closed_form(shared):
    labels = torch.tensor([0, 0, 1, 1])
    real = torch.tensor([0.0, 3.0, 10.0, 11.0]).view(4, 1, 1, 1)
    drawn = torch.tensor([0.0, 1.0, 50.0, 51.0]).view(4, 1, 1, 1)
    diversity = shared.adversarial.relative_diversity
    assert diversity(drawn, real, labels) == pytest.approx((1 + 1) / (3 + 1))
    assert diversity(drawn, real, None) == pytest.approx((1 + 50 + 51 + 49 + 50 + 1) / (3 + 10 + 11 + 7 + 8 + 1))
    assert not torch.isfinite(diversity(drawn, real, torch.arange(4)))


def test_lacking_diversity_pulls_samples_apart_until_they_differ_as_real_images_do(shared):
    labels = torch.tensor([0, 0, 1, 1])
    real = torch.tensor([0.0, 3.0, 10.0, 11.0]).view(4, 1, 1, 1)
    drawn = torch.tensor([0.0, 1.0, 50.0, 51.0]).view(4, 1, 1, 1).requires_grad_()
    lacking = shared.adversarial.lacking_diversity(drawn, real, labels)
    assert lacking.item() == pytest.approx(1 - 2 / 4)
    lacking.backward()
    assert torch.allclose(drawn.grad.flatten(), torch.tensor([1.0, -1.0, 1.0, -1.0]) / 4)
    assert shared.adversarial.lacking_diversity(5 * drawn, real, labels).item() == 0
    alone = shared.adversarial.lacking_diversity(drawn, real, torch.arange(4))
    same = shared.adversarial.lacking_diversity(drawn, torch.zeros_like(real), labels)
    assert (alone.item(), same.item()) == (1.0, 0.0)  # nothing to compare with, and nothing to reach


def steps_until_alarm(alarm, steps=200, *, diversity=0.8, settled=0.3, loss_g=0.5):
    for step in range(steps):
        try:
            alarm.check()
        except StopTraining as wish:
            return step, str(wish)
        alarm.watch(torch.tensor(diversity), torch.tensor(settled), torch.tensor(loss_g))
    return steps, ""


def test_the_alarm_tells_which_sign_with_the_figures(shared):
    step, message = steps_until_alarm(shared.adversarial.CollapseAlarm(10), diversity=0.02)
    assert step == 49 + 9  # a mean of 1 is below 0.1 after 49 steps of 0.02
    assert "collapsed" in message and "for 10 steps" in message and "10%" in message
    _, message = steps_until_alarm(shared.adversarial.CollapseAlarm(10), settled=1.0, loss_g=9.0)
    assert "discriminator has won" in message and "100.0% of images" not in message and "loss is 8." in message


@pytest.mark.parametrize(
    "signs", [{}, {"diversity": 0.12}, {"settled": 1.0}, {"loss_g": 50.0}, {"diversity": math.nan}]
)
def test_the_alarm_is_silent_on_one_bad_figure_of_two_and_on_unknown_ones(shared, signs):
    assert steps_until_alarm(shared.adversarial.CollapseAlarm(10), **signs) == (200, "")


def test_patience_of_zero_switches_the_alarm_off(shared):
    assert steps_until_alarm(shared.adversarial.CollapseAlarm(0), diversity=0.0) == (200, "")


@pytest.mark.parametrize("model", MODELS)
def test_healthy_training_is_not_stopped(model):
    result = trained(make(model, collapse_patience=5, lr=2e-3, lr_d=2e-3), 60)
    assert result.stopped == "finished" and result.steps == 60
    assert result.history[-1]["diversity"] > 0.3


def without_noise(generator):
    """A synthesis net that has collapsed: the noise reaches none of its outputs."""
    generator.noise = lambda n, rng=None: torch.zeros(n, generator.config.latent_dim)
    return generator


@pytest.mark.parametrize("model", MODELS)
def test_collapsed_samples_end_training_with_the_reason(model):
    result = trained(without_noise(make(model, collapse_patience=20)), 400)
    assert re.search(r"have collapsed: .* differ \d\.\d% as much as real images .* for 20 steps", result.stopped)
    assert 50 < result.steps < 100


def test_a_discriminator_that_has_won_ends_training_with_the_reason():
    result = trained(make("cgan", collapse_patience=5, lr=1e-9, lr_d=0.02, diffaugment=[]), 150)
    assert "discriminator has won" in result.stopped


def test_a_resumed_training_is_stopped_at_the_same_step(tmp_path):
    whole = trained(without_noise(make("cgan", collapse_patience=20)), 400)
    trained(without_noise(make("cgan", collapse_patience=20)), 400, stop_at=60, folder=tmp_path)
    resumed = trained(without_noise(make("cgan", collapse_patience=20)), 400, folder=tmp_path, resume=True)
    assert (whole.steps, whole.stopped) == (resumed.steps, resumed.stopped)
    assert 60 < whole.steps < 400


def test_the_alarm_starts_anew_in_the_next_training():
    generator = without_noise(make("cgan", collapse_patience=20))
    first = trained(generator, 400)
    assert trained(generator, 400).steps == first.steps
