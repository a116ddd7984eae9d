"""Eight corruptions of images, each drawn per image with a strength of its own: for denoising and for classifiers.

``noise(images, strength)`` takes and returns ``(n, C, H, W)`` float32 in [0, 1]; strength 0 changes nothing. Draws
come from torch's global random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

NoiseName = Literal["gaussian", "salt_pepper", "speckle", "masking", "rotation", "brightness", "contrast", "blur"]
Noise = Callable[[Tensor, float], Tensor]


def gaussian(images: Tensor, strength: float) -> Tensor:
    """Add N(0, s^2) to every value, s uniform in [0, ``strength``] per image."""
    return (images + strength * _uniform(images) * torch.randn_like(images)).clamp(0, 1)


def salt_pepper(images: Tensor, strength: float) -> Tensor:
    """Set a share of the pixels, uniform in [0, ``strength``] per image, to 0 or 1, all channels alike."""
    draw = torch.rand_like(images[:, :1])
    share = strength * _uniform(images)
    return torch.where(draw < share, (draw < share / 2).to(images.dtype), images)


def speckle(images: Tensor, strength: float) -> Tensor:
    """Multiply every value by 1 + N(0, s^2), s uniform in [0, ``strength``] per image."""
    return (images * (1 + strength * _uniform(images) * torch.randn_like(images))).clamp(0, 1)


def masking(images: Tensor, strength: float) -> Tensor:
    """Black out one rectangle of up to ``strength`` of either side per image."""
    n, _, height, width = images.shape
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    inside = []
    for positions, size in ((rows, height), (columns, width)):
        length = strength * size * torch.rand(n, 1, device=images.device)
        start = (size - length) * torch.rand(n, 1, device=images.device)
        inside.append((positions >= start) & (positions < start + length))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, 0.0)


def rotation(images: Tensor, strength: float) -> Tensor:
    """Turn each image by an angle uniform in +-``strength`` half turns (0.1 is 18 degrees), the border repeated."""
    angle = math.pi * strength * _signed(images).flatten()
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    aspect = images.shape[2] / images.shape[3]
    theta = torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], dim=1).view(-1, 2, 3)
    where = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, where, padding_mode="border", align_corners=False).clamp(0, 1)


def brightness(images: Tensor, strength: float) -> Tensor:
    """Add a constant uniform in +-``strength`` per image."""
    return (images + strength * _signed(images)).clamp(0, 1)


def contrast(images: Tensor, strength: float) -> Tensor:
    """Scale the distance to the image's mean by a factor uniform in 1 +- ``strength`` per image."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return (mean + (images - mean) * (1 + strength * _signed(images))).clamp(0, 1)


def blur(images: Tensor, strength: float) -> Tensor:
    """Mix each image with its 5x5 Gaussian blur (sigma 1.2 pixels), the blurred share uniform in [0, ``strength``]."""
    channels = images.shape[1]
    line = torch.exp(-(torch.arange(-2, 3, device=images.device, dtype=images.dtype) ** 2) / (2 * 1.2**2))
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    with torch.autocast(images.device.type, enabled=False):  # a mean of 25 pixels wants the digits
        kernel = torch.outer(line, line) / line.sum() ** 2
        blurred = F.conv2d(padded, kernel.expand(channels, 1, 5, 5), groups=channels)
    return torch.lerp(images, blurred, strength * _uniform(images)).clamp(0, 1)


NOISES: Mapping[NoiseName, Noise] = dict(
    zip(
        get_args(NoiseName),
        (gaussian, salt_pepper, speckle, masking, rotation, brightness, contrast, blur),
        strict=True,
    )
)

STRENGTHS: Mapping[NoiseName, float] = {
    "gaussian": 0.3,
    "salt_pepper": 0.2,
    "speckle": 0.5,
    "masking": 0.5,
    "rotation": 0.1,
    "brightness": 0.3,
    "contrast": 0.5,
    "blur": 1.0,
}
"""Strength of each kind at scale 1."""


def corrupt(images: Tensor, kinds: Sequence[NoiseName], strengths: Mapping[NoiseName, float]) -> Tensor:
    """One kind drawn per image from ``kinds``; only the images a kind fell to are computed."""
    if len(kinds) == 1:
        return NOISES[kinds[0]](images, strengths[kinds[0]])
    pick = torch.randint(len(kinds), (len(images),), device=images.device)
    noisy = images.clone()
    for index, kind in enumerate(kinds):
        rows = (pick == index).nonzero().squeeze(1)
        if len(rows):
            noisy[rows] = NOISES[kind](images[rows], strengths[kind])
    return noisy


def _uniform(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, device=images.device)


def _signed(images: Tensor) -> Tensor:
    return 2 * _uniform(images) - 1
