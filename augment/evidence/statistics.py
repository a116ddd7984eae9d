"""Paired comparisons of arms: intervals, exact tests, Holm's correction, and how many seeds would be enough.

Arms of one seed share subset and test images, so differences are paired. Over seeds they are judged by the paired t
test, with the exact signed-rank and sign-flip tests beside it; these assume no bell shape, but with n seeds no p of
theirs is below 2 / 2^n, which is above 0.05 for 5 seeds or fewer. On a single seed only the test images can be
compared: McNemar's exact test.

Where all seeds are scored on the same test images, what these have in common from seed to seed does not show in the
spread over seeds: the test images are a sample, too. Its variance, :func:`image_variance`, is added to the mean's.

Seeds that all differ by the same amount show no spread, and no honest interval follows from them: ``ci95`` is then
None, and p is McNemar's over the test images, or that of the sign flips where the test images are not given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.errors import DataError

EXACT_UP_TO = 16
"""So many differences have their sign patterns tried one and all; of more, some patterns are drawn."""

DRAWN_PATTERNS = 2**14
"""P is then known to about 0.003 where it is near 0.05."""

FEWEST_FOR_SEEDS = 4
"""Of fewer differences the deviation is known to a factor of four, and the seeds needed to one of sixteen."""

MOST_SEEDS = 1000
"""More seeds than anyone would run; :func:`seeds_needed` gives up there."""

ROUNDING = 1e-12
"""A standard error below this is what rounding leaves of equal differences."""


@dataclass(frozen=True)
class Comparison:
    """Difference in accuracy, arm minus reference, in percentage points.

    ci95: bounds of the 95% interval over seeds, None with one seed or without spread between seeds.  p: two-sided, of
    ``test``.  n: seeds.  p_holm: p corrected for all arms of the classifier, None until :func:`corrected`.
    p_wilcoxon, p_permutation: exact two-sided p over seeds, None with one seed; they know nothing of the test images'
    being a sample.  standard_error: of ``delta``, and its degrees of freedom, None as the interval.  image_variance:
    the part of its square that the test images have, 0 where that is not known.  test_images: their number, 0 where
    that is not known.  deltas: the difference of each seed.
    """

    classifier: str
    arm: str
    against: str
    delta: float
    ci95: tuple[float, float] | None
    p: float
    n: int
    test: str
    p_holm: float | None = None
    p_wilcoxon: float | None = None
    p_permutation: float | None = None
    standard_error: float | None = None
    freedom: float | None = None
    image_variance: float = 0.0
    test_images: int = 0
    deltas: tuple[float, ...] = ()

    def interval(self, below: float, above: float) -> tuple[float, float] | None:
        """Bounds that miss the true difference with these chances, where it lies below and above; None as ``ci95``."""
        from scipy.special import stdtrit

        if self.standard_error is None or self.freedom is None:
            return None
        low, high = (float(stdtrit(self.freedom, 1 - chance)) * self.standard_error for chance in (below, above))
        return self.delta - low, self.delta + high

    def to_json(self) -> dict[str, Any]:
        """The row of ``result.json``: every field, with lists for tuples, so that it is equal when read again."""
        return {**asdict(self), "ci95": None if self.ci95 is None else list(self.ci95), "deltas": list(self.deltas)}


Correct = Sequence[Sequence[bool]] | NDArray[np.bool_]
"""On which test images a classifier is right, ``(J, n)``: one row per seed."""


def mcnemar(first_correct: Sequence[bool], second_correct: Sequence[bool]) -> float:
    """Two-sided exact p of McNemar's test (1947): do two classifiers err equally often on the same images?"""
    from scipy.stats import binomtest

    first, second = np.asarray(first_correct, bool), np.asarray(second_correct, bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    disagreements = only_first + only_second
    return 1.0 if disagreements == 0 else float(binomtest(only_first, disagreements).pvalue)


def mcnemar_over_seeds(first_correct: Correct, second_correct: Correct) -> float:
    """McNemar's exact p with one row of test images per seed; an image goes to whoever is right on it more often.

    Every image counts once however many seeds there are: classifiers of different seeds err on the same images, so
    adding up their counts would multiply the evidence. With one seed it is :func:`mcnemar`. Raises DataError for
    different numbers of seeds.
    """
    margins = _margins(first_correct, second_correct).sum(0)
    return mcnemar(margins > 0, margins < 0)


def _margins(first_correct: Correct, second_correct: Correct) -> NDArray[np.int64]:
    """1 where only the first is right, -1 where only the second is, ``(J, n)``."""
    first, second = (np.asarray(rows, dtype=np.int64) for rows in (first_correct, second_correct))
    if len(first) != len(second):
        raise DataError(f"{len(first)} seeds against {len(second)}; pass the same seeds of both arms.")
    difference: NDArray[np.int64] = first - second
    return difference


def image_variance(first_correct: Correct, second_correct: Correct) -> float:
    """Squared standard error, in points², that a mean over seeds has because the test images are a sample.

    It is the mean covariance, over test images, of the differences of two seeds: what an image does to both is there
    again however many seeds are added. An estimate below 0 counts as 0, as does that of a single seed.
    """
    margins = _margins(first_correct, second_correct).astype(float)
    seeds, images = margins.shape
    if seeds < 2 or images < 2:
        return 0.0
    centred = margins - margins.mean(1, keepdims=True)
    of_sum, of_each = (centred.sum(0) ** 2).sum(), (centred**2).sum()
    covariance = (of_sum - of_each) / (seeds * (seeds - 1) * (images - 1))
    return float(100**2 * max(0.0, covariance) / images)


def paired_interval(differences: Sequence[float], image_variance: float = 0.0) -> tuple[float, float, float]:
    """``(low, high, p)``: 95% t interval of the mean of paired differences and the two-sided p of mean zero.

    image_variance: what is added to the squared standard error.
    Needs at least two differences. Equal differences give an interval of width zero, from which nothing follows: p is
    then that of the sign flips, 2 / 2^n (1 where all are 0). :func:`mean_with_interval` leaves such intervals out.
    """
    from scipy.special import stdtr, stdtrit  # the same as scipy.stats.t, without what that checks at each call

    mean = _mean(differences)
    if not _spread(differences):
        return mean, mean, permutation(differences)
    error, freedom = error_of_mean(differences, image_variance)
    half = float(stdtrit(freedom, 0.975)) * error
    return mean - half, mean + half, float(2 * stdtr(freedom, -abs(mean / error)))


def error_of_mean(differences: Sequence[float], image_variance: float = 0.0) -> tuple[float, float]:
    """Standard error of the mean of differences that are not all equal, and its degrees of freedom.

    One less than there are differences, whatever part the test images have. Satterthwaite's approximation gives more
    where the differences' own spread is small, which with few seeds it often is by chance alone; the errors of the
    verdict then exceed its level.
    """
    return math.sqrt(_standard_error(differences) ** 2 + image_variance), float(len(differences) - 1)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% t interval of the mean of at least two values."""
    low, high, _ = paired_interval(values)
    return low, high


def mean_with_interval(
    differences: Sequence[float], image_variance: float = 0.0
) -> tuple[float, tuple[float, float] | None]:
    """The mean of paired differences and its 95% t interval; None for one difference, or where all are equal."""
    if not _spread(differences):
        return _mean(differences), None
    low, high, _ = paired_interval(differences, image_variance)
    return _mean(differences), (low, high)


def permutation(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test (Fisher 1935): how often is a mean as far from 0 if signs are chance?

    Exact up to 16 differences; beyond, from 2^14 drawn sign patterns, the same at every call. No difference is p 1.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n <= EXACT_UP_TO:
        # flipping all signs changes no absolute value: the first sign can stay
        bits = np.arange(2 ** max(n - 1, 0))[:, None] >> np.arange(n) & 1
        drawn = 0
    else:
        bits = np.random.default_rng(0).integers(0, 2, size=(DRAWN_PATTERNS, n))
        drawn = 1  # the observed pattern is one of those possible (Phipson and Smyth 2010, arXiv:1603.05766)
    sums = np.abs((1 - 2 * bits) @ values)
    extreme = int((sums >= abs(values.sum()) - 1e-9 * np.abs(values).sum()).sum())
    return (extreme + drawn) / (len(sums) + drawn)


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945), exact also with ties; differences of 0 are left out.

    It is the sign-flip test on signed ranks, so exact up to 16 differences; see :func:`permutation`.
    """
    kept = [value for value in differences if value != 0]
    _, place, ties = np.unique(np.abs(kept), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]  # of equal ones, the mean of their ranks
    return permutation([math.copysign(rank, value) for rank, value in zip(ranks, kept, strict=True)])


def holm(ps: Sequence[float]) -> list[float]:
    """P values corrected for testing several (Holm 1979), in the order given: at 0.05, one false alarm in 20 sets."""
    adjusted, so_far = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        so_far = max(so_far, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = so_far
    return adjusted


def seeds_needed(
    differences: Sequence[float],
    effect: float | None = None,
    *,
    image_variance: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> tuple[int, int] | None:
    """Paired seeds with which a two-sided t test at level ``alpha`` finds a mean of ``effect``: at least and at most.

    effect: in the unit of the differences, its sign is ignored; None is their mean.  image_variance: as in
    :func:`paired_interval`; more seeds do not lessen it.  power: chance of finding it, above ``alpha``. The range holds
    the spread's own uncertainty: that of a deviation at the ends of its 80% interval (chi-square).

    None below four differences, where that range says nothing; where they have no spread, where the effect is 0, and
    where its upper end is above 1000 or out of reach of any number of seeds.
    """
    if len(differences) < FEWEST_FOR_SEEDS or not _spread(differences):
        return None
    size = abs(_mean(differences) if effect is None else effect)
    how = {"power": power, "alpha": alpha}
    low, high = (fewest_seeds(size, deviation, image_variance, **how) for deviation in _deviations(differences))
    return None if low is None or high is None else (low, high)


def images_needed(effect: float, image_variance: float, images: int, power: float = 0.8, alpha: float = 0.05) -> int:
    """Test images with which ``effect`` would be found by very many seeds; to two digits."""
    from scipy.special import ndtri

    needed = images * image_variance * (float(ndtri(1 - alpha / 2)) + float(ndtri(power))) ** 2 / effect**2
    digits = max(0, len(str(int(needed))) - 2)
    return int(math.ceil(needed / 10**digits) * 10**digits)


def _deviations(differences: Sequence[float]) -> tuple[float, float]:
    """Ends of the 80% interval of their standard deviation."""
    from scipy.special import chdtri

    freedom = len(differences) - 1
    squares = freedom * len(differences) * _standard_error(differences) ** 2
    low, high = (math.sqrt(squares / float(chdtri(freedom, chance))) for chance in (0.1, 0.9))
    return low, high


def fewest_seeds(effect: float, deviation: float, image_variance: float, *, power: float, alpha: float) -> int | None:
    """Fewest paired seeds (at least 2) that find ``effect`` where the deviation is known; None above 1000.

    image_variance: as in :func:`paired_interval`.  power: chance of finding it, above ``alpha``.
    """

    def enough(n: int) -> bool:
        return _power(n, effect, deviation, image_variance, alpha) >= power

    low, high = 1, 2
    while not enough(high):
        if high == MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _power(n: int, effect: float, deviation: float, image_variance: float, alpha: float) -> float:
    """Chance that a t test of n differences finds a mean of ``effect``, with the right sign."""
    from scipy.special import nctdtr, stdtrit

    freedom, noncentrality = n - 1, effect / math.sqrt(deviation**2 / n + image_variance)
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    missed = float(nctdtr(freedom, noncentrality, critical))
    if not math.isnan(missed):
        return 1 - missed
    from scipy.stats import nct  # slow, but knows the few arguments that nctdtr does not

    return float(nct.sf(critical, freedom, noncentrality))


def compare(
    classifier: str,
    arm: str,
    against: str,
    accuracies: Sequence[float],
    reference: Sequence[float],
    correct: Correct | None = None,
    reference_correct: Correct | None = None,
    *,
    same_images: bool = True,
) -> Comparison:
    """Compare two arms by their accuracies in [0, 1], one per seed in the same order.

    ``correct`` and ``reference_correct`` say for each seed which test images each got right; with one seed they are
    needed, with more they tell what the test images' being a sample adds, and are used where all seeds differ by the
    same amount.  same_images: are all seeds scored on the same images? Raises DataError without them on one seed,
    ValueError for numbers of seeds that differ.
    """
    deltas = tuple(100 * (a - b) for a, b in zip(accuracies, reference, strict=True))
    n, several = len(deltas), len(deltas) > 1
    extra, images = 0.0, 0
    if several and same_images and correct is not None and reference_correct is not None:
        extra, images = image_variance(correct, reference_correct), len(correct[0])
    delta, interval = mean_with_interval(deltas, extra)
    error, freedom = (None, None) if interval is None else error_of_mean(deltas, extra)
    if interval is None:
        p, test = _without_spread(deltas, correct, reference_correct)
    else:
        p, test = paired_interval(deltas, extra)[2], "paired t over seeds"
    return Comparison(
        classifier,
        arm,
        against,
        delta=delta,
        ci95=interval,
        p=p,
        n=n,
        test=test,
        p_wilcoxon=wilcoxon(deltas) if several else None,
        p_permutation=permutation(deltas) if several else None,
        standard_error=error,
        freedom=freedom,
        image_variance=extra,
        test_images=images,
        deltas=deltas,
    )


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons in the order given, each with ``p_holm`` over all of its classifier."""
    found = list(comparisons)
    for classifier in {comparison.classifier for comparison in comparisons}:
        rows = [row for row, comparison in enumerate(comparisons) if comparison.classifier == classifier]
        for row, p in zip(rows, holm([comparisons[row].p for row in rows]), strict=True):
            found[row] = replace(comparisons[row], p_holm=p)
    return found


def signed(points: float) -> str:
    """One decimal and a sign; what rounds to zero has none."""
    text = f"{abs(points):.1f}"
    return text if float(text) == 0 else f"{'+' if points > 0 else '−'}{text}"


def _without_spread(
    deltas: Sequence[float],
    correct: Correct | None,
    reference_correct: Correct | None,
) -> tuple[float, str]:
    """P and the name of the test where there is one seed, or equal differences."""
    if correct is not None and reference_correct is not None:
        p = mcnemar_over_seeds(correct, reference_correct)
        return p, "McNemar" if len(deltas) == 1 else "McNemar over seeds"
    if len(deltas) == 1:
        raise DataError("One seed is compared by the correctness of each test image; pass it for both arms.")
    return permutation(deltas), "sign flips over seeds"


def _spread(values: Sequence[float]) -> bool:
    """Do they differ from each other, so that their spread can be judged?"""
    return len(values) > 1 and _standard_error(values) >= ROUNDING


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _standard_error(values: Sequence[float]) -> float:
    """Of the mean of at least two values."""
    mean, n = _mean(values), len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
