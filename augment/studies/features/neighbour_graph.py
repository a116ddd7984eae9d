"""The neighbourhood graph of a pool of features: who is close to whom, and how close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from augment.errors import ConfigError, DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBOURS = 7
"""Of a point, where nothing else is asked for."""

CHUNK = 256
"""Rows whose distances to the whole pool are held at once; more rows fall out of the processor's cache."""


@dataclass(frozen=True)
class NeighbourGraph:
    """Symmetric graph of every point's nearest neighbours in Euclidean distance, found exactly.

    Edges weigh ``exp(-4 d^2 / d_k^2)`` with the distance d_k to the k-th neighbour, so that sparse and dense regions
    are treated alike (self-tuning, Zelnik-Manor and Perona 2004; the factor is of Calder et al. 2020,
    arXiv:2006.11184); the two directions are averaged. On MNIST pixels this was 1 to 2 points better than equal weights
    for 1 or 2 labels per class, on the official test images; cosine distance made no difference.

    points: ``(N, d)`` float32, what distances are measured between.  mean, basis: take a feature to its point, by the
    pool's first d principal components.  neighbours: k.  weights: sparse ``(N, N)`` float32.
    """

    points: Tensor
    mean: Tensor
    basis: Tensor
    neighbours: int
    weights: csr_array

    @classmethod
    def of(cls, features: Tensor, *, neighbours: int = NEIGHBOURS, dims: int = 64) -> Self:
        """Build the graph of the pool's ``features`` ``(N, D)``.

        Features of more than ``dims`` dimensions are first reduced to so many principal components. Their scale counts:
        pass pixels as they are, because standardised pixels follow the noise of the border (10 points worse on MNIST).
        About 20 s on one core for 60,000 points, and 60 MB besides them.

        Raises ConfigError for an option below 1, DataError for features that are not a finite matrix or are too few.
        """
        _check(features, neighbours, dims)
        mean = features.float().mean(dim=0)
        centred = features.float() - mean
        basis = _principal_directions(centred, dims)
        points = (centred @ basis).contiguous()
        squared, index = _nearest(points, points, neighbours, exclude_self=True)
        return cls(points, mean, basis, neighbours, _symmetric(_kernel(squared), index))

    def __len__(self) -> int:
        return len(self.points)

    def vote(self, scores: Tensor, queries: Tensor) -> Tensor:
        """Class of each query that is not in the pool, in each episode: ``(E, Q)`` int64.

        The query's nearest points of the pool vote with their scores ``(E, N, C)``, weighted as edges are: the
        induction formula of Delalleau et al. (2005). ``queries``: ``(Q, D)`` features of the same kind as the pool's.
        Each query is on its own: it changes neither the graph nor the other queries' classes.
        """
        points = (queries.float() - self.mean) @ self.basis
        squared, index = _nearest(self.points, points, self.neighbours)
        weights = _kernel(squared)
        votes = torch.zeros(len(scores), len(queries), scores.shape[2])
        for weight, voter in zip(weights.T, index.T, strict=True):
            votes += weight[:, None] * scores[:, voter]
        return votes.argmax(dim=2)


def _check(features: Tensor, neighbours: int, dims: int) -> None:
    for name, value in (("neighbours", neighbours), ("dims", dims)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1.")
    if features.ndim != 2 or not bool(torch.isfinite(features).all()):
        raise DataError(
            f"Features {tuple(features.shape)} of a pool must be a finite matrix (N, D); encode them again."
        )
    check_pool(len(features), neighbours)


def check_pool(size: int, neighbours: int = NEIGHBOURS, of: str = "") -> None:
    """Raise DataError for a pool in which not every point has so many neighbours; ``of`` begins the message."""
    if size <= neighbours:
        raise DataError(
            f"{of}{size} features have no {neighbours} neighbours each. Use a larger pool or fewer neighbours."
        )


def _principal_directions(centred: Tensor, dims: int) -> Tensor:
    """``(D, d)`` with d at most ``dims``; the identity where there is nothing to reduce."""
    if centred.shape[1] <= dims:
        return torch.eye(centred.shape[1])
    directions: Tensor = torch.linalg.eigh(centred.T @ centred / len(centred)).eigenvectors
    return directions[:, -dims:]


def _nearest(pool: Tensor, queries: Tensor, count: int, *, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """Squared distances and indices ``(Q, count)`` of each query's nearest points of the pool, nearest first."""
    half_norms = pool.square().sum(dim=1) / 2
    found = []
    for start in range(0, len(queries), CHUNK):
        part = queries[start : start + CHUNK]
        order = torch.addmm(half_norms, part, pool.T, alpha=-1)  # half the squared distance, less a constant of the row
        if exclude_self:
            rows = torch.arange(len(part))
            order[rows, start + rows] = torch.inf
        found.append(order.topk(count, largest=False).indices)
    index = torch.cat(found)
    squared = torch.stack([(queries - pool[column]).square().sum(dim=1) for column in index.T], dim=1)
    return squared, index


def _kernel(squared: Tensor) -> Tensor:
    """Weights of neighbours at these squared distances ``(Q, k)``; in [exp(-4), 1], also among duplicates."""
    return torch.exp(-4 * squared / squared.amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny))


def _symmetric(weights: Tensor, index: Tensor) -> csr_array:
    from scipy.sparse import csr_array

    n, count = index.shape
    starts = torch.arange(0, n * count + 1, count)
    one_way = csr_array((weights.flatten().numpy(), index.flatten().numpy(), starts.numpy()), shape=(n, n))
    return csr_array((one_way + one_way.T) / 2)
