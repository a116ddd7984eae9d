"""Differentiable augmentation of what a discriminator sees, real and drawn alike.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv 2006.10738. It does not leak into
the samples, because it meets real and drawn images alike, gradients pass through it, and it shows: shifted-in and
cut-out pixels are grey, which is 0 here, so that the discriminator sees how far an image was moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

DiffAugmentation = Literal["colour", "translation", "cutout"]

SHIFT = 1 / 8
"""Largest translation, as a share of a side; the paper's."""

HOLE = 1 / 2
"""Side of the cut-out square, as a share of the image's; the paper's."""


def diff_augment(x: Tensor, kinds: Sequence[DiffAugmentation]) -> Tensor:
    """Augment images ``(n, C, H, W)`` in [-1, 1], each in its own way, with noise from torch's global RNG.

    Differentiable in ``x``; colours may leave [-1, 1]. No kinds: ``x`` itself.
    """
    for kind in kinds:
        x = _KINDS[kind](x)
    return x


def _colour(x: Tensor) -> Tensor:
    """Brightness +-1/2, saturation of 0 to 2 (nothing where there is one channel), contrast of 1/2 to 3/2."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device)
    x = x + brightness - 0.5
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * 2 * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)  # type: ignore[no-any-return]


def _translation(x: Tensor) -> Tensor:
    """Shift by up to an eighth of each side, in whole pixels; what comes in from outside is grey."""
    n, _, height, width = x.shape
    rows, columns = (_moved(n, side, x.device) for side in (height, width))
    canvas = F.pad(x, (1, 1, 1, 1))
    canvas = canvas.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, width + 2))
    return canvas.gather(3, columns[:, None, None, :].expand(-1, x.shape[1], height, -1))


def _moved(n: int, side: int, device: torch.device) -> Tensor:
    """Index ``(n, side)`` into a side padded by one pixel of grey at both ends."""
    reach = max(1, round(side * SHIFT))
    shift = torch.randint(-reach, reach + 1, (n, 1), device=device)
    return (torch.arange(1, side + 1, device=device) + shift).clamp(0, side + 1)


def _cutout(x: Tensor) -> Tensor:
    """Make a square of half the side grey; its centre lies anywhere, so part of it may fall outside."""
    n, _, height, width = x.shape
    rows, columns = (_hole(n, side, x.device) for side in (height, width))
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _hole(n: int, side: int, device: torch.device) -> Tensor:
    """Mask ``(n, side)`` of the pixels inside the hole along one side."""
    length = max(1, round(side * HOLE))
    first = torch.randint(-(length // 2), side - length // 2 + 1, (n, 1), device=device)
    place = torch.arange(side, device=device)
    return (place >= first) & (place < first + length)


_KINDS = {"colour": _colour, "translation": _translation, "cutout": _cutout}
