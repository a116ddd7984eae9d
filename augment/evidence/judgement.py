"""Arms against the best one without a generator, and the verdict: one rule for a run and for runs joined over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from augment.evidence.statistics import ONE_POOL, Comparison, Correct, Drawn, compare, corrected
from augment.evidence.verdict import Verdict, decide

Family = Literal["classical", "generative"]
"""Arms without a generator, and with one."""


@dataclass(frozen=True)
class Scored:
    """An arm with one classifier.

    accuracy: in [0, 1], one per seed.  correct: for each seed, on which test images it was right; None where that is
    not known, and a single seed has no test then.  drawn: how the seeds' images were drawn.  again: of a second
    training on the only seed, with another seed of the classifier; None where there is none.
    """

    classifier: str
    arm: str
    family: Family
    accuracy: Sequence[float]
    correct: Correct | None = None
    drawn: Drawn = ONE_POOL
    again: float | None = None


def against_best(arms: Sequence[Scored]) -> list[Comparison]:
    """Every arm against the best one without a generator, for each classifier; p corrected within each family.

    For tables. Best is the one with the highest mean accuracy on the images scored: a choice that favours the reference
    and that no verdict rests on; see :func:`judged`.
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
    return compare(
        arm.classifier,
        arm.arm,
        best.arm,
        arm.accuracy,
        best.accuracy,
        arm.correct,
        best.correct,
        drawn=arm.drawn,
        again=None if arm.again is None or best.again is None else 100 * (arm.again - best.again),
    )


def pairs(arms: Sequence[Scored], classifier: str) -> list[Comparison]:
    """Every arm with a generator against every arm without, for one classifier."""
    own = [arm for arm in arms if arm.classifier == classifier]
    rivals = [arm for arm in own if arm.family == "classical"]
    return [_compared(arm, rival) for arm in own if arm.family == "generative" for rival in rivals]


def judged(arms: Sequence[Scored], failed_guards: Sequence[str]) -> list[Verdict]:
    """On the arms with a generator: one for each classifier in order, or one in all where a guard failed."""
    found = [pairs(arms, classifier) for classifier in dict.fromkeys(arm.classifier for arm in arms)]
    compared = [rows for rows in found if rows]
    if failed_guards or not compared:
        return [decide([], failed_guards)]
    return [decide(rows) for rows in compared]
