"""k nearest neighbours (Cover & Hart 1967) by Euclidean distance, the number of neighbours chosen inside the labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.classifiers.probes.outcome import ProbePrediction, as_floats
from augment.classifiers.probes.selection import held_out

NEIGHBOURS = (1, 3, 5, 9, 15)
CHUNK_ELEMENTS = 2**23
"""Distances held at a time: 32 MB."""


def predict_knn(
    features: Tensor, labels: Tensor, queries: Tensor, *, num_classes: int, seeds: Sequence[int]
) -> ProbePrediction:
    """Apply; shapes as in :func:`augment.classifiers.probes.predict`.

    Candidates are fewer than twice the rows of the smallest class, so that one class can hold a majority; the one with
    most held-out rows right in cross-validation is chosen, the smallest of equals.
    """
    held = held_out(labels, num_classes, seeds, cross=True)
    counts = _candidates(labels, num_classes, held)
    chosen = torch.zeros(len(labels), dtype=torch.long)
    if len(counts) > 1:
        part = held.int().argmax(1)
        hits = torch.zeros(len(labels), len(counts))
        for rows in torch.arange(labels.shape[1]).split(_chunk(labels)):
            same = part[:, rows].unsqueeze(2) == part.unsqueeze(1)
            distances = _distances(features[:, rows], features).masked_fill_(same, torch.inf)
            hits += (_votes(distances, labels, counts, num_classes) == labels[:, rows].unsqueeze(2)).sum(1)
        chosen = hits.argmax(1)
    predictions = []
    for some in queries.split(_chunk(labels)):
        votes = _votes(_distances(some.expand(len(labels), -1, -1), features), labels, counts, num_classes)
        predictions.append(votes.gather(2, chosen.view(-1, 1, 1).expand(-1, len(some), 1)).squeeze(2))
    return ProbePrediction(torch.cat(predictions, 1), as_floats(torch.tensor(counts)[chosen]))


def _candidates(labels: Tensor, num_classes: int, held: Tensor) -> list[int]:
    if held.shape[1] == 0:
        return [1]
    smallest = int(F.one_hot(labels, num_classes).sum(1).min())
    most = min(2 * smallest - 1, int((~held).sum(2).min()))
    return [count for count in NEIGHBOURS if count <= most]


def _chunk(labels: Tensor) -> int:
    return max(1, CHUNK_ELEMENTS // labels.numel())


def _distances(queries: Tensor, rows: Tensor) -> Tensor:
    """Squared distances ``(E, q, n)`` of ``(E, q, D)`` from ``(E, n, D)``."""
    lengths = queries.square().sum(2).unsqueeze(2) + rows.square().sum(2).unsqueeze(1)
    return torch.baddbmm(lengths, queries, rows.mT, alpha=-2).clamp_min_(0)


def _votes(distances: Tensor, labels: Tensor, counts: Sequence[int], num_classes: int) -> Tensor:
    """Class ``(E, q, S)`` by majority among each number of neighbours; of equals the one at the smaller total distance.

    Distances may be squared: what breaks ties are their roots.
    """
    near, index = distances.topk(max(counts), largest=False)
    near = near.sqrt()
    members = F.one_hot(labels.unsqueeze(1).expand(-1, distances.shape[1], -1).gather(2, index), num_classes).float()
    last = torch.tensor(counts) - 1
    votes = members.cumsum(2)[:, :, last]
    totals = (members * near.unsqueeze(3)).cumsum(2)[:, :, last]
    largest = totals.sum(3, keepdim=True).clamp_min(torch.finfo(near.dtype).tiny)
    return (votes - totals / (2 * largest)).argmax(3)
