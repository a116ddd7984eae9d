"""The images that arms and samples of a run are scored on, and whether there are enough of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from augment.datasets import ImageSet
from augment.errors import DataError
from augment.regimes import Manifest
from augment.scoring import FEWEST
from augment.seeds import numpy_rng

Part = Literal["test", "validation"]


def held_out(labels: Tensor, manifest: Manifest, most: int) -> tuple[int, ...]:
    """Indices of training images that a split left alone: the same number of every class, ``most`` in all.

    labels: of all training images ``(N,)``. Raises DataError where a class has none left.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    free[list(manifest.train)] = False
    shuffles = numpy_rng(manifest.seed, "validation of a run")
    classes = [
        shuffles.permutation(torch.nonzero(free & (labels == label)).flatten().numpy())
        for label in range(len(manifest.class_counts))
    ]
    each = min(max(1, most // len(classes)), *(len(members) for members in classes))
    if each == 0:
        raise DataError(
            f"{manifest.dataset}: No training images are left to validate on: a class is drawn whole. Take a smaller "
            "--size, or score on the test images, once all choices are made."
        )
    return tuple(sorted(int(index) for members in classes for index in members[:each]))


def check_scored(data: ImageSet, manifests: Iterable[Manifest], part: Part) -> None:
    """Raise DataError where a repetition would have too few images to score on, which is known before any training."""
    if part == "test":
        if len(data.test) < FEWEST:
            raise DataError(
                f"{data.name} has too few test images to score against: {len(data.test)}, and at least {FEWEST} are "
                "needed. Add images to its test part; where it has no parts, a fifth of each class is for testing."
            )
        return
    for manifest in manifests:
        rows = held_out(data.train.labels, manifest, len(data.test))
        if len(rows) < FEWEST:
            raise DataError(
                f"{data.name} has too few images to validate on: {len(rows)}, and at least {FEWEST} are needed, as "
                f"many of each class and no more than the {len(data.test)} test images. Take a smaller --size, or "
                "score on the test images, once all choices are made."
            )
