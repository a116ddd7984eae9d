"""Paired tests against SciPy, by hand and by brute force; Holm's correction; how many seeds are enough."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from augment.errors import DataError
from augment.evidence.power import fewest_seeds, images_needed, seeds_needed
from augment.evidence.statistics import (
    Comparison,
    Drawn,
    MeanError,
    compare,
    corrected,
    holm,
    image_variance,
    mcnemar,
    mcnemar_over_seeds,
    mean_overlap,
    mean_with_interval,
    paired_interval,
    permutation,
    signed,
    t_interval,
    wilcoxon,
)
from augment.storage.typed_json import from_json, to_json


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


@pytest.mark.parametrize(("n", "p"), [(2, 0.5), (3, 0.25), (5, 0.0625)])
def test_equal_differences_are_judged_by_their_signs_alone(n, p):
    assert paired_interval([0.5] * n) == (0.5, 0.5, p)
    assert mean_with_interval([0.5] * n) == (0.5, None)
    assert paired_interval([0.0] * n) == (0.0, 0.0, 1.0)


def test_differences_equal_but_for_rounding_have_no_interval():
    assert mean_with_interval([0.1 + 0.2, 0.3])[1] is None
    assert paired_interval([0.1 + 0.2, 0.3])[2] == 0.5
    assert mean_with_interval([0.3, 0.3001])[1] is not None


def test_the_mean_comes_with_the_t_interval():
    mean, interval = mean_with_interval([1.0, 3.0, 8.0])
    assert mean == 4.0 and interval == t_interval([1.0, 3.0, 8.0])
    assert mean_with_interval([1.0]) == (1.0, None)


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


def test_over_seeds_every_image_counts_once():
    a, b = correctness(20, 9, 1, 5)
    once = mcnemar(a, b)
    assert mcnemar_over_seeds([a], [b]) == once
    assert mcnemar_over_seeds([a, a, a], [b, b, b]) == once  # added up, p would be 9e-6


def test_over_seeds_an_image_goes_to_who_is_right_on_it_more_often():
    first = [[1, 1, 1, 0, 0, 1], [1, 0, 1, 0, 0, 1], [0, 0, 1, 1, 0, 1]]
    second = [[0, 0, 0, 1, 0, 1], [0, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 1]]
    # margins 2, 1, 3, -1, 0, 0: three images against one
    assert mcnemar_over_seeds(first, second) == pytest.approx(2 * (1 + 4) / 2**4)
    with pytest.raises(DataError, match="3 seeds against 2"):
        mcnemar_over_seeds(first, second[:2])


def by_brute_force(values):
    """Share of all sign patterns whose mean is as far from 0."""
    observed = abs(sum(values))
    patterns = list(itertools.product((-1, 1), repeat=len(values)))
    sums = [abs(sum(sign * value for sign, value in zip(pattern, values, strict=True))) for pattern in patterns]
    return sum(total >= observed - 1e-9 for total in sums) / len(patterns)


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.3, -0.1],
        [0.5, 0.1, -0.6, 0.3],
        [0.5, 0.5, -0.5],
        [0.1, 0.2, 0.3],
        [2, 1, -1, 0, 3, 3],
        [0.9, 0.4, -0.2, 1.1, 0.6],
    ],
)
def test_sign_flips_by_brute_force(values):
    assert permutation(values) == pytest.approx(by_brute_force(values))


@pytest.mark.parametrize("n", [4, 9, 12])
def test_sign_flips_are_those_of_scipy(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    expected = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert permutation(values.tolist()) == pytest.approx(expected.pvalue)


def test_many_differences_are_judged_from_drawn_patterns():
    values = np.random.default_rng(1).normal(0, 1, 40) + 0.3
    p = permutation(values.tolist())
    assert p == permutation(values.tolist())
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.005) and 0.005 < p < 0.1
    assert 0 < permutation([1.0 + step / 100 for step in range(40)]) < 1e-3  # never 0


@pytest.mark.parametrize("n", [2, 5, 9, 14])
def test_signed_ranks_are_those_of_scipy(n):
    values = np.random.default_rng(n).normal(0.4, 1, n).tolist()
    assert wilcoxon(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_tied_ranks_are_exact():
    values = [0.5, 0.5, -0.5, 1.0, 1.0, 2.0]
    assert wilcoxon(values) == pytest.approx(by_brute_force([2, 2, -2, 4.5, 4.5, 6]))


def test_differences_of_zero_have_no_rank():
    assert wilcoxon([0.0, 0.4, 0.0, -0.1, 0.7]) == wilcoxon([0.4, -0.1, 0.7])
    assert wilcoxon([0.0, 0.0]) == permutation([0.0, 0.0]) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04] and holm([]) == []


def test_holm_rejects_what_its_step_down_rule_rejects():
    rng = np.random.default_rng(0)
    for _ in range(50):
        ps = (rng.random(6) ** 3).tolist()
        order, rejected = np.argsort(ps), set()
        for rank, index in enumerate(order):
            if ps[index] > 0.05 / (6 - rank):
                break
            rejected.add(int(index))
        assert {index for index, p in enumerate(holm(ps)) if p <= 0.05} == rejected


def with_deviation(deviation, n=6):
    values = np.random.default_rng(1).normal(0, 1, n)
    return ((values - values.mean()) / values.std(ddof=1) * deviation).tolist()


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (0.8, 15), (1.0, 10), (2.0, 5)])
def test_fewest_seeds_are_those_of_the_power_tables(effect, seeds):
    # paired t test, two-sided 5%, power 80%: Cohen (1988), G*Power
    assert fewest_seeds(effect, 1.0, 0.0, power=0.8, alpha=0.05) == seeds
    assert fewest_seeds(3 * effect, 3.0, 0.0, power=0.8, alpha=0.05) == seeds


def test_so_many_seeds_find_the_effect_in_four_of_five_cases_and_one_less_does_not():
    n = fewest_seeds(1.2, 1.0, 0.0, power=0.8, alpha=0.05)
    rng = np.random.default_rng(0)

    def found(n):
        return (stats.ttest_1samp(rng.normal(1.2, 1, (40_000, n)), 0, axis=1).pvalue < 0.05).mean()

    assert found(n) > 0.795 and found(n - 1) < 0.795


def test_seeds_needed_are_a_range_by_what_is_known_of_the_deviation():
    values = [1.0 + value for value in with_deviation(1.0)]
    n = len(values)
    low, high = (((n - 1) / stats.chi2.ppf(chance, n - 1)) ** 0.5 for chance in (0.9, 0.1))
    how = {"power": 0.8, "alpha": 0.05}
    assert seeds_needed(values) == (fewest_seeds(1.0, low, 0.0, **how), fewest_seeds(1.0, high, 0.0, **how))
    assert seeds_needed(values)[0] < 10 < seeds_needed(values)[1]
    assert seeds_needed(values, power=0.95)[0] > seeds_needed(values)[0]
    assert seeds_needed(values, alpha=0.05 / 3)[1] > seeds_needed(values)[1]


def test_seeds_needed_cannot_always_be_told():
    assert seeds_needed([0.5, 0.5, 0.5, 0.5]) is None  # no spread
    assert seeds_needed([0.5, 0.4, 0.9]) is None  # hardly any spread is known
    assert seeds_needed([-1.0, 1.0, 1.0, -1.0]) is None  # a difference of 0 is never found
    assert seeds_needed(with_deviation(1.0), 0.05) is None  # above 1000
    assert seeds_needed(with_deviation(1.0), 1e6) == (2, 2)


def test_seeds_do_not_help_where_the_test_images_are_too_few():
    values = [1.0 + value for value in with_deviation(1.0)]
    few = 0.5**2  # a standard error of half a point from the test images alone
    assert seeds_needed(values, image_variance=few) is None
    needed = images_needed(1.0, few, 400)
    assert 700 < needed < 800  # (1.96 + 0.84)² = 7.85 variances
    assert seeds_needed(values, image_variance=few * 400 / (1.1 * needed)) is not None


# the test images are a sample


def correct_answers(seeds, images, habit, rng):
    """Two arms of one true accuracy; ``habit`` is the deviation of what each does with an image whatever the seed."""
    own = habit * rng.standard_normal((2, 1, images))
    return own + rng.standard_normal((2, seeds, images)) < (1 + habit**2) ** 0.5


def test_the_variance_of_the_test_images_by_hand():
    # two seeds, four images: differences (1, 0, 0, -1) and (1, 1, -1, -1), both of mean 0; covariance 2 / 3
    ours, theirs = [[1, 0, 0, 0], [1, 1, 0, 0]], [[0, 0, 0, 1], [0, 0, 1, 1]]
    assert image_variance(ours, theirs) == pytest.approx(100**2 * (2 / 3) / 4)
    assert image_variance(ours[:1], theirs[:1]) == 0
    assert image_variance([[1, 0], [0, 1]], [[0, 0], [0, 0]]) == 0  # a negative estimate


@pytest.mark.parametrize("habit", [0.0, 1.0])
def test_the_standard_error_is_how_far_means_really_vary(habit):
    rng = np.random.default_rng(0)
    deltas, squares = [], []
    for _ in range(800):
        ours, theirs = correct_answers(4, 200, habit, rng)
        found = compare("cnn", "a", "b", ours.mean(1), theirs.mean(1), ours, theirs)
        deltas.append(found.delta)
        squares.append(found.standard_error**2)
    # 0.94 to 1.11 over eight seeds; 0.38 to 0.44 without the variance of the test images, for the larger habit
    assert 0.8 < np.mean(squares) / np.var(deltas) < 1.25


def test_the_interval_is_wider_by_the_test_images_and_as_before_without():
    rng = np.random.default_rng(1)
    ours, theirs = correct_answers(5, 300, 1.0, rng)
    found = compare("cnn", "a", "b", ours.mean(1), theirs.mean(1), ours, theirs)
    alone = compare("cnn", "a", "b", ours.mean(1), theirs.mean(1))
    other = compare("cnn", "a", "b", ours.mean(1), theirs.mean(1), ours, theirs, drawn=Drawn(same_images=False))
    assert alone.ci95 == other.ci95 == pytest.approx(paired_interval(alone.deltas)[:2])
    assert found.test_images == 300 and alone.test_images == other.test_images == 0
    assert found.standard_error**2 == pytest.approx(alone.standard_error**2 + found.image_variance)
    assert found.freedom == alone.freedom == 4
    assert found.interval(0.025, 0.025) == pytest.approx(found.ci95)
    corrected_below = found.interval(0.001, 0.025)
    assert corrected_below[0] < found.ci95[0] and corrected_below[1] == pytest.approx(found.ci95[1])


@pytest.mark.parametrize("chance", [0.2, 0.025, 1e-4])
def test_bounds_are_students_by_seeds_alone_and_normal_by_images_alone(chance):
    assert MeanError(4.0, 0.0, 3).half_width(chance) == pytest.approx(2 * stats.t.isf(chance, 3))
    assert MeanError(0.0, 4.0, 3).half_width(chance) == pytest.approx(2 * stats.norm.isf(chance))
    both = MeanError(4.0, 9.0, 3).half_width(chance)
    assert both**2 == pytest.approx((2 * stats.t.isf(chance, 3)) ** 2 + (3 * stats.norm.isf(chance)) ** 2)


@pytest.mark.parametrize("mean", [0.1, -2.0, 30.0])
@pytest.mark.parametrize("images", [0.0, 1e-6, 0.5, 20.0])
def test_the_p_is_the_level_whose_interval_ends_at_zero(mean, images):
    error = MeanError(0.8, images, 4)
    p = error.p(mean)
    assert error.half_width(p / 2) == pytest.approx(abs(mean), rel=1e-9)
    assert MeanError(0.8, 0.0, 4).p(mean) <= p and error.p(0.0) == 1.0


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("images", [0.2, 1.0, 5.0])
def test_intervals_hold_the_truth_as_often_as_they_promise_and_little_more(seeds, images):
    """In 20,000 draws; the seeds' part of the variance is 1, the images' ``images``."""
    rng = np.random.default_rng(0)
    spread = rng.chisquare(seeds - 1, 20_000) / (seeds - 1)
    found = np.sqrt(1 + images) * rng.standard_normal(20_000)
    holds = np.abs(found) < [MeanError(part, images, seeds - 1).half_width(0.025) for part in spread]
    assert 0.945 < holds.mean() < 0.98


def test_seeds_with_test_images_of_their_own_are_judged_by_the_corrected_resampled_t():
    """Nadeau and Bengio (2003), by hand: half of the images for testing, five splits."""
    ours, theirs = [0.86, 0.90, 0.81, 0.88, 0.84], [0.85, 0.88, 0.80, 0.85, 0.84]
    deltas = 100 * (np.array(ours) - theirs)
    found = compare("cnn", "a", "b", ours, theirs, drawn=Drawn(same_images=False, test_share=1.0, overlap=0.5))
    error = np.sqrt((1 / 5 + 1.0) * deltas.var(ddof=1))
    assert found.standard_error == pytest.approx(error) and found.freedom == 4
    assert found.p == pytest.approx(2 * stats.t.sf(deltas.mean() / error, 4))
    assert found.ci95 == pytest.approx(stats.t.interval(0.95, 4, deltas.mean(), error))
    assert found.test == "corrected resampled t over seeds" and found.overlap == 0.5
    assert (found.p_wilcoxon, found.p_permutation) == (None, None)  # these would take the splits for independent


def test_what_two_seeds_share_is_the_mean_over_all_pairs():
    assert mean_overlap([{1, 2, 3, 4}, {3, 4, 5, 6}, {1, 2, 3, 7}]) == pytest.approx((2 + 3 + 1) / 12)
    assert mean_overlap([{1, 2}]) is None


def test_shares_of_trainings_count_like_images_of_one():
    first = np.array([[1, 0, 1, 1], [0, 1, 1, 0]], float)
    second, other = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], float), np.zeros((2, 4))
    both = image_variance((first + second) / 2, other)
    assert image_variance(first, other) == pytest.approx(image_variance(first.astype(bool), other.astype(bool)))
    assert both == pytest.approx(_covariance_of_means((first + second) / 2))


def _covariance_of_means(margins):
    return max(0.0, np.cov(margins)[0, 1]) * 100**2 / margins.shape[1]


def test_comparison_over_seeds_is_in_points_and_paired():
    ours, reference = [0.86, 0.90, 0.81], [0.85, 0.88, 0.80]
    found = compare("cnn", "gen", "oversample", ours, reference)
    assert (found.classifier, found.arm, found.against) == ("cnn", "gen", "oversample")
    assert found.delta == pytest.approx(4 / 3)
    assert found.p == pytest.approx(stats.ttest_rel(ours, reference).pvalue)
    assert found.ci95[0] < found.delta < found.ci95[1]
    assert (found.n, found.test) == (3, "paired t over seeds")
    assert found.deltas == pytest.approx((1.0, 2.0, 1.0))
    assert (found.p_wilcoxon, found.p_permutation, found.p_holm) == (0.25, 0.25, None)


def test_comparison_on_one_seed_is_mcnemars():
    a, b = correctness(80, 9, 1, 10)
    found = compare("cnn", "gen", "real", [0.89], [0.81], [a], [b])
    assert found.delta == pytest.approx(8.0)
    assert (found.ci95, found.n, found.test) == (None, 1, "McNemar")
    assert found.p == pytest.approx(2 * (1 + 10) / 2**10)
    assert (found.p_wilcoxon, found.p_permutation, found.standard_error) == (None, None, None)


def test_one_seed_needs_the_test_images():
    with pytest.raises(DataError, match="correctness of each test image"):
        compare("cnn", "gen", "real", [0.89], [0.81])


def test_arms_with_different_numbers_of_seeds_cannot_be_paired():
    with pytest.raises(ValueError, match="shorter"):
        compare("cnn", "gen", "real", [0.89, 0.9], [0.81])


def test_equal_differences_over_seeds_fall_back_on_the_test_images():
    a, b = correctness(80, 9, 1, 10)
    found = compare("cnn", "gen", "real", [0.89, 0.9], [0.81, 0.82], [a, a], [b, b])
    assert found.delta == pytest.approx(8.0)
    assert (found.ci95, found.n, found.test, found.standard_error) == (None, 2, "McNemar over seeds", None)
    assert found.p == pytest.approx(mcnemar(a, b))


def test_equal_differences_without_the_test_images_decide_nothing():
    found = compare("cnn", "gen", "real", [0.89, 0.9, 0.5], [0.81, 0.82, 0.42])
    assert (found.ci95, found.p, found.test) == (None, 0.25, "sign flips over seeds")
    same = compare("cnn", "gen", "real", [0.8, 0.9], [0.8, 0.9])
    assert (same.delta, same.ci95, same.p) == (0.0, None, 1.0)


def test_a_comparison_is_equal_when_read_again():
    found = compare("cnn", "gen", "real", [0.86, 0.9], [0.85, 0.8])
    assert from_json(Comparison, json.loads(json.dumps(to_json(found))), "result.json") == found
    assert to_json(found)["ci95"] == list(found.ci95)


def test_p_is_corrected_within_each_classifier():
    rows = [
        Comparison(classifier, "arm", "real", 1.0, (0.1, 1.9), p, 5, "paired t over seeds")
        for classifier, p in [("cnn", 0.01), ("cart-pca", 0.02), ("cnn", 0.04), ("cnn", 0.03)]
    ]
    found = corrected(rows)
    assert [row.p_holm for row in found] == pytest.approx([0.03, 0.02, 0.06, 0.06])
    assert [row.p for row in found] == [row.p for row in rows] and rows[0].p_holm is None


@pytest.mark.parametrize(
    ("points", "text"), [(1.26, "+1.3"), (-0.25, "−0.2"), (-0.04, "0.0"), (0.0, "0.0"), (0.05, "+0.1"), (12, "+12.0")]
)
def test_points_have_a_sign_unless_they_round_to_zero(points, text):
    assert signed(points) == text


def test_where_seeds_have_their_own_test_images_more_of_them_lessen_only_a_part():
    """The corrected test's power over simulated seeds, whose differences are as correlated as it takes them to be."""
    deltas = [1.0, 3.0, 2.0, 4.0, 0.5, 2.5]
    ours, theirs = [0.8 + delta / 100 for delta in deltas], [0.8] * len(deltas)
    own = compare("cnn", "a", "b", ours, theirs, drawn=Drawn(same_images=False, test_share=0.25))
    assert own.test_share == pytest.approx(0.25) and compare("cnn", "a", "b", ours, theirs).test_share == 0
    assert fewest_seeds(1.0, 2.0, 0.0, power=0.8, alpha=0.05) == 34
    assert fewest_seeds(1.0, 2.0, 0.0, 0.25, power=0.8, alpha=0.05) is None  # its error never falls below 1 point
    wanted = fewest_seeds(3.0, 2.0, 0.0, 0.25, power=0.8, alpha=0.05)
    rng, share = np.random.default_rng(0), 0.25
    common = rng.normal(0, 2.0 * math.sqrt(share), (20_000, 1))
    seeds = 3.0 + common + rng.normal(0, 2.0, (20_000, wanted))
    t = seeds.mean(1) / (seeds.std(1, ddof=1) * np.sqrt(1 / wanted + share))
    assert abs(float(np.mean(t > stats.t.ppf(0.975, wanted - 1))) - 0.8) < 0.08
