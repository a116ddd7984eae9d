"""Trainings that diverge end with one message, in the loop as in what comes after it, whatever the model."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from augment import registry
from augment.datasets import LabelledImages, load_dataset
from augment.generator import Generator, GeneratorConfig, ImageSpec
from augment.training import Diverged, fit

SPEC = ImageSpec(1, 8, 8, 3)

FEW = {"vae": {"width": 16, "latent_dim": 4}, "ae": {"width": 16, "latent_dim": 4}, "dvae": {"width": 16}}
SMALL = {
    **FEW,
    "realnvp": {"couplings": 2, "width": 8, "rank": 2},
    "vqvae": {"width": 16, "codes": 16, "code_dim": 4, "prior_dim": 32, "prior_layers": 1},
    "ddpm": {"channels": [8, 8], "sampling_steps": 2},
}


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("steps", [2, 30])
@pytest.mark.parametrize("lr", [1e20, 1e10, 1e3])
def test_a_large_learning_rate_gives_something_usable_or_one_message(digits, model, steps, lr):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = registry.create(model, digits.spec, {**SMALL[model], "lr": lr, "steps": steps})
    train, validation = digits.train.subset(range(400)), digits.train.subset(range(400, 440))
    try:
        fit(generator, train, validation, seed=0, device="cpu", precision="fp32")
    except Diverged as error:
        assert "not finite" in str(error) and f"Lower lr, which is {lr:g}" in str(error) and error.exit_code == 3
        return
    with torch.no_grad():
        drawn = generator.sample(10, torch.arange(10), rng=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(drawn).all())


# ---------------------------------------------------------------- what comes after the last step


class Tiny(Generator):
    """Learns one grey picture; what it fits after training is a buffer."""

    name = "tiny"

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.grey = nn.Parameter(torch.zeros(spec.shape))
        self.register_buffer("fitted", torch.zeros(()))

    def encode(self, images):
        return images.flatten(1)

    def sample(self, n, labels=None, *, rng=None):
        return torch.rand(n, *self.spec.shape, generator=rng, device=self.device)

    def loss(self, images, labels):
        return {"loss": (self.grey.sigmoid() - images).square().mean()}


def train(cls, validation=True, **how):
    """A generator of ``cls`` after twelve steps, and how they went."""
    generator = cls(GeneratorConfig.parse({"batch_size": 8, "lr": 0.01}), SPEC)
    pixels = torch.randint(0, 256, (36, *SPEC.shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    parts = [LabelledImages(part, torch.arange(len(part)) % 3) for part in pixels.split(24)]
    how = {"seed": 3, "steps": 12, "device": "cpu", "precision": "fp32", **how}
    return generator, fit(generator, parts[0], parts[1] if validation else None, **how)


class Singular(Tiny):
    def after_training(self, images, labels):
        torch.linalg.cholesky(-torch.eye(2))


class SingularInNumpy(Tiny):
    def after_training(self, images, labels):
        np.linalg.cholesky(-np.eye(2))


class Unfitted(Tiny):
    def after_training(self, images, labels):
        raise FloatingPointError("no mixture")


class Overflown(Tiny):
    def after_training(self, images, labels):
        self.fitted.fill_(math.inf)


@pytest.mark.parametrize("cls", [Singular, SingularInNumpy, Unfitted, Overflown])
def test_what_is_fitted_after_training_may_diverge(cls, tmp_path):
    with pytest.raises(
        Diverged, match=r"weights were not finite after the last step, at step 12 of 12\. Lower"
    ) as told:
        train(cls, folder=tmp_path)
    assert str(tmp_path) in str(told.value)


def test_samples_that_are_not_finite_are_told():
    class Blank(Tiny):
        def sample(self, n, labels=None, *, rng=None):
            return super().sample(n, labels, rng=rng) * math.nan

    with pytest.raises(Diverged, match="samples were not finite after the last step"):
        train(Blank)


def test_a_loss_that_is_not_finite_in_use_is_told():
    class Training(Tiny):
        def loss(self, images, labels):
            terms = super().loss(images, labels)
            return terms if self.training else {**terms, "loss": terms["loss"] * math.inf}

    with pytest.raises(Diverged, match="loss, gradients or weights were not finite after the last step"):
        train(Training, validation=False)


def test_a_mask_that_was_never_finite_is_no_divergence():
    class Masked(Tiny):
        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.register_buffer("mask", torch.full((3,), -math.inf))

    assert train(Masked)[1].stopped == "finished"


def test_a_validation_whose_arithmetic_fails_has_no_loss_and_training_goes_on():
    class Late(Tiny):
        validations = 0

        def loss(self, images, labels):
            if not self.training:
                self.validations += 1
                if self.validations < 3:
                    torch.linalg.cholesky(-torch.eye(2))
            return super().loss(images, labels)

    generator, result = train(Late, steps=20)
    losses = [row["val_loss"] for row in result.history if "val_loss" in row]
    assert [math.isnan(loss) for loss in losses] == [True, True, *[False] * (len(losses) - 2)]
    assert result.stopped == "finished" and result.best_step is not None and not generator.training
