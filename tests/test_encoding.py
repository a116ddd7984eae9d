"""Features of whole sets: options that reach the model or are refused, chunks on all cores, and what is kept."""

from __future__ import annotations

import pytest
import torch

from augment import registry
from augment.compute import encoding
from augment.compute.device import Compute
from augment.compute.encoding import ENCODE_CHUNK, check_encode_options, encode_set
from augment.compute.workers import Workers
from augment.errors import PluginError, UsageError
from augment.generator import GeneratorConfig, ImageSpec
from augment.registry import PluginEntry
from augment.registry.capabilities import Capabilities, EncodeOption
from augment.registry.models import ModelInfo
from augment.studies.features import source as cache_module
from augment.studies.features.source import FeatureCache
from augment.testing import MinimalGenerator

SPEC = ImageSpec(1, 8, 8, 3)
IMAGES = torch.randint(
    0, 256, (ENCODE_CHUNK + 44, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


class Plain(MinimalGenerator):
    name = "plain"


class Layered(MinimalGenerator):
    name = "layered"
    passes = 0

    @property
    def layers(self):
        return ("low", "mid")

    def encode(self, images, *, t=50, layer="mid"):
        assert not self.training
        assert not torch.is_grad_enabled()
        type(self).passes += 1
        return (t if layer == "mid" else -t) * super().encode(images)


class Demanding(MinimalGenerator):
    name = "demanding"

    def encode(self, images, *, t):
        return super().encode(images)


def built(cls, seed=0):
    torch.manual_seed(seed)
    return cls(GeneratorConfig(), SPEC)


@pytest.fixture
def known(monkeypatch):
    """What the cache knows of other models."""

    def put(**options):
        cards = [
            ModelInfo(
                PluginEntry(name, "", "", "", "", ""),
                Capabilities(encode_options=tuple(EncodeOption(key, "int", 1, required=False) for key in keys)),
            )
            for name, keys in options.items()
        ]
        monkeypatch.setattr(encoding, "known_models", lambda: cards)

    return put


# ---------------------------------------------------------------- options


def test_options_reach_the_model_in_eval_mode_without_gradients():
    generator = built(Layered).train()
    plain = generator.down(IMAGES.float().div(255).flatten(1)).detach()
    assert torch.allclose(encode_set(generator, IMAGES)[0], 50 * plain, rtol=1e-5, atol=1e-5)
    assert torch.allclose(encode_set(generator, IMAGES, t=2)[0], 2 * plain, rtol=1e-5, atol=1e-5)
    assert generator.training


def test_layers_come_apart_and_joined():
    generator = built(Layered).eval()
    low, mid, both, own, every = encode_set(generator, IMAGES, layers=["low", "mid", "mid,low", None, "all"], t=3)
    assert torch.equal(low, -mid)
    assert torch.equal(both, torch.cat([mid, low], dim=1))
    assert torch.equal(own, mid)
    assert torch.equal(every, torch.cat([low, mid], dim=1))


def test_an_option_the_model_lacks_is_refused_with_the_models_that_have_it(known):
    known(ddpm=("t", "layer"), vae=(), clip=("t",))
    with pytest.raises(UsageError) as caught:
        encode_set(built(Plain), IMAGES, t=50)
    assert str(caught.value) == (
        "Features of 'plain' have no option 't'; its encode has no options at all. Leave it out. "
        "Models that have t: ddpm, clip."
    )
    with pytest.raises(UsageError, match=r"no option 'noise'; its options and defaults are t=50, layer=mid\. `augment"):
        check_encode_options(Layered, {"t": 1, "noise": 2})
    with pytest.raises(UsageError, match="no option 'layer'"):
        encode_set(built(Plain), IMAGES, layers=["mid"])


def test_an_unknown_layer_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"Unknown layer of 'layered' 'mit'.*all, low, mid"):
        encode_set(built(Layered), IMAGES, layers=["low,mit"])


def test_a_required_option_that_is_missing_is_named():
    with pytest.raises(UsageError, match="Features of 'demanding' need t"):
        check_encode_options(Demanding, {})
    check_encode_options(Demanding, {"t": 1})


# ---------------------------------------------------------------- chunks


def test_workers_give_the_same_features():
    generator = registry.create("ae", SPEC, {"width": 16, "latent_dim": 4}).eval()
    workers, seen = Workers(1), []
    try:
        (features,) = encode_set(
            generator, IMAGES, compute=Compute(workers=workers), on_progress=lambda *place: seen.append(place)
        )
    finally:
        workers.close()
    assert torch.equal(features, encode_set(generator, IMAGES)[0])
    assert features.shape == (len(IMAGES), 4)
    assert seen == [(ENCODE_CHUNK, len(IMAGES)), (len(IMAGES), len(IMAGES))]


def test_precision_reaches_the_model():
    class Asking(MinimalGenerator):
        def encode(self, images):
            shade = 1.0 if torch.is_autocast_enabled("cpu") else 0.0
            return torch.full((len(images), 2), shade)

    for precision, value in (("fp32", 0), ("bf16", 1)):
        assert encode_set(built(Asking), IMAGES[:3], compute=Compute(precision=precision))[0].unique().tolist() == [
            value
        ]


@pytest.mark.parametrize(
    "spoil, message",
    [(lambda z: z * float("nan"), "non-finite"), (lambda z: z[:1], r"\(1, 4\) for 3 images"), (lambda z: z[0], "due")],
)
def test_a_plugin_that_returns_something_else_is_named(spoil, message):
    class Broken(MinimalGenerator):
        name = "broken"

        def encode(self, images):
            return spoil(super().encode(images))

    with pytest.raises(PluginError, match=f"broken.encode returned .*{message}"):
        encode_set(built(Broken), IMAGES[:3])


# ---------------------------------------------------------------- what is kept


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "plugin_code", lambda cls: "code")
    Layered.passes = 0
    return FeatureCache(tmp_path / "features")


def test_nothing_is_encoded_twice(cache):
    first = cache.encode(built(Layered), IMAGES[:9], layers=["low", "mid"], t=7)
    assert Layered.passes == 2
    again = cache.encode(built(Layered), IMAGES[:9], layers=["mid", "low"], t=7)
    assert Layered.passes == 2
    assert all(torch.equal(one, other) for one, other in zip(first, reversed(again), strict=True))
    cache.encode(built(Layered), IMAGES[:9], layers=["low"], t=7)
    assert Layered.passes == 2


@pytest.mark.parametrize(
    "seed, images, options",
    [
        (1, IMAGES[:9], {"t": 7}),
        (0, IMAGES[1:10], {"t": 7}),
        (0, IMAGES[:9], {"t": 8}),
        (0, IMAGES[:9], {}),
        (0, IMAGES[:9], {"t": 7, "compute": Compute(precision="bf16")}),
    ],
)
def test_other_weights_images_and_options_are_encoded(cache, seed, images, options):
    cache.encode(built(Layered), IMAGES[:9], layers=["low"], t=7)
    cache.encode(built(Layered, seed), images, layers=["low"], **options)
    assert Layered.passes == 2


def test_a_default_is_the_same_as_the_value_itself(cache):
    cache.encode(built(Layered), IMAGES[:9], layers=["low"])
    cache.encode(built(Layered), IMAGES[:9], layers=["low"], t=50)
    assert Layered.passes == 1


def test_a_damaged_file_is_made_again(cache):
    expected = cache.encode(built(Layered), IMAGES[:9])[0]
    (file,) = cache.folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:20])
    assert torch.equal(cache.encode(built(Layered), IMAGES[:9])[0], expected)
    assert Layered.passes == 2


def test_a_folder_that_cannot_be_written_only_means_encoding_again(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "plugin_code", lambda cls: "code")
    (tmp_path / "features").write_text("a file")
    found = FeatureCache(tmp_path / "features").encode(built(Layered), IMAGES[:9])[0]
    assert torch.equal(found, encode_set(built(Layered), IMAGES[:9])[0])
