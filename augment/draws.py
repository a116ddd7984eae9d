"""Which images make up each batch of a classifier's training, and how they are moved; index arithmetic on uint8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

Sampling = Literal["as_is", "balanced"]
Augmentation = Literal["none", "shift", "shift-flip"]

SAMPLINGS = ("as_is", "balanced")
AUGMENTATIONS = ("none", "shift", "shift-flip")

REACH = 1 / 28
"""Largest shift as a share of the side, at least one pixel. Twice as far cost 0.9 points on Fashion-MNIST at 800
updates: the budget is too short to learn from it."""


def batches(
    labels: Tensor, *, updates: int, batch_size: int, sampling: Sampling, rng: torch.Generator
) -> Iterator[Tensor]:
    """``updates`` index tensors ``(batch_size,)`` into ``labels``, on the CPU.

    ``as_is``: endless reshuffled passes, so that images are used equally often, and several times within a batch when
    there are fewer than ``batch_size``. ``balanced``: a class drawn uniformly among those that occur, then one of its
    images; this is random oversampling.
    """
    draw = _balanced if sampling == "balanced" else _as_is
    return draw(labels.cpu(), updates, batch_size, rng)


def _as_is(labels: Tensor, updates: int, batch_size: int, rng: torch.Generator) -> Iterator[Tensor]:
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(updates):
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(labels), generator=rng)])
        yield order[:batch_size]
        order = order[batch_size:]


def _balanced(labels: Tensor, updates: int, batch_size: int, rng: torch.Generator) -> Iterator[Tensor]:
    by_class = labels.argsort(stable=True)
    counts = labels.unique(return_counts=True)[1]
    first = counts.cumsum(0) - counts
    for _ in range(updates):
        drawn = torch.randint(len(counts), (batch_size,), generator=rng)
        # float64: a product in float32 could round up to the next class
        place = (torch.rand(batch_size, generator=rng, dtype=torch.float64) * counts[drawn]).long()
        yield by_class[first[drawn] + place]


def moved(images: Tensor, index: Tensor, augmentation: Augmentation, rng: torch.Generator) -> Tensor:
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
