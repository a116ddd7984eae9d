"""Paired comparisons of arms: intervals, exact tests, Holm's correction, and how many seeds would be enough.

Arms of one seed share subset and test images, so differences are paired. Over seeds they are judged by the paired t
test, with the exact signed-rank and sign-flip tests beside it; these assume no bell shape, but with n seeds no p of
theirs is below 2 / 2^n, which is above 0.05 for 5 seeds or fewer. On a single seed only the test images can be
compared: McNemar's exact test.

Seeds that all differ by the same amount show no spread, and no honest interval follows from them: ``ci95`` is then
None, and p is McNemar's over the test images, or that of the sign flips where the test images are not given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from augment.errors import DataError

EXACT_UP_TO = 16
"""So many differences have their sign patterns tried one and all; of more, some patterns are drawn."""

DRAWN_PATTERNS = 2**14
"""P is then known to about 0.003 where it is near 0.05."""

MOST_SEEDS = 1000
"""More seeds than anyone would run; :func:`seeds_needed` gives up there."""

ROUNDING = 1e-12
"""A standard error below this is what rounding leaves of equal differences."""


@dataclass(frozen=True)
class Comparison:
    """Difference in accuracy, arm minus reference, in percentage points.

    ci95: bounds of the 95% interval over seeds, None with one seed or without spread between seeds.  p: two-sided, of
    ``test``.  n: seeds.  p_holm: p corrected for all arms of the classifier, None until :func:`corrected`.
    p_wilcoxon, p_permutation: exact two-sided p over seeds, None with one seed.  seeds_needed: seeds at which a
    difference like the observed one is found in 80% of cases; None where that cannot be told or is above 1000.
    deltas: the difference of each seed.
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
    seeds_needed: int | None = None
    deltas: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The row of ``result.json``: every field, with lists for tuples, so that it is equal when read again."""
        return {**asdict(self), "ci95": None if self.ci95 is None else list(self.ci95), "deltas": list(self.deltas)}


def mcnemar(first_correct: Sequence[bool], second_correct: Sequence[bool]) -> float:
    """Two-sided exact p of McNemar's test (1947): do two classifiers err equally often on the same images?"""
    from scipy.stats import binomtest

    only_first = sum(a and not b for a, b in zip(first_correct, second_correct, strict=True))
    only_second = sum(b and not a for a, b in zip(first_correct, second_correct, strict=True))
    disagreements = only_first + only_second
    return 1.0 if disagreements == 0 else float(binomtest(only_first, disagreements).pvalue)


def mcnemar_over_seeds(first_correct: Sequence[Sequence[bool]], second_correct: Sequence[Sequence[bool]]) -> float:
    """McNemar's exact p with one row of test images per seed; an image goes to whoever is right on it more often.

    Every image counts once however many seeds there are: classifiers of different seeds err on the same images, so
    adding up their counts would multiply the evidence. With one seed it is :func:`mcnemar`. Raises DataError for
    different numbers of seeds.
    """
    if len(first_correct) != len(second_correct):
        raise DataError(f"{len(first_correct)} seeds against {len(second_correct)}; pass the same seeds of both arms.")
    firsts, seconds = zip(*first_correct, strict=True), zip(*second_correct, strict=True)
    margins = [sum(a) - sum(b) for a, b in zip(firsts, seconds, strict=True)]
    return mcnemar([margin > 0 for margin in margins], [margin < 0 for margin in margins])


def paired_interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """``(low, high, p)``: 95% t interval of the mean of paired differences and the two-sided p of mean zero.

    Needs at least two differences. Equal differences give an interval of width zero, from which nothing follows: p is
    then that of the sign flips, 2 / 2^n (1 where all are 0). :func:`mean_with_interval` leaves such intervals out.
    """
    from scipy.special import stdtr, stdtrit  # the same as scipy.stats.t, without what that checks at each call

    mean = _mean(differences)
    if not _spread(differences):
        return mean, mean, permutation(differences)
    error, freedom = _standard_error(differences), len(differences) - 1
    half = float(stdtrit(freedom, 0.975)) * error
    return mean - half, mean + half, float(2 * stdtr(freedom, -abs(mean / error)))


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% t interval of the mean of at least two values."""
    low, high, _ = paired_interval(values)
    return low, high


def mean_with_interval(differences: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """The mean of paired differences and its 95% t interval; None for one difference, or where all are equal."""
    if not _spread(differences):
        return _mean(differences), None
    low, high, _ = paired_interval(differences)
    return _mean(differences), (low, high)


def permutation(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test (Fisher 1935): how often is a mean as far from 0 if signs are chance?

    Exact up to 16 differences; beyond, from 2^14 drawn sign patterns, the same at every call. No difference is p 1.
    """
    import numpy as np

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
    import numpy as np

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
    differences: Sequence[float], effect: float | None = None, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Fewest paired seeds with which a two-sided t test at level ``alpha`` finds a mean of ``effect``.

    effect: in the unit of the differences, its sign is ignored; None is their mean.  power: chance of finding it, above
    ``alpha``. The spread is that of the differences, known roughly where they are few: an order of size, no promise.
    None where they have no spread or are fewer than two, where the effect is 0, and above 1000.
    """
    if not _spread(differences):
        return None
    deviation = _standard_error(differences) * math.sqrt(len(differences))
    ratio = abs(_mean(differences) if effect is None else effect) / deviation
    low, high = 1, 2
    while _power(high, ratio, alpha) < power:
        if high == MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, ratio, alpha) >= power else (middle, high)
    return high


def _power(n: int, ratio: float, alpha: float) -> float:
    """Chance that a t test of n differences finds a mean of ``ratio`` deviations, with the right sign."""
    from scipy.special import nctdtr, stdtrit

    critical, noncentrality = float(stdtrit(n - 1, 1 - alpha / 2)), ratio * math.sqrt(n)
    missed = float(nctdtr(n - 1, noncentrality, critical))
    if not math.isnan(missed):
        return 1 - missed
    from scipy.stats import nct  # slow, but knows the few arguments that nctdtr does not

    return float(nct.sf(critical, n - 1, noncentrality))


def compare(
    classifier: str,
    arm: str,
    against: str,
    accuracies: Sequence[float],
    reference: Sequence[float],
    correct: Sequence[Sequence[bool]] | None = None,
    reference_correct: Sequence[Sequence[bool]] | None = None,
) -> Comparison:
    """Compare two arms by their accuracies in [0, 1], one per seed in the same order.

    ``correct`` and ``reference_correct`` say for each seed which test images each got right; with one seed they are
    needed, with more they are used where all seeds differ by the same amount. Raises DataError without them on one
    seed, ValueError for numbers of seeds that differ.
    """
    deltas = tuple(100 * (a - b) for a, b in zip(accuracies, reference, strict=True))
    n, several = len(deltas), len(deltas) > 1
    delta, interval = mean_with_interval(deltas)
    if interval is None:
        p, test = _without_spread(deltas, correct, reference_correct)
    else:
        p, test = paired_interval(deltas)[2], "paired t over seeds"
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
        seeds_needed=seeds_needed(deltas),
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
    correct: Sequence[Sequence[bool]] | None,
    reference_correct: Sequence[Sequence[bool]] | None,
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
