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

from augment import arms, evaluation, store, trained
from augment.arms import ArmResult, Budget
from augment.datasets import LabelledImages
from augment.document import Repetition, document
from augment.metrics.memorisation import nearest
from augment.plan import Plan, prepare
from augment.progress import Reporter
from augment.regimes import Manifest
from augment.run_config import RunConfig, Seeds
from augment.synthesis import SyntheticSet, synthesise, with_nearest
from augment.trained import Trained

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
    resumed. Raises the errors of :mod:`augment.errors`.
    """
    report = report or Reporter()
    start = time.perf_counter()
    plan = prepare(config, report)
    folder = plan.folder
    found = store.finished(folder, plan.key)
    if found is not None:
        report.note("Cached: this very run was finished before.")
        return Result(found, folder, cached=True)
    with store.locked(folder):
        with store.writing(folder):
            store.write_json(folder / "config.json", {**plan.identity, "dataset": config.dataset})
        repetitions = [_repeat(plan, index, report) for index in range(config.seeds)]
        report.stage("Score the samples")
        fidelity = _fidelity(plan, repetitions[0], report)
        finished = {
            **document(plan, repetitions, fidelity),
            "seconds": round(time.perf_counter() - start, 2),
            "folder": str(folder),
            "identity": plan.key,
        }
        with store.writing(folder):
            store.write_json(folder / "result.json", finished)
    return Result(finished, folder, cached=False)


def _repeat(plan: Plan, index: int, report: Reporter) -> Repetition:
    """One seed's split, generator, synthetic images and arms; seeds after the first have folders of their own."""
    config = plan.config
    seeds = Seeds.of(config.seed + index)
    label = f" (seed {index + 1} of {config.seeds})" if config.seeds > 1 else ""
    folder = plan.folder if index == 0 else plan.folder / f"seed-{index}"
    manifest = plan.manifest(seeds)
    with store.writing(folder):
        store.write_json(folder / "manifest.json", manifest.to_json())
    report.stage(f"Train {config.model}{label}")
    generator = _obtain_generator(plan, manifest, seeds, folder, report)
    real = plan.data.train.subset(manifest.train)
    report.stage(f"Synthesise{label}")
    synthetic = _synthesise(plan, generator, real, seeds, report)
    if config.save_images:
        classes = plan.data.classes
        store.save_class_folders(folder / "synthetic", synthetic.images, synthetic.labels, classes, synthetic.rows)
    results = _evaluate_arms(plan, real, synthetic, seeds, label, report)
    return Repetition(seeds, manifest, generator, synthetic, results)


def _obtain_generator(plan: Plan, manifest: Manifest, seeds: Seeds, folder: Path, report: Reporter) -> Trained:
    fit, validation = trained.generator_parts(manifest, plan.data.train)
    recipe = plan.recipe(manifest, seeds)
    result = trained.obtain(recipe, plan.data.spec, fit, validation, folder / "generator", report)
    with store.writing(folder):
        shutil.copy2(folder / "generator" / "history.csv", folder / "history.csv")
    result.generator.to(plan.device)
    return result


def _synthesise(plan: Plan, generator: Trained, real: LabelledImages, seeds: Seeds, report: Reporter) -> SyntheticSet:
    counts = plan.strategy.counts(plan.counts)
    synthetic = synthesise(generator.generator, counts, seed=seeds.sampling, on_progress=report.advance)
    if len(synthetic.labels) == 0:
        report.note(f"Strategy {plan.strategy} asks for no synthetic images here: no class has a deficit.")
        return synthetic
    return with_nearest(synthetic, *nearest(synthetic.images, real.images))


def _evaluate_arms(
    plan: Plan, real: LabelledImages, synthetic: SyntheticSet, seeds: Seeds, label: str, report: Reporter
) -> tuple[ArmResult, ...]:
    config = plan.config
    budget = Budget(plan.updates, seeds.classifier, plan.device, plan.precision)
    entries = [arms.baseline(name, real) for name in config.arms if name != config.model]
    entries.append(arms.with_synthetic(config.model, real, synthetic.images, synthetic.labels))
    results: list[ArmResult] = []
    for arm in entries:
        report.stage(f"Train classifiers: {arm.name}{label}")
        results += evaluation.evaluate_cached(arm, config.classifiers, plan.data, budget)
    return tuple(results)


def _fidelity(plan: Plan, first: Repetition, report: Reporter) -> dict[str, Any]:
    """Score samples of the first seed's generator, and draw them."""
    from augment.metrics.extractors import load_extractor
    from augment.scoring import sample_like, score_samples, split_references

    data, generator, seed = plan.data, first.trained.generator, first.seeds.sampling
    pool = data.train.subset(first.manifest.train)
    extractor = load_extractor(
        plan.config.dataset,
        data.spec.channels,
        images=pool.images,
        labels=pool.labels,
        num_classes=len(data.classes),
    )
    references = split_references(data.test, plan.config.fidelity_images, seed)
    fake = sample_like(generator, references.held_out.labels, seed + 1)
    report.advance(1, 2)
    scores = score_samples(fake, references, extractor, train=pool, generator=generator, seed=seed)
    _draw_pictures(plan, first, fake, references.held_out)
    return scores.to_json()


def _draw_pictures(plan: Plan, first: Repetition, fake: LabelledImages, held_out: LabelledImages) -> None:
    from augment.report.pictures import class_grid, image_rows
    from augment.scoring import reconstructions
    from augment.synthesis import as_uint8

    generator = first.trained.generator
    with store.writing(plan.folder):
        class_grid(fake.images, fake.labels, plan.data.classes).save(plan.folder / "samples.png")
        if generator.tags.reconstructs:
            originals = held_out.images[:PICTURED]
            restored = as_uint8(reconstructions(generator, originals))
            picture = image_rows([originals, restored], ["held out", "reconstructed"])
            picture.save(plan.folder / "reconstructions.png")
