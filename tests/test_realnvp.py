"""The flow against closed forms: Jacobians, inverses, densities, masks; and what its classes and options do."""

import math
import sys

import pytest
import torch
from torch.autograd.functional import jacobian
from torch.distributions import LowRankMultivariateNormal

from augment import registry
from augment.datasets import LabelledImages
from augment.errors import ConfigError
from augment.generator import ImageSpec, evaluating
from augment.training import fit

SPEC = ImageSpec(1, 8, 8, 3)
SMALL = {"couplings": 4, "width": 8, "rank": 3}


def sibling(name):
    """A private module beside the plugin, without naming the package twice."""
    package = registry.get("realnvp").__module__.rpartition(".")[0]
    return sys.modules[f"{package}.{name}"]


@pytest.fixture(scope="module")
def flows():
    registry.get("realnvp")
    return sibling("_flows")


@pytest.fixture(scope="module")
def layers():
    registry.get("realnvp")
    return sibling("_layers")


@pytest.fixture(scope="module")
def gaussians():
    registry.get("realnvp")
    return sibling("_flows").ClassGaussians


def untrained(spec=SPEC, **options):
    torch.manual_seed(0)
    return registry.create("realnvp", spec, {**SMALL, **options}).eval()


def shaken(spec=SPEC, **options):
    """A generator with random weights everywhere, also where training starts from zero."""
    generator = untrained(spec, **options)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            parameter += torch.randn_like(parameter) * (0.05 if "head" in name else 0.1)
        generator.flow(generator.logit(pictures(16, spec))[0], fit_actnorm=True)
    return generator


def pictures(n, spec=SPEC, seed=0):
    """8-bit images; a quarter of the pixels black and some white, as in pictures of clothes."""
    rng = torch.Generator().manual_seed(seed)
    values = torch.randint(-80, 300, (n, *spec.shape), generator=rng).clamp(0, 255)
    return values / 255


def shaded(n, seed=0):
    """Classes that differ in brightness: 0 dark, 1 medium, 2 bright."""
    labels = torch.arange(n) % 3
    noise = torch.randint(0, 40, (n, *SPEC.shape), generator=torch.Generator().manual_seed(seed))
    return LabelledImages((noise + 90 * labels[:, None, None, None]).to(torch.uint8), labels)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    generator = registry.create("realnvp", SPEC, {**SMALL, "steps": 40, "batch_size": 32, "ema_decay": 0.9})
    fit(generator, shaded(300), None, seed=0, device="cpu", precision="fp32")
    return generator


# Layers


def test_dequantised_pixels_keep_their_value(flows):
    values = torch.arange(256) / 255
    for noise in (1e-3, 0.5, 1 - 1e-3):
        v = flows.dequantise(values, noise)
        assert torch.equal((v * 256).floor(), torch.arange(256.0))
        assert torch.equal((flows.requantise(v) * 255).round(), torch.arange(256.0))
    torch.testing.assert_close(flows.requantise(flows.dequantise(values, 0.5)), values)


@pytest.mark.parametrize("alpha", [1e-6, 1e-5, 0.05])
def test_logit_is_the_derivative_it_reports(flows, alpha):
    logit = flows.Logit(alpha).double()
    v = torch.tensor([0.0, 1e-4, 0.3, 0.9, 1.0], dtype=torch.float64)[:, None]
    y, log_det = logit(v)
    slopes = jacobian(lambda u: logit(u)[0].sum(), v).squeeze()
    torch.testing.assert_close(log_det, slopes.log())
    torch.testing.assert_close(logit.inverse(y), v)


def test_checkerboard_mask_is_one_on_the_image(flows):
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    squeezed = flows.squeeze(board.expand(1, 3, 8, 8).float())
    a, b = flows.split_channels("checkerboard", 12)
    assert (squeezed[:, a] == 0).all() and (squeezed[:, b] == 1).all()


@pytest.mark.parametrize("mask", ["halves", "checkerboard", "stripes"])
@pytest.mark.parametrize("channels", [4, 8, 12])
def test_masks_split_in_equal_halves(flows, mask, channels):
    a, b = flows.split_channels(mask, channels)
    assert len(a) == len(b) and sorted([*a.tolist(), *b.tolist()]) == list(range(channels))


def test_actnorm_normalises_the_first_batch(flows):
    norm, x = flows.ActNorm(4), 3 * torch.randn(50, 4, 2, 2) + torch.arange(4.0)[:, None, None]
    x[:, 3] = 7.0  # a channel that never varies
    norm.fit(x)
    y, log_det = norm(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var((0, 2, 3), correction=0), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    torch.testing.assert_close(norm.inverse(y), x)
    torch.testing.assert_close(log_det, (-4 * norm.std.log().sum()).expand(50))


def test_coupling_conditions_on_one_half_within_its_bound(flows):
    coupling = flows.AffineCoupling("stripes", True, 4, (2, 2), 8, 1)
    torch.nn.init.normal_(coupling.net.head.weight, std=100.0)
    x = torch.randn(3, 4, 2, 2)
    y, log_det = coupling(x)
    assert torch.equal(y[:, [1, 3]], x[:, [1, 3]]) and not torch.isclose(y[:, [0, 2]], x[:, [0, 2]]).any()
    assert log_det.abs().max() <= 8 * flows.FIRST_BOUND + 1e-4


# The whole flow


def test_untrained_flow_is_the_logit_of_a_normal():
    """Couplings start as the identity, so density and Jacobian have closed forms."""
    generator, images = untrained(alpha=0.05), pictures(4)
    v = sibling("_flows").dequantise(images, sibling("_layers").content_noise(images, 0)).double()
    p = 0.05 + 0.9 * v
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(torch.logit(p))
    expected = (normal + math.log(0.9) - (p * (1 - p)).log()).flatten(1).sum(1)
    torch.testing.assert_close(generator.log_prob(images).double(), expected, rtol=1e-5, atol=1e-2)


def test_log_determinant_is_the_jacobians():
    generator = shaken(ImageSpec(1, 8, 8, 2)).double()
    v = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    _, log_det = generator._latents(v)
    matrix = jacobian(lambda u: generator._latents(u)[0], v).reshape(64, 64)
    torch.testing.assert_close(log_det.squeeze(), torch.linalg.slogdet(matrix)[1])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 8, 12), (1, 10, 14)])
@pytest.mark.parametrize("autocast", [False, True])
def test_invertible_with_random_weights(shape, autocast):
    spec = ImageSpec(*shape, num_classes=2)
    generator, images = shaken(spec), pictures(4, spec)
    with evaluating(generator), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        z = generator.encode(images)
        back = generator.decode(z)
    assert z.shape == (4, math.prod(shape)) and z.dtype == back.dtype == torch.float32
    assert (back - images).abs().max() < 1e-3  # 1.7e-4 at most over eight seeds and two instruction sets; bf16 has 4e-3


def test_invertible_when_trained(trained):
    for images in (
        shaded(9, seed=5).images / 255,
        pictures(9),
        torch.zeros(1, *SPEC.shape),
        torch.ones(1, *SPEC.shape),
    ):
        assert (trained.reconstruct(images) - images).abs().max() < 1e-4
    z = torch.randn(9, 64) * 0.3 + trained.base.mean[1].detach()  # far from black and white, which are clamped
    assert (trained.encode(trained.decode(z)) - z).abs().max() < 1e-4


def test_sizes_set_the_number_of_scales():
    for shape, scales in (((1, 8, 8), 1), ((1, 28, 28), 2), ((3, 32, 32), 3), ((1, 64, 64), 3), ((1, 30, 30), 1)):
        assert len(untrained(ImageSpec(*shape, num_classes=2)).flow.scales) == scales
    assert len(untrained(ImageSpec(1, 64, 64, 2), scales=4).flow.scales) == 4


@pytest.mark.parametrize(("height", "width", "works"), [(27, 27, 28), (8, 9, 8), (6, 6, 8), (96, 96, 64)])
def test_sizes_a_flow_cannot_halve(height, width, works):
    with pytest.raises(ConfigError, match=f"{height} x {width}.*--image-size {works}"):
        untrained(ImageSpec(1, height, width, 2))


# Training


def test_actnorm_starts_from_the_first_training_batch_only():
    generator = untrained()
    images, labels = pictures(16), torch.arange(16) % 3
    generator.loss(images, labels)
    assert not generator.initialised and torch.equal(generator.flow.scales[0].norms[0].std, torch.ones(1, 4, 1, 1))
    generator.train().loss(images, labels)
    first = generator.flow.scales[0].norms[0].std.clone()
    assert generator.initialised and not torch.equal(first, torch.ones(1, 4, 1, 1))
    generator.loss(images / 2, labels)
    assert torch.equal(generator.flow.scales[0].norms[0].std, first)


def test_training_lowers_bits_below_what_a_histogram_needs(trained):
    """The values are uniform over 40 of each class, which no model can code in fewer than log2(40) bits."""
    images = shaded(90, seed=9).images / 255
    bits = trained.bits_per_dimension(images).mean()
    assert math.log2(40) < bits < 6.4
    assert trained.bits_per_dimension(pictures(30)).min() > bits + 1


@torch.no_grad()
def test_the_loss_is_bits_per_dimension_given_the_class(trained, layers, monkeypatch):
    """Classes that differ so much are known from the image, so withholding one of three costs log2(3) bits."""
    data = shaded(60, seed=9)
    images = data.images / 255
    monkeypatch.setattr(torch, "rand_like", lambda like: layers.content_noise(like, 0))
    terms = trained.loss(images, data.labels)
    assert torch.equal(terms["loss"], terms["bits_per_dim"])
    withheld = trained.bits_per_dimension(images).mean() - terms["loss"]
    torch.testing.assert_close(withheld, torch.tensor(math.log2(3) / 64), atol=1e-3, rtol=0)
    assert trained.loss(images, (data.labels + 1) % 3)["loss"] > terms["loss"] + 0.1


# Likelihood


def test_log_prob_of_an_image_is_one_number(trained):
    images = pictures(8)
    values = trained.log_prob(images)
    torch.manual_seed(5)
    assert torch.equal(trained.train().log_prob(images), values)
    trained.eval()
    torch.testing.assert_close(trained.log_prob(images[[6, 1]]), values[[6, 1]])
    bits = 8 - values / (64 * math.log(2))
    torch.testing.assert_close(trained.bits_per_dimension(images), bits)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(trained.log_prob(images), values)


def test_more_draws_are_averaged(trained, flows, layers):
    images = pictures(4)
    singles = [trained._log_density(flows.dequantise(images, layers.content_noise(images, draw))) for draw in (0, 1)]
    torch.testing.assert_close(trained.log_prob(images, draws=2), (singles[0] + singles[1]) / 2)
    assert not torch.equal(*singles)


def random_gaussians(gaussians):
    torch.manual_seed(0)
    base = gaussians(6, 3, 2)
    for tensor in (base.mean.data, base.log_std.data, base.factor):
        tensor.normal_()
    return base


def test_class_densities_equal_an_independent_implementation(gaussians):
    base, z = random_gaussians(gaussians), torch.randn(5, 6)
    expected = LowRankMultivariateNormal(base.mean, base.factor, (2 * base.log_std).exp()).log_prob(z[:, None])
    torch.testing.assert_close(base.log_prob(z), expected, rtol=1e-4, atol=1e-4)
    base.factor.zero_()
    labels = torch.tensor([0, 2, 1, 1, 0])
    diagonal = base.log_prob(z).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(base.diagonal_log_prob(z, labels), diagonal)


@torch.no_grad()
def test_class_densities_are_sampled_and_fitted_back(gaussians):
    base, fitted, labels = random_gaussians(gaussians), gaussians(6, 3, 2), torch.arange(9000) % 3
    z = base.sample(labels, 1.0, torch.Generator().manual_seed(0))
    for k in range(3):
        covariance = base.factor[k] @ base.factor[k].T + torch.diag((2 * base.log_std[k]).exp())
        std = covariance.diagonal().sqrt()
        torch.testing.assert_close(z[labels == k].mean(0) / std, base.mean[k] / std, atol=0.08, rtol=0)
        assert ((torch.cov(z[labels == k].T) - covariance).abs() / std.outer(std)).max() < 0.1
    fitted.fit(z, labels)
    truth, found = (each.log_prob(z).gather(1, labels[:, None]).mean() for each in (base, fitted))
    diagonal = fitted.diagonal_log_prob(z, labels).mean()
    assert truth - 0.5 < found and diagonal < found


def test_a_class_without_images_is_all_of_them_and_one_with_few_leans_on_all(gaussians):
    torch.manual_seed(0)
    base, z = gaussians(5, 3, 2), torch.randn(201, 5) + 2
    z[200] = 10.0
    labels = torch.tensor([0] * 200 + [1])
    base.fit(z, labels)
    torch.testing.assert_close(base.mean[2], z.mean(0))
    assert (base.mean[1] > z.mean(0)).all() and (base.mean[1] < 10).all()
    spread = (2 * base.log_std).exp() + (base.factor**2).sum(2)
    torch.testing.assert_close(spread[1], spread[2], rtol=0.35, atol=0)
    assert (spread > 0.5).all()


# Samples


def test_samples_follow_the_class(trained):
    labels = torch.arange(90) % 3
    images = trained.sample(90, labels, rng=torch.Generator().manual_seed(0))
    for k, expected in enumerate((20 / 255, 110 / 255, 200 / 255)):
        assert abs(float(images[labels == k].detach().median()) - expected) < 0.1


def test_temperature_narrows_samples(trained, monkeypatch):
    def spread(temperature):
        monkeypatch.setattr(trained, "config", trained.config.model_copy(update={"temperature": temperature}))
        images = trained.sample(64, torch.ones(64, dtype=torch.int64), rng=torch.Generator().manual_seed(0))
        return float(images.detach().std(0).mean())

    assert spread(0.2) < 0.5 * spread(1.0)


def test_samples_do_not_depend_on_autocast(trained):
    labels = torch.arange(6) % 3
    plain = trained.sample(6, labels, rng=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(trained.sample(6, labels, rng=torch.Generator().manual_seed(0)), plain)


def test_unconditional_and_without_a_fit():
    generator = untrained(conditional=False, rank=0)
    assert not generator.tags.conditional and generator.tags.likelihood
    one, other = (generator.sample(4, torch.full((4,), k), rng=torch.Generator().manual_seed(0)) for k in (0, 2))
    assert torch.equal(one, other)
    means = generator.base.mean.detach().clone()
    generator.after_training(pictures(8), torch.arange(8) % 3)
    assert torch.equal(generator.base.mean, means)
    assert torch.isfinite(generator.log_prob(pictures(3))).all()
