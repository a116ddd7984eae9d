"""A generator on held-out images while it trains: its own loss, and SSIM and PSNR of reconstructions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from augment.generator import UNLABELLED, Generator
from augment.seeds import torch_rng
from augment.training.batches import as_input
from augment.training.isolation import seed_all
from augment.training.state import NUMERICAL

if TYPE_CHECKING:
    from augment.datasets import LabelledImages

MAX_IMAGES = 512
CHUNK = 128
"""Images per pass; the first pass alone is also reconstructed and compared, which costs as much as the loss."""


class Validation:
    """Up to 512 evenly spaced validation images on the device, always with the same random numbers.

    ``validation(generator)`` gives ``val_<term>`` for each term of a plugin that defines ``loss``; for one that
    reconstructs, ``val_ssim`` and ``val_psnr`` of up to 128 of the images; nothing where neither is so. Where some
    images have a label and others none, half of those taken have one, or all that have.
    """

    def __init__(self, data: LabelledImages, *, seed: int, device: torch.device) -> None:
        rows = _rows(data.labels)
        rows = rows[torch.randperm(len(rows), generator=torch_rng(seed, "order of validation"))]
        self.seed = seed
        self.device = device
        self._images, self._labels = data.images[rows].to(device), data.labels[rows].to(device)

    @torch.no_grad()
    def __call__(self, generator: Generator) -> dict[str, float]:
        """Means over the images, in eval mode; the generator is left in training mode.

        ``val_loss`` is NaN where a plugin's arithmetic breaks down.
        """
        generator.eval()
        seed_all(self.device, self.seed, "validation")
        try:
            return {**self._loss_terms(generator), **self._pictures(generator)}
        except NUMERICAL:
            return {"val_loss": math.nan}
        finally:
            generator.train()

    def _loss_terms(self, generator: Generator) -> dict[str, float]:
        if type(generator).loss is Generator.loss:
            return {}
        sums: dict[str, float] = {}
        for images, labels in zip(torch.split(self._images, CHUNK), torch.split(self._labels, CHUNK), strict=True):
            terms = generator.loss_terms(as_input(images, self.device), labels)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.detach().item() * len(images)
        return {f"val_{name}": total / len(self._images) for name, total in sums.items()}

    def _pictures(self, generator: Generator) -> dict[str, float]:
        if not generator.tags.reconstructs:
            return {}
        from augment.metrics.similarity import psnr, ssim

        model: Any = generator  # `reconstruct` belongs to the plugins whose tags say so
        images = as_input(self._images[:CHUNK], self.device)
        pictures = model.reconstruct(images).detach().float().clamp(0, 1)
        with torch.autocast(self.device.type, enabled=False):
            return {
                "val_ssim": ssim(images, pictures).mean().item(),
                "val_psnr": psnr(images, pictures).mean().item(),
            }


def _rows(labels: Tensor) -> Tensor:
    """Evenly spaced rows: half of them with a label and half without, as far as there are such."""
    known = labels != UNLABELLED
    labelled, rest = known.nonzero().squeeze(1), (~known).nonzero().squeeze(1)
    first = min(len(labelled), max(MAX_IMAGES // 2, MAX_IMAGES - len(rest)))
    return torch.cat([_evenly(labelled, first), _evenly(rest, MAX_IMAGES - first)])


def _evenly(rows: Tensor, most: int) -> Tensor:
    return rows[torch.linspace(0, len(rows) - 1, min(len(rows), most)).round().long()]
