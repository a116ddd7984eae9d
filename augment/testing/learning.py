"""Checks of how a generator learns, through the training loop every generator shares; also from few labels."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from augment.datasets import LabelledImages
from augment.generator import UNLABELLED, Generator
from augment.testing.subject import Subject, equal_weights, require, require_images, rng


def check_training(subject: Subject) -> None:
    """A short run of the training loop on a dozen images ends without an error."""
    if isinstance(subject.training, Exception):
        raise subject.training


def check_optimizers(subject: Subject) -> None:
    """Every parameter that requires a gradient is in exactly one optimizer, exactly once."""
    generator = subject.create()
    groups = [group for optimizer in generator.configure_optimizers() for group in optimizer.param_groups]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    places = {name: held.count(id(p)) for name, p in generator.named_parameters() if p.requires_grad}
    wrong = {name: count for name, count in places.items() if count != 1}
    problem = f"Places in optimizers: {wrong}"
    require(not wrong, problem, "exactly one for each parameter", "Generator.configure_optimizers")


def check_parameters_move(subject: Subject) -> None:
    """A few steps of training move every parameter that requires a gradient."""
    before, after = subject.create(), subject.fitted().state_dict()
    still = [name for name, p in before.named_parameters() if p.requires_grad and torch.equal(p, after[name])]
    problem = f"{subject.config.steps} steps left these where they were: {still}"
    require(not still, problem, "a loss that reaches every parameter, or requires_grad=False", "Generator.loss")


def check_loss_terms(subject: Subject) -> None:
    """A training step reports finite scalars by name, without gradients, ``"loss"`` among them."""
    generator, where = subject.create().train(), "Generator.training_step"
    terms = generator.training_step(subject.images, subject.labels, generator.configure_optimizers())
    require("loss" in terms, f"The terms are {sorted(terms)}", "one named 'loss'", where)
    for name, value in terms.items():
        scalar = isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad
        require(scalar, f"The term {name!r} is {value!r}", "a detached scalar tensor", where)
        require(bool(torch.isfinite(value)), f"The term {name!r} is {float(value)}", "a finite number", where)


def check_loss_falls(subject: Subject) -> None:
    """A hundred steps or fewer on one repeated batch lower its loss, with the same noise before and after."""
    generator = subject.create().train()
    optimizers = generator.configure_optimizers()
    before = after = _mean_loss(generator, subject)
    for step in range(1, 101):
        generator.training_step(subject.images, subject.labels, optimizers)
        if step in (10, 25, 100):
            after = _mean_loss(generator, subject)
            if after < before:
                return
    problem = f"100 steps on one batch took its loss from {before:.5g} to {after:.5g}"
    require(False, problem, "a loss that training lowers", "Generator.loss")


def _mean_loss(generator: Generator, subject: Subject) -> float:
    total = 0.0
    for seed in range(4):
        torch.manual_seed(seed)
        total += float(generator.loss_terms(subject.images, subject.labels)["loss"].detach())
    return total / 4


def check_resume(subject: Subject) -> None:
    """N steps, a stop and N resumed steps end with the weights of 2N steps."""
    data = subject.toys(4, 4, 4)
    whole = subject.fit(data, steps=6)
    with tempfile.TemporaryDirectory() as name:
        subject.fit(data, steps=6, stop_at=3, folder=Path(name))
        resumed = subject.fit(data, steps=6, folder=Path(name), resume=True)
    wants = "all training state in parameters, buffers and optimizers, and noise from torch's global RNG"
    problem = "3 steps and 3 resumed ones end with other weights than 6"
    require(equal_weights(whole, resumed), problem, wants, "Generator.training_step")


def check_rare_classes(subject: Subject) -> None:
    """Training with one image in a class and none in another gives images and features of every class."""
    generator = subject.fit(subject.toys(5, 1, 0))
    images, z = generator.sample(6, subject.labels, rng=rng()), generator.encode(subject.images)
    finite = bool(torch.isfinite(images).all() and torch.isfinite(z).all())
    problem = "Images or features after training on class counts (5, 1, 0) are not finite"
    require(finite, problem, "finite ones for every class", "Generator.after_training")


WHERE = "Tags"


def check_partial_labels(subject: Subject) -> None:
    """Trained where some, or all, images have no label: losses, features and images of every class are finite."""
    for which, labels in (("some", _withheld(subject.labels)), ("all", torch.full_like(subject.labels, UNLABELLED))):
        _, terms = _after_a_step(subject, labels)
        for name, value in terms.items():
            problem = f"The term {name!r} is {float(value)} for a batch in which {which} images have no label"
            require(bool(torch.isfinite(value)), problem, "terms that leave such images out", WHERE)
        generator = subject.fit(LabelledImages((255 * subject.images).to(torch.uint8), labels))
        finite = bool(torch.isfinite(generator.encode(subject.images)).all())
        require(finite, f"Features are not finite when {which} images have no label", "finite ones", WHERE)
        require_images(generator.sample(6, subject.labels, rng=rng()), 6, subject.spec, "sample(6, labels)")


def check_labels_shape_features(subject: Subject) -> None:
    """Labels change the features that are learned, and ``UNLABELLED`` is no class: not the last one either."""
    last = torch.full_like(subject.labels, subject.spec.num_classes - 1)
    without, of_none = _after_a_step(subject, torch.full_like(last, UNLABELLED))
    of_last = _after_a_step(subject, last)[1]
    problem = "Images without a label gave the loss that images of the last class give"
    require(not torch.equal(of_last["loss"], of_none["loss"]), problem, "a loss that knows no class for them", WHERE)
    labelled = _after_a_step(subject, subject.labels)[0]
    same = torch.equal(labelled.eval().encode(subject.images), without.eval().encode(subject.images))
    problem = "A step with labels and one without left the same features"
    require(not same, problem, "labels that shape them, or Tags(semi_supervised=False)", WHERE)


def _withheld(labels: Tensor) -> Tensor:
    """Every other label only, and the last class with none."""
    mask = (torch.arange(len(labels)) % 2 == 0) & (labels != labels.max())
    return labels.where(mask, UNLABELLED)


def _after_a_step(subject: Subject, labels: Tensor) -> tuple[Generator, dict[str, Tensor]]:
    """A fresh generator after one step on the toy images with these labels, and the step's terms."""
    generator = subject.create().train()
    torch.manual_seed(1)
    return generator, generator.training_step(subject.images, labels, generator.configure_optimizers())
