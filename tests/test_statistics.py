"""Paired tests against SciPy and by hand; a verdict for each outcome."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from augment.statistics import Comparison, compare, mcnemar, paired_interval, verdict


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_interval_is_that_of_the_paired_t_test(n):
    rng = np.random.default_rng(n)
    ours, reference = rng.normal(0.85, 0.02, n), rng.normal(0.84, 0.02, n)
    low, high, p = paired_interval((ours - reference).tolist())
    expected = stats.ttest_rel(ours, reference)
    interval = expected.confidence_interval(0.95)
    assert (low, high, p) == pytest.approx((interval.low, interval.high, expected.pvalue), rel=1e-9)


def test_two_differences_by_hand():
    # mean 2, standard error 1, t(0.975, 1) = 12.7062, p = 2 * (1/2 - atan(2) / pi)
    low, high, p = paired_interval([1.0, 3.0])
    assert (low, high) == pytest.approx((2 - 12.7062047, 2 + 12.7062047))
    assert p == pytest.approx(1 - 2 * np.arctan(2) / np.pi)


def test_equal_differences_have_an_interval_of_no_width():
    assert paired_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.0)
    assert paired_interval([0.0, 0.0]) == (0.0, 0.0, 1.0)
    low, high, p = paired_interval([0.1 + 0.2, 0.3])  # equal but for rounding
    assert high - low < 1e-12 and p == 0.0


def correctness(both, first, second, neither):
    a = [True] * both + [True] * first + [False] * second + [False] * neither
    b = [True] * both + [False] * first + [True] * second + [False] * neither
    return a, b


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (1, 5, 2 * (1 + 6) / 2**6),
        (0, 8, 2 / 2**8),
        (3, 3, 1.0),
        (0, 1, 1.0),
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
    ],
)
def test_mcnemar_by_hand(first, second, p):
    a, b = correctness(20, first, second, 7)
    assert mcnemar(a, b) == pytest.approx(p)
    assert mcnemar(b, a) == pytest.approx(p)


def test_mcnemar_without_disagreement_is_one():
    a, b = correctness(5, 0, 0, 3)
    assert mcnemar(a, b) == 1.0


def test_mcnemar_ignores_what_both_get_right_or_wrong():
    assert mcnemar(*correctness(0, 2, 9, 0)) == mcnemar(*correctness(1000, 2, 9, 500))


def test_comparison_over_seeds_is_in_points_and_paired():
    ours, reference = [0.86, 0.90, 0.81], [0.85, 0.88, 0.80]
    found = compare("cnn", "gen", "oversample", ours, reference)
    assert (found.classifier, found.arm, found.against) == ("cnn", "gen", "oversample")
    assert found.delta == pytest.approx(4 / 3)
    assert found.p == pytest.approx(stats.ttest_rel(ours, reference).pvalue)
    assert found.ci95[0] < found.delta < found.ci95[1]
    assert (found.n, found.test) == (3, "paired t over seeds")


def test_comparison_on_one_seed_is_mcnemars():
    a, b = correctness(80, 9, 1, 10)
    found = compare("cnn", "gen", "real", [0.89], [0.81], a, b)
    assert found.delta == pytest.approx(8.0)
    assert (found.ci95, found.n, found.test) == (None, 1, "McNemar")
    assert found.p == pytest.approx(2 * (1 + 10) / 2**10)


def test_one_seed_needs_the_test_images():
    with pytest.raises(ValueError, match="correctness of each test image"):
        compare("cnn", "gen", "real", [0.89], [0.81])


def test_arms_with_different_numbers_of_seeds_cannot_be_paired():
    with pytest.raises(ValueError, match="shorter"):
        compare("cnn", "gen", "real", [0.89, 0.9], [0.81])


SEEDS = Comparison("cnn", "gen", "oversample", 1.26, (0.4, 2.1), 0.01, 5, "paired t over seeds")
ONE = Comparison("cnn", "gen", "oversample", 1.26, None, 0.012, 1, "McNemar")


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        (
            SEEDS,
            "It helps: gen against oversample, the best arm without synthetic images: +1.3 points of cnn accuracy "
            "(95% interval +0.4 to +2.1, 5 seeds).",
        ),
        (
            replace(SEEDS, delta=-1.26, ci95=(-2.1, -0.4)),
            "It hurts: gen against oversample, the best arm without synthetic images: −1.3 points of cnn accuracy "
            "(95% interval −2.1 to −0.4, 5 seeds).",
        ),
        (
            replace(SEEDS, delta=0.9, ci95=(-0.3, 2.1)),
            "No evidence that it helps: gen against oversample, the best arm without synthetic images: "
            "+0.9 points of cnn accuracy (95% interval −0.3 to +2.1, 5 seeds).",
        ),
        (
            ONE,
            "It helped here: gen against oversample, the best arm without synthetic images: +1.3 points of cnn "
            "accuracy on one seed (McNemar p = 0.012). One subset cannot tell a method from luck: repeat with "
            "--seeds 5.",
        ),
        (
            replace(ONE, delta=-1.26),
            "It hurt here: gen against oversample, the best arm without synthetic images: −1.3 points of cnn "
            "accuracy on one seed (McNemar p = 0.012). One subset cannot tell a method from luck: repeat with "
            "--seeds 5.",
        ),
        (
            replace(ONE, p=0.3),
            "No evidence that it helps: gen against oversample, the best arm without synthetic images: +1.3 points "
            "of cnn accuracy on one seed (McNemar p = 0.3). One subset cannot tell a method from luck: repeat with "
            "--seeds 5.",
        ),
    ],
)
def test_the_verdict_in_each_case(comparison, expected):
    assert verdict(comparison) == expected


@pytest.mark.parametrize("bounds", [(0.0, 0.0), (0.0, 1.0), (-1.0, 0.0)])
def test_an_interval_that_touches_zero_is_no_evidence(bounds):
    assert verdict(replace(SEEDS, ci95=bounds)).startswith("No evidence that it helps:")


def test_a_difference_that_rounds_to_zero_has_no_sign():
    sentence = verdict(replace(SEEDS, delta=-0.02, ci95=(-0.04, 0.01)))
    assert "0.0 points" in sentence and "−0.0" not in sentence and "-0.0" not in sentence
