"""Coordinates of few labelled rows along their principal axes: what a probe that only sees the rows can know.

A linear probe with an L2 penalty (and a distance, up to a constant) does not change under centring and rotation, so
``n`` rows of ``D`` features are ``n`` rows of ``min(n, D)`` coordinates, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NOISE = 1e-9
"""Variance of an axis, as a share of the first one's, that is rounding in float32."""


@dataclass(frozen=True)
class RowSpace:
    """``coordinates = (features - mean) @ axes``, per episode, the widest axis first.

    coordinates: ``(E, n, r)``.  mean: ``(E, 1, D)``.  axes: ``(E, D, r)``, orthonormal, r <= min(n, D).
    energy: ``(E,)``, the mean squared distance of a row from the mean; 1 where all rows are equal.
    """

    coordinates: Tensor
    mean: Tensor
    axes: Tensor
    energy: Tensor


def row_space(features: Tensor) -> RowSpace:
    """Rotate ``features`` ``(E, n, D)``; constant columns, equal rows and D above n are all fine."""
    mean = features.mean(1, keepdim=True)
    rows = features - mean
    energy = rows.square().sum(2).mean(1)
    energy = torch.where(energy > 0, energy, 1.0)
    if rows.shape[1] < rows.shape[2]:
        basis, coordinates = torch.linalg.qr(rows.mT)
        rotation = _principal(coordinates.mT)
        coordinates, axes = coordinates.mT @ rotation, basis @ rotation
    else:
        axes = _principal(rows)
        coordinates = rows @ axes
    rank = _rank(coordinates)
    return RowSpace(coordinates[..., :rank].contiguous(), mean, axes[..., :rank].contiguous(), energy)


def _rank(coordinates: Tensor) -> int:
    """Axes on which some episode's rows differ by more than rounding; at least one."""
    widths = coordinates.square().sum(1)
    return max(1, int((widths > NOISE * widths[:, :1]).sum(1).max()))


def _principal(rows: Tensor) -> Tensor:
    """Eigenvectors of ``rows' rows``, the largest eigenvalue first."""
    vectors: Tensor = torch.linalg.eigh(rows.mT @ rows).eigenvectors
    return vectors.flip(2)
