"""A run with everything resolved and nothing computed yet: data, counts, device, budget, arms, generators' recipes.

And of each repetition its draw: the split, the seed, and the images it is scored on, of which there must be enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from augment import registry
from augment.arms import ArmSpec, Budget, arms_of, parse_arm
from augment.arms.grammar import LATENT_SMOTE, Usage
from augment.classifiers import default_updates
from augment.classifiers.cart import check_components
from augment.compute.device import Compute, choose_device, choose_precision
from augment.compute.workers import Workers
from augment.datasets import ImageSet, LabelledImages, regimes
from augment.datasets.regimes import Manifest
from augment.errors import ConfigError, DataError, UsageError, unknown_name
from augment.evidence.guards import Fingerprint
from augment.generators.scoring import FEWEST
from augment.progress import Reporter
from augment.results.predictions import MANIFEST, repetition_folder
from augment.results.run_result import RunResult
from augment.results.study_result import Identity
from augment.seeds import numpy_rng
from augment.storage import files
from augment.studies.identity import DataFacts
from augment.studies.run.config import RunConfig
from augment.studies.run.identity import counts_of_regime, default_usage, identity_of, specs_of
from augment.synthesis.copies import check_decodes
from augment.synthesis.synthesis import check_generator
from augment.synthesis.teacher_filter import check_held_out
from augment.training import trained
from augment.training.recipe import Recipe

Part = Literal["test", "validation"]


def held_out(labels: Tensor, manifest: Manifest, most: int) -> tuple[int, ...]:
    """Indices of training images that a split left alone: the same number of every class, ``most`` in all.

    labels: of all training images ``(N,)``. Raises DataError where a class has none left.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    free[list(manifest.train)] = False
    shuffles = numpy_rng(manifest.seed, "validation of a run")
    classes = [
        shuffles.permutation(torch.nonzero(free & (labels == label)).flatten().numpy())
        for label in range(len(manifest.class_counts))
    ]
    each = min(max(1, most // len(classes)), *(len(members) for members in classes))
    if each == 0:
        raise DataError(
            f"{manifest.dataset}: No training images are left to validate on: a class is drawn whole. Take a smaller "
            "--size, or score on the test images, once all choices are made."
        )
    return tuple(sorted(int(index) for members in classes for index in members[:each]))


def check_scored(data: ImageSet, manifests: Iterable[Manifest], part: Part) -> None:
    """Raise DataError where a repetition would have too few images to score on, which is known before any training."""
    if part == "test":
        if len(data.test) < FEWEST:
            raise DataError(
                f"{data.name} has too few test images to score against: {len(data.test)}, and at least {FEWEST} are "
                "needed. Add images to its test part; where it has no parts, a fifth of each class is for testing."
            )
        return
    for manifest in manifests:
        rows = held_out(data.train.labels, manifest, len(data.test))
        if len(rows) < FEWEST:
            raise DataError(
                f"{data.name} has too few images to validate on: {len(rows)}, and at least {FEWEST} are needed, as "
                f"many of each class and no more than the {len(data.test)} test images. Take a smaller --size, or "
                "score on the test images, once all choices are made."
            )


@dataclass(frozen=True)
class Plan:
    """A configuration with everything resolved: data, counts, device, budget, arms. Nothing has been computed yet.

    test: of the test images.  usage: how synthetic images are used by arms that say nothing else.  generator_minutes:
    longest training of each generator; not part of the identity, as it follows from ``--max-minutes`` and the speed of
    the machine.
    """

    config: RunConfig
    data: ImageSet
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

    def manifest(self, seed: int) -> Manifest:
        """The split of one repetition; which classes are rare is the same in all."""
        return regimes.draw_split(
            self.data.train.labels,
            self.counts,
            dataset=self.data.name,
            dataset_sha256=self.data.sha256,
            regime=self.config.regime,
            imbalance_factor=self.config.imbalance_factor,
            seed=seed,
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
        return len(self.arms) * self.config.seeds

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
    test = Fingerprint(loaded.test.images)
    data = without_test_images(loaded, test, reporter)
    counts = counts_of_regime(config, DataFacts.of(data))
    reporter.note(regimes.draw_note(data.classes, data.train.counts(len(data.classes)), counts))
    usage = default_usage(counts, given)
    plan = Plan(
        config=config,
        data=data,
        test=test,
        counts=counts,
        usage=usage,
        arms=tuple(_arms(config, usage)),
        compute=Compute(str(device), precision),
        updates=config.updates or default_updates(sum(counts)),
    )
    _check_images(plan)
    return replace(plan, arms=tuple(_possible(plan, reporter)))


def _arms(config: RunConfig, usage: Usage) -> Iterator[ArmSpec]:
    """The arms that were asked for; of those for trees alone, the ones that a classifier of the run takes."""
    for name in config.arm_names:
        spec = replace(parse_arm(name, config.model, usage), trees_only=name in config.for_trees)
        if not spec.trees_only or any(map(spec.suits, config.classifiers)):
            yield spec


def _check_images(plan: Plan) -> None:
    """Raise DataError for a repetition that something after the generators' training would refuse for its images."""
    manifests = [plan.manifest(plan.config.seed + index) for index in range(plan.config.seeds)]
    check_scored(plan.data, manifests, plan.config.score_on)
    of_real = any(spec.adds is None and spec.suits("cart-pca") for spec in plan.arms)
    if of_real and "cart-pca" in plan.config.classifiers:
        for manifest in manifests:
            check_components(plan.data.train.images[list(manifest.train)], of=f"{plan.data.name}: ")


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

    data: the data set, with what is scored on as its test part.  budget: of every arm.
    """

    label: str
    folder: Path
    seed: int
    manifest: Manifest
    data: ImageSet
    real: LabelledImages
    budget: Budget


def draw_of(plan: Plan, index: int) -> Draw:
    """The split and seed of repetition ``index``."""
    config = plan.config
    seed = config.seed + index
    manifest = plan.manifest(seed)
    folder = repetition_folder(plan.folder, index)
    with files.writing(folder):
        files.write_json(folder / MANIFEST, manifest.to_json())
    return Draw(
        label=f" (seed {index + 1} of {config.seeds})" if config.seeds > 1 else "",
        folder=folder,
        seed=seed,
        manifest=manifest,
        data=_scored_on(plan, manifest),
        real=plan.data.train.subset(manifest.train),
        budget=Budget(plan.updates, seed, plan.compute.device, plan.compute.precision),
    )


def _scored_on(plan: Plan, manifest: Manifest) -> ImageSet:
    data = plan.data
    if plan.config.score_on == "test":
        return data
    rows = held_out(data.train.labels, manifest, len(data.test))
    return replace(data, test=data.train.subset(rows), sha256="")
