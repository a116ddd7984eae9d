"""The verdict: one sentence a person can act on, and the same in a word a program can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from augment.evidence.statistics import MOST_SEEDS, Comparison, corrected, seeds_needed, signed

Decision = Literal["helps", "hurts", "no evidence", "invalid", "nothing to compare"]

LEVEL = 0.05

WORTH_KNOWING = 0.5
"""Points of accuracy; seeds are counted for the difference observed, or for this one where that is smaller."""

NOTHING = (
    "Nothing to compare: a verdict needs an arm with synthetic images and one without; add --arm real or "
    "--arm oversample."
)


@dataclass(frozen=True)
class Verdict:
    """Does the best arm with synthetic images beat the best one without?

    decision: ``helps`` or ``hurts`` where the interval over seeds says so, ``no evidence`` otherwise. One seed, or
    seeds without spread, give no interval and decide nothing about a method, whatever the sentence says happened
    ``here``. ``invalid`` where a guard failed; ``nothing to compare`` where one side has no arm.
    delta, ci95, n: as in :class:`~augment.evidence.statistics.Comparison`.  p: corrected for the number of arms tried.
    seeds_needed: seeds that would find the difference the sentence names in 80% of cases; None where there is evidence,
    where it cannot be told, and above 1000. Numbers are None where nothing was compared or nothing can be trusted.
    """

    text: str
    decision: Decision
    classifier: str | None = None
    arm: str | None = None
    against: str | None = None
    delta: float | None = None
    ci95: tuple[float, float] | None = None
    p: float | None = None
    n: int | None = None
    seeds_needed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The section of ``result.json``."""
        return {**asdict(self), "ci95": None if self.ci95 is None else list(self.ci95)}


def decide(comparisons: Sequence[Comparison], guards_failed: Sequence[str] = ()) -> Verdict:
    """Judge arms with synthetic images, each compared with the best arm without; names of guards that failed.

    The verdict is on the classifier of the first comparison, and on its arm with the largest difference. Trying several
    arms and reporting the best finds a difference by luck more often than one arm does, so p is corrected by Holm's
    method for the arms given here: ``helps`` needs the interval above 0 and this p below 0.05. ``hurts`` needs no
    correction: if even the best of several lies below 0, luck worked against it.
    """
    if guards_failed:
        return Verdict(_distrust(guards_failed), "invalid")
    if not comparisons:
        return Verdict(NOTHING, "nothing to compare")
    arms = corrected([row for row in comparisons if row.classifier == comparisons[0].classifier])
    best = max(arms, key=lambda row: row.delta)
    p = best.p if best.p_holm is None else best.p_holm
    decision = _decision(best, p)
    needed = _needed(best, len(arms)) if decision == "no evidence" else None
    text = _sentence(best, decision, p, len(arms)) + _what_next(best, decision, needed)
    return Verdict(text, decision, best.classifier, best.arm, best.against, best.delta, best.ci95, p, best.n, needed)


def reached(verdict: Verdict, fail_under: float) -> bool:
    """Is there evidence of a gain, and is it of at least ``fail_under`` points? One seed is no evidence."""
    return verdict.decision == "helps" and verdict.delta is not None and verdict.delta >= fail_under


def _decision(best: Comparison, p: float) -> Decision:
    if best.ci95 is None:
        return "no evidence"
    low, high = best.ci95
    if low > 0 and p < LEVEL:
        return "helps"
    return "hurts" if high < 0 else "no evidence"


def _sentence(best: Comparison, decision: Decision, p: float, arms: int) -> str:
    arm = best.arm if arms == 1 else f"{best.arm}, the best of {arms} generator arms,"
    change = f"{signed(best.delta)} points of {best.classifier} accuracy"
    subject = f"{arm} against {best.against}, the best arm without synthetic images: {change}"
    correction = "" if arms == 1 else f" corrected for {arms} arms"
    if best.ci95 is None:
        seeds = "on one seed" if best.n == 1 else f"on each of {best.n} seeds"
        return f"{_here(best, p)}: {subject} {seeds} ({best.test} p = {p:.2g}{correction})."
    low, high = (signed(bound) for bound in best.ci95)
    words = {"helps": "It helps", "hurts": "It hurts"}
    tested = f"; p = {p:.2g}{correction}" if correction else ""
    word = words.get(decision, "No evidence that it helps")
    return f"{word}: {subject} (95% interval {low} to {high}, {best.n} seeds{tested})."


def _here(best: Comparison, p: float) -> str:
    """What happened on these test images, where seeds give no interval."""
    if p >= LEVEL or best.delta == 0:
        return "No evidence that it helps"
    return "It helped here" if best.delta > 0 else "It hurt here"


def _needed(best: Comparison, arms: int) -> int | None:
    return seeds_needed(best.deltas, _sought(best), alpha=LEVEL / arms)


def _sought(best: Comparison) -> float:
    return max(abs(best.delta), WORTH_KNOWING)


def _what_next(best: Comparison, decision: Decision, needed: int | None) -> str:
    """What it would take to know, where that is not known."""
    if decision != "no evidence":
        return ""
    if best.n == 1:
        return " One subset cannot tell a method from luck: repeat with --seeds 5."
    if best.ci95 is None:
        return " Seeds that all differ by the same amount do not show how far luck goes: repeat with more --seeds."
    difference = f" A difference of {_sought(best):.1f} points"
    if needed is None:
        return f"{difference} would take more than {MOST_SEEDS:,} seeds." if best.deltas else ""
    if needed <= best.n:
        return f"{difference} would have shown with about {needed} seeds."
    return f"{difference} would take about {needed} seeds."


def _distrust(guards: Sequence[str]) -> str:
    *most, last = [f"{name!r}" for name in guards]
    named = f"the guards {', '.join(most)} and {last}" if most else f"the guard {last}"
    return f"Invalid: {named} failed. No number here can be trusted: mend the cause and run again."
