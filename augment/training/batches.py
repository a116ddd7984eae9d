"""Batches by step: which images step ``s`` sees is a function of seed and step alone, so resuming needs no state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from augment.errors import ConfigError
from augment.generator import UNLABELLED
from augment.training.isolation import seed_of
from augment.training.processes import Processes

if TYPE_CHECKING:
    from augment.datasets import LabelledImages

RESIDENT_BYTES = 2 * 1024**3
"""Sets below this size are moved to the device once; larger ones are gathered in main memory, batch by batch."""


def as_input(images: Tensor, device: torch.device) -> Tensor:
    """uint8 ``(n, C, H, W)`` -> float32 in [0, 1] on ``device``, channels last."""
    batch = images.to(device, non_blocking=True)
    return batch.to(torch.float32, memory_format=torch.channels_last).div_(255)


class Batches:
    """The training images as a function of the step: ``batches(step) -> (images, labels)`` of this process.

    The joint batch of ``batch_size`` images is cut into one slice per process. Images come in a new random order every
    epoch, epochs follow each other without a gap, and every image is seen equally often; with ``class_balanced`` each
    image's class is drawn uniformly from those present, then the image from its class.

    Where some images are labelled ``UNLABELLED`` and others are not, every other image of a batch is unlabelled (all of
    them in turn, as above; the one more of an odd batch is one of them), and the rest are labelled, drawn by class as
    with ``class_balanced``: few labels stay in sight among many images without. Where no image has a label,
    ``class_balanced`` means nothing. Raises ConfigError when a batch has fewer images than there are processes.
    """

    def __init__(
        self, data: LabelledImages, *, batch_size: int, seed: int, class_balanced: bool, processes: Processes
    ) -> None:
        if batch_size < processes.count:
            raise ConfigError(
                f"batch_size is {batch_size}, but {processes.count} processes share a batch. "
                "Each needs an image: raise batch_size or start fewer processes."
            )
        self.size = batch_size
        self.seed = seed
        self.processes = processes
        self._order = _order(data.labels, seed, class_balanced=class_balanced)
        resident = data.images.numel() < RESIDENT_BYTES
        self._home = processes.device if resident else torch.device("cpu")
        self._images, self._labels = data.images.to(self._home), data.labels.to(self._home)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images float32 in [0, 1] and int64 labels on the device, this process's slice of joint batch ``step``."""
        index = self.indices(step).tensor_split(self.processes.count)[self.processes.index].to(self._home)
        images = as_input(self._images.index_select(0, index), self.processes.device)
        return images, self._labels.index_select(0, index).to(self.processes.device)

    @property
    def share(self) -> float:
        """Part of this process in a joint batch, relative to an equal part."""
        count = self.processes.count
        return len(range(self.size)[self.processes.index :: count]) * count / self.size

    def indices(self, step: int) -> Tensor:
        """Indices of the joint batch ``step``, ``(batch_size,)`` int64."""
        return self._order.draw(self.size, step)


class _Order(Protocol):
    def draw(self, n: int, step: int) -> Tensor:
        """Indices ``(n,)`` of step ``step``, all steps having the same ``n``."""


def _order(labels: Tensor, seed: int, *, class_balanced: bool) -> _Order:
    unlabelled = labels == UNLABELLED
    if not unlabelled.any():
        return _ByClass(labels, seed) if class_balanced else _InTurn(torch.arange(len(labels)), seed)
    in_turn = _InTurn(unlabelled.nonzero().squeeze(1), seed)
    return in_turn if unlabelled.all() else _Halves(in_turn, _ByClass(labels, seed))


class _InTurn:
    """All of some rows in a new random order every epoch; epochs follow each other without a gap."""

    def __init__(self, rows: Tensor, seed: int) -> None:
        self._rows, self._seed = rows, seed
        self._shuffled = (-1, torch.empty(0))

    def draw(self, n: int, step: int) -> Tensor:
        parts, position, missing = [], step * n, n
        while missing:
            epoch, start = divmod(position, len(self._rows))
            parts.append(self._epoch(epoch)[start : start + missing])
            position, missing = position + len(parts[-1]), missing - len(parts[-1])
        return torch.cat(parts)

    def _epoch(self, epoch: int) -> Tensor:
        if self._shuffled[0] != epoch:
            rng = torch.Generator().manual_seed(seed_of(self._seed, "epoch", epoch))
            self._shuffled = (epoch, self._rows[torch.randperm(len(self._rows), generator=rng)])
        return self._shuffled[1]


class _ByClass:
    """Labelled rows, each of a class drawn uniformly; absent classes are left out."""

    def __init__(self, labels: Tensor, seed: int) -> None:
        self._seed = seed
        rows = (labels != UNLABELLED).nonzero().squeeze(1)
        self._by_class = rows[torch.argsort(labels[rows], stable=True)]
        _, self._counts = torch.unique(labels[rows], sorted=True, return_counts=True)
        self._starts = self._counts.cumsum(0) - self._counts

    def draw(self, n: int, step: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed_of(self._seed, "batch", step))
        chosen = torch.randint(len(self._counts), (n,), generator=rng)
        share = torch.rand(n, generator=rng, dtype=torch.float64)
        return self._by_class[self._starts[chosen] + (share * self._counts[chosen]).long()]


class _Halves:
    """Unlabelled rows in even places, labelled ones in odd places: every process's slice of a batch has both."""

    def __init__(self, unlabelled: _InTurn, labelled: _ByClass) -> None:
        self._unlabelled, self._labelled = unlabelled, labelled

    def draw(self, n: int, step: int) -> Tensor:
        rows = torch.empty(n, dtype=torch.int64)
        rows[0::2] = self._unlabelled.draw(n - n // 2, step)
        rows[1::2] = self._labelled.draw(n // 2, step)
        return rows


def per_class_sample(labels: Tensor, *, per_class: int, total: int, seed: int) -> Tensor:
    """Ascending indices of up to ``per_class`` random images of each class, and of about ``total`` at most in all.

    The limit is the same for every class, and at least 1; as many images without a label come on top.
    """
    present = torch.unique(labels).tolist()
    classes = sum(label != UNLABELLED for label in present)
    limit = max(1, min(per_class, total // max(classes, 1)))
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=rng)
    chosen = [order[labels[order] == label][:limit] for label in present]
    return torch.cat(chosen).sort().values
