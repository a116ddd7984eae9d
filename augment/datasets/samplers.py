"""Which images make up a batch: a function of seed and step alone, so that resuming needs no state.

Generators and classifiers draw by the same samplers; all steps of one have the same number of images.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from augment.seeds import torch_rng


class Sampler(Protocol):
    """Draws the indices of a batch."""

    def draw(self, n: int, step: int) -> Tensor:
        """Indices ``(n,)`` int64 of step ``step``, on the CPU; ``n`` is the same in all steps."""


class InTurn:
    """All of ``rows`` in a new random order every epoch; epochs follow each other without a gap.

    So every image is seen equally often, and several times within a batch when there are fewer than ``n``.
    """

    def __init__(self, rows: Tensor, seed: int) -> None:
        self._rows, self._seed = rows, seed
        self._shuffled = (-1, rows)

    def draw(self, n: int, step: int) -> Tensor:
        """See :class:`Sampler`."""
        parts, position, missing = [], step * n, n
        while missing:
            epoch, start = divmod(position, len(self._rows))
            parts.append(self._epoch(epoch)[start : start + missing])
            position, missing = position + len(parts[-1]), missing - len(parts[-1])
        return torch.cat(parts)

    def _epoch(self, epoch: int) -> Tensor:
        if self._shuffled[0] != epoch:
            order = torch.randperm(len(self._rows), generator=torch_rng(self._seed, "epoch", epoch))
            self._shuffled = (epoch, self._rows[order])
        return self._shuffled[1]


class RowsByClass:
    """``rows`` by their class, to draw one of a given class.  labels: of all images ``(N,)``; no row's is negative."""

    def __init__(self, rows: Tensor, labels: Tensor) -> None:
        own = labels[rows]
        self._rows = rows[own.argsort(stable=True)]
        self.counts = torch.bincount(own, minlength=int(labels.max()) + 1)
        self._first = self.counts.cumsum(0) - self.counts

    def one_of(self, classes: Tensor, generator: torch.Generator) -> Tensor:
        """A random row of each of ``classes`` ``(n,)``, all of which have one."""
        # float64: a product in float32 could round up to the next class
        share = torch.rand(len(classes), generator=generator, dtype=torch.float64)
        return self._rows[self._first[classes] + (share * self.counts[classes]).long()]


class ClassBalanced:
    """``rows`` of which each is of a class drawn uniformly among those that occur, or in proportion to ``shares``.

    labels: of all images ``(N,)``.  shares: of the classes that occur, in their order.
    """

    def __init__(self, rows: Tensor, labels: Tensor, seed: int, shares: Tensor | None = None) -> None:
        self._by_class, self._seed = RowsByClass(rows, labels), seed
        self._classes = self._by_class.counts.nonzero()[:, 0]
        even = shares is None or bool((shares == shares[0]).all())
        self._shares = None if even else shares

    def draw(self, n: int, step: int) -> Tensor:
        """See :class:`Sampler`."""
        generator = torch_rng(self._seed, "batch", step)
        if self._shares is None:
            drawn = torch.randint(len(self._classes), (n,), generator=generator)
        else:
            drawn = torch.multinomial(self._shares, n, replacement=True, generator=generator)
        return self._by_class.one_of(self._classes[drawn], generator)
