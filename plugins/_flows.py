"""Parts of flows on images: invertible layers, dequantisation, and the Gaussian per class over what comes out.

Dinh, Sohl-Dickstein and Bengio 2016 (Real NVP), arXiv 1605.08803; actnorm: Kingma and Dhariwal 2018 (Glow),
arXiv 1807.03039. A layer maps ``x`` to ``(y, log_det)``, ``log_det`` ``(n,)`` in nats, and has ``inverse(y)``.

The Gaussians are diagonal while they are trained with the flow, with a low-rank part fitted afterwards: Tipping and
Bishop 1999, "Probabilistic Principal Component Analysis". Why afterwards: what a flow of few layers leaves correlated
in its latents is what makes a garment hang together, and a density fitted to the latents brings it back at no training
cost (as for autoencoders, Ghosh et al. 2019, arXiv 1903.12436).
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._layers import ResidualBlock

LEVELS = 256
"""Values an 8-bit pixel can have."""

FIRST_BOUND = 2.0
"""Bound of a coupling's log-scales before training."""

SMALLEST_STD = 1e-2
"""Floor of a channel's first standard deviation, so that a channel that never varies is not blown up."""

SHRINKAGE = 100.0
"""Images at which a class's own covariance and the one pooled over classes weigh the same.

On a long tail of 5,000 Fashion-MNIST images 400 saved 0.02 bits per dimension of held-out images, but an independent
classifier then took 46% of the samples for their class and not 55%.
"""

MEAN_SHRINKAGE = 2.0
"""Images at which a class's own mean and the mean over all classes weigh the same."""

SMALLEST_VARIANCE = 1e-3

Mask = Literal["halves", "checkerboard", "stripes"]
MASKS: tuple[Mask, ...] = ("halves", "checkerboard", "stripes")


def dequantise(images: Tensor, noise: Tensor | float) -> Tensor:
    """Images in [0, 1] to ``v`` in [0, 1]: pixel value k of 0..255 fills the interval from k / 256 to (k + 1) / 256.

    ``noise`` in [0, 1] chooses the place in it (Uria et al. 2013, arXiv 1306.0186); 0.5 is the middle.
    """
    return (images * (LEVELS - 1) + noise) / LEVELS


def requantise(v: Tensor) -> Tensor:
    """Undo :func:`dequantise` at the middle; what lies beyond the pixel's range becomes 0 or 1."""
    return ((LEVELS * v - 0.5) / (LEVELS - 1)).clamp(0, 1)


class Logit(nn.Module):
    """``logit(alpha + (1 - 2 alpha) v)``, which takes [0, 1] to a bounded part of the line (Real NVP, section 4.1).

    With a small alpha the interval of pixel value 0 becomes as wide as many others together, so that a background of
    exact zeros is a bump like any other and not a spike.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """See the module."""
        p = self.alpha + (1 - 2 * self.alpha) * v
        log_p, log_q = p.log(), torch.log1p(-p)
        log_det = math.log(1 - 2 * self.alpha) - log_p - log_q
        return log_p - log_q, log_det.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """See the module."""
        return (y.sigmoid() - self.alpha) / (1 - 2 * self.alpha)


def squeeze(x: Tensor) -> Tensor:
    """``(n, C, h, w)`` to ``(n, 4 C, h / 2, w / 2)``: each 2 x 2 square of a channel becomes four channels."""
    return F.pixel_unshuffle(x, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """Undo :func:`squeeze`."""
    return F.pixel_shuffle(x, 2)


def split_channels(mask: Mask, channels: int) -> tuple[Tensor, Tensor]:
    """Indices of the two halves of squeezed channels.

    checkerboard: what a checkerboard on the image before squeezing separates, the two diagonals of each 2 x 2 square;
    nets see it at half the resolution, at a quarter of the cost.  stripes: the square's columns.  halves: the first
    half of the channels from the second; with one channel before squeezing, the square's rows.
    """
    index = torch.arange(channels)
    corner = index % 4
    first = {
        "checkerboard": (corner == 0) | (corner == 3),
        "stripes": corner % 2 == 0,
        "halves": index < channels // 2,
    }[mask]
    return index[first], index[~first]


class ActNorm(nn.Module):
    """A scale and a shift per channel, that start by giving the first training batch mean 0 and variance 1.

    The batch's statistics are buffers, so that they are saved, and shared between processes, like other running
    statistics; what is learned is relative to them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        shape = (1, channels, 1, 1)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take the statistics of a batch ``(n, C, h, w)``."""
        self.mean.copy_(x.mean((0, 2, 3), keepdim=True))
        self.std.copy_(x.std((0, 2, 3), keepdim=True, correction=0).clamp_min(SMALLEST_STD))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the module."""
        y = (x - self.mean) * (self.log_scale.exp() / self.std) + self.bias
        log_det = (self.log_scale - self.std.log()).sum() * x[0, 0].numel()
        return y, log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """See the module."""
        return (y - self.bias) * (self.std / self.log_scale.exp()) + self.mean


class CouplingNet(nn.Module):
    """Residual convolutions to raw log-scales and shifts, both zero before training.

    A learned map over positions is added to the first features: where something is matters in centred images, and
    convolutions alone learn it from the border only.
    """

    def __init__(self, channels: int, size: tuple[int, int], width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(1, width, *size))
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)), nn.ReLU())
        self.head = nn.Conv2d(width, 2 * channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(n, c, h, w)`` to two of the same shape, float32.

        In eval mode the convolutions are float32 whatever autocast says: an inverse gets the same log-scales as the
        way forward only as far as rounding lets it, and bfloat16 rounds to two digits.
        """
        with nullcontext() if self.training else torch.autocast(x.device.type, enabled=False):
            h = self.stem(x)
            raw, t = self.head(self.blocks(h + self.position.to(h.dtype))).float().chunk(2, dim=1)
        return raw, t


class AffineCoupling(nn.Module):
    """``y_b = x_b * exp(s(x_a)) + t(x_a)`` with ``s = bound * tanh(...)``, the bound learned per channel.

    The mask chooses a and b among squeezed channels; ``swapped`` exchanges them.
    """

    a: Tensor
    b: Tensor
    back: Tensor

    def __init__(
        self, mask: Mask, swapped: bool, channels: int, size: tuple[int, int], width: int, blocks: int
    ) -> None:
        super().__init__()
        halves = split_channels(mask, channels)
        a, b = reversed(halves) if swapped else halves
        for name, index in (("a", a), ("b", b), ("back", torch.cat([a, b]).argsort())):
            self.register_buffer(name, index, persistent=False)
        self.net = CouplingNet(channels // 2, size, width, blocks)
        self.bound = nn.Parameter(torch.full((1, channels // 2, 1, 1), FIRST_BOUND))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the module."""
        x_a, x_b = x[:, self.a], x[:, self.b]
        s, t = self._log_scale_and_shift(x_a)
        return self._join(x_a, x_b * s.exp() + t), s.sum((1, 2, 3))

    def inverse(self, y: Tensor) -> Tensor:
        """See the module."""
        y_a, y_b = y[:, self.a], y[:, self.b]
        s, t = self._log_scale_and_shift(y_a)
        return self._join(y_a, (y_b - t) * (-s).exp())

    def _log_scale_and_shift(self, x_a: Tensor) -> tuple[Tensor, Tensor]:
        raw, t = self.net(x_a)
        return self.bound * raw.tanh(), t

    def _join(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b], dim=1)[:, self.back]


class ClassGaussians(nn.Module):
    """``N(mean_y, factor_y factor_y^T + diag(exp(2 log_std_y)))`` for classes y, N(0, I) before training.

    ``factor`` ``(K, D, rank)`` is zero until :meth:`fit`, which replaces what was learned. A class with few images has
    nearly the covariance of all classes, a class with none the mean as well.
    """

    factor: Tensor

    def __init__(self, dim: int, num_classes: int, rank: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(num_classes, dim))
        self.log_std = nn.Parameter(torch.zeros(num_classes, dim))
        self.register_buffer("factor", torch.zeros(num_classes, dim, rank))

    def diagonal_log_prob(self, z: Tensor, labels: Tensor) -> Tensor:
        """Log-density ``(n,)`` in nats of latents ``(n, D)`` given classes ``(n,)``, without the low-rank part."""
        log_std = self.log_std[labels]
        eps = (z - self.mean[labels]) * (-log_std).exp()
        return -0.5 * (eps**2).sum(1) - log_std.sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-densities ``(n, K)`` in nats of latents ``(n, D)`` under every class."""
        with torch.autocast(z.device.type, enabled=False):
            return torch.stack([self._log_prob_of(k, z) for k in range(len(self.mean))], dim=1)

    def _log_prob_of(self, k: int, z: Tensor) -> Tensor:
        """One class, by the matrix inversion and determinant lemmas: only a rank x rank matrix is factorised."""
        everywhere = torch.full((len(z),), k, device=z.device)
        eps = (z - self.mean[k]) * (-self.log_std[k]).exp()
        loading = self.factor[k] * (-self.log_std[k]).exp()[:, None]
        capacity = torch.eye(loading.shape[1], device=z.device) + loading.T @ loading
        cholesky = torch.linalg.cholesky(capacity)
        explained = torch.linalg.solve_triangular(cholesky, (eps @ loading).T, upper=False)
        correction: Tensor = 0.5 * (explained**2).sum(0) - cholesky.diagonal().log().sum()
        return self.diagonal_log_prob(z, everywhere) + correction

    def sample(self, labels: Tensor, temperature: float, rng: torch.Generator | None) -> Tensor:
        """Latents ``(n, D)`` of classes ``(n,)``, standard deviations multiplied by ``temperature``."""
        dim, rank = self.factor.shape[1:]
        eps = torch.randn(len(labels), dim, generator=rng, device=labels.device)
        common = torch.randn(len(labels), rank, generator=rng, device=labels.device)
        spread = eps * self.log_std[labels].exp()
        with torch.autocast(labels.device.type, enabled=False):
            for k in labels.unique().tolist():
                spread[labels == k] += common[labels == k] @ self.factor[k].T
        return self.mean[labels] + temperature * spread

    @torch.no_grad()
    def fit(self, z: Tensor, labels: Tensor) -> None:
        """Fit to latents ``(n, D)`` and classes ``(n,)``; draws from torch's RNG."""
        overall, counts = z.mean(0), torch.bincount(labels, minlength=len(self.mean))
        sums = torch.zeros_like(self.mean).index_add_(0, labels, z)
        self.mean.copy_((sums + MEAN_SHRINKAGE * overall) / (counts[:, None] + MEAN_SHRINKAGE))
        rest = z - self.mean[labels]
        pooled = (rest**2).sum(0) / len(z)
        common = self._principal(rest / math.sqrt(len(z)))
        for k in range(len(self.mean)):
            own = rest[labels == k]
            weight = SHRINKAGE / (SHRINKAGE + len(own))
            own = own * math.sqrt((1 - weight) / max(len(own), 1))
            factor = self._principal(torch.cat([own, math.sqrt(weight) * common.T]))
            variance = (own**2).sum(0) + weight * pooled - (factor**2).sum(1)
            self.factor[k].copy_(factor)
            self.log_std[k].copy_(0.5 * variance.clamp_min(SMALLEST_VARIANCE).log())

    def _principal(self, rows: Tensor) -> Tensor:
        """``(D, rank)``, the leading part of ``rows^T rows``; columns of zeros where there are too few rows."""
        rank = self.factor.shape[2]
        n_components = min(rank, *rows.shape)
        _, s, v = torch.svd_lowrank(rows, q=min(n_components + 8, *rows.shape), niter=4)
        factor = rows.new_zeros(rows.shape[1], rank)
        factor[:, :n_components] = v[:, :n_components] * s[:n_components]
        return factor
