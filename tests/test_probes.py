import numpy as np
import pytest
import torch
import torch.nn.functional as F

from augment.classifiers.probes import PROBES, predict
from augment.classifiers.probes.linear import fit_logistic
from augment.classifiers.probes.nearest import _distances, _votes
from augment.classifiers.probes.rowspace import row_space

CLASSES = 3


def projected(space, queries):
    """Coordinates of queries in the space of the labelled rows."""
    return (queries - space.mean) @ space.axes


def blobs(episodes: int, per_class: int, width: int, *, distance: float = 1.5, seed: int = 0):
    """Classes around means of length ``distance`` per axis pair, and 300 queries with their classes."""
    rng = torch.Generator().manual_seed(seed)
    means = distance * torch.randn(CLASSES, width, generator=rng) / width**0.25
    labels = torch.arange(CLASSES).repeat_interleave(per_class).expand(episodes, -1)
    features = means[labels] + torch.randn(*labels.shape, width, generator=rng)
    truth = torch.arange(CLASSES).repeat(100)
    return features, labels, means[truth] + torch.randn(300, width, generator=rng), truth


def fitted(probe: str, features, labels, queries, seeds=None):
    seeds = range(len(features)) if seeds is None else seeds
    return predict(probe, features, labels, queries, num_classes=CLASSES, seeds=list(seeds))


# logistic regression


@pytest.mark.parametrize(("per_class", "width"), [(10, 60), (80, 12)])
@pytest.mark.parametrize("strength", [0.003, 0.3])
@pytest.mark.parametrize(
    ("kind", "tolerance", "off", "above"),  # of probabilities, and of the loss: six seeds, two instruction sets
    [(torch.float64, 1e-13, 2e-4, 1e-8), (torch.float32, 1e-9, 1e-2, 1e-5)],  # at most 3e-5 and 2e-3
)
def test_logistic_regression_reaches_sklearns_optimum(per_class, width, strength, kind, tolerance, off, above):
    from sklearn.linear_model import LogisticRegression

    features, labels, queries, _ = blobs(2, per_class, width)
    features, queries = features.to(kind), queries.to(kind)
    space = row_space(features)
    n = labels.shape[1]
    shares = torch.full((2, n, 1), 1 / n, dtype=kind)
    penalty = (strength * space.energy / n).unsqueeze(1)
    targets = F.one_hot(labels, CLASSES).to(kind)
    weights = fit_logistic(space.coordinates, targets, shares, penalty, tolerance=tolerance).squeeze(3)
    ours = (projected(space, queries) @ weights[:, :-1] + weights[:, -1:]).softmax(2)
    for episode in range(2):
        reference = LogisticRegression(C=1 / (n * float(penalty[episode])), tol=1e-10, max_iter=9000)
        reference.fit(features[episode].double().numpy(), labels[episode].numpy())
        theirs = reference.predict_proba(queries.double().numpy())
        assert np.abs(ours[episode].numpy() - theirs).max() < off
        back = (space.axes[episode] @ weights[episode, :-1]).mT.numpy()
        probabilities = reference.predict_proba(features[episode].double().numpy())
        mine = (space.coordinates[episode] @ weights[episode, :-1] + weights[episode, -1]).log_softmax(1)
        mine_loss = -float(mine[torch.arange(n), labels[episode]].mean())
        mine_loss += float(penalty[episode]) / 2 * (back**2).sum()
        their_loss = -np.log(probabilities[np.arange(n), labels[episode].numpy()]).mean()
        their_loss += float(penalty[episode]) / 2 * (reference.coef_**2).sum()
        assert mine_loss == pytest.approx(their_loss, abs=above)


def test_strengths_and_folds_solved_together_are_solved_as_if_alone():
    features, labels, _, _ = blobs(2, 8, 10)
    rows, targets = row_space(features).coordinates, F.one_hot(labels, CLASSES).float()
    shares = torch.rand(2, 24, 4, generator=torch.Generator().manual_seed(0))
    shares[:, ::4, 1] = 0
    shares = shares / shares.sum(1, keepdim=True)
    penalty = torch.tensor([[1.0, 0.1, 0.01, 0.001], [0.3, 0.03, 0.5, 0.2]])
    together = fit_logistic(rows, targets, shares, penalty, tolerance=1e-7)
    for episode in range(2):
        for column in range(4):
            one, at = slice(episode, episode + 1), slice(column, column + 1)
            alone = fit_logistic(rows[one], targets[one], shares[one, :, at], penalty[one, at], tolerance=1e-7)
            assert torch.allclose(together[one, ..., at], alone, atol=2e-3)


def test_rows_without_a_share_are_not_seen():
    features, labels, _, _ = blobs(1, 8, 10)
    rows, targets = row_space(features).coordinates, F.one_hot(labels, CLASSES).float()
    shares = torch.ones(1, 24, 1)
    shares[:, ::3] = 0
    shares = shares / shares.sum(1, keepdim=True)
    penalty = torch.tensor([[0.05]])
    masked = fit_logistic(rows, targets, shares, penalty, tolerance=1e-8)
    seen = shares[0, :, 0] > 0
    without = fit_logistic(rows[:, seen], targets[:, seen], shares[:, seen], penalty, tolerance=1e-8)
    assert torch.allclose(masked, without, atol=1e-3)


@pytest.mark.parametrize("shape", [(20, 7), (7, 20), (9, 9)])
def test_row_space_keeps_distances_and_drops_what_is_constant(shape):
    features = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    features[:, :, 0] = 5.0
    features[:, 1] = features[:, 0]
    space = row_space(features)
    assert space.coordinates.shape[2] <= min(shape[0] - 2, shape[1] - 1)
    assert torch.allclose(torch.cdist(space.coordinates, space.coordinates), torch.cdist(features, features), atol=1e-3)
    assert torch.allclose(projected(space, features[0])[0], space.coordinates[0], atol=1e-4)
    widths = space.coordinates.square().sum(1)
    assert bool((widths.diff(dim=1) <= 1e-3).all()), "the widest axis comes first"


# prototypes and neighbours


def test_one_row_per_class_makes_prototypes_the_nearest_row():
    features, labels, queries, _ = blobs(3, 1, 20)
    nearest = torch.cdist(queries.expand(3, -1, -1), features).argmin(2)
    assert torch.equal(fitted("prototype", features, labels, queries).predictions, nearest)
    assert torch.equal(fitted("knn", features, labels, queries).predictions, nearest)


def test_prototypes_are_shrunk_discriminant_analysis():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features, labels, queries, _ = blobs(2, 12, 15)
    outcome = fitted("prototype", features, labels, queries)
    for episode in range(2):
        reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=outcome.chosen[episode])
        reference.fit(features[episode].numpy(), labels[episode].numpy())
        assert np.array_equal(reference.predict(queries.numpy()), outcome.predictions[episode].numpy())


def test_prototypes_use_the_covariance_where_it_tells_and_not_where_it_misleads():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat_interleave(40)
    scale = torch.cat([torch.full((2,), 0.1), torch.full((20,), 3.0)])
    means = torch.cat([torch.tensor([[0.0, 0.5], [0.5, 0.0], [0.5, 0.5]]), torch.zeros(3, 20)], 1)
    told = (means[labels] + scale * torch.randn(120, 22, generator=rng)).unsqueeze(0)
    outcome = fitted("prototype", told, labels.unsqueeze(0), told[0])
    assert outcome.chosen[0] <= 0.01
    assert (outcome.predictions[0] == labels).float().mean() > 0.95
    plain, labels, queries, _ = blobs(1, 6, 200)
    assert fitted("prototype", plain, labels, queries).chosen[0] >= 0.5


def test_neighbours_agree_with_sklearn_for_the_number_chosen():
    from sklearn.neighbors import KNeighborsClassifier

    features, labels, queries, _ = blobs(3, 30, 5, distance=0.7)
    outcome = fitted("knn", features, labels, queries)
    assert max(outcome.chosen) > 1
    for episode, count in enumerate(outcome.chosen):
        reference = KNeighborsClassifier(int(count)).fit(features[episode].numpy(), labels[episode].numpy())
        votes = reference.predict_proba(queries.numpy())
        top = np.sort(votes, 1)
        clear = top[:, -1] > top[:, -2]
        assert clear.mean() > 0.7
        assert np.array_equal(reference.predict(queries.numpy())[clear], outcome.predictions[episode].numpy()[clear])


def test_ties_go_to_the_class_at_the_smaller_total_distance():
    rows = torch.tensor([[[0.0], [5.0], [2.0], [4.0], [9.0]]])
    labels = torch.tensor([[0, 0, 1, 1, 2]])
    distances = _distances(torch.tensor([[[1.0]]]), rows)
    # of four neighbours class 0 is at 1 + 4, class 1 at 1 + 3; of one neighbour both are at 1
    assert _votes(distances, labels, [4], 3).tolist() == [[[1]]]
    assert _votes(distances * 0, labels, [1, 3], 3).shape == (1, 1, 2)


def test_neighbours_do_not_depend_on_the_chunk(monkeypatch):
    features, labels, queries, _ = blobs(2, 20, 5, distance=0.7)
    whole = fitted("knn", features, labels, queries)
    monkeypatch.setattr("augment.classifiers.probes.nearest.CHUNK_ELEMENTS", 1000)
    chunked = fitted("knn", features, labels, queries)
    assert torch.equal(whole.predictions, chunked.predictions)
    assert whole.chosen == chunked.chosen


# all probes


@pytest.mark.parametrize("probe", PROBES)
def test_separated_classes_are_told_apart(probe):
    features, labels, queries, truth = blobs(2, 8, 30, distance=3.0)
    outcome = fitted(probe, features, labels, queries)
    assert outcome.predictions.shape == (2, 300) and outcome.predictions.dtype == torch.int64
    assert (outcome.predictions == truth).float().mean() > 0.97
