"""What charts of experiments share: the best arms, means with intervals, numbers as text, and the order of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from augment.evidence.statistics import Comparison, mean_with_interval
from augment.report.chart import Table
from augment.results.experiments import Experiment, PooledArm

MOST_CLASSES = 100
"""Columns of a heat map; of more classes those with the fewest images are drawn."""

ARMS = frozenset({"arms", "arm_set"})
"""Settings that say what is compared; the accuracy of an arm depends on none of them."""

Bounds = tuple[float, float] | None
Gains = dict[tuple[str | None, str], tuple[Experiment, Comparison]]


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return sum(values) / len(values)


def best_arm(arms: Iterable[PooledArm], classifier: str, family: str) -> PooledArm | None:
    """The arm of a family with the highest mean accuracy, the first of equal ones; None where there is none."""
    found = [arm for arm in arms if arm.classifier == classifier and arm.family == family and arm.accuracy]
    return max(found, key=lambda arm: mean(arm.accuracy)) if found else None


def best_arms(experiments: Sequence[Experiment], classifier: str) -> dict[str, tuple[Experiment, PooledArm]]:
    """Of experiments of one size the best arm of each model, by label, with the experiment that has it.

    Of several experiments of a model those with the most seeds count, as fewer seeds would win by luck; of these the
    one whose best arm has the highest mean.
    """
    found: dict[str, tuple[Experiment, PooledArm]] = {}
    for experiment in experiments:
        best = best_arm(experiment.arms, classifier, "generative")
        known = found.get(experiment.label, (experiment, None))[1]
        if best is not None and (known is None or _rank(best) > _rank(known)):
            found[experiment.label] = experiment, best
    return found


def _rank(arm: PooledArm) -> tuple[int, float]:
    return len(arm.accuracy), mean(arm.accuracy)


def gains(experiments: Sequence[Experiment], classifier: str) -> Gains:
    """Of experiments of one size the comparison of each arm, by its model's label and its name, with its experiment.

    The label is None of arms without a generator. Where several experiments compare an arm, that over the most seeds
    counts, and of these the smallest difference, which is that to the strongest reference.
    """
    found: Gains = {}
    for experiment in experiments:
        families = {arm.arm: arm.family for arm in experiment.arms if arm.classifier == classifier}
        for row in (row for row in experiment.comparisons if row.classifier == classifier):
            key = (experiment.label if families.get(row.arm) == "generative" else None, row.arm)
            known = found[key][1] if key in found else None
            if known is None or (row.n, -row.delta) > (known.n, -known.delta):
                found[key] = experiment, row
    return found


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


def apart_from_arms(experiments: Sequence[Experiment]) -> list[Experiment]:
    """The experiments, told apart by everything but the arms that were asked for: those that differ in these are one.

    An option of another generator that only some of them have came with its arms, and is left out as they are.
    """
    subject = attrgetter("dataset", "regime", "size", "model")
    alike: dict[Any, list[Experiment]] = {}
    for each in experiments:
        alike.setdefault(subject(each), []).append(each)
    kept = (
        {name: value for name, value in each.differs.items() if not _of_arms(name, each, alike[subject(each)])}
        for each in experiments
    )
    return [replace(each, differs=differs) for each, differs in zip(experiments, kept, strict=True)]


def _of_arms(name: str, own: Experiment, alike: Sequence[Experiment]) -> bool:
    """Does ``own`` differ in this setting from others for its arms alone?"""
    if name in ARMS or "." not in name:
        return name in ARMS
    known = [each.settings[name] for each in alike if name in each.settings]
    return len(known) < len(alike) and (name not in own.settings or all(value == known[0] for value in known))


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
