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
    """Add N(0, s^2) to every value, s uniform in [0, ``strength``] per image.

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        strength: Largest standard deviation; 0 changes nothing.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import gaussian
        >>> images = torch.full((2, 1, 8, 8), 0.5)
        >>> torch.equal(gaussian(images, 0.0), images), torch.equal(gaussian(images, 0.3), images)
        (True, False)
    """
    return (images + strength * _uniform(images) * torch.randn_like(images)).clamp(0, 1)


def salt_pepper(images: Tensor, strength: float) -> Tensor:
    """Set a share of the pixels, uniform in [0, ``strength``] per image, to 0 or 1, all channels alike.

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        strength: Largest share of the pixels, in [0, 1]; 0 changes nothing.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import salt_pepper
        >>> noisy = salt_pepper(torch.full((8, 1, 28, 28), 0.5), 1.0)
        >>> noisy.unique().tolist()
        [0.0, 0.5, 1.0]
    """
    draw = torch.rand_like(images[:, :1])
    share = strength * _uniform(images)
    return torch.where(draw < share, (draw < share / 2).to(images.dtype), images)


def speckle(images: Tensor, strength: float) -> Tensor:
    """Multiply every value by 1 + N(0, s^2), s uniform in [0, ``strength``] per image.

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        strength: Largest standard deviation of the factor; 0 changes nothing.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import speckle
        >>> black = torch.zeros(2, 1, 8, 8)
        >>> torch.equal(speckle(black, 0.5), black)
        True
    """
    return (images * (1 + strength * _uniform(images) * torch.randn_like(images))).clamp(0, 1)


def masking(images: Tensor, strength: float) -> Tensor:
    """Black out one rectangle of up to ``strength`` of either side per image.

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        strength: Largest share of a side, in [0, 1]; 0 changes nothing.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import masking
        >>> left = masking(torch.ones(8, 1, 8, 8), 0.5).sum((1, 2, 3))
        >>> bool((left >= 48).all())  # of 64 pixels
        True
    """
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
    """Turn each image by an angle uniform in +-``strength`` half turns (0.1 is 18 degrees), the border repeated.

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        strength: Largest angle, in half turns; 0 changes nothing.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import rotation
        >>> images = torch.full((2, 3, 8, 12), 0.5)
        >>> torch.allclose(rotation(images, 0.1), images)
        True
    """
    angle = math.pi * strength * _signed(images).flatten()
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    aspect = images.shape[2] / images.shape[3]
    theta = torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], dim=1).view(-1, 2, 3)
    where = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, where, padding_mode="border", align_corners=False).clamp(0, 1)


def brightness(images: Tensor, strength: float) -> Tensor:
    """Add a constant uniform in +-``strength`` per image.

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        strength: Largest constant; 0 changes nothing.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import brightness
        >>> changed = brightness(torch.full((2, 1, 8, 8), 0.5), 0.3)
        >>> [len(image.unique()) for image in changed]
        [1, 1]
    """
    return (images + strength * _signed(images)).clamp(0, 1)


def contrast(images: Tensor, strength: float) -> Tensor:
    """Scale the distance to the image's mean by a factor uniform in 1 +- ``strength`` per image.

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        strength: Largest distance of the factor from 1; 0 changes nothing.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import contrast
        >>> even = torch.full((2, 1, 8, 8), 0.5)
        >>> torch.equal(contrast(even, 0.5), even)
        True
    """
    mean = images.mean((1, 2, 3), keepdim=True)
    return (mean + (images - mean) * (1 + strength * _signed(images))).clamp(0, 1)


def blur(images: Tensor, strength: float) -> Tensor:
    """Mix each image with its 5x5 Gaussian blur (sigma 1.2 pixels), the blurred share uniform in [0, ``strength``].

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        strength: Largest share of the blurred image, in [0, 1]; 0 changes nothing.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import blur
        >>> even = torch.full((2, 1, 8, 8), 0.5)
        >>> torch.allclose(blur(even, 1.0), even)
        True
    """
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
"""Each kind by its name."""

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
    """Corrupt each image by one kind, drawn from several; only the images a kind fell to are computed.

    Args:
        images: ``(n, C, H, W)`` float32 in [0, 1].
        kinds: Keys of :data:`NOISES`, at least one, drawn with equal chances.
        strengths: Strength of each kind; :data:`STRENGTHS` has the usual ones.

    Returns:
        Images of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.corruptions import STRENGTHS, corrupt
        >>> corrupt(torch.rand(4, 3, 32, 32), ("gaussian", "blur"), STRENGTHS).shape
        torch.Size([4, 3, 32, 32])
    """
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
