"""What charts of experiments share: the best arms, means with intervals, numbers as text, and the order of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from augment.evidence.statistics import mean_with_interval
from augment.report.chart import Table
from augment.results.experiments import Experiment, PooledArm

MOST_CLASSES = 100
"""Columns of a heat map; of more classes those with the fewest images are drawn."""

Bounds = tuple[float, float] | None


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return sum(values) / len(values)


def best_arm(arms: Iterable[PooledArm], classifier: str, family: str) -> PooledArm | None:
    """The arm of a family with the highest mean accuracy, the first of equal ones; None where there is none."""
    found = [arm for arm in arms if arm.classifier == classifier and arm.family == family and arm.accuracy]
    return max(found, key=lambda arm: mean(arm.accuracy)) if found else None


def classical_arms(experiments: Iterable[Experiment], classifier: str) -> list[PooledArm]:
    """Arms without a generator, each as the experiment with the most seeds has it: they do not depend on the model."""
    found: dict[str, PooledArm] = {}
    for arm in (arm for experiment in experiments for arm in experiment.arms):
        if arm.classifier == classifier and arm.family == "classical" and arm.accuracy:
            if arm.arm not in found or len(arm.accuracy) > len(found[arm.arm].accuracy):
                found[arm.arm] = arm
    return list(found.values())


def classifiers_of(experiments: Iterable[Experiment]) -> list[str]:
    """In the order in which they first appear."""
    return list(dict.fromkeys(arm.classifier for experiment in experiments for arm in experiment.arms))


def arm_name(experiment: Experiment, arm: str) -> str:
    """The arm among several experiments: with what sets its experiment apart from others of that model."""
    differs = experiment.label.removeprefix(experiment.model).strip()
    return f"{arm} ({differs})" if differs else arm


def over_seeds(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Means of ``(seeds, classes)`` by class."""
    return tuple(mean(column) for column in zip(*rows, strict=True))


def accuracy_with_interval(arm: PooledArm) -> tuple[float, Bounds]:
    """Mean accuracy in [0, 1] and its 95% t interval over seeds."""
    return mean_with_interval(arm.accuracy)


def class_order(counts: Sequence[int]) -> list[int]:
    """Indices of the classes from the most to the fewest images, equal ones as they come; the last hundred of them."""
    return sorted(range(len(counts)), key=lambda index: -counts[index])[-MOST_CLASSES:]


def left_out(classes: Sequence[str]) -> str:
    """A sentence on the classes that are not drawn, with a space before it; empty where all are."""
    if len(classes) <= MOST_CLASSES:
        return ""
    return f" Of {len(classes)} classes the last {MOST_CLASSES} are drawn."


def per_cent(share: float) -> str:
    """``87.3`` for 0.873."""
    return f"{100 * share:.1f}"


def per_cent_bounds(bounds: Bounds) -> str:
    """``86.1 to 88.4``, or empty."""
    return "" if bounds is None else f"{per_cent(bounds[0])} to {per_cent(bounds[1])}"


def class_table(head: str, names: Sequence[str], classes: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    """A row for each name, a column for each class."""
    return Table((head, *classes), tuple((name, *row) for name, row in zip(names, cells, strict=True)))
