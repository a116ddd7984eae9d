"""Label propagation: closed forms on small graphs, scikit-learn's neighbours, two moons, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import kneighbors_graph
from torch import Tensor

from augment.errors import ConfigError, DataError
from augment.studies.features.neighbour_graph import NeighbourGraph
from augment.studies.features.second_stage import ALPHA, confident, propagate, spread


@pytest.fixture(scope="module")
def features() -> Tensor:
    return torch.randn(300, 5, generator=torch.Generator().manual_seed(0))  # more than one chunk


@pytest.fixture(scope="module")
def graph(features: Tensor) -> NeighbourGraph:
    return NeighbourGraph.of(features, neighbours=6)


def moons(n: int, seed: int) -> tuple[Tensor, Tensor]:
    points, labels = make_moons(n, noise=0.06, random_state=seed)
    return torch.from_numpy(points).float(), torch.from_numpy(labels)


def two_groups(distance: float = 100.0) -> Tensor:
    near = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    return torch.cat([near, near + distance])


def normalised(graph: NeighbourGraph) -> np.ndarray:
    weights = graph.weights.toarray().astype(np.float64)
    degree = weights.sum(axis=1)
    return weights / np.sqrt(degree[:, None] * degree)


def test_edges_and_weights_are_those_of_sklearn(features: Tensor, graph: NeighbourGraph) -> None:
    distance = kneighbors_graph(features.numpy(), 6, mode="distance").toarray()
    one_way = np.where(distance > 0, np.exp(-4 * distance**2 / distance.max(axis=1, keepdims=True) ** 2), 0)
    assert_allclose(graph.weights.toarray(), (one_way + one_way.T) / 2, atol=1e-5)


def test_reduction_keeps_the_graph_when_it_loses_nothing(features: Tensor, graph: NeighbourGraph) -> None:
    turned = features @ torch.linalg.qr(torch.randn(40, 5, generator=torch.Generator().manual_seed(2))).Q.T + 7
    reduced = NeighbourGraph.of(turned, neighbours=6, dims=5)
    assert reduced.points.shape == (300, 5)
    assert_allclose(reduced.weights.toarray(), graph.weights.toarray(), atol=1e-4)


def test_reduction_keeps_the_widest_directions() -> None:
    narrow = torch.randn(50, 8, generator=torch.Generator().manual_seed(3)) * torch.tensor([9.0, 5.0] + 6 * [0.01])
    full, reduced = (NeighbourGraph.of(narrow, neighbours=3, dims=dims) for dims in (8, 2))
    assert_allclose(reduced.weights.toarray(), full.weights.toarray(), atol=0.02)


def test_spread_solves_the_laplacian_system(graph: NeighbourGraph) -> None:
    sources = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    dense = np.linalg.solve(np.eye(300) - ALPHA * normalised(graph), sources)
    assert_allclose(spread(graph, sources, tolerance=1e-6), dense, atol=1e-3)


def test_spread_of_nothing_is_nothing(graph: NeighbourGraph) -> None:
    sources = np.zeros((300, 2), dtype=np.float32)
    sources[3, 0] = 1
    solution = spread(graph, sources)
    assert solution[:, 0].max() > 1 and not solution[:, 1].any()


def test_without_rounds_it_is_balanced_label_spreading(graph: NeighbourGraph) -> None:
    rows, labels = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 1, 2, 2]])
    prior = torch.tensor([0.2, 0.3, 0.5])
    scores = propagate(graph, rows, labels, 3, prior=prior, rounds=0)[0]
    spreading = np.linalg.solve(np.eye(300) - ALPHA * normalised(graph), np.eye(300, 3)[:, [0, 1, 2]] + 0)
    spreading[:, 2] = np.linalg.solve(np.eye(300) - ALPHA * normalised(graph), np.eye(300)[:, 2] + np.eye(300)[:, 3])
    # the ratio of two classes is that of label spreading times one factor for all points that are not labelled
    ratio = (scores[4:, 0] / scores[4:, 1]).numpy() / (spreading[4:, 0] / spreading[4:, 1])
    assert_allclose(ratio, np.median(ratio), rtol=0.02)
    assert_allclose(scores.sum(dim=1), 1, atol=1e-5)
    assert_allclose(scores.mean(dim=0), prior, atol=0.02)


def test_classes_are_taken_as_equally_frequent(graph: NeighbourGraph) -> None:
    rows, labels = torch.arange(12)[None], torch.tensor([[0] * 10 + [1] * 2])  # five times the labels of class 0
    counts = propagate(graph, rows, labels, 2)[0].argmax(dim=1).bincount(minlength=2)
    assert counts.min() > 100
    told = propagate(graph, rows, labels, 2, prior=torch.tensor([0.8, 0.2]))[0].argmax(dim=1).bincount(minlength=2)
    assert told[0] > 200


def test_two_moons_from_one_label_each_where_a_line_fails() -> None:
    pool, truth = moons(600, seed=0)
    queries, query_truth = moons(300, seed=1)
    ends = [
        int(pool[:, 0].where(truth == 0, torch.inf).argmin()),
        int(pool[:, 0].where(truth == 1, -torch.inf).argmax()),
    ]
    rows = torch.tensor([ends])
    graph = NeighbourGraph.of(pool)
    scores = propagate(graph, rows, truth[rows], 2)
    assert (scores[0].argmax(dim=1) == truth).float().mean() > 0.99
    assert (graph.vote(scores, queries)[0] == query_truth).float().mean() > 0.99
    line = LogisticRegression().fit(pool[rows[0]].numpy(), truth[rows[0]].numpy())
    assert line.score(queries.numpy(), query_truth.numpy()) < 0.9


def test_pseudo_labels_of_two_moons_are_right_and_teach_more_than_the_labels() -> None:
    pool, truth = moons(600, seed=0)
    rows = torch.stack([(truth == 0).nonzero()[:1, 0], (truth == 1).nonzero()[:1, 0]], dim=1)
    chosen, labels = confident(
        propagate(NeighbourGraph.of(pool), rows, truth[rows], 2), rows, truth[rows], per_class=50
    )
    assert (truth[chosen] == labels).float().mean() > 0.99
    assert len(chosen[0].unique()) == 100


def test_rounds_help_where_labels_are_few() -> None:
    rng = torch.Generator().manual_seed(4)
    truth = torch.arange(4).repeat_interleave(150)
    pool = torch.eye(4)[truth] * 2.8 + torch.randn(600, 4, generator=rng)
    rows = torch.stack([torch.cat([(truth == c).nonzero()[e : e + 1, 0] for c in range(4)]) for e in range(10)])
    graph = NeighbourGraph.of(pool)
    plain, rounds = (
        float((propagate(graph, rows, truth[rows], 4, rounds=number).argmax(dim=2) == truth).float().mean())
        for number in (0, 10)
    )
    assert rounds > plain + 0.02


def test_episodes_are_independent(graph: NeighbourGraph) -> None:
    rows = torch.randperm(300, generator=torch.Generator().manual_seed(5))[:12].view(3, 4)
    labels = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1]])
    together = propagate(graph, rows, labels, 2, rounds=2)
    for episode in range(3):
        alone = propagate(graph, rows[[episode]], labels[[episode]], 2, rounds=2)[0]
        assert_allclose(together[episode], alone, atol=1e-3)
    assert (together[0] - together[1]).abs().max() > 0.5


def test_order_of_the_pool_does_not_matter(features: Tensor, graph: NeighbourGraph) -> None:
    order = torch.randperm(300, generator=torch.Generator().manual_seed(6))
    rows, labels = torch.tensor([[3, 9, 27, 81]]), torch.tensor([[0, 1, 2, 0]])
    moved = NeighbourGraph.of(features[order], neighbours=6)
    scores = propagate(graph, rows, labels, 3, rounds=1)
    assert_allclose(propagate(moved, order.argsort()[rows], labels, 3, rounds=1), scores[:, order], atol=1e-3)


def test_names_of_the_classes_do_not_matter(graph: NeighbourGraph) -> None:
    rows, labels, renamed = torch.tensor([[3, 9, 27]]), torch.tensor([[0, 1, 2]]), torch.tensor([2, 0, 1])
    scores = propagate(graph, rows, labels, 3, rounds=2)
    assert_allclose(propagate(graph, rows, renamed[labels], 3, rounds=2)[:, :, renamed], scores, atol=1e-3)


@pytest.mark.parametrize("rounds", [0, 3])
def test_points_connected_to_no_label_get_the_prior(rounds: int) -> None:
    graph = NeighbourGraph.of(two_groups())
    rows, labels = torch.tensor([[0, 1], [0, 20]]), torch.tensor([[0, 1], [0, 1]])
    prior = torch.tensor([0.5, 0.25, 0.25])
    scores = propagate(graph, rows, labels, 3, prior=prior, rounds=rounds)
    assert bool(torch.isfinite(scores).all())
    assert_allclose(scores[0, 20:], prior.expand(20, -1), atol=1e-6)
    assert bool((scores[1].argmax(dim=1) == torch.arange(2).repeat_interleave(20)).all())


def test_labelled_points_are_certain(graph: NeighbourGraph) -> None:
    rows, labels = torch.arange(100)[None], (torch.arange(100) % 3)[None]  # labels that the features contradict
    scores = propagate(graph, rows, labels, 3)
    assert bool((scores[0, rows[0]] == torch.eye(3)[labels[0]]).all())


def test_a_pool_of_equal_images_stays_finite() -> None:
    graph = NeighbourGraph.of(torch.ones(30, 3))
    scores = propagate(graph, torch.tensor([[0, 1]]), torch.tensor([[0, 1]]), 2)
    assert bool(torch.isfinite(scores).all())
    assert graph.vote(scores, torch.ones(2, 3)).shape == (1, 2)


def test_vote_is_the_weighted_mean_of_the_nearest_scores() -> None:
    graph = NeighbourGraph.of(torch.tensor([[0.0], [1.0], [3.0], [50.0]]), neighbours=3)
    # from 0.5 the squared distances are 1/4, 1/4, 25/4; the weights e^(-4/25) twice, then e^-4
    far = 1.1 * 2 * np.exp(-4 / 25) / np.exp(-4)  # what the third must score to outvote the first two
    scores = torch.tensor([[[1, 0], [1, 0], [0, far], [0, 1e9]], [[1, 0], [1, 0], [0, far / 1.2], [0, 1e9]]])
    assert graph.vote(scores.float(), torch.tensor([[0.5]])).tolist() == [[1], [0]]


def test_queries_are_classified_each_on_its_own(features: Tensor, graph: NeighbourGraph) -> None:
    scores = torch.rand(2, 300, 3, generator=torch.Generator().manual_seed(7))
    queries = features[:280] + 0.01
    together = graph.vote(scores, queries)
    assert together.dtype == torch.int64 and together.shape == (2, 280)
    assert torch.equal(together[:, [5, 270]], graph.vote(scores, queries[[5, 270]]))


def test_confident_rows_are_labelled_ones_then_the_surest_and_repeat_when_too_few() -> None:
    first = torch.tensor([0.9, 0.2, 0.6, 0.8, 0.3, 0.7])
    scores = torch.stack([first, 1 - first], dim=1)[None]
    rows, labels = torch.tensor([[1, 2]]), torch.tensor([[0, 1]])  # the scores say otherwise of both
    chosen, classes = confident(scores, rows, labels, per_class=4, share=1.0)
    assert chosen.tolist() == [[1, 0, 3, 5, 2, 4, 4, 4]]
    assert classes.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    alone, _ = confident(scores, rows, labels, per_class=3, share=0.1)  # of two and four points one: the labelled one
    assert alone.tolist() == [[1, 1, 1, 2, 2, 2]]


def test_confident_rows_are_spaced_over_the_share() -> None:
    sure = torch.linspace(1, 0.6, 100)
    scores = torch.cat([torch.stack([sure, 1 - sure], dim=1), torch.stack([1 - sure, sure], dim=1)])[None]
    rows, labels = torch.tensor([[0, 100]]), torch.tensor([[0, 1]])
    chosen, _ = confident(scores, rows, labels, per_class=4, share=0.61)
    assert chosen.tolist() == [[0, 1, 21, 41, 100, 101, 121, 141]]


@pytest.mark.parametrize(("labels", "per_class"), [([0, 1, 1], 1), ([0, 0, 0], 4)])
def test_confident_refuses_what_it_cannot_balance(labels: list[int], per_class: int) -> None:
    with pytest.raises(DataError, match=f"per_class is {per_class}"):
        confident(torch.rand(1, 10, 2), torch.tensor([[0, 1, 2]]), torch.tensor([labels]), per_class=per_class)


@pytest.mark.parametrize(
    ("rows", "labels", "prior", "message"),
    [
        ([[0, 300]], [[0, 1]], None, "Rows run from 0 to 300"),
        ([[0, 1]], [[0, 2]], None, "Labels run from 0 to 2"),
        ([[0, 1]], [[0]], None, "equal matrices"),
        ([[0, 1]], [[0, 1]], [1.0, 0.0], "prior"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    graph: NeighbourGraph, rows: list[list[int]], labels: list[list[int]], prior: list[float] | None, message: str
) -> None:
    told = None if prior is None else torch.tensor(prior)
    with pytest.raises(DataError, match=message):
        propagate(graph, torch.tensor(rows), torch.tensor(labels), 2, prior=told)


def test_options_and_features_out_of_range_are_refused(graph: NeighbourGraph) -> None:
    with pytest.raises(ConfigError, match="neighbours is 0"):
        NeighbourGraph.of(torch.rand(9, 2), neighbours=0)
    with pytest.raises(ConfigError, match="rounds is -1"):
        propagate(graph, torch.tensor([[0]]), torch.tensor([[0]]), 2, rounds=-1)
    with pytest.raises(ConfigError, match="share is 0"):
        confident(torch.rand(1, 9, 1), torch.tensor([[0]]), torch.tensor([[0]]), per_class=1, share=0.0)
    with pytest.raises(DataError, match="7 features have no 7 neighbours"):
        NeighbourGraph.of(torch.rand(7, 2))
    with pytest.raises(DataError, match="finite matrix"):
        NeighbourGraph.of(torch.tensor([[0.0], [torch.nan]]), neighbours=1)
