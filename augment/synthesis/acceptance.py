"""Draw, judge, and draw again what is missing: as many accepted images as wanted, or an account of why there are fewer.

The judges are :mod:`augment.synthesis.teacher_filter`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from augment.synthesis.filter_outcome import FilteredClass, FilterOutcome, FilterSeconds
from augment.synthesis.strategies import Counts
from augment.synthesis.synthesis import SyntheticSet
from augment.synthesis.teacher_filter import REASONS, FilterDecisions, Teachers

Draw = Callable[[Counts, int], SyntheticSet]
"""``draw(counts, round)``: ``counts[c]`` new images of every class c, others in every round."""

FIRST_GUESS = 0.9
"""Share accepted that the first round reckons with; a good generator's images passed at this rate."""

GUESS_WORTH = 10
"""Images a guess is worth against those judged, so that a class's own share counts once it has about as many."""

MOST = 4
"""Images drawn in a round for each one missing, at most: what is refused that often is not worth its time."""


@dataclass
class ClassTally:
    """How the images of one class fared so far; ``passed`` may exceed ``wanted``, and the surplus is not kept."""

    wanted: int
    drawn: int = 0
    passed: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """Images kept."""
        return min(self.passed, self.wanted)

    @property
    def acceptance(self) -> float | None:
        """Share of the drawn images that passed; None before any was drawn."""
        return self.passed / self.drawn if self.drawn else None

    def to_draw(self, expected: float) -> int:
        """Images to draw so that what is missing is likely found, where a share ``expected`` of all classes passes."""
        missing = self.wanted - self.kept
        rate = (self.passed + GUESS_WORTH * expected) / (self.drawn + GUESS_WORTH)
        margin = math.sqrt(missing * (1 - rate))  # one standard deviation of how many pass
        return min(math.ceil((missing + margin) / rate), MOST * missing) if missing else 0


@dataclass(frozen=True)
class FilterSummary:
    """What a filter cost and what became of the images it was shown.

    tallies and limits (largest distance allowed): of every class.  rounds: draws made.  seconds: of training the
    teachers, of drawing and of judging.
    """

    tallies: tuple[ClassTally, ...]
    limits: tuple[float, ...]
    rounds: int
    seconds: dict[str, float]

    @property
    def missing(self) -> int:
        """Images wanted and not found."""
        return sum(tally.wanted - tally.kept for tally in self.tallies)

    def shortfall(self, classes: Sequence[str]) -> str | None:
        """A sentence naming the classes with fewer images than wanted; None where there are none."""
        short = [
            f"{name} {tally.kept} of {tally.wanted}"
            for name, tally in zip(classes, self.tallies, strict=True)
            if tally.kept < tally.wanted
        ]
        if not short:
            return None
        return f"The teacher filter found too few images after {self.rounds} rounds: {', '.join(short)}."

    def outcome(self, classes: Sequence[str]) -> FilterOutcome:
        """Totals, and a row for each class by its name."""
        wanted, drawn, passed, kept = (
            sum(getattr(tally, name) for tally in self.tallies) for name in ("wanted", "drawn", "passed", "kept")
        )
        return FilterOutcome(
            wanted,
            drawn,
            passed,
            kept,
            acceptance=passed / drawn if drawn else None,
            rounds=self.rounds,
            seconds=FilterSeconds(**{name: round(value, 3) for name, value in self.seconds.items()}),
            per_class=tuple(
                FilteredClass(
                    name,
                    tally.wanted,
                    tally.drawn,
                    tally.passed,
                    tally.kept,
                    tally.acceptance,
                    refused={reason: tally.refused[reason] for reason in REASONS},
                    limit=round(limit, 4) if math.isfinite(limit) else None,
                )
                for name, tally, limit in zip(classes, self.tallies, self.limits, strict=True)
            ),
        )


def filtered(draw: Draw, counts: Sequence[int], teachers: Teachers) -> tuple[SyntheticSet, FilterSummary]:
    """Up to ``counts[c]`` images of every class c that the teachers keep, by ascending class, and what it took.

    Draws what is missing, with a margin from the acceptance so far, in at most ``teachers.strategy.rounds`` rounds.
    The first that pass are kept; there may be fewer than wanted, see :meth:`FilterSummary.shortfall`. Rows gain
    teacher_probability, teacher_distance and filter_round. Errors: those of ``draw`` and :meth:`Teachers.judge`.
    """
    tallies = tuple(ClassTally(count) for count in counts)
    seconds = {"teachers": teachers.seconds, "drawing": 0.0, "judging": 0.0}
    accepted: list[SyntheticSet] = []
    while len(accepted) < teachers.strategy.rounds:
        requested = _to_draw(tallies)
        if accepted and not any(requested):
            break
        start = time.perf_counter()
        drawn = draw(requested, len(accepted))
        between = time.perf_counter()
        decisions = teachers.judge(drawn.images, drawn.labels, drawn.parents)
        accepted.append(_accepted(drawn, decisions, tallies, len(accepted)))
        seconds["drawing"] += between - start
        seconds["judging"] += time.perf_counter() - between
    return _joined(accepted), FilterSummary(tallies, tuple(teachers.limits.tolist()), len(accepted), seconds)


def _to_draw(tallies: Sequence[ClassTally]) -> Counts:
    passed, drawn = (sum(getattr(tally, name) for tally in tallies) for name in ("passed", "drawn"))
    expected = (passed + GUESS_WORTH * FIRST_GUESS) / (drawn + GUESS_WORTH)
    return tuple(tally.to_draw(expected) for tally in tallies)


def _accepted(
    drawn: SyntheticSet, decisions: FilterDecisions, tallies: Sequence[ClassTally], number: int
) -> SyntheticSet:
    """Count every image, and keep those that pass while their class misses some."""
    indices = []
    for index, (label, reason) in enumerate(zip(drawn.labels.tolist(), decisions.reasons, strict=True)):
        tally = tallies[label]
        tally.drawn += 1
        if reason is not None:
            tally.refused[reason] += 1
            continue
        if tally.passed < tally.wanted:
            indices.append(index)
        tally.passed += 1
    verdicts = {
        index: {
            "teacher_probability": round(float(decisions.probability[index]), 4),
            "teacher_distance": round(float(decisions.distance[index]), 4),
            "filter_round": number,
        }
        for index in indices
    }
    rows = tuple({**drawn.rows[index], **verdicts[index]} for index in indices)
    chosen = torch.tensor(indices, dtype=torch.int64)
    return replace(
        drawn, images=drawn.images[chosen], labels=drawn.labels[chosen], parents=drawn.parents[chosen], rows=rows
    )


def _joined(parts: Sequence[SyntheticSet]) -> SyntheticSet:
    """All parts by class, earlier rounds first; each row's index is its place there."""
    labels = torch.cat([part.labels for part in parts])
    order = labels.argsort(stable=True)
    rows = [row for part in parts for row in part.rows]
    return SyntheticSet(
        images=torch.cat([part.images for part in parts])[order],
        labels=labels[order],
        parents=torch.cat([part.parents for part in parts])[order],
        rows=tuple({**rows[old], "index": new} for new, old in enumerate(order.tolist())),
    )
