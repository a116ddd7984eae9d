"""Checks of a generator that makes new images from given ones: as labelled, and the nearer the weaker it is told to."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from augment.errors import ConfigError
from augment.testing.subject import Subject, require, require_images, rng

WHERE = "Tags"
WEAK, HALF, FULL = 0.1, 0.5, 1.0


def check_sample_from(subject: Subject) -> None:
    """``sample_from`` gives one float32 image in [0, 1] for each, at any strength in (0, 1], and refuses others."""
    for strength in (WEAK, HALF, FULL):
        for n in (0, 1, 6):
            images = _edited(subject, subject.images[:n], subject.labels[:n], strength)
            require_images(images, n, subject.spec, f"sample_from({n} images, labels, {strength})")
    for strength in (0.0, 1.1):
        try:
            _edited(subject, subject.images, subject.labels, strength)
        except ConfigError:
            continue
        require(False, f"sample_from took strength={strength}", "ConfigError outside (0, 1]", WHERE)


def check_sample_from_seeded(subject: Subject) -> None:
    """All randomness of ``sample_from`` comes from ``rng``; without rng from torch's global one."""
    given = subject.images, subject.labels, HALF
    first, again, other = (_edited(subject, *given, seed=seed) for seed in (1, 1, 2))
    require(torch.equal(first, again), "One seed gave two sets of images", "all randomness from rng", WHERE)
    require(not torch.equal(first, other), "Two seeds gave the same images", "randomness from rng", WHERE)
    unseeded = []
    for _ in range(2):
        torch.manual_seed(1)
        unseeded.append(_edited(subject, *given, seed=None))
    require(torch.equal(*unseeded), "rng=None ignored torch.manual_seed", "torch's global RNG then", WHERE)


def check_sample_from_rows(subject: Subject) -> None:
    """Image i of ``sample_from`` depends on image i, label i and the noise: not on batch mates or their classes."""
    images, labels = subject.images, subject.labels
    mates = torch.cat([images[:3], 1 - images[3:]]), torch.cat([labels[:3], 2 - labels[3:]])
    one, other = (_edited(subject, *given, HALF)[:3] for given in ((images, labels), mates))
    same = torch.allclose(one, other, rtol=1e-3, atol=1e-4)
    seen = "An image is edited to something else among other batch mates"
    require(same, seen, "each image to depend on its own image, label and noise", WHERE)


def check_sample_from_strength(subject: Subject) -> None:
    """A weak edit is nearer to the image it starts from than a full one."""
    images, labels = subject.images, subject.labels
    weak, full = (_distance(_edited(subject, images, labels, strength), images) for strength in (WEAK, FULL))
    seen = f"Strength {WEAK} moved images by {weak:.3g} (root mean square), strength {FULL:g} by {full:.3g}"
    require(weak < full, seen, "images that stay nearer the weaker the edit is", WHERE)


def check_labels_change_sample_from(subject: Subject) -> None:
    """A conditional generator makes other images for other labels of the same images."""
    ones = torch.ones_like(subject.labels)
    zeroth, first = (_edited(subject, subject.images, labels, FULL) for labels in (0 * ones, ones))
    seen = "Labels 0 and 1 gave the same images"
    require(not torch.equal(zeroth, first), seen, "labels that matter, or Tags(conditional=False)", WHERE)


def _edited(subject: Subject, images: Tensor, labels: Tensor, strength: float, *, seed: int | None = 0) -> Tensor:
    generator = subject.fitted()
    noise = None if seed is None else rng(seed)
    return cast(Tensor, generator.sample_from(images, labels, strength, rng=noise))  # type: ignore[operator]


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().square().mean().sqrt())
