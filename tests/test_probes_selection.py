import pytest
import torch

from augment.classifiers.probes import PROBES, predict
from augment.classifiers.probes.linear import DEFAULT_STRENGTH, STRENGTHS
from augment.classifiers.probes.mlp import DECAYS, _gradients, _initial
from augment.classifiers.probes.selection import held_log_likelihood, held_out, row_shares
from augment.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr("augment.classifiers.probes.mlp.UPDATES", 60)
    monkeypatch.setattr("augment.classifiers.probes.mlp.HIDDEN", 64)


def noisy(per_class: int, width: int = 12, *, episodes: int = 3, classes: int = 4, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    means = torch.randn(classes, width, generator=rng)
    labels = torch.arange(classes).repeat(per_class).expand(episodes, -1)
    features = means[labels] + torch.randn(*labels.shape, width, generator=rng)
    return features, labels, torch.randn(200, width, generator=rng)


# what is held out


@pytest.mark.parametrize(("per_class", "folds", "held"), [(2, 2, 1), (3, 3, 1), (8, 4, 2), (15, 4, None), (16, 1, 4)])
def test_folds_hold_the_same_share_of_every_class(per_class, folds, held):
    _, labels, _ = noisy(per_class)
    mask = held_out(labels, 4, [0, 1, 2])
    assert mask.shape == (3, folds, 4 * per_class)
    counts = torch.stack([(mask & (labels == c).unsqueeze(1)).sum(2) for c in range(4)])
    assert bool((counts == held).all()) if held else set(counts.flatten().tolist()) == {3, 4}
    if folds > 1:
        assert bool((mask.sum(1) == 1).all()), "each row is held out once"
    kept = row_shares(mask)
    assert torch.allclose(kept.sum(1), torch.ones(3, folds))
    assert bool(((kept == 0) == mask.mT).all())


def test_folds_follow_the_seed_of_their_episode():
    _, labels, _ = noisy(8)
    mask = held_out(labels, 4, [5, 6, 5])
    assert torch.equal(mask[0], mask[2])
    assert not torch.equal(mask[0], mask[1])
    assert torch.equal(held_out(labels[1:2], 4, [6])[0], mask[1])


def test_one_row_of_a_class_leaves_nothing_to_hold_out():
    labels = torch.tensor([[0, 0, 0, 1]])
    assert held_out(labels, 2, [0]).shape == (1, 0, 4)
    outcome = predict("linear", torch.randn(1, 4, 3), labels, torch.randn(5, 3), num_classes=2, seeds=[0])
    assert outcome.chosen == (DEFAULT_STRENGTH,)


def test_likelihood_counts_held_out_rows_only():
    labels = torch.tensor([[0, 1, 0, 1]])
    held = torch.tensor([[[True, False, False, False], [False, True, False, False]]])
    logits = torch.zeros(1, 4, 2, 1, 2)
    logits[0, 0, 0, 0, 0] = logits[0, 1, 1, 0, 1] = 2.0  # right where it is held out
    logits[0, 2, 1] = logits[0, 0, 1, 0, 1] = 50.0  # wrong where it is not
    assert held_log_likelihood(logits, labels, held).item() == pytest.approx(2 - torch.tensor([2.0, 0]).logsumexp(0))


@pytest.mark.parametrize("probe", ["linear", "mlp", "prototype", "knn"])
def test_selection_answers_the_data(probe):
    """Pure noise asks for more regularisation than classes that are far apart."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(20).expand(4, -1)
    noise = torch.randn(4, 60, 20, generator=rng)
    clear = noise + 8 * torch.nn.functional.one_hot(labels, 20).float()
    queries = torch.randn(2, 20, generator=rng)
    fit = [predict(probe, x, labels, queries, num_classes=3, seeds=range(4)).chosen for x in (noise, clear)]
    if probe == "prototype":
        assert len(set(fit[0] + fit[1])) > 1
    else:
        assert sum(fit[0]) > sum(fit[1])
    allowed = {"linear": STRENGTHS, "mlp": DECAYS}.get(probe)
    assert allowed is None or set(fit[0] + fit[1]) <= set(allowed)


# independence and robustness


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("per_class", [1, 3, 40])
def test_an_episode_does_not_depend_on_its_companions(probe, per_class):
    features, labels, queries = noisy(per_class)
    together = predict(probe, features, labels, queries, num_classes=4, seeds=[7, 8, 9])
    for episode in (0, 2):
        one = slice(episode, episode + 1)
        alone = predict(probe, features[one], labels[one], queries, num_classes=4, seeds=[7 + episode])
        assert alone.chosen == together.chosen[one]
        assert (alone.predictions[0] == together.predictions[episode]).float().mean() >= 0.995


def test_the_seed_changes_a_trained_network_and_nothing_else_does():
    features, labels, queries = noisy(1)
    fit = [predict("mlp", features, labels, queries, num_classes=4, seeds=seeds) for seeds in ([1, 2, 3],) * 2]
    assert torch.equal(fit[0].predictions, fit[1].predictions)
    other = predict("mlp", features, labels, queries, num_classes=4, seeds=[4, 2, 3])
    assert not torch.equal(other.predictions[0], fit[0].predictions[0])
    assert torch.equal(other.predictions[1:], fit[0].predictions[1:])


def test_global_random_state_is_left_alone():
    features, labels, queries = noisy(3)
    before = torch.random.get_rng_state()
    for probe in PROBES:
        predict(probe, features, labels, queries, num_classes=4, seeds=[0, 1, 2])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("per_class", [1, 2, 20])
@pytest.mark.parametrize("kind", ["constant columns", "equal rows", "all equal", "inference"])
def test_degenerate_features_are_no_trouble(probe, per_class, kind):
    features, labels, queries = noisy(per_class, 50, episodes=2)
    if kind == "constant columns":
        features[..., 10:], queries[:, 10:] = 3.0, 3.0
    elif kind == "equal rows":
        features[:, 4:] = features[:, :4].repeat(1, per_class - 1, 1)
    elif kind == "all equal":
        features[:] = 1.0
    with torch.inference_mode(kind == "inference"):
        outcome = predict(probe, features.clone(), labels, queries, num_classes=4, seeds=[0, 1])
    assert 0 <= int(outcome.predictions.min()) <= int(outcome.predictions.max()) < 4
    if kind == "equal rows":
        again = predict(probe, features, labels, features[0, :4], num_classes=4, seeds=[0, 1])
        assert again.predictions[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("probe", PROBES)
def test_classes_of_unequal_size_are_no_trouble(probe):
    features, labels, queries = noisy(20, episodes=2)
    rows = torch.stack([torch.arange(50), torch.arange(30, 80)])
    rows[1, :30] = torch.where(labels[1, rows[1, :30]] == 0, 31, rows[1, :30])
    picked, classes = features.gather(1, rows.unsqueeze(2).expand(-1, -1, 12)), labels.gather(1, rows)
    outcome = predict(probe, picked, classes, features[0], num_classes=4, seeds=[0, 1])
    assert (outcome.predictions[0] == labels[0]).float().mean() > 0.6


def test_gradients_of_the_network_are_those_of_autograd():
    rng = torch.Generator().manual_seed(0)
    net = _initial(6, 3, 2, [rng, rng])
    rows = torch.randn(2, 10, 6, generator=rng)
    targets = torch.nn.functional.one_hot(torch.arange(10) % 3, 3).float().expand(2, -1, -1)
    shares = torch.rand(2, 10, 2, generator=rng)
    kept = 2.0 * (torch.rand(2, 1, 10, net.second.shape[2], generator=rng) > 0.5)
    parameters = (net.first, net.first_bias, net.second, net.second_bias)
    for parameter in parameters:
        parameter.requires_grad_(True)
    hidden = (rows @ net.first + net.first_bias).relu().view(2, 10, 2, -1).transpose(1, 2) * kept
    scores = (hidden @ net.second + net.second_bias).log_softmax(3)
    weights = (shares / shares.sum(1, keepdim=True)).mT.unsqueeze(3)
    expected = torch.autograd.grad(-(scores * targets.unsqueeze(1) * weights).sum(), parameters)
    with torch.no_grad():
        actual = _gradients(net, [rows, targets, shares], kept)
    for one, other in zip(actual, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


# errors


def test_an_unknown_head_is_named_beside_the_known_ones():
    features, labels, queries = noisy(2)
    with pytest.raises(ConfigError, match="Unknown probe 'liner'. Did you mean 'linear'.*knn, linear, mlp, prototype"):
        predict("liner", features, labels, queries, num_classes=4, seeds=[0, 1, 2])


@pytest.mark.parametrize("which", ["features", "queries"])
def test_numbers_that_are_not_finite_are_refused(which):
    features, labels, queries = noisy(2)
    (features[0] if which == "features" else queries)[1, 2] = float("nan")
    with pytest.raises(DataError, match=f"1 of .* {which} are not finite"):
        predict("linear", features, labels, queries, num_classes=4, seeds=[0, 1, 2])


def test_a_class_without_rows_is_refused():
    features, labels, queries = noisy(2)
    with pytest.raises(DataError, match="Episode 0 has no labelled row of class 4"):
        predict("knn", features, labels, queries, num_classes=5, seeds=[0, 1, 2])
    with pytest.raises(DataError, match="from 0 to 2"):
        predict("knn", features, labels, queries, num_classes=3, seeds=[0, 1, 2])


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2, 3]])
def test_shapes_that_do_not_fit_are_refused(seeds):
    features, labels, queries = noisy(2)
    with pytest.raises(DataError, match="do not fit"):
        predict("linear", features, labels, queries, num_classes=4, seeds=seeds)
    with pytest.raises(DataError, match="do not fit"):
        predict("linear", features, labels, queries[:, 1:], num_classes=4, seeds=[0, 1, 2])
