"""Where the spread between seeds comes from: the subset drawn, the generator trained on it, or the classifier.

An accuracy is taken as a mean plus one independent random effect of each seed. Draws in which only some seeds change
tell the effects apart by the method of moments (Bouthillier et al. 2021, arXiv:2103.03098, study the same sources):

    all redrawn                 variance of subset + generator + classifier
    subset fixed                variance of          generator + classifier
    subset and generator fixed  variance of                      classifier
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from augment.errors import DataError

WORDS = {
    "subset": "the subset",
    "subset_and_generator": "the subset with its generator",
    "generator": "the generator's seed",
    "classifier": "the classifier's seed",
}
"""How parts are called in a sentence."""

ROUNDING = 1e-12
"""Squared points; a variance that far below 0 is a rounded 0."""


@dataclass(frozen=True)
class Draws:
    """How many accuracies there are of each kind; see :func:`spread`."""

    together: int
    same_data: int
    same_subset: int


@dataclass(frozen=True)
class Spread:
    """Standard deviations of an arm's accuracy in percentage points, by the seed that causes them.

    total: all seeds redrawn.  classifier, generator, subset: that seed alone; None where it was not told apart or the
    arm has no generator.  subset_and_generator: both together where they were not told apart, None otherwise. The
    squares of the parts add up to that of ``total``, unless one is in ``below_zero``: parts whose variance was
    estimated below 0, a sign of few draws. They are given as 0.

    n: draws. They should be many: a deviation of 5 draws lies with 95% confidence between 0.6 and 2.9 times the one
    found, of 3 draws between 0.5 and 6.3 times.
    """

    total: float
    classifier: float
    generator: float | None
    subset: float | None
    subset_and_generator: float | None
    below_zero: tuple[str, ...]
    n: Draws

    def text(self) -> str:
        """One sentence for a person."""
        deviations = {name: getattr(self, name) for name in WORDS}
        parts = [
            f"{WORDS[name]} by {'too little to measure' if name in self.below_zero else f'±{deviation:.1f}'}"
            for name, deviation in deviations.items()
            if deviation is not None
        ]
        draws = [str(n) for n in (self.n.together, self.n.same_subset, self.n.same_data) if n]
        return (
            f"With all seeds redrawn accuracy varies by ±{self.total:.1f} points (standard deviation); alone, "
            f"{_listed(parts)} ({_listed(draws)} draws)."
        )


def spread(
    together: Sequence[float],
    same_data: Sequence[float],
    same_subset: Sequence[float] | None = None,
    *,
    generator: bool = True,
) -> Spread:
    """Split the variance of accuracies in [0, 1] (or of paired differences of them) by the seed that causes it.

    together: subset, generator and classifier redrawn for each.  same_data: one subset and one generator, the
    classifier redrawn.  same_subset: one subset, generator and classifier redrawn; None where that was not measured.
    generator: False for an arm without one.

    Raises DataError for fewer than two draws of a kind, and for ``same_subset`` without a generator.
    """
    if same_subset is not None and not generator:
        raise DataError("An arm without a generator has no draws of it; leave same_subset out.")
    below_zero: list[str] = []

    def part(name: str, more: float, less: float) -> float:
        if more - less < -ROUNDING:
            below_zero.append(name)
        return math.sqrt(max(0.0, more - less))

    total, of_classifier = _variance("together", together), _variance("same_data", same_data)
    of_both = of_classifier if same_subset is None else _variance("same_subset", same_subset)
    told_apart = same_subset is not None or not generator
    return Spread(
        total=math.sqrt(total),
        classifier=math.sqrt(of_classifier),
        generator=None if same_subset is None else part("generator", of_both, of_classifier),
        subset=part("subset", total, of_both) if told_apart else None,
        subset_and_generator=None if told_apart else part("subset_and_generator", total, of_classifier),
        below_zero=tuple(below_zero),
        n=Draws(len(together), len(same_data), 0 if same_subset is None else len(same_subset)),
    )


def _variance(kind: str, accuracies: Sequence[float]) -> float:
    """In squared points."""
    n = len(accuracies)
    if n < 2:
        raise DataError(f"The spread of {kind} has {n} accuracies; it needs at least 2. Repeat with more seeds.")
    mean = math.fsum(accuracies) / n
    return 1e4 * math.fsum((value - mean) ** 2 for value in accuracies) / (n - 1)


def _listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
