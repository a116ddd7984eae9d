"""The images of an arm: real ones, and what is added to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.classifiers.learning import Learning
from augment.datasets import LabelledImages


@dataclass(frozen=True)
class Arm:
    """A named training set and how a classifier learns from it.

    Arms of one repetition share their ``real`` images, and often what is ``added``; they are joined where a classifier
    is trained, so that many waiting arms cost no memory.  nearest: for each of ``added`` the real image that it is most
    like, ``(n,)``.
    """

    name: str
    real: LabelledImages
    learning: Learning = Learning()
    added: LabelledImages | None = None
    nearest: Tensor | None = None

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
