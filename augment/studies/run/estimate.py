"""How long a run will take, stage by stage, from a timed warm-up of each kind of work on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from augment import registry
from augment.arms import evaluation
from augment.arms.evaluation import LEARNT_IN_UPDATES, Arm, Budget
from augment.classifiers.cnn import fit_cnn
from augment.classifiers.learning import Learning
from augment.compute.sampling import sample_images
from augment.compute.workers import threads
from augment.datasets import LabelledImages
from augment.errors import ConfigError
from augment.generator import Generator
from augment.generators.scoring import Scoring, reconstructions, split_references
from augment.progress import Reporter
from augment.storage.locations import cache_folder
from augment.studies.run.added import added_key
from augment.studies.run.config import RunConfig
from augment.studies.run.plan import Plan, counts_of, prepare
from augment.studies.run.repetition import TRAININGS
from augment.studies.run.retraining import repeated
from augment.synthesis.strategies import Teacher
from augment.training import trained
from augment.training.fitting import fit

WARM_UP = 4.0
"""Seconds a generator is trained for."""

WARM_UPDATES = 10
"""Updates of a CNN that are timed, after two that are not."""

WARM_IMAGES = 64
"""Images that are drawn, predicted and scored."""


@dataclass(frozen=True)
class Stage:
    """One kind of work: what, how much of it, and seconds of one core; ``alone`` where only one core can do it."""

    name: str
    work: str
    seconds: float
    alone: bool = False


@dataclass(frozen=True)
class Estimate:
    """The stages of a run, and the cores that share them."""

    folder: str
    stages: tuple[Stage, ...]
    cores: int

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all stages: generators are trained on one core while the others take classifiers."""
        alone = sum(stage.seconds for stage in self.stages if stage.alone)
        return max(alone, sum(stage.seconds for stage in self.stages) / self.cores)

    def to_json(self) -> dict[str, Any]:
        """The document of ``augment run --dry-run --json``."""
        return {
            "schema": "augment.estimate/1",
            "folder": self.folder,
            "stages": [asdict(stage) for stage in self.stages],
            "cores": self.cores,
            "minutes": round(self.seconds / 60, 2),
        }


def estimate(config: RunConfig, reporter: Reporter) -> Estimate:
    """What a run would do and how long that takes; nothing is written. Raises what the run would raise at its start."""
    return estimate_plan(prepare(config, reporter), reporter)


def estimate_plan(plan: Plan, reporter: Reporter) -> Estimate:
    """The estimate of a plan. Single arms that are cached are counted as if they were not."""
    manifest = plan.manifest(0)
    real = plan.pool.images.subset(manifest.train)
    stages: list[Stage] = []
    for model in plan.models:
        reporter.stage(f"Time {model}")
        stages += _of_generator(plan, model, real)
    reporter.stage("Time the classifiers")
    stages += _of_classifiers(plan, real)
    cores = torch.get_num_threads() if plan.compute.device == "cpu" else 1
    return Estimate(str(plan.folder), tuple(stages), cores)


def within(plan: Plan, reporter: Reporter) -> float | None:
    """Minutes each generator's training may take so that the run keeps to ``--max-minutes``; None where all fits.

    Raises ConfigError when everything else alone takes longer.
    """
    limit = plan.config.max_minutes
    if limit is None:
        return None
    found = estimate_plan(plan, reporter)
    if found.seconds <= 60 * limit:
        return None
    rest = sum(stage.seconds for stage in found.stages if not stage.alone)
    trainings = sum(_trainings(plan, model) for model in plan.models)
    left = min(60 * limit, found.cores * 60 * limit - rest) / trainings
    if left < WARM_UP:
        raise ConfigError(
            f"All but the generators takes about {rest / found.cores / 60:.1f} minutes, and --max-minutes {limit:g} "
            "leaves them nothing. Take fewer arms, seeds or updates, or more minutes; --dry-run shows the stages."
        )
    reporter.note(f"To keep to {limit:g} minutes each generator is trained for {left / 60:.1f}.")
    return left / 60


def _of_generator(plan: Plan, model: str, real: LabelledImages) -> list[Stage]:
    """Training, drawing what arms add, and drawing and scoring samples of the run's own model."""
    recipes = [plan.recipe(model, plan.manifest(index), seed) for index, seed in enumerate(_seeds(plan))]
    missing = [one for one in recipes if not trained.reusable(cache_folder() / "generators" / one.key, one)]
    with torch.random.fork_rng(devices=[]), threads(1):
        generator = registry.create(model, plan.data.spec, dict(recipes[0].options))
        step = _seconds_per_step(generator, real, plan) if missing else 0.0
    trainings = len(missing) + _trainings(plan, model) - plan.config.repetitions
    batch, steps = recipes[0].options["batch_size"], recipes[0].steps
    cached = f", {len(recipes) - len(missing)} cached" if len(missing) < len(recipes) else ""
    work = f"{trainings} x {steps:,} steps of {batch} images{cached}"
    stages = [Stage(f"train {model}", work, trainings * steps * step, alone=True)]
    drawn = plan.config.repetitions * _added_by(plan, model)
    n = WARM_IMAGES
    labels = torch.arange(n) % len(plan.data.classes)
    each = _timed(partial(sample_images, generator, labels, seed=0, compute=plan.compute)) / n
    stages.append(Stage(f"draw from {model}", f"{drawn:,} images", drawn * each))
    if model == plan.config.model:
        stages.append(_of_scoring(plan, generator, real, each))
    return stages


def _trainings(plan: Plan, model: str) -> int:
    """One for each seed, and those of ``--spread``, which has a generator of the first subset for every other seed."""
    again = plan.config.spread and any(spec.generator == model for spec in repeated(plan))
    return plan.config.repetitions + (plan.config.repetitions - 1 if again else 0)


def _seeds(plan: Plan) -> range:
    return range(plan.config.seed, plan.config.seed + plan.config.repetitions)


def _seconds_per_step(generator: Generator, real: LabelledImages, plan: Plan) -> float:
    """By the training loop itself; a first training of two steps sets up what every process needs once."""
    timed = partial(fit, generator, real, None, seed=0, device=plan.compute.device, precision=plan.compute.precision)
    timed(stop_at=min(2, generator.config.steps))
    found = timed(max_seconds=WARM_UP)
    generator.to(plan.compute.device)
    return found.seconds / max(1, found.steps)


def _added_by(plan: Plan, model: str) -> int:
    """Images of one repetition; a filter is taken to refuse half."""
    sets = {added_key(spec): spec for spec in plan.arms if spec.generator == model}
    return sum(sum(counts_of(spec.usage, plan.counts)) * (2 if spec.usage.filter else 1) for spec in sets.values())


def _of_scoring(plan: Plan, generator: Generator, real: LabelledImages, each: float) -> Stage:
    """Measured with few images; the scores take about linear time."""
    wanted = split_references(plan.data.test, plan.config.fidelity_images, 0)
    n = min(WARM_IMAGES, len(wanted.held_out))
    few = split_references(plan.data.test.subset(range(min(len(plan.data.test), 2 * n))), n, 0)
    score = Scoring(
        dataset=plan.config.dataset,
        num_classes=len(plan.data.classes),
        fake=few.held_out,
        references=few,
        pool=real,
        restored=reconstructions(generator, few.held_out),
        seed=0,
    )
    count = len(wanted.held_out)
    return Stage("draw and score samples", f"{count:,} images", count * each + _timed(score.compute) * count / n)


def _of_classifiers(plan: Plan, real: LabelledImages) -> list[Stage]:
    stages = []
    cnn = _seconds_of_cnn(plan, real)
    again = [spec for spec in repeated(plan) for _ in range(2 if plan.config.spread and spec.generator else 1)]
    for classifier in plan.config.classifiers:
        fits = plan.config.repetitions * sum(spec.suits(classifier) for spec in plan.arms)
        fits += (plan.config.repetitions - 1) * sum(spec.suits(classifier) for spec in again)
        fits += _second_trainings(plan, classifier)
        if classifier == "cnn":
            each, work = cnn, f"{fits} x {plan.updates:,} updates"
        else:
            few = LabelledImages(plan.data.test.images[:WARM_IMAGES], plan.data.test.labels[:WARM_IMAGES])
            budget = Budget(WARM_UPDATES, 0, plan.compute.device, plan.compute.precision)
            call = partial(evaluation.evaluate, Arm("real", real), [classifier], few, len(plan.data.classes), budget)
            each, work = _timed(call), f"{fits} trees"
        stages.append(Stage(f"train {classifier}", work, fits * each))
    rules = {added_key(spec): spec.usage.filter for spec in plan.arms}.values()
    count = plan.config.repetitions * sum(rule.folds for rule in rules if isinstance(rule, Teacher))
    if count:
        stages.append(Stage("train teachers", f"{count} x {plan.updates:,} updates", count * cnn))
    return stages


def _second_trainings(plan: Plan, classifier: str) -> int:
    """Of the pair of arms that the classifier's verdict will name."""
    sides = {spec.family for spec in plan.arms if spec.suits(classifier)}
    return 2 * plan.config.repetitions * (TRAININGS - 1) if classifier in LEARNT_IN_UPDATES and len(sides) == 2 else 0


def _seconds_of_cnn(plan: Plan, real: LabelledImages) -> float:
    """One training and its prediction of all test images, on one core."""

    def trained_for(updates: int) -> Any:
        return fit_cnn(
            real.images,
            real.labels,
            len(plan.data.classes),
            updates=updates,
            seed=0,
            device=plan.compute.device,
            precision=plan.compute.precision,
            learning=Learning("oversample"),
        )

    with threads(1):
        cnn = trained_for(2)
        per_update = _timed(partial(trained_for, WARM_UPDATES)) / WARM_UPDATES
        images = plan.data.test.images[: 4 * WARM_IMAGES]
        return plan.updates * per_update + _timed(partial(cnn.predict, images)) * len(plan.data.test) / len(images)


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
