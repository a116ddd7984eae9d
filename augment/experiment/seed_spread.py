"""How much of the spread over seeds is the subset's, the generator's and the classifier's: the repeats that tell.

On the first subset, one arm without a generator and the first with one are trained again with the classifier seeds of
the other repetitions; with ``--spread`` the generator is trained again there, too, with their generator seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from augment import evaluation
from augment.arms import ArmSpec
from augment.arms.grammar import SYNTHETIC
from augment.evaluation import Pending
from augment.evidence.spread import spread
from augment.experiment.draw import Draw
from augment.experiment.plan import Plan
from augment.experiment.repetition import Repetition, add_images, arm_of, begin_one, obtain_generator
from augment.progress import Reporter
from augment.results.run_result import ArmSpread


@dataclass(frozen=True)
class Repeat:
    """An arm trained again on the first subset; ``same_generator`` where only the classifier's seed is another."""

    spec: ArmSpec
    same_generator: bool
    draw: Draw
    pending: Pending


def begin(plan: Plan, repetitions: list[Repetition], report: Reporter) -> list[Repeat]:
    """Begin the repeats of every seed but the first."""
    first, begun = repetitions[0], []
    chosen = repeated(plan)
    for other in repetitions[1:]:
        draw = replace(first.draw, budget=other.draw.budget)
        for spec in chosen:
            begun.append(Repeat(spec, True, draw, begin_one(plan, draw, arm_of(first, spec), spec)))
        if plan.config.spread:
            label = f" (first subset, generator seed of {other.draw.label.strip(' ()')})"
            folder = first.draw.folder / "spread" / other.draw.folder.name
            again = Repetition(replace(draw, seed=other.draw.seed, label=label, folder=folder))
            for spec in chosen:
                if spec.generator is not None:
                    again.trained[spec.generator] = obtain_generator(plan, again.draw, spec.generator, report)
                    add_images(plan, again, spec, report)
                    pending = begin_one(plan, again.draw, arm_of(again, spec), spec)
                    begun.append(Repeat(spec, False, again.draw, pending))
    return begun


def repeated(plan: Plan) -> list[ArmSpec]:
    """One arm of each family: a balanced one where there is one, and the run's own generator before others."""

    def plainest(spec: ArmSpec) -> tuple[bool, bool]:
        own = spec.adds == SYNTHETIC and spec.generator == plan.config.model
        return spec.learning.imbalance == "as-is", spec.adds is not None and not own

    arms = ([spec for spec in plan.arms if spec.family == family] for family in ("classical", "generative"))
    return [min(family, key=plainest) for family in arms if family]


def collect(plan: Plan, repetitions: list[Repetition], repeats: list[Repeat]) -> list[ArmSpread]:
    """How every arm that was repeated varies, with each classifier; ``repeats`` have been begun."""
    again: dict[tuple[str, str, bool], list[float]] = {}
    seconds: dict[tuple[str, str], float] = {}
    for repeat in repeats:
        for result in evaluation.collect([repeat.pending], repeat.draw.data, plan.compute.queue):
            key = (repeat.spec.name, result.classifier, repeat.same_generator)
            again.setdefault(key, []).append(result.scores.accuracy)
            seconds[key[:2]] = seconds.get(key[:2], 0.0) + result.seconds
    rows = []
    for spec in dict.fromkeys(repeat.spec for repeat in repeats):
        for classifier in (name for name in plan.config.classifiers if spec.suits(name)):
            together = [
                result.scores.accuracy
                for repetition in repetitions
                for result in repetition.results
                if (result.arm, result.classifier) == (spec.name, classifier)
            ]
            same_data = [together[0], *again[spec.name, classifier, True]]
            others = again.get((spec.name, classifier, False))
            same_subset = None if others is None else [together[0], *others]
            found = spread(together, same_data, same_subset, generator=spec.generator is not None)
            cost = round(seconds[spec.name, classifier], 3)
            rows.append(ArmSpread(classifier, spec.name, cost, found, found.text()))
    return rows
