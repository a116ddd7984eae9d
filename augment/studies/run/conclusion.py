"""A run's numbers as one result, with comparisons, guards and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from augment.arms.evaluation import ArmResult
from augment.datasets import LabelledImages
from augment.evidence import guards
from augment.evidence.effects import class_effects, class_groups, group_effects
from augment.evidence.statistics import Comparison, Drawn, class_image_variances, mean_overlap
from augment.evidence.verdict import Guard, Scored, against_best, judged
from augment.metrics.scores import FidelityScores
from augment.results.run_result import (
    AddedImages,
    ArmEffects,
    ArmScores,
    ArmSpread,
    ClassScores,
    Part,
    RegimeInfo,
    RunResult,
    ScoredOn,
)
from augment.results.study_result import DatasetInfo, GeneratorInfo
from augment.studies.run.added import added_key
from augment.studies.run.plan import Plan
from augment.studies.run.repetition import Repetition

ByArm = dict[str, list[ArmResult]]
"""Results of one classifier by arm, one per repetition in order."""


def result_of(
    plan: Plan, repetitions: Sequence[Repetition], fidelity: FidelityScores, spreads: Sequence[ArmSpread]
) -> RunResult:
    """Everything a run found; its schema changes when the meaning of a field does."""
    arms = scored(plan, repetitions)
    found = against_best(arms)
    checks = run_guards(plan, repetitions)
    return RunResult(
        dataset=DatasetInfo.of(plan.data),
        scored_on=ScoredOn(_part(plan), len(repetitions[0].draw.data.test)),
        regime=_regime(plan, repetitions[0]),
        generators=tuple(_generator(plan, repetitions, model) for model in plan.models),
        synthetic=tuple(_synthetic(plan, repetitions)),
        seeds=tuple(repetition.draw.seed for repetition in repetitions),
        drawn=_drawn(plan, repetitions),
        arms=tuple(_rows(plan, repetitions)),
        fidelity=fidelity,
        comparisons=tuple(found),
        effects=tuple(effects(plan, repetitions, found)),
        spread=tuple(spreads),
        guards=tuple(checks),
        verdicts=tuple(judged(arms, [guard.name for guard in checks if not guard.passed])),
    )


def _rows(plan: Plan, repetitions: Sequence[Repetition]) -> Iterator[ArmScores]:
    families = {spec.name: spec.family for spec in plan.arms}
    for repetition in repetitions:
        for result in repetition.results:
            scores = result.scores
            columns = zip(plan.data.classes, scores.precision, scores.recall, scores.f1, scores.support, strict=True)
            yield ArmScores(
                arm=result.arm,
                classifier=result.classifier,
                seed=repetition.draw.seed,
                updates=result.updates,
                accuracy=scores.accuracy,
                trainings=(*result.trainings, *_again(repetition, result.classifier, result.arm)),
                balanced_accuracy=scores.balanced_accuracy,
                seconds=round(result.seconds, 3),
                cached=result.cached,
                per_class=tuple(ClassScores(*row) for row in columns),
                confusion=scores.confusion,
                family=families[result.arm],
            )


def _by_arm(repetitions: Sequence[Repetition], classifier: str) -> ByArm:
    found: ByArm = {}
    for result in (result for repetition in repetitions for result in repetition.results):
        if result.classifier == classifier:
            found.setdefault(result.arm, []).append(result)
    return found


def scored(plan: Plan, repetitions: Sequence[Repetition]) -> list[Scored]:
    """Every arm with every classifier it suits, in the order that was asked for, over all repetitions."""
    truths = [repetition.draw.data.test.labels for repetition in repetitions]
    drawn, found = _drawn(plan, repetitions), []
    for classifier in plan.config.classifiers:
        results = _by_arm(repetitions, classifier)
        for spec in (spec for spec in plan.arms if spec.name in results):
            own = results[spec.name]
            right = [_right(result, truth) for result, truth in zip(own, truths, strict=True)]
            correct = np.stack(right) if len(set(map(len, right))) == 1 else None  # folds may differ by an image
            accuracy = [result.scores.accuracy for result in own]
            again = next(iter(_again(repetitions[0], classifier, spec.name)), None)
            found.append(Scored(classifier, spec.name, spec.family, accuracy, correct, drawn, again))
    return found


def _right(result: ArmResult, truth: torch.Tensor) -> NDArray[np.float64]:
    """Share of the trainings that are right on each image, ``(n,)``."""
    right: NDArray[np.float64] = (np.asarray(result.predictions) == truth.numpy()).mean(0)
    return right


def _again(repetition: Repetition, classifier: str, arm: str) -> list[float]:
    return [one.scores.accuracy for one in repetition.again if (one.classifier, one.arm) == (classifier, arm)]


def _part(plan: Plan) -> Part:
    """What the arms are scored on: the test part that is given, what a split holds out, or training images."""
    if plan.config.score_on == "validation":
        return "validation"
    return "test" if plan.pool.split.kind == "given" else "held-out"


def _drawn(plan: Plan, repetitions: Sequence[Repetition]) -> Drawn:
    """How the images of the repetitions were drawn."""
    drawn = [set(one.draw.manifest.train) for one in repetitions]
    overlap = mean_overlap(drawn)
    if _part(plan) == "test":
        return Drawn(overlap=overlap)
    scored = len(repetitions[0].draw.data.test)
    return Drawn(False, scored / max(1, len(plan.pool.images) - scored), overlap)


def effects(plan: Plan, repetitions: Sequence[Repetition], found: Sequence[Comparison]) -> Iterator[ArmEffects]:
    """For each comparison of an arm with a generator: recall by class, and by classes with many and few images."""
    classes, counts = plan.data.classes, plan.counts
    support = repetitions[0].draw.data.test.counts(len(classes))
    generative = {spec.name for spec in plan.arms if spec.family == "generative"}
    for comparison in (comparison for comparison in found if comparison.arm in generative):
        results = _by_arm(repetitions, comparison.classifier)
        ours, theirs = (
            [result.scores.recall for result in results[name]] for name in (comparison.arm, comparison.against)
        )
        extra = _image_variances(plan, repetitions, results[comparison.arm], results[comparison.against])
        how = (classes, counts, ours, theirs, support, extra)
        yield ArmEffects(
            comparison.classifier,
            comparison.arm,
            comparison.against,
            groups=tuple(group_effects(*how)),
            classes=tuple(class_effects(*how)),
        )


def _image_variances(
    plan: Plan, repetitions: Sequence[Repetition], ours: Sequence[ArmResult], theirs: Sequence[ArmResult]
) -> list[float] | None:
    """What the test images of each class add; None where every repetition has others, or there is only one."""
    if _part(plan) != "test" or len(repetitions) == 1:
        return None
    truth = repetitions[0].draw.data.test.labels
    first, second = (np.stack([_right(result, truth) for result in side]) for side in (ours, theirs))
    return class_image_variances(first, second, truth.tolist(), len(plan.data.classes))


def _regime(plan: Plan, first: Repetition) -> RegimeInfo:
    groups = class_groups(plan.counts)
    return RegimeInfo(
        name=plan.config.regime,
        size=sum(plan.counts),
        class_counts=plan.counts,
        available=plan.available(0),
        groups={name: tuple(plan.data.classes[index] for index in members) for name, members in groups.items()},
        seed=first.draw.manifest.seed,
        manifest_sha256=first.draw.manifest.sha256,
    )


def _generator(plan: Plan, repetitions: Sequence[Repetition], model: str) -> GeneratorInfo:
    """Settings of one generator, and what its trainings cost."""
    draw = repetitions[0].draw
    recipe = plan.recipe(model, draw.manifest, draw.seed)
    trained = [repetition.trained[model] for repetition in repetitions]
    first = trained[0]
    return GeneratorInfo(
        name=model,
        config=recipe.options,
        version=recipe.version,
        steps=min(one.steps for one in trained),
        stopped=next((one.stopped for one in trained if one.stopped != "finished"), "finished"),
        seconds=round(sum(one.seconds for one in trained), 3),
        images_per_second=round(first.images_per_second, 1),
        cached=all(one.cached for one in trained),
        device=plan.compute.device,
        precision=plan.compute.precision,
    )


def _synthetic(plan: Plan, repetitions: Sequence[Repetition]) -> Iterator[AddedImages]:
    """What every arm with added images adds, in the first repetition; filters with their acceptance in all."""
    for spec in plan.arms:
        if spec.adds is not None:
            added = [repetition.added[added_key(spec)] for repetition in repetitions]
            outcomes = tuple(one.filtered for one in added if one.filtered is not None)
            yield AddedImages(
                arm=spec.name,
                adds=spec.adds,
                generator=spec.generator,
                strategy=str(spec.usage),
                class_counts=added[0].images.counts(len(plan.data.classes)),
                filter=outcomes or None,
            )


def run_guards(plan: Plan, repetitions: Sequence[Repetition]) -> list[Guard]:
    """What would make the numbers worthless; a row per guard."""
    results = [result for repetition in repetitions for result in repetition.results]
    updates: dict[str, set[int]] = {}
    for result in results:
        if result.updates is not None:
            updates.setdefault(result.arm, set()).add(result.updates)
    return [
        _no_test_images(plan, repetitions),
        guards.equal_updates(updates),
        *_scaling(plan, repetitions),
    ]


def _no_test_images(plan: Plan, repetitions: Sequence[Repetition]) -> Guard:
    """Where every repetition has test images of its own, the worst of them."""
    if plan.pool.split.kind == "given":
        return guards.no_test_images(dict(_trained_on(plan, repetitions)), plan.test)
    found = [guards.no_test_images(dict(_trained_on(plan, [one])), one.draw.test) for one in repetitions]
    return next((guard for guard in found if not guard.passed), found[0])


def _trained_on(plan: Plan, repetitions: Sequence[Repetition]) -> list[tuple[str, torch.Tensor]]:
    """Everything anything was trained on, by name."""
    real = plan.pool.images.images[sorted({index for one in repetitions for index in one.draw.manifest.train})]
    parts = [("real images", real)]
    for spec in {added_key(spec): spec for spec in plan.arms if spec.adds is not None}.values():
        made = [repetition.added[added_key(spec)].images.images for repetition in repetitions]
        parts.append((f"images of {spec.name}", torch.cat(made)))
    return parts


def _scaling(plan: Plan, repetitions: Sequence[Repetition]) -> list[Guard]:
    """Brightness of everything that was added, compared with real images of the same classes; the worst repetition."""
    found = []
    for key, spec in {added_key(spec): spec for spec in plan.arms if spec.adds is not None}.items():
        checked = [_scale_of(repetition, key) for repetition in repetitions]
        worst = next((guard for guard in checked if not guard.passed), checked[0])
        found.append(Guard(f"{worst.name}: {spec.name}", worst.passed, worst.detail))
    return found


def _scale_of(repetition: Repetition, key: str) -> Guard:
    images, draw = repetition.added[key].images, repetition.draw
    added = LabelledImages(images.images, images.labels) if len(images.labels) else None
    return guards.same_scaling(draw.real, added, draw.data.test)
