"""The kit's checks of generators that make new images from given ones: what they catch, and who passes them."""

import pytest
import torch

from augment import registry
from augment.errors import ConfigError
from augment.generator import ImageSpec, Tags
from augment.testing import MinimalGenerator, Subject, check_generator, checks_for
from augment.testing.subject import sandbox

TINY = ImageSpec(1, 8, 8, 3)
SAMPLE_FROM = {
    "check_sample_from",
    "check_sample_from_seeded",
    "check_sample_from_rows",
    "check_sample_from_strength",
}


class Editing(MinimalGenerator):
    """Keeps the contract: fades from the image to one drawn for the label."""

    tags = Tags(conditional=True, reconstructs=True, decodes=True, likelihood=True, edits=True)

    def sample_from(self, images, labels, strength, *, rng=None):
        if not 0 < strength <= 1:
            raise ConfigError(f"strength is {strength}")
        return (1 - strength) * images + strength * self.sample(len(images), labels, rng=rng)


class TooBright(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return super().sample_from(images, labels, strength, rng=rng) + (strength == 1)


class AnyStrength(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return super().sample_from(images, labels, min(max(strength, 0.1), 1.0), rng=rng)


class OwnNoise(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return super().sample_from(images, labels, strength, rng=None)


class NoNoise(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return super().sample_from(images, labels, strength, rng=torch.Generator().manual_seed(0))


class BatchMean(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return super().sample_from(images, labels, strength, rng=rng).lerp(images.mean(), 0.01)


class NeighboursLabel(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return super().sample_from(images, labels.roll(1), strength, rng=rng)


class Backwards(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return super().sample_from(images, labels, 1.1 - strength if 0 < strength <= 1 else strength, rng=rng)


class OneClass(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return super().sample_from(images, 0 * labels, strength, rng=rng)


class InPlace(Editing):
    def sample_from(self, images, labels, strength, *, rng=None):
        return images.copy_(super().sample_from(images, labels, strength, rng=rng))


@pytest.fixture(autouse=True)
def one_small_size(monkeypatch):
    monkeypatch.setattr("augment.testing.kit.SPECS", (TINY,))


@pytest.mark.parametrize(
    ("cls", "check", "message"),
    [
        (TooBright, "check_sample_from", "lies in"),
        (AnyStrength, "check_sample_from", "sample_from took strength=0.0"),
        (OwnNoise, "check_sample_from_seeded", "One seed gave two sets"),
        (NoNoise, "check_sample_from_seeded", "Two seeds gave the same images"),
        (BatchMean, "check_sample_from_rows", "among other batch mates"),
        (NeighboursLabel, "check_sample_from_rows", "among other batch mates"),
        (Backwards, "check_sample_from_strength", "Strength 0.1 moved images by"),
        (OneClass, "check_labels_change_sample_from", "Labels 0 and 1 gave the same images"),
    ],
)
def test_the_kit_catches(cls, check, message):
    failed = {result.check: result.message for result in check_generator(cls) if result.outcome == "failed"}
    assert message in failed.pop(check)
    # noise that is not from rng is other noise in every call, and everybody's
    assert set(failed) == ({"check_sample_from_rows", "check_global_state"} if cls is OwnNoise else set())


def test_the_checks_of_every_call_include_it():
    failed = {result.check: result.message for result in check_generator(InPlace) if result.outcome == "failed"}
    assert "sample_from modified its arguments" in failed["check_arguments"]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (None, {}),
        ("ddpm", {"conditional": False}),
        ("clip_guided", {"conditional": False, "clip_scale": 0.0}),
    ],
)
def test_who_edits_passes(model, options):
    subject = Subject(Editing if model is None else registry.get(model), TINY, options)
    with sandbox():
        applying = [check for check in checks_for(subject.create()) if "sample_from" in check.__name__]
        for check in applying:
            check(subject)
    expected = SAMPLE_FROM | ({"check_labels_change_sample_from"} if options.get("conditional", True) else set())
    assert {check.__name__ for check in applying} == expected


def test_who_does_not_edit_is_not_asked_to():
    assert not {check.__name__ for check in checks_for(MinimalGenerator)} & SAMPLE_FROM
