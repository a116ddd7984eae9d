"""Accuracy of probes on k labels per class: a table of features in, one row per probe and k out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from augment.classifiers import probes
from augment.evidence.statistics import t_interval
from augment.results.features_result import FewLabelScores
from augment.studies.features.episodes import Episodes

LEAST_DEVIATION = 0.3
"""Smallest deviation a feature is divided by, as a share of the root mean square over all features: what hardly varies
is hardly information, and must not become as loud as the rest."""


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Standardised features of some training images and of all test images.

    rows: ``(R,)`` ascending indices into the training images.  train: their features ``(R, D)``.  test: ``(T, D)``.
    mean, scale: ``(D,)``, what was taken from each feature and what it was divided by.
    """

    rows: Tensor
    train: Tensor
    test: Tensor
    mean: Tensor
    scale: Tensor

    @classmethod
    def standardised(cls, rows: Tensor, train: Tensor, test: Tensor, reference: Tensor) -> FeatureTable:
        """Scale every feature to mean 0 and deviation 1 over ``reference``, indices into the training images.

        These are unlabelled training images among ``rows``; test images have no part in it.
        """
        seen = train[torch.searchsorted(rows, reference)]
        mean, deviation = seen.mean(0), seen.std(0, correction=0)
        floor = LEAST_DEVIATION * deviation.square().mean().sqrt()
        scale = deviation.clamp(min=max(float(floor), 1e-12))
        return cls(rows, (train - mean) / scale, (test - mean) / scale, mean, scale)

    def original(self, features: Tensor) -> Tensor:
        """Standardised features ``(n, D)`` as the model gave them, up to rounding: their distances are the model's."""
        return features * self.scale + self.mean

    def of(self, rows: Tensor) -> Tensor:
        """Features ``(*rows.shape, D)`` of training images."""
        return self.train[torch.searchsorted(self.rows, rows.contiguous())]


@dataclass(frozen=True, eq=False)
class EpisodePredictions:
    """One method, probe and k: what each episode predicted on the test images.

    probe, layer and t are None where they do not apply.  predictions: ``(E, T)``.  chosen: per episode, the strength or
    number of neighbours picked inside the k labels.
    """

    method: str
    probe: str | None
    k: int
    predictions: Tensor
    chosen: tuple[float, ...] = ()
    seconds: float = 0.0
    t: int | None = None
    layer: str | None = None

    @classmethod
    def joined(cls, cells: Sequence[EpisodePredictions]) -> EpisodePredictions:
        """Cells of single episodes as one of all."""
        return replace(
            cells[0],
            predictions=torch.cat([cell.predictions for cell in cells]),
            chosen=tuple(value for cell in cells for value in cell.chosen),
            seconds=sum(cell.seconds for cell in cells),
        )

    def accuracies(self, truth: Tensor) -> list[float]:
        """Share of correct predictions, one per episode."""
        hits: list[float] = (self.predictions == truth).double().mean(1).tolist()
        return hits

    def scores(self, truth: Tensor) -> FewLabelScores:
        """Compared with the truth ``(T,)``."""
        found = self.accuracies(truth)
        low, high = (0.0, 1.0) if len(found) < 2 else t_interval(found)
        return FewLabelScores(
            method=self.method,
            probe=self.probe,
            t=self.t,
            layer=self.layer,
            k=self.k,
            accuracy=sum(found) / len(found),
            ci95=None if len(found) < 2 else (max(low, 0.0), min(high, 1.0)),
            episodes=len(found),
            accuracies=tuple(found),
            chosen=self.chosen,
            seconds=round(self.seconds, 3),
        )


def score_probes(
    method: str,
    table: FeatureTable,
    episodes: Episodes,
    names: Sequence[str],
    t: int | None = None,
    layer: str | None = None,
) -> list[EpisodePredictions]:
    """Every probe at every k, all episodes of one k in one call."""
    num_classes = episodes.order.shape[1]
    cells = []
    for k in episodes.ks:
        features, labels = table.of(episodes.rows(k)), episodes.labels(k)
        for name in names:
            start = time.perf_counter()
            outcome = probes.predict(name, features, labels, table.test, num_classes=num_classes, seeds=episodes.seeds)
            seconds = time.perf_counter() - start
            cells.append(EpisodePredictions(method, name, k, outcome.predictions, outcome.chosen, seconds, t, layer))
    return cells
