"""Batches of a generator's training on their device, by step, and which images are left for what comes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from augment.datasets.samplers import ClassBalanced, InTurn, Sampler
from augment.errors import ConfigError
from augment.generator import UNLABELLED
from augment.seeds import torch_rng
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
        self._sampler = _sampler(data.labels.cpu(), seed, class_balanced=class_balanced)
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
        return self._sampler.draw(self.size, step)


def _sampler(labels: Tensor, seed: int, *, class_balanced: bool) -> Sampler:
    unlabelled = labels == UNLABELLED
    known, unknown = (~unlabelled).nonzero()[:, 0], unlabelled.nonzero()[:, 0]
    if not len(unknown):
        return ClassBalanced(known, labels, seed) if class_balanced else InTurn(known, seed)
    in_turn = InTurn(unknown, seed)
    return in_turn if not len(known) else _Halves(in_turn, ClassBalanced(known, labels, seed))


class _Halves:
    """Unlabelled rows in even places, labelled ones in odd places: every process's slice of a batch has both."""

    def __init__(self, unlabelled: Sampler, labelled: Sampler) -> None:
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
    order = torch.randperm(len(labels), generator=torch_rng(seed, "part of each class"))
    chosen = [order[labels[order] == label][:limit] for label in present]
    return torch.cat(chosen).sort().values
