"""The images of an arm: real ones, and what is added to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.classifiers.learning import Learning
from augment.datasets import LabelledImages
from augment.synthetic.synthesis import SyntheticSet, provenance


@dataclass(frozen=True)
class Arm:
    """A named training set and how a classifier learns from it.

    Arms of one repetition share their ``real`` images, and often what is ``added``; they are joined where a classifier
    is trained, so that many waiting arms cost no memory.
    """

    name: str
    real: LabelledImages
    learning: Learning = Learning()
    added: LabelledImages | None = None

    @property
    def train(self) -> LabelledImages:
        """Real images, then added ones."""
        if self.added is None:
            return self.real
        images, labels = (
            torch.cat([getattr(part, name) for part in (self.real, self.added)]) for name in ("images", "labels")
        )
        return LabelledImages(images, labels)

    @property
    def synthetic(self) -> Tensor:
        """Which of the training images were added, bool ``(N,)``."""
        return torch.arange(len(self.real) + (len(self.added) if self.added is not None else 0)) >= len(self.real)


def duplicates(real: LabelledImages, counts: tuple[int, ...], seed: int) -> SyntheticSet:
    """``counts[c]`` copies of real images of each class, every image as often as the others of its class.

    The control for added images as such: what they do here, no generator is needed for. A class without images gets
    none.
    """
    rng = torch.Generator().manual_seed(seed)
    chosen = []
    for label, count in enumerate(counts):
        rows = (real.labels == label).nonzero()[:, 0]
        passes = -(-count // max(1, len(rows))) if len(rows) else 0
        order = [rows[torch.randperm(len(rows), generator=rng)] for _ in range(passes)]
        chosen.append(torch.cat([*order, rows[:0]])[:count])
    index = torch.cat(chosen)
    labels = real.labels[index]
    return SyntheticSet(
        real.images[index], labels, provenance(None, labels, seed, "duplicate", index, stream=None), index
    )
