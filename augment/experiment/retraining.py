"""A second training of the arms that a verdict names: how much of what they show is the luck of one training."""

from __future__ import annotations

from collections.abc import Sequence

from augment import evaluation
from augment.arms import ArmResult, averaged
from augment.arms.evaluate import LEARNT_IN_UPDATES
from augment.evaluation import Pending
from augment.evidence.judgement import judged
from augment.experiment.conclusion import scored
from augment.experiment.plan import Plan
from augment.experiment.repetition import Repetition, arm_of, budget_of
from augment.progress import Reporter


def train_again(plan: Plan, repetitions: Sequence[Repetition], report: Reporter) -> None:
    """Train the named arms again in every repetition, with other seeds of the classifier.

    The arm that looks best is partly the one that was lucky. With several repetitions each result becomes the mean of
    both trainings, and where the verdict then names another arm that one follows. A single one keeps what it had, and
    the second training stands beside it: where the seeds of several runs are joined, every arm has then been trained as
    often as the others. Trees are left out: their seed moves next to nothing.
    """
    alone, done = len(repetitions) == 1, set[tuple[str, str]]()
    while named := _named(plan, repetitions) - done:
        report.stage("Train the named arms again")
        begun = [(one, _begin(plan, one, *pair)) for pair in sorted(named) for one in repetitions]
        for number, (repetition, pending) in enumerate(begun):
            report.advance(number, len(begun), f"{pending.arm}{repetition.draw.label}")
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
