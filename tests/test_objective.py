"""What a classifier minimises, against closed forms: priors, weights, targets, losses."""

import pytest
import torch
from torch.nn import functional as F

from augment.classifiers.learning import (
    LABEL_SMOOTHING,
    BatchShare,
    ClassMixUp,
    Decay,
    Learning,
    Objective,
    RealLast,
    Weight,
)
from augment.errors import ConfigError

LABELS = torch.tensor([0] * 6 + [1] * 2 + [1] * 4 + [2] * 4)
SYNTHETIC = torch.arange(16) >= 8
"""Eight real images, 6 and 2 of classes 0 and 1; eight synthetic ones, 4 and 4 of classes 1 and 2."""


def objective(labels=LABELS, synthetic=SYNTHETIC, classes=3, **options):
    return Objective(labels, synthetic, classes, Learning(**options))


def close(found, expected):
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_prior_is_the_frequency_with_which_classes_are_drawn():
    close(objective().prior(0.0), [6 / 16, 6 / 16, 4 / 16])


def test_the_prior_counts_synthetic_images_by_their_weight():
    close(objective(weight=Weight(weight=0.5)).prior(0.3), [6 / 12, 4 / 12, 2 / 12])


def test_the_prior_follows_a_weight_that_decays():
    decaying = objective(weight=Decay(start=1, end=0))
    close(decaying.prior(0.0), [6 / 16, 6 / 16, 4 / 16])
    close(decaying.prior(0.5), [6 / 12, 4 / 12, 2 / 12])


def test_the_prior_knows_the_share_per_batch():
    close(objective(share=BatchShare(share=0.25)).prior(0.0), [0.75 * 0.75, 0.75 * 0.25 + 0.25 / 2, 0.25 / 2])


def test_in_the_last_phase_the_prior_is_that_of_real_images_and_unseen_classes_look_frequent():
    last = objective(last=RealLast(share=0.5)).prior(0.6)
    close(last, [0.75 / 2, 0.25 / 2, 1 / 2])  # class 2 counts as much as all others together


def test_weights_of_classes_are_one_on_average_and_equal_for_all_classes():
    weighed = objective(imbalance="class-weights")
    weights = weighed.weights(torch.arange(16), 0.0)
    close(weights.mean(), 1.0)
    assert [float(weights[LABELS == label].sum()) for label in range(3)] == pytest.approx([16 / 3] * 3)


def test_weights_of_synthetic_images_multiply():
    weights = objective(weight=Weight(weight=0.25)).weights(torch.tensor([0, 9]), 0.0)
    close(weights, [1.0, 0.25])


def test_plain_targets_are_smoothed_uniformly_and_the_loss_is_pytorchs():
    found, offsets = objective().targets(torch.tensor([0, 12]), 0.0)
    rest = LABEL_SMOOTHING / 3
    close(found[1], [rest, rest, 1 - LABEL_SMOOTHING + rest])
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(logits, torch.tensor([0, 2]), label_smoothing=LABEL_SMOOTHING)
    close(F.cross_entropy(logits + offsets, found), float(expected))


def test_balanced_softmax_adds_the_logarithm_of_the_prior():
    adjusted = objective(imbalance="balanced-softmax")
    index = torch.tensor([0, 12])
    targets, offsets = adjusted.targets(index, 0.0)
    prior = torch.tensor([6 / 16, 6 / 16, 4 / 16])
    close(targets[0], (0.9 * torch.tensor([1.0, 0, 0]) + 0.1 * prior).tolist())
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    log_p = (prior * logits.exp() / (prior * logits.exp()).sum(1, keepdim=True)).log()  # the paper's form
    close(F.cross_entropy(logits + offsets, targets), float(-(targets * log_p).sum(1).mean()))


def test_by_origin_each_image_has_the_prior_of_its_own_kind():
    by_origin = objective(imbalance="balanced-softmax", prior="origin", last=RealLast(share=0.5))
    offsets = by_origin.targets(torch.tensor([0, 12]), 0.0)[1].exp()
    close(offsets[0], [0.75, 0.25, 0])  # of the real images, where class 2 does not occur
    close(offsets[1], [0, 0.5, 0.5])
    late = by_origin.targets(torch.tensor([0]), 0.6)[1].exp()
    close(late[0], [0.75 / 2, 0.25 / 2, 1 / 2])  # as without origins: there is only one then


def test_a_prior_by_origin_is_the_mixtures_where_both_are_alike():
    labels, synthetic = torch.tensor([0, 0, 0, 1] * 4), torch.arange(16) >= 8
    found = [objective(labels, synthetic, 2, imbalance="balanced-softmax", prior=way) for way in ("origin", "mixture")]
    first, second = (one.targets(torch.arange(16), 0.0) for one in found)
    assert torch.allclose(first[0], second[0]) and torch.allclose(first[1], second[1])


def test_the_prior_weighs_mixed_images_by_their_mean_weight():
    """Half of each synthetic image of class 1 is real on average; class 2 has no real image to be mixed with."""
    mixed = objective(weight=Weight(weight=0.5), mix=ClassMixUp())
    close(mixed.prior(0.0), [6 / 13, 5 / 13, 2 / 13])


def test_at_the_bayes_optimum_balanced_softmax_predicts_likelihoods_not_frequencies():
    """Logits equal to log p(x | y) minimise it, whatever the prior, but for smoothing."""
    labels = torch.tensor([0] * 90 + [1] * 10)
    fitted = Objective(labels, torch.zeros(100, dtype=torch.bool), 2, Learning("balanced-softmax"))
    logits = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def closure():
        optimizer.zero_grad()
        targets, offsets = fitted.targets(torch.arange(100), 0.0)
        loss = F.cross_entropy(logits + offsets, targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(logits.detach().softmax(0)[1]) == pytest.approx(0.5, abs=1e-3)


def test_a_way_with_imbalance_that_is_unknown_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'oversample'"):
        Learning("oversampel")
    with pytest.raises(ConfigError, match="Did you mean 'origin'"):
        Learning("balanced-softmax", prior="origins")
