"""Does a generator repeat its training images? Nearest neighbours in pixels, compared with those of unseen images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from augment.errors import DataError

QUERY_CHUNK = 2048
GALLERY_CHUNK = 4096
"""Bound the matrix of distances to 32 MB, whatever the sets' sizes."""

SPARE_CANDIDATES = 3
"""Neighbours beyond those asked for whose distances are computed exactly: rounding may swap close ones."""

NEAR_COPY_RATIO = 1 / 3
"""A near copy is this much nearer to its nearest training image than to the next one (arXiv:2310.02664, section 2)."""


@dataclass(frozen=True)
class Memorisation:
    """How samples lie to the training images, against real images the generator never saw.

    Attributes:
        n: Samples.
        n_held_out: Real images the generator never saw.
        share: Probability that a sample is nearer to its nearest training image than a held-out image is to its own,
            ties counting half. 0.5: as far away as unseen images; 1: always nearer. It is the statistic of the
            data-copying test of Meehan, Chaudhuri and Dasgupta (2020, arXiv:2004.05675). Blurry samples, too, are near
            to everything: read it together with the copies.
        z: The standardised form of ``share``; above 3 the difference is not chance.
        exact_copies: Samples equal to a training image in every pixel.
        near_copies: Samples three times nearer to one training image than to any other, exact copies included.
        near_copies_held_out: Share of held-out images for which that is so; the floor of ``near_copies / n``.

    Example:
        >>> from augment import load_dataset
        >>> from augment.metrics.memorisation import memorisation
        >>> digits = load_dataset("digits")
        >>> found = memorisation(digits.train.images, held_out=digits.test.images, fake=digits.train.images[:50])
        >>> found.n, found.n_held_out, found.exact_copies, found.share
        (50, 359, 50, 1.0)
    """

    n: int
    n_held_out: int
    share: float
    z: float
    exact_copies: int
    near_copies: int
    near_copies_held_out: float


def nearest(queries: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest gallery image of each query.

    Args:
        queries: Uint8 ``(N, C, H, W)``.
        gallery: Uint8 ``(M, C, H, W)``.

    Returns:
        Index ``(N,)`` int64 and distance ``(N,)`` float32. The distance is the root mean square difference per pixel,
        in [0, 1]; it is exact, 0 only for equal images.

    Raises:
        DataError: For another type, unequal shapes or an empty set.

    Example:
        >>> import torch
        >>> from augment.metrics.memorisation import nearest
        >>> greys = torch.tensor([0, 100, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 8, 8)
        >>> index, distance = nearest(greys[1:], greys[[0, 2]])
        >>> index.tolist(), [round(100 * value) for value in distance.tolist()]
        ([0, 1], [39, 0])
    """
    index, distance = _nearest(queries, gallery, count=1)
    return index[:, 0], distance[:, 0]


def pixel_copies(queries: Tensor, gallery: Tensor) -> Tensor:
    """Tell which queries are near copies of a gallery image, exact copies included.

    Args:
        queries: Uint8 ``(N, C, H, W)``.
        gallery: Uint8 ``(M, C, H, W)``; one image alone has only exact copies.

    Returns:
        Bool ``(N,)``.

    Raises:
        DataError: For another type, unequal shapes or an empty set.

    Example:
        >>> import torch
        >>> from augment.metrics.memorisation import pixel_copies
        >>> greys = torch.tensor([0, 10, 100, 200], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 8, 8)
        >>> pixel_copies(greys[1:3], greys[[0, 3]]).tolist()  # 10 is a copy of 0, and 100 lies between two
        [True, False]
    """
    return _near_copies(_nearest(queries, gallery, count=2)[1])


def memorisation(
    train: Tensor,
    held_out: Tensor,
    fake: Tensor,
    *,
    held_out_labels: Tensor | None = None,
    fake_labels: Tensor | None = None,
) -> Memorisation:
    """Compare the distances of samples and of held-out images to their nearest training images.

    With both labels, samples are compared with held-out images of their own class, and classes weigh as their samples
    do: needed where the classes of the two sets differ in frequency, because classes differ in how close their images
    lie. Samples of a class without held-out images are then left out of ``share``.

    Args:
        train: Uint8 ``(N, C, H, W)``, all that the generator was trained on.
        held_out: Uint8, real images that it never saw.
        fake: Uint8, the samples.
        held_out_labels: Int64, one for each held-out image.
        fake_labels: Int64, one for each sample.

    Returns:
        Shares and counts.

    Raises:
        DataError: For empty sets, another type or unequal shapes.

    Example:
        >>> from augment import load_dataset
        >>> from augment.metrics.memorisation import memorisation
        >>> digits = load_dataset("digits")
        >>> train, held_out = digits.train.images, digits.test.images
        >>> labels = {"held_out_labels": digits.test.labels, "fake_labels": digits.test.labels}
        >>> memorisation(train, held_out, fake=held_out, **labels).share  # as far away as unseen images
        0.5
    """
    if len(held_out) == 0 or len(fake) == 0:
        raise DataError(f"Memorisation needs samples and held-out images; got {len(fake)} and {len(held_out)}.")
    of_fake, of_real = _nearest(fake, train, count=2)[1], _nearest(held_out, train, count=2)[1]
    share, z = _rank_test(of_fake[:, 0], of_real[:, 0], *_classes(fake_labels, held_out_labels, of_fake, of_real))
    return Memorisation(
        n=len(fake),
        n_held_out=len(held_out),
        share=share,
        z=z,
        exact_copies=int((of_fake[:, 0] == 0).sum()),
        near_copies=int(_near_copies(of_fake).sum()),
        near_copies_held_out=_near_copies(of_real).double().mean().item(),
    )


def _classes(fake: Tensor | None, held_out: Tensor | None, of_fake: Tensor, of_real: Tensor) -> tuple[Tensor, Tensor]:
    """The labels to compare within; one class for all without labels, or where no class is in both sets."""
    if (fake is None) != (held_out is None):
        raise DataError("Give labels of both the samples and the held-out images, or of neither.")
    if fake is None or held_out is None or not bool(torch.isin(fake, held_out).any()):
        return torch.zeros(len(of_fake), dtype=torch.int64), torch.zeros(len(of_real), dtype=torch.int64)
    if len(fake) != len(of_fake) or len(held_out) != len(of_real):
        raise DataError(
            f"{len(fake)} and {len(held_out)} labels for {len(of_fake)} samples and {len(of_real)} held-out images; "
            "one label per image is needed."
        )
    return fake, held_out


def _rank_test(fake: Tensor, real: Tensor, fake_labels: Tensor, real_labels: Tensor) -> tuple[float, float]:
    """P(fake < real) + P(fake = real) / 2 within classes, and its z under "no difference" (Mann-Whitney)."""
    total, share, variance = int(torch.isin(fake_labels, real_labels).sum()), 0.0, 0.0
    for label in fake_labels.unique():
        ours, others = fake[fake_labels == label], real[real_labels == label].sort().values
        n, m = len(ours), len(others)
        if m == 0:
            continue
        below, up_to = (torch.searchsorted(others, ours, right=right).double().sum().item() for right in (False, True))
        share += n / total * (1 - (below + up_to) / (2 * n * m))
        variance += (n / total) ** 2 * (n + m + 1) / (12 * n * m)
    return share, (share - 0.5) / math.sqrt(variance)


def _near_copies(distances: Tensor) -> Tensor:
    """Which rows ``(first, second)`` of neighbour distances belong to near copies."""
    if distances.shape[1] == 1:
        return distances[:, 0] == 0
    return (distances[:, 0] < NEAR_COPY_RATIO * distances[:, 1]) | (distances[:, 0] == 0)


def _nearest(queries: Tensor, gallery: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` nearest (all, where the gallery is smaller), nearest first and lower index first among equals."""
    _check(queries, gallery)
    count = min(count, len(gallery))
    candidates = _candidates(queries.flatten(1), gallery.flatten(1), min(count + SPARE_CANDIDATES, len(gallery)))
    parts = [
        _exact(part, gallery.flatten(1), index, count)
        for part, index in zip(queries.flatten(1).split(QUERY_CHUNK), candidates.split(QUERY_CHUNK), strict=True)
    ]
    return torch.cat([index for index, _ in parts]), torch.cat([distance for _, distance in parts])


def _candidates(queries: Tensor, gallery: Tensor, count: int) -> Tensor:
    """Indices ``(N, count)`` of the nearest gallery rows by fp32 matrix products, in increasing order."""
    # centred values are smaller, and so is what |q|^2 + |g|^2 - 2 q.g loses by cancellation
    centre = gallery[:GALLERY_CHUNK].float().mean(dim=0)
    best = torch.full((len(queries), count), math.inf)
    index = torch.zeros((len(queries), count), dtype=torch.int64)
    for start in range(0, len(gallery), GALLERY_CHUNK):
        rows = gallery[start : start + GALLERY_CHUNK].float() - centre
        norms = rows.square().sum(dim=1)
        for first in range(0, len(queries), QUERY_CHUNK):
            chunk = slice(first, first + QUERY_CHUNK)
            scores = torch.addmm(norms, queries[chunk].float() - centre, rows.T, alpha=-2)
            closest = scores.topk(min(count, len(rows)), dim=1, largest=False)
            both = torch.cat([best[chunk], closest.values], dim=1)
            best[chunk], order = both.topk(count, dim=1, largest=False)
            index[chunk] = torch.cat([index[chunk], closest.indices + start], dim=1).gather(1, order)
    return index.sort(dim=1).values


def _exact(queries: Tensor, gallery: Tensor, index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Recompute the candidates' distances without rounding and keep the ``count`` nearest."""
    difference = gallery[index].float() - queries[:, None].float()
    # squares of 8-bit differences are exact in fp32, and so is their sum in fp64
    squares = difference.square_().sum(dim=2, dtype=torch.float64)
    distance, order = squares.sort(dim=1, stable=True)
    return index.gather(1, order[:, :count]), (distance[:, :count] / queries.shape[1]).sqrt().div(255).float()


def _check(queries: Tensor, gallery: Tensor) -> None:
    if queries.dtype != torch.uint8 or gallery.dtype != torch.uint8:
        raise DataError(f"Nearest neighbours are of uint8 images; got {queries.dtype} and {gallery.dtype}.")
    if queries.shape[1:] != gallery.shape[1:] or len(gallery) == 0 or len(queries) == 0:
        raise DataError(
            f"Nearest neighbours need images of one shape and at least one on each side; got {tuple(queries.shape)} "
            f"queries and a gallery of {tuple(gallery.shape)}."
        )
