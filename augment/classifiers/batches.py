"""The batches of a classifier's training: drawn, shifted, transformed and mixed, with their targets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from augment.classifiers.learning import Learning, Objective
from augment.classifiers.transforms import mixed, transformed
from augment.datasets.samplers import ClassBalanced, InTurn, RowsByClass, Sampler
from augment.seeds import derived_seed, numpy_rng, torch_rng

Augmentation = Literal["none", "shift", "shift-flip"]

AUGMENTATIONS = ("none", "shift", "shift-flip")

REACH = 1 / 28
"""Largest shift as a share of the side, at least one pixel. Twice as far cost 0.9 points on Fashion-MNIST at 800
updates: the budget is too short to learn from it. Chosen on official test images."""


def batches(
    labels: Tensor,
    *,
    updates: int,
    batch_size: int,
    learning: Learning,
    seed: int,
    synthetic: Tensor | None = None,
) -> Iterator[Tensor]:
    """``updates`` index tensors ``(batch_size,)`` into ``labels``, on the CPU.

    Oversampling draws a class uniformly among those that occur, then one of its images; else images come in endless
    reshuffled passes, so that they are used equally often, and several times within a batch when there are fewer than
    ``batch_size``. With a share per batch the synthetic images, ``synthetic`` ``(N,)``, are drawn apart from the real
    ones, of which oversampling then takes more of the classes that have no synthetic images; a last phase on real
    images draws those alone.
    """
    labels = labels.cpu()
    synthetic = torch.zeros(len(labels), dtype=torch.bool) if synthetic is None else synthetic.cpu()
    balanced = learning.imbalance == "oversample"
    real_rows, synthetic_rows = (~synthetic).nonzero()[:, 0], synthetic.nonzero()[:, 0]
    n_synthetic = (
        round(batch_size * learning.share.share) if learning.share is not None and len(synthetic_rows) else None
    )
    first_real = bisect_left(range(updates), True, key=lambda update: update / updates >= learning.real_from)

    def sampler(rows: Tensor, name: str, shares: Tensor | None = None) -> Sampler:
        own = derived_seed(seed, "classifier", name)
        return ClassBalanced(rows, labels, own, shares) if balanced else InTurn(rows, own)

    if n_synthetic is None:
        parts = [(sampler(torch.arange(len(labels)), "batches"), batch_size)]
    else:
        shares = _completing(labels[real_rows], labels[synthetic_rows], n_synthetic / batch_size) if balanced else None
        parts = [
            (sampler(real_rows, "real", shares), batch_size - n_synthetic),
            (sampler(synthetic_rows, "synthetic"), n_synthetic),
        ]
    for step in range(first_real):
        yield torch.cat([part.draw(n, step) for part, n in parts])
    last = sampler(real_rows, "last phase")
    for step in range(updates - first_real):
        yield last.draw(batch_size, step)


def _completing(real: Tensor, synthetic: Tensor, share: float) -> Tensor:
    """Shares of the classes of ``real`` that make a batch uniform of which ``share`` is ``synthetic``, uniform itself.

    As near as that comes: a class of which synthetic images alone are more than its part has no real ones.
    """
    classes, synthetic_classes = real.unique(), synthetic.unique()
    each = 1 / len(torch.cat([classes, synthetic_classes]).unique())
    shares = torch.full((len(classes),), each, dtype=torch.float64)
    shares[torch.isin(classes, synthetic_classes)] -= share / len(synthetic_classes)
    return shares.clamp(min=0)


class SameClass:
    """Draws images of given classes among those in ``among`` ``(N,)``, to mix others with."""

    def __init__(self, labels: Tensor, among: Tensor) -> None:
        self._rows = RowsByClass(among.nonzero()[:, 0], labels)

    def partners(self, classes: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """``(present, index)``: which of ``classes`` ``(n,)`` have such images, ``(n,)``, and one of each that has."""
        present = self._rows.counts[classes] > 0
        return present, self._rows.one_of(classes[present], rng)


def random_shift(images: Tensor, index: Tensor, augmentation: Augmentation, rng: torch.Generator) -> Tensor:
    """``images[index]``, each shifted by up to ``REACH`` of its side with edges repeated; ``shift-flip`` mirrors half.

    images: uint8 ``(N, C, H, W)``; returns uint8 ``(n, C, H, W)`` in channels_last order. Mirroring is wrong where left
    and right mean something, as in digits and letters.
    """
    height, width = images.shape[2:]
    rows, columns = _offsets(height, len(index), augmentation, rng), _offsets(width, len(index), augmentation, rng)
    if augmentation == "shift-flip":
        mirrored = torch.rand(len(index), 1, generator=rng) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    index, rows, columns = (places.to(images.device) for places in (index, rows, columns))
    picked = images[index[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _offsets(side: int, n: int, augmentation: Augmentation, rng: torch.Generator) -> Tensor:
    """Source coordinates ``(n, side)`` along one axis."""
    reach = 0 if augmentation == "none" else max(1, round(REACH * side))
    shift = torch.randint(-reach, reach + 1, (n, 1), generator=rng)
    return (torch.arange(side) + shift).clamp(0, side - 1)


class BatchLoader:
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
        """See :func:`augment.classifiers.batches.batches`."""
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
        images = random_shift(self.pool, index, self.augmentation, self.rng)
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
        present, partners = self._same_class.partners(self.labels[index[places]], self.rng)
        places = places[present]
        share = torch.from_numpy(self._shares.beta(alpha, alpha, len(places))).float()
        real = random_shift(self.pool, partners, self.augmentation, self.rng).float()
        ours = share.to(images.device)[:, None, None, None]
        where = places.to(images.device)
        blend = ours * real + (1 - ours) * images[where].float()
        images, targets = images.clone(), targets.clone()
        images[where] = blend.round().to(torch.uint8)
        of_real = torch.cat(self.objective.targets(partners, progress), dim=1)
        targets[places] = share[:, None] * of_real + (1 - share[:, None]) * targets[places]
        return images, targets
