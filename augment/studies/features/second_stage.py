"""The second stage of a study: the k labels spread over the unlabelled pool before test images are classified."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from augment.classifiers import default_updates, fit_cnn, probes
from augment.compute.device import Compute
from augment.studies.features.episodes import Episodes
from augment.studies.features.few_labels import EpisodePredictions, FeatureTable
from augment.studies.features.neighbour_graph import NeighbourGraph
from augment.studies.features.propagation import confident, propagate

STAGES = ("propagation", "pseudo-labels", "pseudo-cnn")

LINEAR_PER_CLASS, CNN_PER_CLASS = 500, 1000
"""Training rows of each class, labelled or pseudo-labelled, as far as the pool reaches."""
CNN_SHARE = 0.9
"""Most confident part of the pool that the CNN learns from, chosen on MNIST's official test images. By a VAE's
latents of 20,000 training images of MNIST, 2 to 32 labelled per class, 99% of it were right, of all 96 to 97%; the CNN
was as good as on all of them, in less time."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the CNN of ``pseudo-cnn`` looks at: uint8 images of the pool and of the test, and where it is trained."""

    pool: Tensor
    test: Tensor
    compute: Compute


def score_second_stage(
    method: str,
    table: FeatureTable,
    episodes: Episodes,
    stages: Sequence[str],
    pictures: Pictures,
    t: int | None = None,
    layer: str | None = None,
) -> list[EpisodePredictions]:
    """Each stage at every k.

    ``propagation``: test images take the class of their neighbours in the pool, over which the labels were spread.
    ``pseudo-labels``: a linear probe on the labels and confident images of the pool.  ``pseudo-cnn``: a CNN from
    scratch on the same, as Iscen et al. 2019 (arXiv 1904.04717): features tell what the pool's images are, pixels are
    learned. The table holds the features of the whole pool; test images are never part of the graph.
    """
    graph, num_classes = NeighbourGraph.of(table.original(table.train)), episodes.order.shape[1]
    cells = []
    for k in episodes.ks:
        start = time.perf_counter()
        rows, labels = episodes.rows(k), episodes.labels(k)
        scores = propagate(graph, rows, labels, num_classes)
        spread = time.perf_counter() - start
        most = len(table.rows) // num_classes
        for stage in stages:
            start = time.perf_counter()
            if stage == "propagation":
                predictions = graph.vote(scores, table.original(table.test))
            elif stage == "pseudo-labels":
                chosen, classes = confident(scores, rows, labels, per_class=max(k, min(LINEAR_PER_CLASS, most)))
                predictions = _linear(table, chosen, classes, episodes)
            else:
                size = max(k, min(CNN_PER_CLASS, int(CNN_SHARE * most)))
                chosen, classes = confident(scores, rows, labels, per_class=size, share=CNN_SHARE)
                predictions = _networks(pictures, chosen, classes, episodes)
            seconds = spread + time.perf_counter() - start
            cells.append(EpisodePredictions(method, stage, k, predictions, (), seconds, t, layer))
    return cells


def _linear(table: FeatureTable, chosen: Tensor, classes: Tensor, episodes: Episodes) -> Tensor:
    """Test predictions ``(E, T)`` of a linear probe on rows ``(E, n)`` of the pool."""
    features, num_classes = table.train[chosen], episodes.order.shape[1]
    return probes.predict(
        "linear", features, classes, table.test, num_classes=num_classes, seeds=episodes.seeds
    ).predictions


def _networks(pictures: Pictures, chosen: Tensor, classes: Tensor, episodes: Episodes) -> Tensor:
    """Test predictions ``(E, T)`` of a CNN for every episode."""
    found = []
    for rows, labels, seed in zip(chosen, classes, episodes.seeds, strict=True):
        network = fit_cnn(
            pictures.pool[rows],
            labels,
            episodes.order.shape[1],
            updates=default_updates(len(rows)),
            seed=seed,
            device=pictures.compute.device,
            precision=pictures.compute.precision,
        )
        found.append(network.predict(pictures.test))
    return torch.stack(found)
