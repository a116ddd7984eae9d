"""What the conformance kit does not cover of the built-in autoencoders: noise, priors, codebook, sizes, options."""

import dataclasses
import sys

import pytest
import torch

from augment import registry
from augment.corruptions import STRENGTHS
from augment.errors import ConfigError
from augment.generator import ImageSpec, evaluating

MODELS = ("ae", "vae", "dvae", "vqvae")
SMALL = {"width": 16}
TINY = ImageSpec(1, 8, 8, 3)


def sibling(name):
    """A private module beside the plugins, without naming the package twice."""
    package = registry.get("vae").__module__.rpartition(".")[0]
    return sys.modules[f"{package}.{name}"]


def make(name, spec=TINY, **options):
    torch.manual_seed(0)
    return registry.create(name, spec, {**SMALL, **options})


def batch(spec, n=6):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(n, *spec.shape, generator=rng), torch.arange(n) % spec.num_classes


@pytest.fixture(scope="module")
def mixtures():
    registry.get("vae")
    return sibling("ae")


@pytest.fixture(scope="module")
def code_priors():
    registry.get("vqvae")
    return sibling("vqvae")


# Sizes and options


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("backbone", ["conv", "resnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 17), (2, 33, 9), (3, 64, 64)])
def test_any_size_and_channel_count(model, backbone, shape):
    spec = ImageSpec(*shape, num_classes=2)
    generator = make(model, spec, backbone=backbone)
    images, labels = batch(spec, 3)
    assert torch.isfinite(generator.loss(images, labels)["loss"])
    with evaluating(generator):
        assert generator.reconstruct(images).shape == images.shape
        assert generator.sample(2).shape == (2, *shape)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("height, width", [(7, 28), (28, 65)])
def test_a_size_outside_8_to_64_says_what_to_do(model, height, width):
    with pytest.raises(ConfigError, match=r"8\.\.64.*--image-size (8|64)"):
        make(model, ImageSpec(1, height, width, 2))


@pytest.mark.parametrize("latent_dim", [2, 2048])
def test_latent_dim_is_the_size_of_the_code(latent_dim):
    generator = make("vae", TINY, latent_dim=latent_dim)
    assert generator.encode(batch(TINY)[0]).shape == (6, latent_dim)


@pytest.mark.parametrize("latent_dim", [1, 2049])
def test_latent_dim_out_of_range(latent_dim):
    with pytest.raises(ConfigError, match="latent_dim"):
        make("vae", latent_dim=latent_dim)


@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
def test_terms_are_named_and_add_up(reconstruction):
    terms = make("vae", TINY, reconstruction=reconstruction, beta=0.25).loss(*batch(TINY))
    assert set(terms) == {"loss", f"reconstruction_{reconstruction}", "kl"}
    total = (terms[f"reconstruction_{reconstruction}"] + 0.25 * terms["kl"]) / 64
    torch.testing.assert_close(terms["loss"], total)


def test_kl_warm_up_raises_beta_from_nothing():
    generator = make("vae", TINY, steps=10, kl_warmup=0.4, beta=2.0, reconstruction="mse")
    weights = []
    for _ in range(6):
        terms = {name: value.detach() for name, value in generator.loss(*batch(TINY)).items()}
        weights.append(float((64 * terms["loss"] - terms["reconstruction_mse"]) / terms["kl"]))
    assert weights == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0], rel=1e-3)


def test_no_labels_anywhere_is_not_conditional():
    assert not make("vae", conditional=False, prior="normal").tags.conditional
    assert make("vae", conditional=False).tags.conditional
    assert make("vae", prior="normal").tags.conditional
    assert registry.get("vae").tags.conditional


def test_save_and_load_keep_the_fitted_prior(tmp_path):
    generator = make("vae", TINY)
    with evaluating(generator):
        before = generator.sample(4, torch.zeros(4, dtype=torch.int64), rng=torch.Generator().manual_seed(1))
        generator.after_training(*batch(TINY))
        after = generator.sample(4, torch.zeros(4, dtype=torch.int64), rng=torch.Generator().manual_seed(1))
    assert not torch.equal(before, after)
    generator.save(tmp_path)
    with torch.inference_mode():
        again = registry.load_generator(tmp_path).sample(
            4, torch.zeros(4, dtype=torch.int64), rng=torch.Generator().manual_seed(1)
        )
    assert torch.equal(after, again)


# Noise


def test_noise_is_for_training_only_and_the_target_is_clean(monkeypatch):
    generator = make("dvae", TINY, noise="brightness", noise_strength={"brightness": 0.9})
    images, labels = batch(TINY)
    monkeypatch.setattr(generator, "_corrupt", torch.zeros_like)
    seen = []
    generator.encoder.stem.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    generator.train().loss(images, labels)
    generator.eval().loss(images, labels)
    generator.train().encode(images)
    noisy, held_out, encoded = seen
    assert torch.equal(noisy, torch.full_like(images, -1))
    assert torch.equal(held_out, 2 * images - 1) and torch.equal(encoded, 2 * images - 1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"noise": "gausian"}, "gaussian"),
        ({"noise": []}, "at least one"),
        ({"noise_strength": -1.0}, "0 or more"),
        ({"noise_strength": {"fog": 1.0}}, "masking"),
    ],
)
def test_noise_options_that_cannot_be_meant(options, message):
    with pytest.raises(ConfigError, match=message):
        make("dvae", **options)


def test_noise_strength_is_a_scale_or_one_per_kind():
    assert make("dvae", noise_strength=2.0).config.strengths["blur"] == 2 * STRENGTHS["blur"]
    strengths = make("dvae", noise_strength={"blur": 0.1}).config.strengths
    assert strengths == {**STRENGTHS, "blur": 0.1}


# Priors


def test_mixture_prior_is_standard_normal_until_fitted(mixtures):
    z = mixtures.MixturePrior(5, 2, 3).sample(torch.zeros(20000, dtype=torch.int64), torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), torch.zeros(5), atol=0.03, rtol=0)
    torch.testing.assert_close(z.T.cov(), torch.eye(5), atol=0.05, rtol=0)


def test_mixture_prior_recovers_mean_and_covariance_of_a_class(mixtures):
    rng = torch.Generator().manual_seed(0)
    mix = torch.tensor([[2.0, 0.0], [1.5, 0.5]])
    x = torch.randn(4000, 2, generator=rng) @ mix.T + torch.tensor([3.0, -1.0])
    prior = mixtures.MixturePrior(2, 1, 2)
    prior.fit(x, torch.full_like(x, 0.3), torch.zeros(4000, dtype=torch.int64))
    z = prior.sample(torch.zeros(40000, dtype=torch.int64), rng)
    torch.testing.assert_close(z.mean(0), x.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(z.T.cov(), x.T.cov() + 0.3 * torch.eye(2), atol=0.25, rtol=0)


def test_mixture_prior_finds_two_modes(mixtures):
    rng = torch.Generator().manual_seed(0)
    x = 0.1 * torch.randn(400, 3, generator=rng)
    x[:100] += 10
    prior = mixtures.MixturePrior(3, 1, 2)
    prior.fit(x, torch.zeros_like(x), torch.zeros(400, dtype=torch.int64))
    z = prior.sample(torch.zeros(4000, dtype=torch.int64), rng)
    assert float((z[:, 0] > 5).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert not ((z[:, 0] > 2) & (z[:, 0] < 8)).any()


@pytest.mark.parametrize("latent_dim", [4, 65])
def test_mixture_prior_with_one_image_and_with_none(mixtures, latent_dim):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(101, latent_dim, generator=rng)
    labels = torch.zeros(101, dtype=torch.int64)
    x[:100] += 20
    x[100], labels[100] = -20.0, 1
    prior = mixtures.MixturePrior(latent_dim, 3, 2)
    prior.fit(x, torch.zeros_like(x), labels)
    lone, absent = (prior.sample(torch.full((3000,), k), rng) for k in (1, 2))
    torch.testing.assert_close(lone.mean(0), torch.full((latent_dim,), -20.0), atol=0.3, rtol=0)
    assert 0.5 < float(lone.std(0).mean()) < 1.5  # the covariance within the other class
    torch.testing.assert_close(absent.mean(0), x.mean(0), atol=0.6, rtol=0)
    assert float(absent.std(0).mean()) > 2  # that of all images


def test_mixture_prior_gives_the_same_fit_twice(mixtures):
    x, labels = torch.randn(300, 6, generator=torch.Generator().manual_seed(0)), torch.arange(300) % 2
    fits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        prior = mixtures.MixturePrior(6, 2, 3)
        prior.fit(x, torch.ones_like(x), labels)
        fits.append(prior.state_dict())
    assert all(torch.equal(fits[0][name], fits[1][name]) for name in fits[0])


def code_prior(code_priors):
    torch.manual_seed(0)
    prior = code_priors.CodePrior(codes=7, code_dim=3, rows=2, columns=3, num_classes=2, dim=32, layers=2).eval()
    torch.nn.init.normal_(prior.head.weight)  # far from uniform, so that the likeliest code is clear
    return prior, torch.randn(7, 3), torch.eye(2)


def test_code_prior_sees_only_what_came_before(code_priors):
    prior, codebook, one_hot = code_prior(code_priors)
    vectors = codebook[torch.randint(7, (2, 6))]
    changed = vectors.clone()
    changed[:, 3] += 1
    with torch.inference_mode():
        before, after = prior(vectors, one_hot), prior(changed, one_hot)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_cached_sampling_agrees_with_the_whole_pass(code_priors):
    prior, codebook, one_hot = code_prior(code_priors)
    with torch.inference_mode():
        codes = prior.sample(codebook, one_hot, 1e-4, torch.Generator().manual_seed(0))
        assert torch.equal(prior(codebook[codes], one_hot).argmax(-1), codes)


# Codebook


def test_codebook_starts_from_encodings_and_follows_their_means():
    codebook = make("vqvae", codes=4, code_dim=2).codebook
    clusters = torch.tensor([[5.0, 5.0], [-5.0, 5.0], [5.0, -5.0], [-5.0, -5.0]])
    rng = torch.Generator().manual_seed(0)
    for _ in range(200):
        vectors = clusters.repeat(16, 1) + 0.1 * torch.randn(64, 2, generator=rng)
        codebook.update(vectors, codebook.nearest(vectors))
    found = codebook.vectors[codebook.nearest(clusters)]
    torch.testing.assert_close(found, clusters, atol=0.1, rtol=0)


def test_a_code_out_of_use_is_revived_on_an_encoding():
    codebook = make("vqvae", codes=3, code_dim=2, codebook_decay=0.5, dead_below=0.1).codebook
    codebook.vectors.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [99.0, 99.0]]))
    codebook.sums.copy_(codebook.vectors)
    codebook.usage.fill_(1.0)
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).repeat(8, 1)
    for _ in range(8):
        codebook.update(vectors, codebook.nearest(vectors))
    assert float(codebook.vectors.max()) < 1.5


def test_perplexity_counts_the_codes_in_use():
    codebook = make("vqvae").codebook
    assert float(codebook.perplexity(torch.tensor([3, 3, 3, 3]))) == pytest.approx(1.0)
    assert float(codebook.perplexity(torch.arange(8))) == pytest.approx(8.0)


def test_decoding_rounds_to_the_codebook():
    generator = make("vqvae", TINY, code_dim=4, codes=8)
    images, labels = batch(TINY)
    generator.loss(images, labels)
    with evaluating(generator):
        z = generator.encode(images)
        assert z.shape == (6, 4 * 4)
        assert torch.equal(generator.decode(z), generator.decode(z + 1e-6))
        assert torch.equal(generator.decode(z), generator.reconstruct(images))


def test_configs_are_values():
    config = make("dvae", noise=["blur", "masking"]).config
    assert config.kinds == ("blur", "masking") and config == make("dvae", noise=["blur", "masking"]).config
    assert dataclasses.is_dataclass(make("vae").encoder.grid)
