"""The kit catches wrong learning and wrong conduct: each generator below breaks one sentence of the contract.

It must fail that check alone; ``also`` names the checks that its fault cannot but fail as well.
"""

import random

import numpy as np
import pytest
import torch
from torch import nn

from augment.generator import GeneratorConfig, ImageSpec
from augment.testing import MinimalGenerator, Subject, check_generator, checks_for
from augment.testing.learning import check_loss_terms

NEED_TRAINING = {check.__name__ for check in checks_for(MinimalGenerator)} - {
    "check_constructor",
    "check_config",
    "check_optimizers",
    "check_loss_terms",
    "check_loss_falls",
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class AnotherArgument(MinimalGenerator):
    def __init__(self, config, spec, width=4):
        super().__init__(config, spec)


class SeedsTheWorld(MinimalGenerator):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        np.random.seed(0)


class ForgetsTheConfig(MinimalGenerator):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.config = GeneratorConfig(steps=7)


class SeedOfItsOwn(MinimalGenerator):
    also = {"check_resume"}
    count = 0

    def __init__(self, config, spec):
        super().__init__(config, spec)
        SeedOfItsOwn.count += 1
        nn.init.normal_(self.up.bias, generator=seeded(SeedOfItsOwn.count))


class LenientConfig(GeneratorConfig):
    @classmethod
    def parse(cls, options):
        return cls(**{key: value for key, value in options.items() if key in cls.model_fields})


class IgnoresUnknownOptions(MinimalGenerator):
    Config = LenientConfig


class MutableConfig(GeneratorConfig, frozen=False):
    pass


class MutableOptions(MinimalGenerator):
    Config = MutableConfig


class NoDefaultConfig(GeneratorConfig):
    width: int


class NoDefault(MinimalGenerator):
    Config = NoDefaultConfig
    test_options = {"width": 4}


class LossyConfig(GeneratorConfig):
    scale: float = 1.0

    def model_dump(self, **how):
        return {key: value for key, value in super().model_dump(**how).items() if key != "scale"}


class LosesOptions(MinimalGenerator):
    also = {"check_save_load"}
    Config = LossyConfig
    test_options = {"scale": 2.0}


class Unheld(MinimalGenerator):
    also = {"check_parameters_move"}

    def configure_optimizers(self):
        return [torch.optim.AdamW([*self.up.parameters(), *self.down.parameters()], lr=1e-3)]


class HeldTwice(MinimalGenerator):
    def configure_optimizers(self):
        return [torch.optim.AdamW(self.parameters(), lr=1e-3), torch.optim.AdamW(self.up.parameters(), lr=1e-3)]


class NamelessLoss(MinimalGenerator):
    also = NEED_TRAINING

    def training_step(self, images, labels, optimizers):
        return {"total": super().training_step(images, labels, optimizers)["loss"]}


class TermsPerImage(MinimalGenerator):
    also = NEED_TRAINING

    def loss(self, images, labels):
        return {**super().loss(images, labels), "error": images.mean((1, 2, 3))}


class EndlessTerm(MinimalGenerator):
    def loss(self, images, labels):
        return {**super().loss(images, labels), "ratio": torch.tensor(torch.nan)}


class KeepsTheGraph(MinimalGenerator):
    def training_step(self, images, labels, optimizers):
        super().training_step(images, labels, optimizers)
        return self.loss_terms(images, labels)


class FailsInTheEnd(MinimalGenerator):
    also = NEED_TRAINING

    def after_training(self, images, labels):
        raise ZeroDivisionError("no images to divide by")


class Unreached(MinimalGenerator):
    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.idle = nn.Linear(2, 2)


class Climbs(MinimalGenerator):
    def configure_optimizers(self):
        return [torch.optim.AdamW(self.parameters(), lr=1e-3, maximize=True)]


class CountsInPython(MinimalGenerator):
    step = 0

    def loss(self, images, labels):
        self.step += 1
        return super().loss(images, labels)["loss"] * (1 + self.step % 5)


class NeedsEveryClass(MinimalGenerator):
    def after_training(self, images, labels):
        self.spread.copy_(self.spread * torch.stack([images[labels == k].mean() for k in range(3)]).mean())


class NeedsTwoOfAKind(MinimalGenerator):
    def after_training(self, images, labels):
        spreads = [self.features(images[labels == k]).var(0).sqrt() for k in labels.unique()]
        self.spread.copy_(torch.stack(spreads).mean(0).detach())


class StateOutsideBuffers(MinimalGenerator):
    scale = 1.0

    def after_training(self, images, labels):
        self.scale = 0.5

    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, labels, rng=rng) * self.scale


class FeaturesOutsideBuffers(MinimalGenerator):
    shift = 0.0

    def after_training(self, images, labels):
        self.shift = 1.0

    def encode(self, images):
        return super().encode(images) + self.shift


class LoadsInTrainMode(MinimalGenerator):
    @classmethod
    def load(cls, folder):
        return super().load(folder).train()


class ForgivesDamage(MinimalGenerator):
    @classmethod
    def load(cls, folder):
        try:
            return super().load(folder)
        except Exception:
            return cls(cls.Config(), ImageSpec(1, 28, 28, 3)).eval()


class RaisesItsOwn(MinimalGenerator):
    @classmethod
    def load(cls, folder):
        try:
            return super().load(folder)
        except Exception as error:
            raise KeyError("damaged") from error


class UsesNumpysRng(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        np.random.rand()
        return super().sample(n, labels, rng=rng)


class UsesPythonsRng(MinimalGenerator):
    def after_training(self, images, labels):
        random.random()


class UsesTorchsRng(MinimalGenerator):
    def reconstruct(self, images):
        torch.rand(1)
        return super().reconstruct(images)


class SwitchesGradientsOff(MinimalGenerator):
    also = {"check_arguments"}  # its training step then has no gradients

    def log_prob(self, images):
        torch.set_grad_enabled(False)
        return super().log_prob(images)


class ChangesDtype(MinimalGenerator):
    also = {"check_arguments", "check_modes"}  # later calls then work in another dtype

    def log_prob(self, images):
        torch.set_default_dtype(torch.float64)
        return super().log_prob(images)


class ChangesThreads(MinimalGenerator):
    def log_prob(self, images):
        torch.set_num_threads(2)
        return super().log_prob(images)


class ChangesDeterminism(MinimalGenerator):
    def log_prob(self, images):
        torch.use_deterministic_algorithms(True)
        return super().log_prob(images)


class WritesImages(MinimalGenerator):
    def log_prob(self, images):
        return super().log_prob(images.sub_(0.5))


class WritesLabels(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, None if labels is None else labels.clamp_(max=1), rng=rng)


class StaysInEval(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        self.eval()
        return super().sample(n, labels, rng=rng)


class LearnsWhileEncoding(MinimalGenerator):
    def encode(self, images):
        if self.training:
            self.spread.mul_(0.999)
        return super().encode(images)


BROKEN = {
    "check_constructor": [AnotherArgument, SeedsTheWorld, ForgetsTheConfig, SeedOfItsOwn],
    "check_config": [IgnoresUnknownOptions, MutableOptions, NoDefault, LosesOptions],
    "check_optimizers": [Unheld, HeldTwice],
    "check_loss_terms": [NamelessLoss, TermsPerImage, KeepsTheGraph],
    "check_training": [FailsInTheEnd],
    "check_parameters_move": [Unreached],
    "check_loss_falls": [Climbs],
    "check_resume": [CountsInPython],
    "check_rare_classes": [NeedsEveryClass, NeedsTwoOfAKind],
    "check_save_load": [StateOutsideBuffers, FeaturesOutsideBuffers, LoadsInTrainMode],
    "check_damaged_save": [ForgivesDamage, RaisesItsOwn],
    "check_global_state": [
        UsesNumpysRng,
        UsesPythonsRng,
        UsesTorchsRng,
        SwitchesGradientsOff,
        ChangesDtype,
        ChangesThreads,
        ChangesDeterminism,
    ],
    "check_arguments": [WritesImages, WritesLabels],
    "check_modes": [StaysInEval, LearnsWhileEncoding],
}


@pytest.mark.parametrize(
    ("check", "cls"), [pytest.param(check, cls, id=cls.__name__) for check in BROKEN for cls in BROKEN[check]]
)
def test_broken(check, cls, monkeypatch):
    monkeypatch.setattr("augment.testing.kit.SPECS", (ImageSpec(1, 8, 8, 3),))
    failed = {result.check: result.message for result in check_generator(cls) if result.outcome == "failed"}
    assert set(failed) == {check} | getattr(cls, "also", set())
    assert "8 x 8 images" in failed[check]


def test_a_term_that_is_not_finite_is_caught():
    with pytest.raises(AssertionError, match="The term 'ratio' is nan. The contract wants a finite number"):
        check_loss_terms(Subject(EndlessTerm, ImageSpec(1, 8, 8, 3)))


def test_every_check_has_a_broken_generator():
    elsewhere = ("augment.testing.outputs", "augment.testing.leaks")
    checks = checks_for(MinimalGenerator)
    assert set(BROKEN) == {check.__name__ for check in checks if check.__module__ not in elsewhere}
