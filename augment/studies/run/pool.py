"""The images that the repetitions of a run draw from, and what each may train on and is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from augment.datasets import ImageSet, LabelledImages
from augment.datasets.regimes import Manifest
from augment.datasets.splits import Split
from augment.errors import DataError
from augment.evidence.guards import digests
from augment.seeds import numpy_rng


@dataclass(frozen=True, eq=False)
class Pool:
    """The images that repetitions draw from: the training part, or all where each repetition has a split of its own.

    alike: a number for each image ``(N,)`` that images with the same pixels share.
    """

    images: LabelledImages
    split: Split
    alike: Tensor

    @classmethod
    def of(cls, data: ImageSet, split: Split) -> Self:
        """That of a data set."""
        if split.kind == "given":
            return cls(data.train, split, torch.arange(len(data.train)))
        images, numbers = data.everything, dict[bytes, int]()
        return cls(
            images, split, torch.tensor([numbers.setdefault(one, len(numbers)) for one in digests(images.images)])
        )

    def parts(self, num_classes: int, seed: int, index: int) -> tuple[Tensor, Tensor]:
        """Rows that repetition ``index`` may draw for training, and rows that it is tested on (none if given).

        An image that is, pixel for pixel, one of the tested is not for training.
        """
        if self.split.kind == "given":
            return torch.arange(len(self.images)), torch.empty(0, dtype=torch.int64)
        tested = self.split.test_rows(self.images.labels, num_classes, seed, index)
        return (~torch.isin(self.alike, self.alike[tested])).nonzero()[:, 0], tested


def held_out(labels: Tensor, manifest: Manifest, most: int, rows: Tensor | None = None) -> tuple[int, ...]:
    """Indices of training images that a split left alone: the same number of every class, ``most`` in all.

    labels: of all images ``(N,)``.  rows: those that are for training; None for all. Raises DataError where a class has
    none left.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    if rows is not None:
        free.zero_()[rows] = True
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
