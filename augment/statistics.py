"""Paired comparisons of arms and the verdict: one sentence a person can act on.

Arms of one seed share subset and test images, so differences are paired: over seeds by a t interval, and on a single
seed by McNemar's exact test on the test images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Difference in accuracy, arm minus reference, in percentage points.

    ci95: bounds of the 95% interval over seeds, None with one seed.  p: two-sided, of the paired t test over
    seeds, or of McNemar's test over test images with one seed.  n: seeds.
    """

    classifier: str
    arm: str
    against: str
    delta: float
    ci95: tuple[float, float] | None
    p: float
    n: int
    test: str


def mcnemar(first_correct: Sequence[bool], second_correct: Sequence[bool]) -> float:
    """Two-sided exact p of McNemar's test (1947): do two classifiers err equally often on the same images?"""
    from scipy.stats import binomtest

    only_first = sum(a and not b for a, b in zip(first_correct, second_correct, strict=True))
    only_second = sum(b and not a for a, b in zip(first_correct, second_correct, strict=True))
    disagreements = only_first + only_second
    return 1.0 if disagreements == 0 else float(binomtest(only_first, disagreements).pvalue)


def paired_interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """``(low, high, p)``: 95% t interval of the mean of paired differences and the two-sided p of mean zero.

    Needs at least two differences. Equal differences give an interval of width zero and p 0 (or 1 where all are 0).
    """
    from scipy.stats import t

    n = len(differences)
    mean = math.fsum(differences) / n
    variance = math.fsum((value - mean) ** 2 for value in differences) / (n - 1)
    error = math.sqrt(variance / n)
    if error < 1e-12:
        return mean, mean, 1.0 if mean == 0 else 0.0
    half = float(t.ppf(0.975, n - 1)) * error
    return mean - half, mean + half, float(2 * t.sf(abs(mean / error), n - 1))


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% t interval of the mean of at least two values."""
    low, high, _ = paired_interval(values)
    return low, high


def compare(
    classifier: str,
    arm: str,
    against: str,
    accuracies: Sequence[float],
    reference: Sequence[float],
    correct: Sequence[bool] | None = None,
    reference_correct: Sequence[bool] | None = None,
) -> Comparison:
    """Compare two arms by their accuracies in [0, 1], one per seed in the same order.

    ``correct`` and ``reference_correct`` say which test images each got right; they are needed with one seed.
    """
    differences = [100 * (a - b) for a, b in zip(accuracies, reference, strict=True)]
    delta = math.fsum(differences) / len(differences)
    if len(differences) > 1:
        low, high, p = paired_interval(differences)
        return Comparison(classifier, arm, against, delta, (low, high), p, len(differences), "paired t over seeds")
    if correct is None or reference_correct is None:
        raise ValueError("With one seed the correctness of each test image is needed.")
    return Comparison(classifier, arm, against, delta, None, mcnemar(correct, reference_correct), 1, "McNemar")


def verdict(comparison: Comparison) -> str:
    """One sentence: does the arm help against the best arm without synthetic images, and how sure is that?"""
    change = f"{signed(comparison.delta)} points of {comparison.classifier} accuracy"
    against = f"{comparison.arm} against {comparison.against}, the best arm without synthetic images"
    if comparison.ci95 is None:
        return (
            f"{_single_seed_word(comparison)}: {against}: {change} on one seed "
            f"(McNemar p = {comparison.p:.2g}). One subset cannot tell a method from luck: repeat with --seeds 5."
        )
    low, high = comparison.ci95
    word = "It helps" if low > 0 else "It hurts" if high < 0 else "No evidence that it helps"
    return f"{word}: {against}: {change} (95% interval {signed(low)} to {signed(high)}, {comparison.n} seeds)."


def signed(points: float) -> str:
    """One decimal and a sign; what rounds to zero has none."""
    text = f"{abs(points):.1f}"
    return text if float(text) == 0 else f"{'+' if points > 0 else '−'}{text}"


def _single_seed_word(comparison: Comparison) -> str:
    if comparison.p >= 0.05:
        return "No evidence that it helps"
    return "It helped here" if comparison.delta > 0 else "It hurt here"
