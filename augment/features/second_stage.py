"""The second stage of a study: the k labels spread over the unlabelled pool before test images are classified."""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import Tensor

from augment import heads
from augment.features.episodes import Episodes
from augment.features.few_labels import Cell, FeatureTable
from augment.features.neighbour_graph import NeighbourGraph
from augment.features.propagation import confident, propagate

PSEUDO_PER_CLASS = 500
"""Training rows of each class, labelled or confidently pseudo-labelled, of the head ``pseudo-labels``."""


def score_second_stage(
    method: str,
    table: FeatureTable,
    episodes: Episodes,
    stages: Sequence[str],
    t: int | None = None,
    layer: str | None = None,
) -> list[Cell]:
    """Each stage at every k.

    ``propagation``: test images take the class of their neighbours in the pool, over which the labels were spread.
    ``pseudo-labels``: a linear head on the labels and the pool's most confident images. The table holds the features of
    the whole pool; test images are never part of the graph.
    """
    if not stages:
        return []
    graph, num_classes = NeighbourGraph.of(table.original(table.train)), episodes.order.shape[1]
    cells = []
    for k in episodes.ks:
        start = time.perf_counter()
        rows, labels = episodes.rows(k), episodes.labels(k)
        scores = propagate(graph, rows, labels, num_classes)
        spread = time.perf_counter() - start
        for stage in stages:
            start = time.perf_counter()
            if stage == "propagation":
                predictions = graph.vote(scores, table.original(table.test))
            else:
                predictions = _pseudo(table, scores, rows, labels, k, episodes)
            seconds = spread + time.perf_counter() - start
            cells.append(Cell(method, stage, k, predictions, (), seconds, t, layer))
    return cells


def _pseudo(table: FeatureTable, scores: Tensor, rows: Tensor, labels: Tensor, k: int, episodes: Episodes) -> Tensor:
    """Test predictions ``(E, T)`` of a linear head on labelled and pseudo-labelled rows."""
    most = len(table.rows) // scores.shape[2]
    chosen, classes = confident(scores, rows, labels, per_class=max(k, min(PSEUDO_PER_CLASS, most)))
    features, num_classes = table.train[chosen], scores.shape[2]
    return heads.predict(
        "linear", features, classes, table.test, num_classes=num_classes, seeds=episodes.seeds
    ).predictions
