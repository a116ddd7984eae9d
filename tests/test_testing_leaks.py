"""The kit catches generators that remember training images, however they keep or disguise them, and no honest one.

Each must fail the checks that it names, with these words, and no others.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from augment.generator import ImageSpec
from augment.testing import MinimalGenerator, check_generator, checks_for

NEW, KEEPS = "check_samples_are_new", "check_keeps_no_images"
TINY = ImageSpec(1, 8, 8, 3)
ROOM = 24


class Remembers(MinimalGenerator):
    """Keeps images in a buffer, so that it passes everything else, and draws from them."""

    fails = {NEW: "24 of 24 samples are copies", KEEPS: "{'memory': 24}"}

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.register_buffer("memory", torch.rand(ROOM, *spec.shape))
        self.register_buffer("classes_of", torch.arange(ROOM) % spec.num_classes)

    def after_training(self, images, labels):
        super().after_training(images, labels)
        rows = torch.arange(ROOM) % len(images)
        self.memory.copy_(self.stored(images[rows]))
        self.classes_of.copy_(labels[rows])

    def stored(self, images):
        return images

    def told(self, images, rng):
        return images

    def sample(self, n, labels=None, *, rng=None):
        if labels is None:
            labels = torch.randint(self.spec.num_classes, (n,), generator=rng)
        same = (labels[:, None] == self.classes_of).float() + 1e-6
        drawn = torch.multinomial(same, 1, generator=rng).flatten() if n else labels
        return self.told(self.memory[drawn], rng).clamp(0, 1)


class Brightens(Remembers):
    def told(self, images, rng):
        return 0.1 + 0.8 * images


class AddsNoise(Remembers):
    def told(self, images, rng):
        return images + 0.1 * torch.randn(images.shape, generator=rng)


class Mirrors(Remembers):
    def told(self, images, rng):
        return images.flip(-1)


class Sometimes(Remembers):
    """One sample in eight is remembered."""

    fails = {NEW: "3 of 24 samples", KEEPS: "{'memory': 24}"}

    def sample(self, n, labels=None, *, rng=None):
        new = MinimalGenerator.sample(self, n, labels, rng=rng)
        new[::8] = super().sample(n, labels, rng=rng)[::8]
        return new


class Scrambles(Remembers):
    """Hides what it keeps: only the samples give it away."""

    fails = {NEW: "24 of 24"}

    def stored(self, images):
        return images.flatten(1)[:, torch.randperm(64, generator=torch.Generator().manual_seed(1))].view_as(images)

    def told(self, images, rng):
        back = torch.randperm(64, generator=torch.Generator().manual_seed(1)).argsort()
        return images.flatten(1)[:, back].view_as(images)


class Reconstructs(Remembers):
    """Calls reconstructions of training images samples: they are poor yet, but what they are made from is kept."""

    fails = {KEEPS: "'memory'"}

    def told(self, images, rng):
        return self.reconstruct(images)


class RemembersBatches(MinimalGenerator):
    """Keeps what its loss was given, in a list of arrays, and does not even use it."""

    fails = {KEEPS: "'_seen'"}

    def loss(self, images, labels):
        self.__dict__.setdefault("_seen", {}).setdefault("batches", []).append((images.numpy().astype(np.float16), 3))
        return super().loss(images, labels)


class RemembersOnDisk(Remembers):
    """Keeps the images in a file, out of sight of any look at its attributes."""

    fails = {NEW: "24 of 24"}
    file = Path()

    def __init__(self, config, spec):
        MinimalGenerator.__init__(self, config, spec)

    def after_training(self, images, labels):
        MinimalGenerator.after_training(self, images, labels)
        save_file({"memory": images, "classes": labels}, self.file)

    def sample(self, n, labels=None, *, rng=None):
        kept = load_file(self.file)
        if labels is None:
            labels = torch.randint(self.spec.num_classes, (n,), generator=rng)
        same = (labels[:, None] == kept["classes"]).float() + 1e-6
        return kept["memory"][torch.multinomial(same, 1, generator=rng).flatten() if n else labels]


class ClassMeans(MinimalGenerator):
    """Honest: draws around the mean image of each class, of which there are several images."""

    fails = {}

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.register_buffer("mean", torch.zeros(spec.num_classes, *spec.shape))

    def after_training(self, images, labels):
        super().after_training(images, labels)
        for k in labels.unique():
            self.mean[k] = images[labels == k].mean(0)

    def sample(self, n, labels=None, *, rng=None):
        if labels is None:
            labels = torch.randint(self.spec.num_classes, (n,), generator=rng)
        return (self.mean[labels] + 0.05 * torch.randn(n, *self.spec.shape, generator=rng)).clamp(0, 1)


CASES = (
    Remembers,
    Brightens,
    AddsNoise,
    Mirrors,
    Sometimes,
    Scrambles,
    Reconstructs,
    RemembersBatches,
    RemembersOnDisk,
    ClassMeans,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setattr("augment.testing.kit.SPECS", (TINY,))
    monkeypatch.setattr(RemembersOnDisk, "file", tmp_path / "memory.safetensors")


@pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
def test_the_kit_finds_what_is_remembered(cls):
    failed = {result.check: result.message for result in check_generator(cls) if result.outcome == "failed"}
    assert set(failed) == set(cls.fails)
    for check, message in failed.items():
        assert cls.fails[check] in message
        assert "raining images" in message and "8 x 8 images" in message


def test_a_generator_that_keeps_images_on_purpose_says_so():
    reasons = {NEW: "it is a sampler of its gallery", KEEPS: "its gallery"}
    results = check_generator(Remembers, expected_failures=reasons)
    assert {result.check for result in results if result.outcome == "xfailed"} == set(reasons)
    assert not [result for result in results if result.outcome == "failed"]


def test_every_check_has_a_broken_generator():
    checks = {check.__name__ for check in checks_for(MinimalGenerator) if check.__module__ == "augment.testing.leaks"}
    assert checks == {check for cls in CASES for check in cls.fails}
