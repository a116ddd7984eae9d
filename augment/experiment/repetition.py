"""One repetition of a run: its draw, its generators, its synthetic images, and the arms made of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from augment import evaluation, store, trained
from augment.arms import Arm, ArmResult, ArmSpec, Budget, duplicates
from augment.arms.grammar import DUPLICATE, LATENT_SMOTE, SMOTE
from augment.datasets import ImageSet, LabelledImages
from augment.evaluation import Pending
from augment.evidence import guards
from augment.experiment.config import Seeds
from augment.experiment.held_out import held_out
from augment.experiment.plan import Plan
from augment.metrics.memorisation import nearest
from augment.progress import Reporter
from augment.regimes import Manifest
from augment.synthetic import cache as synthetic_cache
from augment.synthetic.acceptance import filtered
from augment.synthetic.smote import latent_smote, smote_images
from augment.synthetic.strategies import CountStrategy, SourceStrategy, Teacher, Usage
from augment.synthetic.synthesis import SyntheticSet, synthesise, with_nearest
from augment.synthetic.teacher_filter import Teachers
from augment.trained import Trained
from augment.workers import Workers


@dataclass(frozen=True)
class Draw:
    """One repetition before anything is trained; repetitions after the first have folders of their own.

    data: the data set, with what is scored on as its test part.
    """

    label: str
    folder: Path
    seeds: Seeds
    manifest: Manifest
    data: ImageSet
    real: LabelledImages
    budget: Budget


@dataclass(frozen=True)
class Added:
    """Images that arms add to the real ones: made by ``model`` (None: without one), used as ``usage`` says.

    filtered: the report of the filter, None without one.
    """

    model: str | None
    usage: Usage
    images: SyntheticSet
    filtered: dict[str, Any] | None = None


@dataclass
class Repetition:
    """What one draw has given so far; ``added`` by the name of what adds and by how it is made."""

    draw: Draw
    trained: dict[str, Trained] = field(default_factory=dict)
    added: dict[str, Added] = field(default_factory=dict)
    results: list[ArmResult] = field(default_factory=list)


def draw_of(plan: Plan, index: int) -> Draw:
    """The split and seeds of repetition ``index``."""
    config = plan.config
    seeds = Seeds.of(config.seed + index)
    manifest = plan.manifest(seeds)
    folder = plan.folder if index == 0 else plan.folder / f"seed-{index}"
    with store.writing(folder):
        store.write_json(folder / "manifest.json", manifest.to_json())
    return Draw(
        label=f" (seed {index + 1} of {config.seeds})" if config.seeds > 1 else "",
        folder=folder,
        seeds=seeds,
        manifest=manifest,
        data=_scored_on(plan, manifest),
        real=plan.data.train.subset(manifest.train),
        budget=Budget(plan.updates, seeds.classifier, plan.device, plan.precision),
    )


def _scored_on(plan: Plan, manifest: Manifest) -> ImageSet:
    data = plan.data
    if plan.config.score_on == "test":
        return data
    rows = held_out(data.train.labels, manifest, len(data.test))
    return replace(data, test=data.train.subset(rows), sha256="")


def begin(plan: Plan, repetition: Repetition, specs: list[ArmSpec], workers: Workers) -> Iterator[Pending]:
    """Begin to evaluate arms whose images are there, each with the classifiers that it suits."""
    for spec in specs:
        yield begin_one(plan, repetition.draw, arm_of(repetition, spec), spec, workers)


def begin_one(plan: Plan, draw: Draw, arm: Arm, spec: ArmSpec, workers: Workers) -> Pending:
    """Begin to evaluate one arm with the budget of ``draw``."""
    classifiers = [name for name in plan.config.classifiers if spec.suits(name)]
    return evaluation.begin(arm, classifiers, draw.data, draw.budget, workers, reuse=plan.config.resume)


def arm_of(repetition: Repetition, spec: ArmSpec) -> Arm:
    """The training set of an arm."""
    real = repetition.draw.real
    if spec.adds is None:
        return Arm(spec.name, real, spec.learning)
    added = repetition.added[added_key(spec)].images
    return Arm(spec.name, real, spec.learning, LabelledImages(added.images, added.labels))


def added_key(spec: ArmSpec) -> str:
    """Arms with the same key add the same images."""
    making = [str(one) for one in spec.usage.strategies if one.slot in ("counts", "source", "filter")]
    return "+".join([spec.generator or "", str(spec.adds), *making])


def obtain_generator(plan: Plan, draw: Draw, model: str, test: guards.Fingerprint, report: Reporter) -> Trained:
    """One generator of a repetition, trained or reused."""
    report.stage(f"Train {model}{draw.label}")
    fit, validation = trained.generator_parts(draw.manifest, plan.data.train)
    if validation is not None:
        guards.refuse_test_images(validation.images, test, f"the weights of {model} that are kept")
    recipe = plan.recipe(model, draw.manifest, draw.seeds)
    folder = draw.folder / ("generator" if model == plan.config.model else f"generator-{model}")
    result = trained.obtain(recipe, plan.data.spec, fit, validation, folder, report, reuse=plan.config.resume)
    if model == plan.config.model:
        with store.writing(draw.folder):
            shutil.copy2(folder / "history.csv", draw.folder / "history.csv")
    result.generator.to(plan.device)
    return result


def add_images(
    plan: Plan,
    repetition: Repetition,
    spec: ArmSpec,
    test: guards.Fingerprint,
    workers: Workers,
    report: Reporter,
) -> None:
    """Make the images that an arm adds, unless another arm has made them."""
    key = added_key(spec)
    if spec.adds is None or key in repetition.added:
        return
    draw, counts = repetition.draw, counts_of(plan, spec.usage)
    identity = {
        "key": key,
        "counts": counts,
        "recipe": asdict(plan.recipe(spec.generator, draw.manifest, draw.seeds)) if spec.generator else None,
        "data": draw.manifest.sha256,
        "seeds": asdict(draw.seeds),
        "updates": plan.updates if spec.usage["filter"] else None,  # of the filter's teachers
        "precision": plan.precision,
    }

    def make() -> synthetic_cache.Drawn:
        report.stage(f"Make images of {spec.name}{draw.label}")
        return _made(plan, repetition, spec, counts, test, workers, report)

    images, filter_report = synthetic_cache.kept_or_drawn(identity, make, reuse=plan.config.resume)
    repetition.added[key] = Added(spec.generator, spec.usage, _located(images, draw), filter_report)
    _tell_shortfall(spec, counts, images, plan, report)


def counts_of(plan: Plan, usage: Usage) -> tuple[int, ...]:
    """Added images per class."""
    strategy = usage["counts"]
    return strategy.counts(plan.counts) if isinstance(strategy, CountStrategy) else tuple(0 for _ in plan.counts)


def _made(
    plan: Plan,
    repetition: Repetition,
    spec: ArmSpec,
    counts: tuple[int, ...],
    test: guards.Fingerprint,
    workers: Workers,
    report: Reporter,
) -> synthetic_cache.Drawn:
    draw, seed = repetition.draw, repetition.draw.seeds.sampling
    if spec.adds == DUPLICATE:
        return duplicates(draw.real, counts, seed), None
    if spec.adds == SMOTE:
        return smote_images(draw.real.images, draw.real.labels, counts, seed=seed), None
    generator = repetition.trained[str(spec.generator)].generator
    how: dict[str, Any] = {"precision": plan.precision, "workers": workers}
    if spec.adds == LATENT_SMOTE:
        return latent_smote(generator, draw.real.images, draw.real.labels, counts, seed=seed, **how), None
    source, rule = spec.usage["source"], spec.usage["filter"]
    how = {**how, "real": draw.real, "source": source if isinstance(source, SourceStrategy) else None}

    def drawn(wanted: tuple[int, ...], turn: int) -> SyntheticSet:
        return synthesise(generator, wanted, seed=seed + 7919 * turn, on_progress=report.advance, **how)

    if not isinstance(rule, Teacher):
        return drawn(counts, 0), None
    guards.refuse_test_images(draw.real.images, test, "the images that the teachers keep")
    report.stage(f"Train teachers{draw.label}")
    teachers = Teachers.fit(
        draw.real,
        len(plan.data.classes),
        rule,
        updates=plan.updates,
        seed=draw.seeds.sampling,
        device=plan.device,
        precision=plan.precision,
        workers=workers,
    )
    kept, found = filtered(drawn, counts, teachers)
    return kept, found.to_json(plan.data.classes)


def _located(images: SyntheticSet, draw: Draw) -> SyntheticSet:
    """Every row names its nearest training image and its parent as indices into the data set's training part."""
    train = torch.tensor(draw.manifest.train)
    rows = tuple(
        {**row, "parent": int(train[row["parent"]])} if row.get("parent") is not None else row for row in images.rows
    )
    images = replace(images, rows=rows)
    if len(images.labels) == 0:
        return images
    index, distance = nearest(images.images, draw.real.images)
    return with_nearest(images, train[index], distance)


def _tell_shortfall(spec: ArmSpec, counts: tuple[int, ...], images: SyntheticSet, plan: Plan, report: Reporter) -> None:
    missing = sum(counts) - len(images.labels)
    if sum(counts) == 0:
        report.note(f"{spec.usage['counts']} asks for no images in arm {spec.name}: no class has a deficit.")
    elif missing:
        report.note(f"Arm {spec.name}: the filter kept {len(images.labels):,} of the {sum(counts):,} images wanted.")
