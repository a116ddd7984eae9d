"""Batches by step: which images step ``s`` sees is a function of seed and step alone, so resuming needs no state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from augment.errors import ConfigError
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
    image's class is drawn uniformly from those present, then the image from its class. Raises ConfigError when a batch
    has fewer images than there are processes.
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
        self._length = len(data)
        self._classes = _Classes(data.labels) if class_balanced else None
        self._order = (-1, torch.empty(0))
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
        if self._classes is not None:
            return self._classes.draw(self.size, seed_of(self.seed, "batch", step))
        parts, position, missing = [], step * self.size, self.size
        while missing:
            epoch, start = divmod(position, self._length)
            parts.append(self._epoch(epoch)[start : start + missing])
            position, missing = position + len(parts[-1]), missing - len(parts[-1])
        return torch.cat(parts)

    def _epoch(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            rng = torch.Generator().manual_seed(seed_of(self.seed, "epoch", epoch))
            self._order = (epoch, torch.randperm(self._length, generator=rng))
        return self._order[1]


class _Classes:
    """Indices grouped by class, for drawing classes uniformly; absent classes are left out."""

    def __init__(self, labels: Tensor) -> None:
        self._by_class = torch.argsort(labels, stable=True)
        _, self._counts = torch.unique(labels, sorted=True, return_counts=True)
        self._starts = self._counts.cumsum(0) - self._counts

    def draw(self, n: int, seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.randint(len(self._counts), (n,), generator=rng)
        share = torch.rand(n, generator=rng, dtype=torch.float64)
        return self._by_class[self._starts[chosen] + (share * self._counts[chosen]).long()]


def per_class_sample(labels: Tensor, *, per_class: int, total: int, seed: int) -> Tensor:
    """Ascending indices of up to ``per_class`` random images of each class, and of about ``total`` at most in all.

    The limit is the same for every class, and at least 1.
    """
    present = torch.unique(labels).tolist()
    limit = max(1, min(per_class, total // len(present)))
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=rng)
    chosen = [order[labels[order] == label][:limit] for label in present]
    return torch.cat(chosen).sort().values
