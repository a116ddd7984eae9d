"""The verdict: one sentence a person can act on, and the same in a word a program can.

Nothing is chosen on the images by which it is judged. Every arm with synthetic images is compared with every arm
without, and all pairs are in the decision (an intersection-union test within a side, Bonferroni's correction over the
other): an arm *helps* when it beats each of the m arms without synthetic images, at a level divided by the number k of
arms that could have been named instead; synthetic images *hurt* when one arm without them beats each of the k arms
with them, at a level divided by m. So "the best of m" costs nothing when all m are beaten, and is paid for when it is
held against the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from augment.evidence.power import FEWEST_FOR_SEEDS, MOST_SEEDS, images_needed, seeds_needed
from augment.evidence.statistics import ONE_POOL, Comparison, Correct, Drawn, compare, corrected, signed

Decision = Literal["helps", "hurts", "no evidence", "invalid", "nothing to compare"]

LEVEL = 0.05
"""Two-sided: each of "helps" and "hurts" is said by luck in at most half of it."""

WORTH_KNOWING = 0.5
"""Points of accuracy; seeds are counted for the difference observed, or for this one where that is smaller."""

HALF = 0.5
"""From this overlap on, the spread over seeds says little of what another pool of images would do."""

NOTHING = (
    "Nothing to compare: a verdict needs an arm with synthetic images and one without; add --arm real or "
    "--arm oversample."
)


@dataclass(frozen=True)
class Guard:
    """One check of a run: whether it holds, and what was seen."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verdict:
    """Do synthetic images beat what is done without them?

    decision: ``helps`` or ``hurts`` where all pairs together say so, ``no evidence`` otherwise. One seed, or seeds
    without spread, give no interval and decide nothing. ``invalid`` where a guard failed; ``nothing to compare`` where
    one side has no arm.
    arm, against: the pair that the sentence names, as a rule the best of either side.  delta, n: as in
    :class:`~augment.evidence.statistics.Comparison`.  ci95: of this pair, its lower bound corrected for ``arms``, its
    upper one for ``rivals``: how many arms there are with synthetic images, and without.  p: two-sided, of all pairs
    that the nearer decision rests on, corrected; None without an interval.
    seeds_needed: at least and at most so many seeds would find the difference that the sentence names in 80% of cases.
    images_needed: test images that it would take, where no number of seeds is enough. Both None where there is evidence
    and where they cannot be told.  overlap, again: as in :class:`~augment.evidence.statistics.Comparison`. Numbers are
    None where nothing was compared or nothing can be trusted.
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
    arms: int | None = None
    rivals: int | None = None
    seeds_needed: tuple[int, int] | None = None
    images_needed: int | None = None
    overlap: float | None = None
    again: float | None = None

    def __str__(self) -> str:
        """The sentence."""
        return self.text

    def reached(self, points: float) -> bool:
        """Is there evidence of a gain of at least ``points``: does the interval's lower end reach them?"""
        return self.decision == "helps" and self.ci95 is not None and self.ci95[0] >= points

    def reached_on_average(self, points: float) -> bool:
        """Is there evidence of a gain, and is its estimate at least ``points``? A true gain of less passes often."""
        return self.decision == "helps" and self.delta is not None and self.delta >= points


@dataclass(frozen=True)
class _Pairs:
    """All comparisons of one classifier, by arm with and arm without synthetic images."""

    table: dict[tuple[str, str], Comparison]

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(arm for arm, _ in self.table))

    @property
    def rivals(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rival for _, rival in self.table))

    def help(self, arm: str) -> float:
        """Corrected two-sided p of "this arm beats every rival"."""
        worst = max(_one_sided(self.table[arm, rival], 1) for rival in self.rivals)
        return min(1.0, 2 * worst * len(self.arms))

    def hurt(self, rival: str) -> float:
        """Corrected two-sided p of "this rival beats every arm with synthetic images"."""
        worst = max(_one_sided(self.table[arm, rival], -1) for arm in self.arms)
        return min(1.0, 2 * worst * len(self.rivals))

    def best(self, arms: Sequence[str], rivals: Sequence[str]) -> Comparison:
        """Of these arms the one with the largest mean, against that of these rivals."""
        arm = max(arms, key=lambda name: self.table[name, self.rivals[0]].delta)
        return min((self.table[arm, rival] for rival in rivals), key=lambda row: row.delta)


def decide(pairs: Sequence[Comparison], guards_failed: Sequence[str] = ()) -> Verdict:
    """Judge arms with synthetic images, each compared with each arm without; names of guards that failed.

    The verdict is on the classifier of the first comparison. Raises KeyError where a pair is missing.
    """
    if guards_failed:
        return Verdict(_distrust(guards_failed), "invalid")
    if not pairs:
        return Verdict(NOTHING, "nothing to compare")
    own = _Pairs({(row.arm, row.against): row for row in pairs if row.classifier == pairs[0].classifier})
    helping = [arm for arm in own.arms if own.help(arm) < LEVEL]
    hurting = [rival for rival in own.rivals if own.hurt(rival) < LEVEL]
    pair = own.best(helping or own.arms, hurting or own.rivals)
    decision: Decision = "helps" if helping else "hurts" if hurting else "no evidence"
    arms, rivals = len(own.arms), len(own.rivals)
    p = None
    if pair.ci95 is not None:
        p = own.help(pair.arm) if pair.delta > 0 else own.hurt(pair.against)
    verdict = Verdict(
        text="",
        decision=decision,
        classifier=pair.classifier,
        arm=pair.arm,
        against=pair.against,
        delta=pair.delta,
        ci95=pair.interval(LEVEL / 2 / arms, LEVEL / 2 / rivals),
        p=p,
        n=pair.n,
        arms=arms,
        rivals=rivals,
        overlap=pair.overlap,
        again=pair.again,
        **(_needed(pair, arms) if decision == "no evidence" else {}),
    )
    best = own.best(own.arms, own.rivals)
    return replace(verdict, text=_sentence(verdict, pair, best) + _what_next(verdict, pair) + _pool(verdict))


def _one_sided(row: Comparison, sign: int) -> float:
    """P of a difference as far on this side, where there is none; 1 without an interval."""
    if row.ci95 is None:
        return 1.0
    return row.p / 2 if row.delta * sign > 0 else 1 - row.p / 2


def _sentence(verdict: Verdict, pair: Comparison, best: Comparison) -> str:
    """best: the best arm of either side by its mean, which is not always what there is evidence on."""
    rank = "the best" if pair.arm == best.arm else "one"
    arm = verdict.arm if verdict.arms == 1 else f"{verdict.arm}, {rank} of {verdict.arms} generator arms,"
    rank = "the best" if pair.against == best.against else "one"
    rival = "the best arm" if verdict.rivals == 1 else f"{rank} of {verdict.rivals} arms"
    rival += " without synthetic images"
    subject = f"{arm} against {verdict.against}, {rival}: {signed(pair.delta)} points of {verdict.classifier} accuracy"
    if verdict.ci95 is None:
        seeds = "on one seed" if verdict.n == 1 else f"on each of {verdict.n} seeds"
        if verdict.again is not None:
            seeds += f", and {signed(verdict.again)} when both are trained again with another seed of the classifier"
        word = "One run cannot tell whether it helps" if verdict.n == 1 else "No evidence that it helps"
        return f"{word}: {subject} {seeds}."
    low, high = (signed(bound) for bound in verdict.ci95)
    words = {"helps": "It helps", "hurts": "It hurts"}
    corrected = "" if verdict.arms == verdict.rivals == 1 else f"; p = {verdict.p:.2g} over all pairs"
    word = words.get(verdict.decision, "No evidence that it helps")
    return f"{word}: {subject} (95% interval {low} to {high}, {verdict.n} seeds{corrected})."


def _needed(pair: Comparison, arms: int) -> dict[str, Any]:
    """Seeds or test images that would find the difference."""
    seeds = seeds_needed(
        pair.deltas,
        _sought(pair),
        image_variance=pair.image_variance,
        test_share=pair.test_share,
        alpha=LEVEL / arms,
    )
    if seeds is not None or not pair.test_images:
        return {"seeds_needed": seeds}
    images = images_needed(_sought(pair), pair.image_variance, pair.test_images, alpha=LEVEL / arms)
    return {"images_needed": images if images > pair.test_images else None}


def _sought(pair: Comparison) -> float:
    return max(abs(pair.delta), WORTH_KNOWING)


def _what_next(verdict: Verdict, pair: Comparison) -> str:
    """What it would take to know, where that is not known."""
    if verdict.decision != "no evidence":
        return ""
    if verdict.n == 1:
        return " Another subset, or another training, moves such differences as well: repeat with --seeds 5."
    if verdict.ci95 is None:
        return " Seeds that all differ by the same amount do not show how far luck goes: repeat with more --seeds."
    if pair.n < FEWEST_FOR_SEEDS:
        return " So few seeds do not show how far luck goes: repeat with --seeds 5."
    difference = f" A difference of {_sought(pair):.1f} points"
    if verdict.images_needed is not None:
        return (
            f"{difference} would not show with any number of seeds on {pair.test_images:,} test images; it would take "
            f"about {verdict.images_needed:,}."
        )
    if verdict.seeds_needed is None and pair.test_share:
        return f"{difference} would not show with any number of repetitions on these images: it takes more images."
    if verdict.seeds_needed is None:
        return f"{difference} would take more than {MOST_SEEDS:,} seeds." if pair.deltas else ""
    low, high = verdict.seeds_needed
    if high <= pair.n:
        return f"{difference} would have shown."
    return f"{difference} would take about {low} to {high} seeds."


def _pool(verdict: Verdict) -> str:
    """How much the seeds have in common; another pool is another matter."""
    if verdict.overlap is None or verdict.ci95 is None:
        return ""
    shared = f" Two seeds share {100 * verdict.overlap:.0f}% of their training images"
    return f"{shared}." if verdict.overlap < HALF else f"{shared}: with another pool of such images it would vary more."


def _distrust(guards: Sequence[str]) -> str:
    *most, last = [f"{name!r}" for name in guards]
    subject = f"the guards {', '.join(most)} and {last}" if most else f"the guard {last}"
    return f"Invalid: {subject} failed. No number here can be trusted: mend the cause and run again."


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
    comparisons: list[Comparison] = []
    for classifier in dict.fromkeys(arm.classifier for arm in arms):
        own = [arm for arm in arms if arm.classifier == classifier]
        classical = [arm for arm in own if arm.family == "classical"]
        if not classical:
            continue
        best = max(classical, key=lambda arm: sum(arm.accuracy))
        for family in ("generative", "classical"):
            others = [arm for arm in own if arm.family == family and arm is not best]
            comparisons += corrected([_compared(arm, best) for arm in others])
    return comparisons


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
    by_classifier = [pairs(arms, classifier) for classifier in dict.fromkeys(arm.classifier for arm in arms)]
    compared = [rows for rows in by_classifier if rows]
    if failed_guards or not compared:
        return [decide([], failed_guards)]
    return [decide(rows) for rows in compared]
