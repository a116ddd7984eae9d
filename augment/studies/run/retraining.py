"""Arms trained again, which tells luck from the rest.

The arms that a verdict names, everywhere: how much of what they show is the luck of one training. And on the first
subset, one arm without a generator and the first with one, with the classifier seeds of the other repetitions, and with
``--spread`` with generators of their seeds, too: how much of the spread over seeds is the subset's, the generator's and
the classifier's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from augment.arms import evaluation
from augment.arms.evaluation import LEARNT_IN_UPDATES, ArmResult, Pending, averaged
from augment.arms.grammar import SYNTHETIC, ArmSpec
from augment.evidence.spread import spread
from augment.evidence.verdict import judged
from augment.progress import Reporter
from augment.results.run_result import ArmSpread
from augment.studies.run.conclusion import scored
from augment.studies.run.plan import Draw, Plan
from augment.studies.run.repetition import Repetition, add_images, arm_of, begin_one, budget_of, obtain_generator


def train_again(plan: Plan, repetitions: Sequence[Repetition], reporter: Reporter) -> None:
    """Train the named arms again in every repetition, with other seeds of the classifier.

    The arm that looks best is partly the one that was lucky. With several repetitions each result becomes the mean of
    both trainings, and where the verdict then names another arm that one follows. A single one keeps what it had, and
    the second training stands beside it: where the seeds of several runs are joined, every arm has then been trained as
    often as the others. Trees are left out: their seed moves next to nothing.
    """
    alone, done = len(repetitions) == 1, set[tuple[str, str]]()
    while named := _named(plan, repetitions) - done:
        reporter.stage("Train the named arms again")
        begun = [(one, _begin(plan, one, *pair)) for pair in sorted(named) for one in repetitions]
        for number, (repetition, pending) in enumerate(begun):
            reporter.advance(number, len(begun), f"{pending.arm}{repetition.draw.label}")
            (again,) = evaluation.collect([pending], repetition.draw.data, plan.compute.queue)
            if alone:
                repetition.again.append(again)
            else:
                _average(repetition, again)
        done |= named


def _named(plan: Plan, repetitions: Sequence[Repetition]) -> set[tuple[str, str]]:
    """Classifier and arm of all that a verdict names, trees left out."""
    return {
        (verdict.classifier, arm)
        for verdict in judged(scored(plan, repetitions), [])
        for arm in (verdict.arm, verdict.against)
        if arm is not None and verdict.classifier in LEARNT_IN_UPDATES
    }


def _begin(plan: Plan, repetition: Repetition, classifier: str, name: str) -> Pending:
    (spec,) = (spec for spec in plan.arms if spec.name == name)
    draw, arm = repetition.draw, arm_of(repetition, spec)
    budget = budget_of(draw, spec, training=1)
    return evaluation.begin(arm, [classifier], draw.data, budget, plan.compute.queue, reuse=plan.config.resume)


def _average(repetition: Repetition, again: ArmResult) -> None:
    places = {(result.arm, result.classifier): place for place, result in enumerate(repetition.results)}
    place = places[again.arm, again.classifier]
    repetition.results[place] = averaged([repetition.results[place], again])


@dataclass(frozen=True)
class Repeat:
    """An arm trained again on the first subset; ``same_generator`` where only the classifier's seed is another."""

    spec: ArmSpec
    same_generator: bool
    draw: Draw
    pending: Pending


def begin(plan: Plan, repetitions: list[Repetition], reporter: Reporter) -> list[Repeat]:
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
                    again.trained[spec.generator] = obtain_generator(plan, again.draw, spec.generator, reporter)
                    add_images(plan, again, spec, reporter)
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
