"""Which images are copies of others that were re-encoded, resized, or made brighter, noisier or of another contrast?

A perceptual hash finds each image's likeliest original, and a check of its low frequencies decides. The hash is that of
Zauner (2010, "Implementation and benchmarking of perceptual image hash functions"), the signs of the lowest
coefficients of a cosine transform, without those that are so small that noise decides their sign. Shifted, turned or
cropped copies keep neither and are not found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.errors import DataError

HASH_SIDE = 16
"""Frequencies of each direction in the hash: up to 255 signs, so that pictures of one class differ in many."""

NOISE = 6.0
"""Coefficients smaller than this, in grey levels, have no sign in the hash: noise of that deviation gives as much."""

CHECK_SIDE = 8
"""Frequencies of each direction that are compared as numbers; resizing and noise spare the lowest ones."""

LEAST_AGREEMENT = 0.8
"""Cosine of a copy's hash with its original's: a tenth of the signs may differ where both have the same ones."""

LEAST_CORRELATION = 0.995
"""Of the low frequencies of a copy with those of its original; brightness and contrast leave it at 1."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey picture, those that JPEG keeps best (ITU-R BT.601)."""

QUERY_CHUNK = 2048
GALLERY_CHUNK = 4096
"""Bound the matrix of agreements to 32 MB, whatever the sets' sizes."""


@dataclass(frozen=True, eq=False)
class PerceptualHashes:
    """What is kept of ``N`` images to recognise their copies: about 0.5 kB each.

    signs: int8 ``(N, B)``, -1, 0 or 1; all 0 for a flat image.  low: float32 ``(N, D)``, the low frequencies at unit
    length.  shape: ``(C, H, W)`` of the images.
    """

    signs: Tensor
    low: Tensor
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.signs)


def perceptual_hashes(images: Tensor) -> PerceptualHashes:
    """Hash uint8 images ``(N, C, H, W)`` of any size; raises DataError for another type."""
    if images.dtype != torch.uint8 or images.dim() != 4:
        raise DataError(f"Perceptual hashes are of uint8 images (N, C, H, W); got {images.dtype} {[*images.shape]}.")
    down, across = _cosines(images.shape[2]), _cosines(images.shape[3])
    signs, low = [], []
    for part in images.split(QUERY_CHUNK):
        waves = down @ _grey(part) @ across.T
        high = waves.flatten(1)[:, 1:]  # the first is the mean brightness
        signs.append(high.sign().mul(high.abs() >= NOISE).to(torch.int8))
        low.append(F.normalize(waves[:, :CHECK_SIDE, :CHECK_SIDE].flatten(1)[:, 1:], dim=1))
    return PerceptualHashes(torch.cat(signs), torch.cat(low), tuple(images.shape[1:]))


def near_copies(queries: PerceptualHashes, gallery: PerceptualHashes) -> Tensor:
    """Which queries are perceptual copies of a gallery image, exact copies included unless flat: bool ``(N,)``.

    Of each query the gallery image with the nearest hash is looked at. Raises DataError for images of two shapes.
    """
    if queries.shape != gallery.shape:
        raise DataError(f"Near copies are sought among images of one shape; got {queries.shape} and {gallery.shape}.")
    if not len(queries) or not len(gallery):
        return torch.zeros(len(queries), dtype=torch.bool)
    agreement, index = _nearest(queries.signs, gallery.signs)
    correlation = (queries.low * gallery.low[index]).sum(1)
    return (agreement >= LEAST_AGREEMENT) & (correlation >= LEAST_CORRELATION)


def _grey(images: Tensor) -> Tensor:
    """Float32 ``(N, H, W)`` in 0..255; channels that are not three count alike."""
    if images.shape[1] != len(LUMA):
        return images.float().mean(1)
    return (images.float() * torch.tensor(LUMA)[:, None, None]).sum(1)


def _cosines(side: int) -> Tensor:
    """The first rows of the orthonormal cosine transform of ``side`` samples."""
    frequency, place = torch.arange(min(HASH_SIDE, side))[:, None], torch.arange(side) + 0.5
    waves = torch.cos(math.pi / side * frequency * place) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves


def _nearest(queries: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine with the nearest hash of the gallery, float32 ``(N,)``, and its index, int64 ``(N,)``."""
    best = torch.full((len(queries),), -math.inf)
    index = torch.zeros(len(queries), dtype=torch.int64)
    for start, rows in _chunks(gallery, GALLERY_CHUNK):
        for first, asked in _chunks(queries, QUERY_CHUNK):
            here = slice(first, first + QUERY_CHUNK)
            agreement, found = (asked @ rows.T).max(dim=1)
            index[here] = torch.where(agreement > best[here], found + start, index[here])
            best[here] = torch.maximum(best[here], agreement)
    return best, index


def _chunks(signs: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Rows at unit length, ``size`` at a time, with the index of the first."""
    for start in range(0, len(signs), size):
        yield start, F.normalize(signs[start : start + size].float(), dim=1)
