"""How alike two pictures are: SSIM, multi-scale SSIM for small ones, PSNR; and how alike those of a class are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.errors import DataError
from augment.seeds import torch_rng

WINDOW = 11
SIGMA = 1.5
"""Gaussian window of SSIM; pictures below 11 pixels get the largest odd window that fits."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales, finest first (Wang et al. 2003)."""

CONTRAST_CONSTANT = 0.03**2

HIGHEST_PSNR = 100.0
"""Reported for pictures that are equal, whose PSNR is infinite."""


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each pair of pictures (Wang et al. 2004).

    Args:
        a: ``(N, C, H, W)`` float32 in [0, 1], at least 2 x 2.
        b: The same shape and type.

    Returns:
        ``(N,)`` float32, at most 1.

    Raises:
        DataError: For anything else.

    Example:
        >>> import torch
        >>> from augment.metrics.similarity import ssim
        >>> images = torch.rand(2, 1, 28, 28)
        >>> torch.allclose(ssim(images, images), torch.ones(2), atol=1e-4)
        True
    """
    from pytorch_msssim import ssim as reference_ssim

    _check(a, b)
    window = _window(a)
    similarity: Tensor = reference_ssim(a, b, data_range=1.0, size_average=False, win_size=window, win_sigma=SIGMA)
    return similarity


def ms_ssim_levels(height: int, width: int) -> int:
    """Scales :func:`ms_ssim_reduced` uses for a size: 1 below 21 pixels, 2 at 28 and 32, 3 at 64, 5 from 161.

    Args:
        height: In pixels.
        width: In pixels; the shorter side counts.

    Returns:
        1 to 5.

    Example:
        >>> from augment.metrics.similarity import ms_ssim_levels
        >>> [ms_ssim_levels(side, side) for side in (20, 28, 64, 161)]
        [1, 2, 3, 5]
    """
    side, levels = min(height, width), 1
    while levels < len(SCALE_WEIGHTS) and (side + 1) // 2 >= WINDOW:
        side, levels = (side + 1) // 2, levels + 1
    return levels


def ms_ssim_reduced(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale SSIM (Wang et al. 2003) with as many scales as the size allows.

    The published five scales need 161 pixels; here their number is :func:`ms_ssim_levels` and the weights of the scales
    used are made to sum to 1, so values of different sizes are not comparable. With one scale it is SSIM, with five it
    is the published measure. Negative structure counts as 0.

    Args:
        a: ``(N, C, H, W)`` float32 in [0, 1].
        b: The same shape and type.

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        DataError: For anything else.

    Example:
        >>> import torch
        >>> from augment.metrics.similarity import ms_ssim_reduced
        >>> images = torch.rand(2, 3, 32, 32)
        >>> torch.allclose(ms_ssim_reduced(images, images), torch.ones(2), atol=1e-4)
        True
    """
    _check(a, b)
    (n, channels), weights = a.shape[:2], torch.tensor(SCALE_WEIGHTS[: ms_ssim_levels(*a.shape[2:])])
    a, b = (images.reshape(n * channels, 1, *images.shape[2:]) for images in (a, b))
    product = torch.ones(n * channels)
    for weight in (weights / weights.sum())[:-1]:
        product = product * _contrast_structure(a, b).clamp(min=0) ** weight
        a, b = _halved(a), _halved(b)
    product = product * ssim(a, b).clamp(min=0) ** (weights[-1] / weights.sum())
    return product.view(n, channels).mean(dim=1)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair of pictures.

    Args:
        a: ``(N, C, H, W)`` float32 in [0, 1].
        b: The same shape and type.

    Returns:
        dB ``(N,)`` float32, at most 100 (equal pictures).

    Raises:
        DataError: For anything else.

    Example:
        >>> import torch
        >>> from augment.metrics.similarity import psnr
        >>> black = torch.zeros(2, 1, 8, 8)
        >>> psnr(black, black + 0.1).round().tolist(), psnr(black, black).round().tolist()
        ([20.0, 20.0], [100.0, 100.0])
    """
    _check(a, b)
    error = (a - b).square().flatten(1).mean(dim=1)
    return -10 * error.clamp(min=10 ** (-HIGHEST_PSNR / 10)).log10()


def ssim_diversity(images: Tensor, labels: Tensor, *, pairs: int = 1000, seed: int = 0) -> float | None:
    """Mean SSIM of random pairs of different pictures of one class; lower is more diverse (Odena et al. 2017).

    Every class with at least two pictures counts alike. Compare with the same number for real images: far above it,
    samples collapse; far below, they are noise. Source: arXiv:1610.09585, section 4.2 (with MS-SSIM).

    Args:
        images: Uint8 ``(N, C, H, W)``.
        labels: Int64 ``(N,)``.
        pairs: In all, spread over the classes.
        seed: Of the pairs.

    Returns:
        At most 1; None where no class has two pictures.

    Example:
        >>> import torch
        >>> from augment.metrics.similarity import ssim_diversity
        >>> collapsed = torch.full((4, 1, 28, 28), 128, dtype=torch.uint8)
        >>> round(ssim_diversity(collapsed, torch.tensor([0, 0, 1, 1])), 3)
        1.0
        >>> ssim_diversity(collapsed, torch.arange(4)) is None
        True
    """
    own = torch_rng(seed, "pairs")
    members = [index for label in labels.unique() if len(index := (labels == label).nonzero().flatten()) > 1]
    if not members:
        return None
    drawn = [index[_pairs(len(index), max(1, pairs // len(members)), own)] for index in members]
    first, second = torch.cat(drawn).unbind(dim=1)
    values = ssim(images[first].float() / 255, images[second].float() / 255)
    return values.double().mean().item()


def _pairs(n: int, count: int, rng: torch.Generator) -> Tensor:
    """``(count, 2)`` ordered pairs of different indices below ``n``."""
    first = torch.randint(n, (count,), generator=rng)
    step = torch.randint(1, n, (count,), generator=rng)
    return torch.stack([first, (first + step) % n], dim=1)


def _window(images: Tensor) -> int:
    """Largest odd window that fits, at most 11."""
    side = min(WINDOW, images.shape[2], images.shape[3])
    return side - (side + 1) % 2


def _contrast_structure(a: Tensor, b: Tensor) -> Tensor:
    """Contrast-structure term of SSIM of single-channel pictures, averaged over each, ``(N,)``."""
    position = torch.arange(WINDOW, dtype=a.dtype) - WINDOW // 2
    line = torch.exp(-position.square() / (2 * SIGMA**2))
    line = line / line.sum()

    def smooth(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))

    mean_a, mean_b = smooth(a), smooth(b)
    covariance = smooth(a * b) - mean_a * mean_b
    variances = smooth(a * a) - mean_a.square() + smooth(b * b) - mean_b.square()
    return ((2 * covariance + CONTRAST_CONSTANT) / (variances + CONTRAST_CONSTANT)).flatten(1).mean(dim=1)


def _halved(images: Tensor) -> Tensor:
    """Averages of 2 x 2 blocks, odd sides padded with zeros on both ends, as the published code does."""
    return F.avg_pool2d(images, 2, padding=[side % 2 for side in images.shape[2:]])


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.dim() != 4 or min(a.shape[2:]) < 2:
        raise DataError(
            f"Images to compare must be two equal (N, C, H, W) of at least 2 x 2; got {[*a.shape]}, {[*b.shape]}."
        )
    if a.dtype != torch.float32 or b.dtype != torch.float32:
        raise DataError(
            f"Images to compare must be float32 in [0, 1]; got {a.dtype} and {b.dtype}. Divide uint8 by 255."
        )
