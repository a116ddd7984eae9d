"""Which timestep and layer give the best features: a map over t x layer, scored on validation images alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from augment.classifiers import probes
from augment.results.features_result import Candidate, SearchMap
from augment.studies.features.episodes import SearchDraw
from augment.studies.features.few_labels import FeatureTable

SHARES = (0.0, 0.001, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Timesteps tried by ``--t auto``, as shares of all: from no noise to noise alone, which must give chance."""

JOINED = (2, 3)
"""How many of the best layers are also tried together."""


@dataclass(frozen=True)
class Candidates:
    """Timesteps and layers to choose from; None alone where a model has no such option."""

    timesteps: tuple[int | None, ...]
    layers: tuple[str | None, ...]

    @property
    def several(self) -> bool:
        """Is there anything to choose?"""
        return len(self.timesteps) * len(self.layers) > 1


def timestep_grid(timesteps: int) -> tuple[int, ...]:
    """Timesteps from 0 to ``timesteps - 1``, close together where there is little noise."""
    return tuple(sorted({round(share * (timesteps - 1)) for share in SHARES}))


Encode = Callable[[int | None, Sequence[str | None]], list[Tensor]]
"""``encode(t, layers)``: features of the training images in :attr:`SearchDraw.all_rows`, one tensor per layer."""


def search(
    draw: SearchDraw,
    labels: Tensor,
    encode: Encode,
    *,
    among: Candidates,
    probe: str,
    on_progress: Callable[[int, int], None],
) -> SearchMap:
    """Score every timestep with every layer, then the best two and three layers together at the best timestep.

    labels: of all training images.
    """
    found: list[Candidate] = []
    for index, t in enumerate(among.timesteps):
        on_progress(index, len(among.timesteps))
        found += _scored(draw, labels, encode, t, among.layers, probe)
    best = _best(found)
    if len(among.layers) > 1:
        ranked = sorted((one for one in found if one.t == best.t), key=lambda one: -one.accuracy)
        names = [[one.layer or "" for one in ranked[:count]] for count in JOINED if count <= len(ranked)]
        joined = [",".join(sorted(group, key=among.layers.index)) for group in names]
        found += _scored(draw, labels, encode, best.t, joined, probe) if joined else []
    fitted = draw.fit.ks[-1]
    return SearchMap(tuple(found), _best(found), fitted, len(draw.validation))


def _scored(
    draw: SearchDraw, labels: Tensor, encode: Encode, t: int | None, layers: Sequence[str | None], probe: str
) -> list[Candidate]:
    features = encode(t, layers)
    return [
        Candidate(t, layer, _accuracy(draw, labels, each, probe)) for layer, each in zip(layers, features, strict=True)
    ]


def _accuracy(draw: SearchDraw, labels: Tensor, features: Tensor, probe: str) -> float:
    """Mean over the episodes of the search; the validation images stand where test images stand elsewhere."""
    rows = draw.all_rows
    held = features[torch.searchsorted(rows, draw.validation)]
    table = FeatureTable.standardised(rows, features, held, rows)
    k = draw.fit.ks[-1]
    outcome = probes.predict(
        probe,
        table.of(draw.fit.rows(k)),
        draw.fit.labels(k),
        table.test,
        num_classes=draw.fit.order.shape[1],
        seeds=draw.fit.seeds,
    )
    return float((outcome.predictions == labels[draw.validation]).double().mean())


def _best(candidates: Sequence[Candidate]) -> Candidate:
    """The most accurate; of equal ones the first, which has least noise."""
    return max(candidates, key=lambda candidate: candidate.accuracy)
