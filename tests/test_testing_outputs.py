"""The kit catches wrong images and features: each generator below breaks one sentence of the contract.

It must fail that check alone; ``also`` names the checks that its fault cannot but fail as well.
"""

import pytest
import torch
from torch import nn

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


def test_every_check_has_a_broken_generator():
    checks = checks_for(MinimalGenerator)
    assert set(BROKEN) == {check.__name__ for check in checks if check.__module__ == "augment.testing.outputs"}
