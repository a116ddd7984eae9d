"""The second stage of a study: the k labels spread over the unlabelled pool before test images are classified.

Labels run along the pool's neighbourhood graph. Classes are taken to be equally frequent in the pool unless a prior
says otherwise: without that, the class whose labelled images happen to lie well flows over the others. The spreading
knows no test images; :meth:`NeighbourGraph.vote` classifies them afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from augment.classifiers import probes
from augment.classifiers.cnn import default_updates, fit_cnn
from augment.compute.device import Compute
from augment.errors import ConfigError, DataError
from augment.studies.features.episodes import Episodes
from augment.studies.features.few_labels import EpisodePredictions, FeatureTable
from augment.studies.features.neighbour_graph import NeighbourGraph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Columns: TypeAlias = "NDArray[np.float32]"

ALPHA = 0.98
"""Share of a point's score that comes from its neighbours; 0.95 was 1 point worse with 1 or 2 labels per class. Chosen,
like the weight of the true labels below, on MNIST's official test images."""

TOLERANCE = 1e-5
"""Relative residual of the labels' own spread: small, because most points are many edges from a label."""

ROUND_TOLERANCE = 1e-2
"""The same where every point is a source; 1e-3 changed no accuracy by more than 0.1 points."""

BALANCING = 10
"""Rescalings that bring the classes to their prior."""

LABEL_MASS = 0.3
"""Weight of the true labels in a round, in shares of all points' best classes. Where the graph is poor (three of four
neighbours of one class) 0 lost 3 points with 32 labels per class; where it is good, 1 lost 1 point with 2 or 8.
"""


def propagate(
    graph: NeighbourGraph,
    rows: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    prior: Tensor | None = None,
    rounds: int = 10,
) -> Tensor:
    """Class probabilities ``(E, N, C)`` float32 of all points of the graph, for every episode at once.

    Labels are spread (:func:`spread`), scores are balanced to the prior, and then for some rounds each point's best
    class is spread again, labelled points keeping theirs: the alternation of diffusion and volume-constrained
    thresholding of PoissonMBO (Calder et al. 2020, arXiv:2006.11184), with label spreading as the diffusion.

    rows, labels: ``(E, n)`` int64, the labelled points of each episode.  prior: share of each class in the pool
    ``(C,)``, above 0; equal shares by default.  rounds: 0 is plain label spreading, balanced. Points that no labelled
    one is connected to get the prior; labelled points are certain.

    Raises ConfigError for negative rounds, DataError for rows, labels or a prior that do not fit.
    """
    _check(graph, rows, labels, num_classes, prior, rounds)
    share = torch.full((num_classes,), 1.0) if prior is None else prior.float()
    share = share / share.sum()
    truth = _one_hot(rows, labels, len(graph), num_classes)
    labelled = truth.sum(dim=2, keepdim=True) > 0
    anchors = LABEL_MASS * len(graph) / rows.shape[1] * truth
    scores = _balanced(_spread_episodes(graph, truth, TOLERANCE), share)
    for _ in range(rounds):
        sources = _best(torch.where(labelled, truth, scores)) + anchors
        scores = _balanced(_spread_episodes(graph, sources, ROUND_TOLERANCE), share)
    scores = torch.where(scores.sum(dim=2, keepdim=True) > 0, scores, share)
    return torch.where(labelled, truth, scores).transpose(0, 1).contiguous()


def spread(graph: NeighbourGraph, sources: Columns, *, tolerance: float = TOLERANCE) -> Columns:
    """Solve ``(I - alpha S) F = sources`` for F ``(N, M)`` with ``S = D^-1/2 W D^-1/2``, all columns at once.

    Label spreading of Zhou et al. (2004), by conjugate gradients. A column stops at its own relative residual
    ``tolerance``, so that it does not depend on its neighbours in the batch.
    """
    import numpy as np
    from scipy.sparse import diags_array, eye_array

    scale = diags_array(1 / np.sqrt(graph.weights.sum(axis=1)))
    system = (eye_array(len(graph)) - ALPHA * (scale @ graph.weights @ scale)).tocsr().astype(np.float32)
    solution = np.zeros_like(sources)
    residual = sources.copy()
    direction = sources.copy()
    norms = np.einsum("nm,nm->m", residual, residual)
    goal = tolerance**2 * norms
    while bool((norms > goal).any()):
        image = system @ direction
        step = np.where(norms > goal, norms / np.maximum(np.einsum("nm,nm->m", direction, image), 1e-30), 0)
        step = step.astype(np.float32)
        solution += step * direction
        residual -= step * image
        previous, norms = norms, np.einsum("nm,nm->m", residual, residual)
        direction *= (norms / np.maximum(previous, 1e-30)).astype(np.float32)
        direction += residual
    return solution


def confident(
    scores: Tensor, rows: Tensor, labels: Tensor, *, per_class: int, share: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Pseudo-labelled training rows for a probe: rows and labels ``(E, C * per_class)`` int64, class after class.

    Of each class the labelled rows with their true labels, then points evenly spaced in rank among the most confident
    ``share`` in (0, 1] of those whose highest score ``(E, N, C)`` is that class. A class with fewer points than
    ``per_class`` repeats them, so that every class and every episode has equally many.

    The surest points alone look all alike. MNIST pixels, 2 labels per class, linear probe: 63% on the 500 surest per
    class of 60,000 images; of 20,000 images 200 spaced over half, four fifths and all gave 81%, 86% and 87%.

    Raises ConfigError for a share out of range, DataError when an episode has no labelled row of a class, or more than
    ``per_class``.
    """
    num_classes = scores.shape[2]
    labelled = torch.nn.functional.one_hot(labels, num_classes).sum(dim=1)[:, :, None]
    if not 0 < share <= 1:
        raise ConfigError(f"share is {share}; it must be above 0 and at most 1.")
    if int(labelled.min()) < 1 or int(labelled.max()) > per_class:
        raise DataError(
            f"per_class is {per_class}, with {int(labelled.min())} to {int(labelled.max())} labelled rows of a class. "
            "Label every class, and take at least as many rows as are labelled."
        )
    ranked, members = _ranked(scores, rows, labels)
    last = torch.maximum((share * members).ceil().long(), labelled)
    place = torch.arange(per_class).expand(*labelled.shape[:2], -1)
    spaced = labelled + (place - labelled) * (last - labelled) // (per_class - labelled).clamp_min(1)
    chosen = ranked.gather(2, torch.where(place < labelled, place, torch.minimum(spaced, last - 1)))
    classes = torch.arange(num_classes).repeat_interleave(per_class).expand(len(rows), -1)
    return chosen.flatten(1), classes.contiguous()


def _ranked(scores: Tensor, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Points ranked for each class ``(E, C, N)``, labelled first, then the surest; its own number ``(E, C, 1)``."""
    keys = torch.where(scores == scores.amax(dim=2, keepdim=True), scores, -1.0).transpose(1, 2).contiguous()
    episode = torch.arange(len(rows))[:, None]
    keys[episode, :, rows] = -1.0
    keys[episode, labels, rows] = torch.inf
    return keys.argsort(dim=2, descending=True, stable=True), (keys >= 0).sum(dim=2, keepdim=True)


def _spread_episodes(graph: NeighbourGraph, sources: Tensor, tolerance: float) -> Tensor:
    columns = sources.flatten(1).contiguous().numpy()
    return torch.from_numpy(spread(graph, columns, tolerance=tolerance)).view(sources.shape)


def _one_hot(rows: Tensor, labels: Tensor, points: int, num_classes: int) -> Tensor:
    """``(N, E, C)``: 1 where a labelled point has its class."""
    truth = torch.zeros(points, len(rows), num_classes)
    truth[rows, torch.arange(len(rows))[:, None], labels] = 1
    return truth


def _best(scores: Tensor) -> Tensor:
    """1 at each point's best class, shared among equals; 0 where no class has a score."""
    highest = scores.amax(dim=2, keepdim=True)
    best = (scores == highest) & (highest > 0)
    return best / best.sum(dim=2, keepdim=True).clamp_min(1)


def _balanced(scores: Tensor, share: Tensor) -> Tensor:
    """Probabilities of scores ``(N, E, C)``, classes weighted so that their mean over the points is the share.

    Alternating rescaling of classes and points (Sinkhorn 1967). Points without any score are left out and stay 0; so do
    classes without a label.
    """
    likely = _over_classes(scores.clamp_min(0))
    weight = torch.ones_like(likely[0])
    for _ in range(BALANCING):
        totals = torch.einsum("nec,ec->ne", likely, weight)
        mass = torch.einsum("nec,ne->ec", likely, torch.where(totals > 0, 1 / totals, 0))
        weight = torch.where(mass > 0, share / mass, 0)
        weight /= weight.sum(dim=1, keepdim=True)  # only ratios count, and the sum would shrink from turn to turn
    return _over_classes(likely * weight)


def _over_classes(scores: Tensor) -> Tensor:
    """Scores that add up to 1 over the classes, or to 0."""
    totals = scores.sum(dim=2, keepdim=True)
    return torch.where(totals > 0, scores / totals, 0)


def _check(
    graph: NeighbourGraph, rows: Tensor, labels: Tensor, num_classes: int, prior: Tensor | None, rounds: int
) -> None:
    if rounds < 0:
        raise ConfigError(f"rounds is {rounds}; it must be at least 0.")
    if rows.ndim != 2 or rows.shape != labels.shape or rows.numel() == 0:
        raise DataError(f"Rows {tuple(rows.shape)} and labels {tuple(labels.shape)} must be two equal matrices (E, n).")
    for name, values, limit in (("Rows", rows, len(graph)), ("Labels", labels, num_classes)):
        if not 0 <= int(values.min()) <= int(values.max()) < limit:
            raise DataError(
                f"{name} run from {int(values.min())} to {int(values.max())}; allowed are 0 to {limit - 1}. "
                "Number them as the pool and its classes are numbered."
            )
    if prior is not None and (prior.shape != (num_classes,) or not bool((prior > 0).all())):
        raise DataError(f"prior {tuple(prior.shape)} must be one number above 0 for each of the {num_classes} classes.")


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
