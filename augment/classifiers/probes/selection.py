"""Choosing a strength inside the k labels: which labelled rows are held out, and which candidate predicts them best.

No other label is ever seen. With one row of some class nothing can be held out and a probe's default holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from augment.seeds import torch_rng

PARTS = 4
"""Parts the rows of each class are cut into; a class of fewer rows has as many parts as rows."""
ONE_SPLIT = 16
"""From so many rows per class on a single part is held out; below, each part in turn."""


def held_out(labels: Tensor, num_classes: int, seeds: Sequence[int], *, cross: bool = False) -> Tensor:
    """Which rows are held out in which fold, ``(E, F, n)`` bool, stratified by class and seeded per episode.

    labels: ``(E, n)``, every class in every episode.  cross: each part in turn even with many rows.  F is 0 where the
    smallest class has one row, as it counts for all episodes; else every fold keeps and holds every class.
    """
    ranks = _ranks(labels, num_classes, seeds)
    smallest = int(_counts(labels, num_classes).min())
    if smallest == 1:
        return labels.new_zeros(len(labels), 0, labels.shape[1], dtype=torch.bool)
    parts = min(smallest, PARTS)
    folds = parts if cross or smallest < ONE_SPLIT else 1
    return (ranks % parts).unsqueeze(1) == torch.arange(folds).view(1, -1, 1)


def row_shares(held: Tensor) -> Tensor:
    """Weights ``(E, n, F)`` of the rows that a fold is fitted to: equal, 0 for those held out, sum 1."""
    weights = (~held).float()
    return (weights / weights.sum(2, keepdim=True)).mT


def best(log_likelihood: Tensor) -> Tensor:
    """Index ``(E,)`` of the best candidate by ``log_likelihood`` ``(E, S)``; the first, the more regular, of equals."""
    return log_likelihood.argmax(1)


def held_log_likelihood(logits: Tensor, labels: Tensor, held: Tensor) -> Tensor:
    """Mean log-likelihood of the held-out rows, ``(E, S)``.

    logits: ``(E, n, C, S, F)``, of each candidate fitted without fold f.  held: ``(E, F, n)``.
    """
    scores = logits.log_softmax(2)
    index = labels[:, :, None, None, None].expand(-1, -1, 1, *scores.shape[3:])
    each = scores.gather(2, index).squeeze(2)
    mask = held.mT.unsqueeze(2)
    return (each * mask).sum((1, 3)) / mask.sum((1, 3))


def _counts(labels: Tensor, num_classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, num_classes).sum(1)


def _ranks(labels: Tensor, num_classes: int, seeds: Sequence[int]) -> Tensor:
    """Place ``(E, n)`` of each row among those of its class in a random order."""
    order = torch.stack(
        [torch.randperm(labels.shape[1], generator=torch_rng(seed, "folds of a head")) for seed in seeds]
    )
    places = torch.nn.functional.one_hot(labels.gather(1, order), num_classes).cumsum(1)
    ranks = places.gather(2, labels.gather(1, order).unsqueeze(2)).squeeze(2) - 1
    return torch.empty_like(ranks).scatter_(1, order, ranks)
