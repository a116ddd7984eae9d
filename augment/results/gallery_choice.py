"""Which images a gallery shows: the first of each class as they were drawn, so that nobody can pick."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from augment.compute.sampling import as_uint8
from augment.datasets import LabelledImages
from augment.metrics.memorisation import nearest
from augment.results.gallery import Images, Reconstructions, Samples

SAMPLES_EACH = 8
"""Samples of a class, at most."""
RECONSTRUCTED_EACH = 2
"""Reconstructions of a class, at most."""
MOST = 512
"""Images of one kind in all, but for one of each class: a gallery must not outgrow the generator."""
SIDE = 64
"""Pixels of the longer side of an image that is kept; larger ones are reduced."""


def of_each(most: int, num_classes: int) -> int:
    """Images of a class to show: ``most``, or fewer where classes are many."""
    return max(1, min(most, MOST // num_classes))


def first_of_each(labels: Tensor, most: int, num_classes: int) -> Tensor:
    """Indices of the first rows of every class, class by class; :func:`of_each` says how many."""
    each = of_each(most, num_classes)
    rows = [torch.nonzero(labels == label).flatten()[:each] for label in range(num_classes)]
    return torch.cat(rows)


def samples_beside_nearest(drawn: LabelledImages, train: LabelledImages, num_classes: int) -> Samples:
    """The first samples of each class among ``drawn``, each with the nearest of ``train``."""
    shown = drawn.subset(first_of_each(drawn.labels, SAMPLES_EACH, num_classes))
    index, distance = nearest(shown.images, train.images)
    return Samples(
        images=reduced(shown.images),
        labels=shown.labels.numpy(),
        nearest=reduced(train.images[index]),
        nearest_labels=train.labels[index].numpy(),
        distances=distance.numpy(),
    )


def restored_beside_originals(originals: LabelledImages, restored: Tensor, num_classes: int) -> Reconstructions:
    """The first of each class of ``originals`` beside what a model made of them.

    restored: float32 ``(n, C, H, W)`` in [0, 1], of the first ``n`` originals.
    """
    rows = first_of_each(originals.labels[: len(restored)], RECONSTRUCTED_EACH, num_classes)
    return Reconstructions(
        originals=reduced(originals.images[rows]),
        images=reduced(as_uint8(restored[rows])),
        labels=originals.labels[rows].numpy(),
    )


def reduced(images: Tensor) -> Images:
    """Images uint8 ``(n, C, H, W)`` with a longer side of at most :data:`SIDE`; each pixel is the mean of its area."""
    height, width = images.shape[2:]
    longer = max(height, width)
    if longer > SIDE:
        size = max(1, round(height * SIDE / longer)), max(1, round(width * SIDE / longer))
        parts = [functional.adaptive_avg_pool2d(part.float(), size) for part in images.split(64)]  # floats are large
        images = torch.cat(parts).round_().to(torch.uint8)
    array: Images = images.contiguous().numpy()
    return array
