"""One repetition of a run: its generators, the images its arms add, and the arms made of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from augment.arms import evaluation
from augment.arms.evaluation import Arm, ArmResult, Budget, Pending
from augment.arms.grammar import ArmSpec
from augment.datasets import LabelledImages
from augment.evidence import guards
from augment.progress import Reporter
from augment.storage import files
from augment.studies.run.added import Added, added_key, make_added
from augment.studies.run.plan import Draw, Plan
from augment.training import trained
from augment.training.trained import Trained

TRAININGS = 2
"""Of an arm that a verdict names, with different seeds of the classifier."""


@dataclass
class Repetition:
    """What one draw has given so far; ``added`` by the name of what adds and by how it is made.

    again: second trainings of the arms that a verdict names, where they are not averaged into ``results``.
    """

    draw: Draw
    trained: dict[str, Trained] = field(default_factory=dict)
    added: dict[str, Added] = field(default_factory=dict)
    results: list[ArmResult] = field(default_factory=list)
    again: list[ArmResult] = field(default_factory=list)


def generator_folder(plan: Plan, model: str) -> str:
    """Where a generator is kept within the folder of a repetition; the run's own is in ``generator``."""
    return "generator" if model == plan.config.model else f"generator-{model}"


def obtain_generator(plan: Plan, draw: Draw, model: str, reporter: Reporter) -> Trained:
    """One generator of a repetition, trained or reused."""
    reporter.stage(f"Train {model}{draw.label}")
    fit, validation = trained.generator_parts(draw.manifest, plan.pool.images)
    if validation is not None:
        guards.refuse_test_images(validation.images, draw.test, f"the weights of {model} that are kept")
    recipe = plan.recipe(model, draw.manifest, draw.seed)
    folder = draw.folder / generator_folder(plan, model)
    result = trained.obtain(recipe, plan.data.spec, fit, validation, folder, reporter, reuse=plan.config.resume)
    if model == plan.config.model:
        with files.writing(draw.folder):
            shutil.copy2(folder / "history.csv", draw.folder / "history.csv")
    result.generator.to(plan.compute.device)
    return result


def add_images(
    plan: Plan,
    repetition: Repetition,
    spec: ArmSpec,
    reporter: Reporter,
) -> None:
    """Make the images that an arm adds, unless another arm has made them."""
    if spec.adds is None or added_key(spec) in repetition.added:
        return
    generator = None if spec.generator is None else repetition.trained[spec.generator].generator
    repetition.added[added_key(spec)] = make_added(plan, repetition.draw, generator, spec, reporter)


def begin(plan: Plan, repetition: Repetition, specs: list[ArmSpec]) -> Iterator[Pending]:
    """Begin to evaluate arms whose images are there, each with the classifiers that it suits."""
    for spec in specs:
        yield begin_one(plan, repetition.draw, arm_of(repetition, spec), spec)


def begin_one(plan: Plan, draw: Draw, arm: Arm, spec: ArmSpec) -> Pending:
    """Begin to evaluate one arm with the budget of ``draw``."""
    classifiers = [name for name in plan.config.classifiers if spec.suits(name)]
    budget = budget_of(draw, spec)
    return evaluation.begin(arm, classifiers, draw.data, budget, plan.compute.queue, reuse=plan.config.resume)


def budget_of(draw: Draw, spec: ArmSpec, training: int = 0) -> Budget:
    """Of a training of an arm, counted from 0; an arm held against itself shares no seed with the other."""
    return draw.budget.training(training + (TRAININGS if spec.again else 0))


def arm_of(repetition: Repetition, spec: ArmSpec) -> Arm:
    """The training set of an arm."""
    real = repetition.draw.real
    if spec.adds is None:
        return Arm(spec.name, real, spec.learning)
    added = repetition.added[added_key(spec)]
    images = LabelledImages(added.images.images, added.images.labels)
    return Arm(spec.name, real, spec.learning, images, added.origins)
