"""A run with everything resolved and nothing computed yet: data, counts, device, budget, arms, generators' recipes.

And of each repetition its draw: the split, the seed, and the images it is scored on, of which there must be enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from augment import registry
from augment.arms.evaluation import Budget
from augment.arms.grammar import LATENT_SMOTE, ArmSpec, Usage, arms_of, parse_arm
from augment.classifiers.cart import check_components
from augment.classifiers.cnn import default_updates
from augment.compute.device import Compute, choose_device, choose_precision
from augment.compute.workers import Workers
from augment.datasets import ImageSet, LabelledImages, regimes
from augment.datasets.catalogue import DESCRIPTIONS
from augment.datasets.image_set import SPLIT_RULE
from augment.datasets.regimes import Manifest
from augment.datasets.splits import Split
from augment.errors import ConfigError, DataError, UsageError, unknown_name
from augment.evidence.data_checks import resolution_note
from augment.evidence.guards import Fingerprint
from augment.generators.scoring import FEWEST
from augment.progress import Reporter
from augment.results.predictions import MANIFEST, repetition_folder
from augment.results.run_result import RunResult
from augment.results.study_result import Identity
from augment.storage import files
from augment.studies.identity import DataFacts
from augment.studies.run.config import RunConfig
from augment.studies.run.identity import counts_among, counts_of_regime, default_usage, identity_of, specs_of
from augment.studies.run.pool import Pool, held_out
from augment.synthesis.copies import check_decodes
from augment.synthesis.synthesis import check_generator
from augment.synthesis.teacher_filter import check_held_out
from augment.training import trained
from augment.training.recipe import Recipe


def check_scored(plan: Plan) -> None:
    """Raise DataError where a repetition would have too few images to score on, which is known before any training."""
    for index in range(plan.config.repetitions):
        rows = plan.scored_rows(index)
        n = len(plan.data.test) if rows is None else len(rows)
        if n >= FEWEST:
            continue
        if plan.config.score_on == "test":
            raise DataError(
                f"{plan.data.name} has too few test images to score against: {n}, and at least {FEWEST} are needed. "
                f"Add images{' to its test part' if plan.data.own_test else ''}, or take another --split."
            )
        raise DataError(
            f"{plan.data.name} has too few images to validate on: {n}, and at least {FEWEST} are needed, as many of "
            f"each class and no more than the {len(plan.data.test)} test images. Take a smaller --size, or score on "
            "the test images, once all choices are made."
        )


@dataclass(frozen=True)
class Plan:
    """A configuration with everything resolved: data, counts, device, budget, arms. Nothing has been computed yet.

    pool: what repetitions draw from.  test: of the test images that are given.  counts: real images of each class in
    the first repetition.  usage: how synthetic images are used by arms that say nothing else.  generator_minutes:
    longest training of each generator; not part of the identity, as it follows from ``--max-minutes`` and the speed of
    the machine.
    """

    config: RunConfig
    data: ImageSet
    pool: Pool
    test: Fingerprint
    counts: tuple[int, ...]
    usage: Usage
    arms: tuple[ArmSpec, ...]
    compute: Compute
    updates: int
    generator_minutes: float | None = None

    result: ClassVar[type[RunResult]] = RunResult

    @property
    def models(self) -> tuple[str, ...]:
        """Generators to train, the run's own first."""
        others = (arm.generator for arm in self.arms if arm.generator is not None)
        return tuple(dict.fromkeys([self.config.model, *others]))

    def parts(self, index: int) -> tuple[Tensor, Tensor]:
        """Rows of the pool that a repetition may train on, and those that a split of its own tests."""
        of_all = self.pool.split.kind == "kfold"
        seed = self.config.seed if of_all else self.config.seed + index
        return self.pool.parts(len(self.data.classes), seed, index)

    def available(self, index: int) -> tuple[int, ...]:
        """Images of each class that a repetition may draw."""
        rows, _ = self.parts(index)
        return tuple(torch.bincount(self.pool.images.labels[rows], minlength=len(self.data.classes)).tolist())

    def scored_rows(self, index: int) -> tuple[int, ...] | None:
        """Rows of the pool that a repetition is scored on; None for the test part that is given."""
        rows, tested = self.parts(index)
        if self.config.score_on == "validation":
            most = len(tested) or len(self.data.test)
            return held_out(self.pool.images.labels, self.manifest(index), most, rows)
        return tuple(tested.tolist()) if len(tested) else None

    def manifest(self, index: int) -> Manifest:
        """The images of one repetition; which classes are rare is the same in all."""
        rows, _ = self.parts(index)
        return regimes.draw_split(
            self.pool.images.labels,
            counts_among(self.config, self.available(index)),
            dataset=self.data.name,
            dataset_sha256=self.data.sha256,
            regime=self.config.regime,
            imbalance_factor=self.config.imbalance_factor,
            seed=self.config.seed + index,
            rows=rows,
        )

    def recipe(self, model: str, manifest: Manifest, seed: int) -> Recipe:
        """How a generator of one repetition is trained."""
        return trained.make_recipe(
            model,
            self.config.options_of(model),
            classes=self.data.classes,
            data_sha256=manifest.sha256,
            seed=seed,
            steps=self.config.steps,
            max_minutes=self.generator_minutes,
            device=self.compute.device,
            precision=self.compute.precision,
        )

    @cached_property
    def identity(self) -> Identity:
        """Everything the result depends on."""
        return identity_of(self.config, DataFacts.of(self.data)).on(self.compute.device, self.compute.precision)

    @property
    def jobs(self) -> int:
        """Arms to train, over all repetitions."""
        return len(self.arms) * self.config.repetitions

    @property
    def reuses(self) -> bool:
        """May a finished result be handed back?"""
        return self.config.resume

    def on(self, workers: Workers) -> Self:
        """The same, with these to help."""
        return replace(self, compute=replace(self.compute, workers=workers))

    @property
    def folder(self) -> Path:
        """``<out>/<dataset>-<regime>-<model>-<hash>``."""
        name = files.safe_name(Path(self.config.dataset).name or "images")
        return self.config.out / f"{name}-{self.config.regime}-{self.config.model}-{self.identity.key[:10]}"


def prepare(config: RunConfig, reporter: Reporter) -> Plan:
    """Load the data and resolve every default; raises the error a person can act on before anything is computed.

    What can be known without the data is checked before they are loaded.
    """
    check_names(config)
    given = None if config.strategy is None else Usage.parse(config.strategy)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    loaded = config.load_data(reporter)
    config = config.divided(own_test=loaded.own_test)
    test, split = Fingerprint(loaded.test.images), Split.parse(config.split)
    data = without_test_images(loaded, test, reporter) if split.kind == "given" else _without_a_rule(loaded)
    counts = counts_of_regime(config, DataFacts.of(data))
    usage = default_usage(counts, given)
    plan = Plan(
        config=config,
        data=data,
        pool=Pool.of(data, split),
        test=test,
        counts=counts,
        usage=usage,
        arms=tuple(_arms(config, usage)),
        compute=Compute(str(device), precision),
        updates=config.updates or default_updates(sum(counts)),
    )
    plan = replace(plan, counts=plan.manifest(0).class_counts)
    plan = _told(plan, reporter)
    _check_images(plan)
    return replace(plan, arms=tuple(_possible(plan, reporter)))


def _without_a_rule(data: ImageSet) -> ImageSet:
    """The set without the note on how a test part was cut off, where every repetition cuts off its own."""
    return replace(data, notes=tuple(note for note in data.notes if SPLIT_RULE not in note))


def _told(plan: Plan, reporter: Reporter) -> Plan:
    """Say before anything is trained which images are used, and how small a difference own test images can show."""
    notes = [regimes.draw_note(plan.data.classes, plan.available(0), plan.counts)]
    own = plan.pool.split.kind != "given"
    parts = [plan.parts(index)[1] for index in range(plan.config.repetitions)]
    tested = len(torch.cat(parts).unique()) if own else len(plan.data.test)
    if own:
        folds = plan.pool.split.kind == "kfold"
        quick = f" ({'' if folds else '--seeds 1 is a quick look, '}--dry-run says how long all take)"
        others = f", others in each of {len(parts)} repetitions{quick}" if len(parts) > 1 else ""
        of = f"{len(parts[0]):,} of {len(plan.pool.images):,} images"
        notes.append(f"Split {plan.pool.split}: {of} are for testing{others}.")
    if plan.config.dataset not in DESCRIPTIONS:
        notes.append(resolution_note(tested, drawn_anew=own))
    for note in notes:
        reporter.note(note)
    return replace(plan, data=replace(plan.data, notes=(*plan.data.notes, *notes[1:])))


def _arms(config: RunConfig, usage: Usage) -> Iterator[ArmSpec]:
    """The arms that were asked for; of those for trees alone, the ones that a classifier of the run takes."""
    for name in config.arm_names:
        spec = replace(parse_arm(name, config.model, usage), trees_only=name in config.for_trees)
        if not spec.trees_only or any(map(spec.suits, config.classifiers)):
            yield spec


def _check_images(plan: Plan) -> None:
    """Raise DataError for a repetition that something after the generators' training would refuse for its images."""
    manifests = [plan.manifest(index) for index in range(plan.config.repetitions)]
    check_scored(plan)
    of_real = any(spec.adds is None and spec.suits("cart-pca") for spec in plan.arms)
    if of_real and "cart-pca" in plan.config.classifiers:
        for manifest in manifests:
            check_components(plan.pool.images.images[list(manifest.train)], of=f"{plan.data.name}: ")


def check_names(config: RunConfig) -> None:
    """Check what can be known without the data: models, their options, arms, strategy.

    Raises the error a person can act on.
    """
    trained.check_model(config.model, config.options_of(config.model), config.steps)
    _check_models(config, specs_of(config))


def without_test_images(data: ImageSet, test: Fingerprint, reporter: Reporter) -> ImageSet:
    """The set without training images that are, pixel for pixel, test images, too; says how many were left out."""
    known = test.contains(data.train.images)
    if not bool(known.any()):
        return data
    kept = (~known).nonzero()[:, 0]
    note = f"{int(known.sum()):,} training images are test images, too, pixel for pixel; training leaves them out."
    reporter.note(note)
    if not len(kept):
        raise DataError(f"{data.name}: every training image is a test image, too. Give parts that differ.")
    return replace(data, train=data.train.subset(kept), sha256="", notes=(*data.notes, note))


def _check_models(config: RunConfig, specs: Sequence[ArmSpec]) -> None:
    """Models, their options, and that every option has a generator it belongs to."""
    models = {config.model, *(spec.generator for spec in specs if spec.generator is not None)}
    for model in sorted(models):
        trained.check_model(model, config.options_of(model), config.steps)
    for key in config.options:
        owner = key.partition(".")[0]
        if "." in key and owner not in models:
            known = registry.registered()
            use = f"No arm uses {owner!r}; add --arm {owner}."
            raise UsageError(f"--set {key}: {use if owner in known else unknown_name('model', owner, known)}")


def _possible(plan: Plan, reporter: Reporter) -> Iterator[ArmSpec]:
    """The arms that their generators can make; one of a named set that it cannot is left out with a note.

    Known only of an instance, as options may switch capabilities off. Raises what a generator lacks for an arm that was
    asked for by name, before any is trained.
    """
    asked = arms_of(plan.config.arms, None, plan.config.model)
    with torch.random.fork_rng(devices=[]):
        made = {
            model: registry.create(model, plan.data.spec, dict(plan.config.options_of(model))) for model in plan.models
        }
    for arm in plan.arms:
        try:
            if arm.adds == LATENT_SMOTE:
                check_decodes(made[str(arm.generator)])
            elif arm.generator is not None:
                counts = counts_of(arm.usage, plan.counts)
                check_generator(made[arm.generator], counts, plan.counts, arm.usage.source)
                if arm.usage.filter is not None:
                    check_held_out(plan.counts)
        except (ConfigError, DataError, UsageError) as error:
            if arm.name in asked:
                raise
            reporter.note(f"Set {plan.config.arm_set!r} without {arm.name}: {error}")
            continue
        yield arm


def counts_of(usage: Usage, real: Sequence[int]) -> tuple[int, ...]:
    """Added images per class, for ``real`` ones."""
    return tuple(0 for _ in real) if usage.counts is None else usage.counts.counts(real)


@dataclass(frozen=True)
class Draw:
    """One repetition before anything is trained; repetitions after the first have folders of their own.

    data: the data set, with what is scored on as its test part.  test: images that nothing may be trained on or chosen
    by.  budget: of every arm.
    """

    label: str
    folder: Path
    seed: int
    manifest: Manifest
    data: ImageSet
    test: Fingerprint
    real: LabelledImages
    budget: Budget


def draw_of(plan: Plan, index: int) -> Draw:
    """The split and seed of repetition ``index``."""
    config = plan.config
    seed = config.seed + index
    manifest = plan.manifest(index)
    _, tested = plan.parts(index)
    pool = plan.pool.images
    folder = repetition_folder(plan.folder, index)
    with files.writing(folder):
        files.write_json(folder / MANIFEST, manifest.to_json())
    return Draw(
        label=f" (seed {index + 1} of {config.repetitions})" if config.repetitions > 1 else "",
        folder=folder,
        seed=seed,
        manifest=manifest,
        data=_scored_on(plan, index),
        test=Fingerprint(pool.images[tested]) if len(tested) else plan.test,
        real=pool.subset(manifest.train),
        budget=Budget(plan.updates, seed, plan.compute.device, plan.compute.precision),
    )


def _scored_on(plan: Plan, index: int) -> ImageSet:
    rows = plan.scored_rows(index)
    return plan.data if rows is None else replace(plan.data, test=plan.pool.images.subset(rows), sha256="")
