"""One run: split, train a generator, synthesise, train every arm alike, score once on the test images.

The rules of evidence live here: the split comes first, the generator and every arm see training images only, all arms
have one budget, and a generative arm is judged against the best arm without synthetic images.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment import arms, evaluation, store, trained
from augment.arms import Budget
from augment.datasets import LabelledImages
from augment.document import Repetition, document
from augment.evaluation import Pending
from augment.metrics.memorisation import nearest
from augment.plan import Plan, prepare
from augment.progress import Reporter
from augment.regimes import Manifest
from augment.run_config import RunConfig, Seeds
from augment.sampling import as_uint8
from augment.scoring import Scoring, reconstructions, sample_like, split_references
from augment.synthesis import SyntheticSet, synthesise, with_nearest
from augment.trained import Trained
from augment.workers import Workers, side_by_side

PICTURED = 12
"""Held-out images whose reconstructions are drawn."""


@dataclass(frozen=True)
class Result:
    """A finished run: the document of ``result.json``, its folder, and whether it was there before."""

    document: dict[str, Any]
    folder: Path
    cached: bool

    @property
    def verdict(self) -> str:
        """One sentence: does the generator help?"""
        return str(self.document["verdict"])


def run(config: RunConfig, report: Reporter | None = None) -> Result:
    """Carry out a run, or hand back the result of an identical one that is there already.

    Whatever was finished before (the generator, single arms) is reused and marked ``cached``; an unfinished folder is
    resumed. With ``resume`` off everything is computed anew. Raises the errors of :mod:`augment.errors`.
    """
    report = report or Reporter()
    start = time.perf_counter()
    plan = prepare(config, report)
    folder = plan.folder
    found = store.finished(folder, plan.key) if config.resume else None
    if found is not None:
        report.note("Cached: this very run was finished before.")
        return Result(found, folder, cached=True)
    jobs = len(config.arms) * config.seeds
    with store.locked(folder), side_by_side(jobs, plan.device) as workers:
        with store.writing(folder):
            store.write_json(folder / "config.json", {**plan.identity, "dataset": config.dataset})
        finished = _carry_out(plan, workers, report)
        seconds = round(time.perf_counter() - start, 2)
        with store.writing(folder):
            finished = {**finished, "seconds": seconds, "folder": str(folder), "identity": plan.key}
            store.write_json(folder / "result.json", finished)
    return Result(finished, folder, cached=False)


def _carry_out(plan: Plan, workers: Workers, report: Reporter) -> dict[str, Any]:
    """All repetitions; baselines need no generator, so workers train them while the generators are trained here."""
    draws = [_draw(plan, index) for index in range(plan.config.seeds)]
    baselines = [_begin_baselines(plan, draw, workers) for draw in draws]
    made: list[tuple[Trained, SyntheticSet]] = []
    generative: list[Pending] = []
    for draw in draws:
        made.append(_generate(plan, draw, workers, report))
        generative.append(_begin_generative(plan, draw, made[-1][1], workers))
    scores = workers.submit(_scoring(plan, draws[0], made[0][0], workers, report).compute)
    report.stage("Train classifiers and score the samples")
    repetitions: list[Repetition] = []
    for draw, before, ours, (generator, synthetic) in zip(draws, baselines, generative, made, strict=True):
        report.advance(len(repetitions), len(draws))
        results = evaluation.collect([*before, ours], plan.data, draw.budget, workers)
        repetitions.append(Repetition(draw.seeds, draw.manifest, generator, synthetic, tuple(results)))
    (fidelity,) = workers.results([scores])
    return document(plan, repetitions, fidelity)


@dataclass(frozen=True)
class Draw:
    """One repetition before anything is trained; repetitions after the first have folders of their own."""

    label: str
    folder: Path
    seeds: Seeds
    manifest: Manifest
    real: LabelledImages
    budget: Budget


def _draw(plan: Plan, index: int) -> Draw:
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
        real=plan.data.train.subset(manifest.train),
        budget=Budget(plan.updates, seeds.classifier, plan.device, plan.precision),
    )


def _begin_baselines(plan: Plan, draw: Draw, workers: Workers) -> list[Pending]:
    names = [name for name in dict.fromkeys(plan.config.arms) if name != plan.config.model]
    return [_begin(plan, draw, arms.baseline(name, draw.real), workers) for name in names]


def _begin_generative(plan: Plan, draw: Draw, synthetic: SyntheticSet, workers: Workers) -> Pending:
    arm = arms.with_synthetic(plan.config.model, draw.real, synthetic.images, synthetic.labels)
    return _begin(plan, draw, arm, workers)


def _begin(plan: Plan, draw: Draw, arm: arms.Arm, workers: Workers) -> Pending:
    config = plan.config
    return evaluation.begin(arm, config.classifiers, plan.data, draw.budget, workers, reuse=config.resume)


def _generate(plan: Plan, draw: Draw, workers: Workers, report: Reporter) -> tuple[Trained, SyntheticSet]:
    """Train one repetition's generator and draw its synthetic images."""
    report.stage(f"Train {plan.config.model}{draw.label}")
    generator = _obtain_generator(plan, draw, report)
    report.stage(f"Synthesise{draw.label}")
    synthetic = _synthesise(plan, draw, generator, workers, report)
    if plan.config.save_images:
        images, labels, rows = synthetic.images, synthetic.labels, synthetic.rows
        store.save_class_folders(draw.folder / "synthetic", images, labels, plan.data.classes, rows)
    return generator, synthetic


def _obtain_generator(plan: Plan, draw: Draw, report: Reporter) -> Trained:
    fit, validation = trained.generator_parts(draw.manifest, plan.data.train)
    recipe = plan.recipe(draw.manifest, draw.seeds)
    folder = draw.folder / "generator"
    result = trained.obtain(recipe, plan.data.spec, fit, validation, folder, report, reuse=plan.config.resume)
    with store.writing(draw.folder):
        shutil.copy2(folder / "history.csv", draw.folder / "history.csv")
    result.generator.to(plan.device)
    return result


def _synthesise(plan: Plan, draw: Draw, generator: Trained, workers: Workers, report: Reporter) -> SyntheticSet:
    """The synthetic images, each with its nearest training image as an index into the data set's training part."""
    counts = plan.strategy.counts(plan.counts)
    synthetic = synthesise(
        generator.generator,
        counts,
        seed=draw.seeds.sampling,
        precision=plan.precision,
        workers=workers,
        on_progress=report.advance,
    )
    if len(synthetic.labels) == 0:
        report.note(f"Strategy {plan.strategy} asks for no synthetic images here: no class has a deficit.")
        return synthetic
    index, distance = nearest(synthetic.images, draw.real.images)
    return with_nearest(synthetic, torch.tensor(draw.manifest.train)[index], distance)


def _scoring(plan: Plan, draw: Draw, trained_one: Trained, workers: Workers, report: Reporter) -> Scoring:
    """Draw samples of the first repetition's generator, as many of each class as held-out images, and picture them."""
    data, generator, seed = plan.data, trained_one.generator, draw.seeds.sampling
    references = split_references(data.test, plan.config.fidelity_images, seed)
    report.stage("Draw samples to score")
    fake = sample_like(
        generator,
        references.held_out.labels,
        seed + 1,
        precision=plan.precision,
        workers=workers,
        on_progress=report.advance,
    )
    restored = reconstructions(generator, references.held_out)
    _draw_pictures(plan, fake, references.held_out, restored)
    return Scoring(
        dataset=plan.config.dataset,
        num_classes=len(data.classes),
        fake=fake,
        references=references,
        pool=draw.real,
        restored=restored,
        seed=seed,
    )


def _draw_pictures(plan: Plan, fake: LabelledImages, held_out: LabelledImages, restored: Tensor | None) -> None:
    from augment.report.pictures import class_grid, image_rows

    with store.writing(plan.folder):
        class_grid(fake.images, fake.labels, plan.data.classes).save(plan.folder / "samples.png")
        if restored is not None:
            rows = [held_out.images[:PICTURED], as_uint8(restored[:PICTURED])]
            image_rows(rows, ["held out", "reconstructed"]).save(plan.folder / "reconstructions.png")
