"""Arms against the best one without a generator, and the verdict: one rule for a run and for runs joined over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augment.evidence.statistics import Comparison, compare, corrected
from augment.evidence.verdict import Verdict, decide


@dataclass(frozen=True)
class Scored:
    """An arm with one classifier.

    accuracy: in [0, 1], one per seed.  correct: for each seed, on which test images it was right; None where that is
    not known, and a single seed has no test then.
    """

    classifier: str
    arm: str
    family: str
    accuracy: Sequence[float]
    correct: Sequence[Sequence[bool]] | None = None


def against_best(arms: Sequence[Scored]) -> list[Comparison]:
    """Every arm against the best one without a generator, for each classifier; p corrected within each family.

    Best is the one with the highest mean accuracy on the images scored. That choice favours the reference, never the
    generator.
    """
    found: list[Comparison] = []
    for classifier in dict.fromkeys(arm.classifier for arm in arms):
        own = [arm for arm in arms if arm.classifier == classifier]
        classical = [arm for arm in own if arm.family == "classical"]
        if not classical:
            continue
        best = max(classical, key=lambda arm: sum(arm.accuracy))
        for family in ("generative", "classical"):
            others = [arm for arm in own if arm.family == family and arm is not best]
            found += corrected([_compared(arm, best) for arm in others])
    return found


def _compared(arm: Scored, best: Scored) -> Comparison:
    return compare(arm.classifier, arm.arm, best.arm, arm.accuracy, best.accuracy, arm.correct, best.correct)


def judged(arms: Sequence[Scored], found: Sequence[Comparison], failed_guards: Sequence[str]) -> list[Verdict]:
    """On the arms with a generator: one for each classifier in order, or one in all where a guard failed."""
    generative = {arm.arm for arm in arms if arm.family == "generative"}
    rows = [comparison for comparison in found if comparison.arm in generative]
    classifiers = dict.fromkeys(comparison.classifier for comparison in rows)
    if failed_guards or not classifiers:
        return [decide(rows, failed_guards)]
    return [decide([row for row in rows if row.classifier == classifier]) for classifier in classifiers]
