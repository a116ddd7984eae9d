"""Training images that a repetition did not draw, to make choices on before the test images are touched."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from augment.errors import DataError
from augment.regimes import Manifest


def held_out(labels: Tensor, manifest: Manifest, most: int) -> tuple[int, ...]:
    """Indices of training images that a split left alone: the same number of every class, ``most`` in all.

    labels: of all training images ``(N,)``. Raises DataError where a class has none left.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    free[list(manifest.train)] = False
    rng = np.random.default_rng([manifest.seed, 1])  # another stream than the split's own
    classes = [
        rng.permutation(torch.nonzero(free & (labels == label)).flatten().numpy())
        for label in range(len(manifest.class_counts))
    ]
    each = min(max(1, most // len(classes)), *(len(members) for members in classes))
    if each == 0:
        raise DataError(
            "No training images are left to validate on: a class is drawn whole. Take a smaller --size, or score on "
            "the test images, once all choices are made."
        )
    return tuple(sorted(int(index) for members in classes for index in members[:each]))
