"""The kit catches wrong images and features: each generator below breaks one sentence of the contract.

It must fail that check alone; ``also`` names the checks that its fault cannot but fail as well.
"""

import pytest
import torch
from torch import nn

from augment.errors import ConfigError
from augment.generator import ImageSpec
from augment.testing import MinimalGenerator, check_generator, checks_for


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class OneTooMany(MinimalGenerator):
    also = {"check_draw_shards"}

    def sample(self, n, labels=None, *, rng=None):
        labels = None if labels is None else torch.cat([labels, torch.zeros(1, dtype=torch.int64)])
        return super().sample(n + 1, labels, rng=rng)


class NoneIsFlat(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, labels, rng=rng) if n else torch.empty(0)


class Double(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, labels, rng=rng).double()


class MinusOneToOne(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return 2 * super().sample(n, labels, rng=rng) - 1


class NeedsLabels(MinimalGenerator):
    also = {"check_sample_seeded"}

    def sample(self, n, labels=None, *, rng=None):
        return super().sample(len(labels), labels, rng=rng)


class IgnoresRng(MinimalGenerator):
    also = {"check_draw_shards", "check_save_load", "check_global_state"}

    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, labels)


class GlobalClasses(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, torch.randint(3, (n,)) if labels is None else labels, rng=rng)


class AlwaysTheSame(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, labels, rng=seeded(5))


class CarriesOver(MinimalGenerator):
    calls = 0

    def sample(self, n, labels=None, *, rng=None):
        self.calls += n > 100
        return super().sample(n, labels, rng=rng) / (1 + self.calls)


class FeatureMaps(MinimalGenerator):
    def encode(self, images):
        return super().encode(images).view(-1, 2, 2)

    def decode(self, z):
        return super().decode(z.flatten(1))


class DoubleFeatures(MinimalGenerator):
    def encode(self, images):
        return super().encode(images).double()

    def decode(self, z):
        return super().decode(z.float())


class InfiniteFeatures(MinimalGenerator):
    also = {"check_rare_classes"}

    def encode(self, images):
        return super().encode(images) * torch.tensor([1, 1, 1, torch.inf])

    def decode(self, z):
        return super().decode(torch.zeros(len(z), 4))


class SeesLabels(MinimalGenerator):
    def encode(self, images, *, labels=None):
        return super().encode(images)


class SameForAll(MinimalGenerator):
    def encode(self, images):
        return torch.zeros(len(images), 4)


class BatchMates(MinimalGenerator):
    def encode(self, images):
        return super().encode(images - images.mean(0))


class Sorts(MinimalGenerator):
    def encode(self, images):
        z = super().encode(images)
        return z[z[:, 0].argsort()]


class DropsOut(MinimalGenerator):
    def encode(self, images):
        return nn.functional.dropout(super().encode(images), 0.5, self.training)


class NoisyFeatures(MinimalGenerator):
    also = {"check_encode_rows", "check_save_load", "check_global_state"}

    def encode(self, images):
        return super().encode(images) + 0.1 * torch.randn(1, 4)


class Layered(MinimalGenerator):
    """Layers and timesteps as the contract wants them."""

    timesteps = 5

    @property
    def layers(self):
        return "pixels", "latent"

    def encode(self, images, *, layer="latent", t=0):
        if layer not in ("pixels", "latent") or not 0 <= t < 5:
            raise ConfigError(f"layer is {layer} and t is {t}.")
        return super().encode(images) - t if layer == "latent" else images.flatten(1)

    def encode_layers(self, images, layers, **options):
        return [self.encode(images, layer=name, **options) for name in layers]


class NoOption(MinimalGenerator):
    layers = ("latent",)


class NoLayers(Layered):
    layers = ()


class NamesTwice(Layered):
    layers = ("latent", "latent")


class NamesTooMuch(Layered):
    also = {"check_timesteps"}
    layers = ("pixels", "middle", "latent")


class OtherOrder(Layered):
    def encode_layers(self, images, layers, **options):
        return super().encode_layers(images, self.layers, **options)[: len(layers)]

    also = {"check_timesteps"}


class TransposedLayers(Layered):
    def encode_layers(self, images, layers, **options):
        return [z.unsqueeze(1) for z in super().encode_layers(images, layers, **options)]

    also = {"check_timesteps"}


class TakesAnyLayer(Layered):
    def encode(self, images, *, layer="latent", t=0):
        return super().encode(images, layer=layer if layer in self.layers else "latent", t=t)


class SkipsUnknown(Layered):
    def encode_layers(self, images, layers, **options):
        return super().encode_layers(images, [name for name in layers if name in self.layers], **options)


class NoTimesteps(Layered):
    timesteps = 0


class NoTimeOption(MinimalGenerator):
    timesteps = 5


class CountsFromOne(Layered):
    timesteps = 4

    def encode(self, images, *, layer="latent", t=1):
        return super().encode(images, layer=layer, t=t or -1)


class TakesAnyTime(Layered):
    def encode(self, images, *, layer="latent", t=0):
        return super().encode(images, layer=layer, t=min(max(t, 0), 4))


class IgnoresTime(Layered):
    def encode(self, images, *, layer="latent", t=0):
        return super().encode(images, layer=layer, t=t) + (t if layer == "latent" else 0)


class LosesTime(Layered):
    def encode_layers(self, images, layers, **options):
        return super().encode_layers(images, layers)


class IgnoresLabels(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, None if labels is None else labels * 0, rng=rng)


class TooBright(MinimalGenerator):
    def reconstruct(self, images):
        return super().reconstruct(images) * 2


class FlatImages(MinimalGenerator):
    def decode(self, z):
        return super().decode(z).flatten(1)


class MeanLikelihood(MinimalGenerator):
    def log_prob(self, images):
        return super().log_prob(images).mean()


class NoLikelihood(MinimalGenerator):
    def log_prob(self, images):
        return super().log_prob(images) - torch.inf


BROKEN = {
    "check_sample": [OneTooMany, NoneIsFlat, Double, MinusOneToOne, NeedsLabels],
    "check_sample_seeded": [IgnoresRng, GlobalClasses, AlwaysTheSame],
    "check_draw_shards": [CarriesOver],
    "check_encode": [FeatureMaps, DoubleFeatures, InfiniteFeatures, SeesLabels, SameForAll],
    "check_encode_rows": [BatchMates, Sorts],
    "check_encode_deterministic": [DropsOut, NoisyFeatures],
    "check_layers": [
        NoOption,
        NoLayers,
        NamesTwice,
        NamesTooMuch,
        OtherOrder,
        TransposedLayers,
        TakesAnyLayer,
        SkipsUnknown,
    ],
    "check_timesteps": [NoTimesteps, NoTimeOption, CountsFromOne, TakesAnyTime, IgnoresTime, LosesTime],
    "check_labels_change_sample": [IgnoresLabels],
    "check_reconstruct": [TooBright],
    "check_decode": [FlatImages],
    "check_log_prob": [MeanLikelihood, NoLikelihood],
}


@pytest.mark.parametrize(
    ("check", "cls"), [pytest.param(check, cls, id=cls.__name__) for check in BROKEN for cls in BROKEN[check]]
)
def test_broken(check, cls, monkeypatch):
    monkeypatch.setattr("augment.testing.kit.SPECS", (ImageSpec(1, 8, 8, 3),))
    failed = {result.check: result.message for result in check_generator(cls) if result.outcome == "failed"}
    assert set(failed) == {check} | getattr(cls, "also", set())
    assert "8 x 8 images" in failed[check]


def test_layers_and_timesteps_as_the_contract_wants_them(monkeypatch):
    monkeypatch.setattr("augment.testing.kit.SPECS", (ImageSpec(1, 8, 8, 3),))
    assert not [result for result in check_generator(Layered) if result.outcome == "failed"]


def test_every_check_has_a_broken_generator():
    checks = checks_for(MinimalGenerator)
    assert set(BROKEN) == {check.__name__ for check in checks if check.__module__ == "augment.testing.outputs"}
