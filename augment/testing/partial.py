"""Checks of a generator that learns from few labels: images without one train it, and are of no class."""

from __future__ import annotations

import torch
from torch import Tensor

from augment.datasets import LabelledImages
from augment.generator import UNLABELLED, Generator
from augment.testing.subject import Subject, require, require_images, rng

WHERE = "Tags"


def check_partial_labels(subject: Subject) -> None:
    """Trained where some, or all, images have no label: losses, features and images of every class are finite."""
    for which, labels in (("some", _withheld(subject.labels)), ("all", torch.full_like(subject.labels, UNLABELLED))):
        _, terms = _after_a_step(subject, labels)
        for name, value in terms.items():
            seen = f"The term {name!r} is {float(value)} for a batch in which {which} images have no label"
            require(bool(torch.isfinite(value)), seen, "terms that leave such images out", WHERE)
        generator = subject.fit(LabelledImages((255 * subject.images).to(torch.uint8), labels))
        finite = bool(torch.isfinite(generator.encode(subject.images)).all())
        require(finite, f"Features are not finite when {which} images have no label", "finite ones", WHERE)
        require_images(generator.sample(6, subject.labels, rng=rng()), 6, subject.spec, "sample(6, labels)")


def check_labels_shape_features(subject: Subject) -> None:
    """Labels change the features that are learned, and ``UNLABELLED`` is no class: not the last one either."""
    last = torch.full_like(subject.labels, subject.spec.num_classes - 1)
    without, of_none = _after_a_step(subject, torch.full_like(last, UNLABELLED))
    of_last = _after_a_step(subject, last)[1]
    seen = "Images without a label gave the loss that images of the last class give"
    require(not torch.equal(of_last["loss"], of_none["loss"]), seen, "a loss that knows no class for them", WHERE)
    labelled = _after_a_step(subject, subject.labels)[0]
    same = torch.equal(labelled.eval().encode(subject.images), without.eval().encode(subject.images))
    seen = "A step with labels and one without left the same features"
    require(not same, seen, "labels that shape them, or Tags(semi_supervised=False)", WHERE)


def _withheld(labels: Tensor) -> Tensor:
    """Every other label only, and the last class with none."""
    kept = (torch.arange(len(labels)) % 2 == 0) & (labels != labels.max())
    return labels.where(kept, UNLABELLED)


def _after_a_step(subject: Subject, labels: Tensor) -> tuple[Generator, dict[str, Tensor]]:
    """A fresh generator after one step on the toy images with these labels, and the step's terms."""
    generator = subject.create().train()
    torch.manual_seed(1)
    return generator, generator.training_step(subject.images, labels, generator.configure_optimizers())
