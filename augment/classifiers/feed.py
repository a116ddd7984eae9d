"""The batches of a classifier's training: drawn, shifted, transformed and mixed, with their targets."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from augment.classifiers.draws import Augmentation, SameClass, batches, moved
from augment.classifiers.learning import Learning
from augment.classifiers.objective import Objective
from augment.classifiers.transforms import mixed, transformed
from augment.seeds import numpy_rng, torch_rng


class Feed:
    """The batches of one training: indices, images and targets; images are kept where the network is."""

    def __init__(
        self,
        pool: Tensor,
        labels: Tensor,
        synthetic: Tensor,
        num_classes: int,
        learning: Learning,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.pool, self.labels, self.synthetic = pool, labels, synthetic
        self.learning, self.augmentation, self.seed = learning, augmentation, seed
        self.rng, self._shares = torch_rng(seed, "images of a batch"), numpy_rng(seed, "shares of a mix")
        self.objective = Objective(labels, synthetic, num_classes, learning)
        self._same_class = SameClass(labels, ~synthetic)

    def indices(self, updates: int, batch_size: int) -> Iterator[Tensor]:
        """See :func:`augment.classifiers.draws.batches`."""
        return batches(
            self.labels,
            updates=updates,
            batch_size=batch_size,
            learning=self.learning,
            seed=self.seed,
            synthetic=self.synthetic,
        )

    def batch(self, index: Tensor, progress: float) -> tuple[Tensor, Tensor, Tensor]:
        """Images ``(n, C, H, W)``, uint8 or float32 in 0..255, targets and what is added to logits, ``(n, K)`` each."""
        images = moved(self.pool, index, self.augmentation, self.rng)
        targets = torch.cat(self.objective.targets(index, progress), dim=1)
        if self.learning.mix is not None:
            images, targets = self._mixed_within_classes(images, targets, index, progress, self.learning.mix.alpha)
        if self.learning.transforms:
            images = transformed(images, self.learning.transforms, self.rng)
        targets = targets.to(images.device)
        if self.learning.mixing is not None:
            images, targets = mixed(images, targets, self.learning.mixing, self.rng, self.learning.alpha)
        classes, offsets = targets.chunk(2, dim=1)
        return images, classes, offsets

    def _mixed_within_classes(
        self, images: Tensor, targets: Tensor, index: Tensor, progress: float, alpha: float
    ) -> tuple[Tensor, Tensor]:
        """Each synthetic image with a real one of its class, where there is one."""
        places = self.synthetic[index].nonzero()[:, 0]
        found, partners = self._same_class.partners(self.labels[index[places]], self.rng)
        places = places[found]
        share = torch.from_numpy(self._shares.beta(alpha, alpha, len(places))).float()
        real = moved(self.pool, partners, self.augmentation, self.rng).float()
        ours = share.to(images.device)[:, None, None, None]
        where = places.to(images.device)
        blend = ours * real + (1 - ours) * images[where].float()
        images, targets = images.clone(), targets.clone()
        images[where] = blend.round().to(torch.uint8)
        of_real = torch.cat(self.objective.targets(partners, progress), dim=1)
        targets[places] = share[:, None] * of_real + (1 - share[:, None]) * targets[places]
        return images, targets
