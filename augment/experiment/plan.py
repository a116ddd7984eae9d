"""A run with everything resolved and nothing computed yet: data, counts, device, budget, arms, generators' recipes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from augment import regimes, registry, store, trained
from augment.arms import ArmSpec, arms_of, parse_arm
from augment.arms.grammar import LATENT_SMOTE
from augment.classifiers import default_updates
from augment.datasets import ImageSet
from augment.device import choose_device, choose_precision
from augment.errors import DataError, UsageError, unknown_name
from augment.evidence.guards import Fingerprint
from augment.experiment.config import NOT_IDENTITY, RunConfig, Seeds
from augment.experiment.recipe import default_usage
from augment.progress import Reporter
from augment.regimes import Manifest
from augment.synthetic.smote import check_decodes
from augment.synthetic.sources import check_source
from augment.synthetic.strategies import SourceStrategy, Usage
from augment.trained import Recipe

SCHEMA = "augment.run/3"


@dataclass(frozen=True)
class Plan:
    """A configuration with everything resolved: data, counts, device, budget, arms. Nothing has been computed yet.

    usage: how synthetic images are used by arms that say nothing else.  generator_minutes: longest training of each
    generator; not part of the identity, as it follows from ``--max-minutes`` and the speed of the machine.
    """

    config: RunConfig
    data: ImageSet
    counts: tuple[int, ...]
    usage: Usage
    arms: tuple[ArmSpec, ...]
    device: str
    precision: str
    updates: int
    generator_minutes: float | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Generators to train, the run's own first."""
        others = (arm.generator for arm in self.arms if arm.generator is not None)
        return tuple(dict.fromkeys([self.config.model, *others]))

    def manifest(self, seeds: Seeds) -> Manifest:
        """The split of one repetition; which classes are rare is the same in all."""
        return regimes.draw_split(
            self.data.train.labels,
            self.counts,
            dataset=self.data.name,
            dataset_sha256=self.data.sha256,
            regime=self.config.regime,
            imbalance_factor=self.config.imbalance_factor,
            seed=seeds.subset,
        )

    def recipe(self, model: str, manifest: Manifest, seeds: Seeds) -> Recipe:
        """How a generator of one repetition is trained."""
        return trained.make_recipe(
            model,
            self.config.options_of(model),
            classes=self.data.classes,
            data_sha256=manifest.sha256,
            seed=seeds.generator,
            steps=self.config.steps,
            max_minutes=self.generator_minutes,
            device=self.device,
            precision=self.precision,
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything the result depends on."""
        seeds = Seeds.of(self.config.seed)
        manifest = self.manifest(seeds)
        return {
            "schema": SCHEMA,
            "config": self.config.model_dump(mode="json", exclude=NOT_IDENTITY),
            "counts": self.counts,
            "strategy": str(self.usage),
            "arms": [arm.name for arm in self.arms],
            "updates": self.updates,
            "recipes": {
                model: {**asdict(self.recipe(model, manifest, seeds)), "max_seconds": None} for model in self.models
            },
        }

    @cached_property
    def key(self) -> str:
        """Hash of the identity."""
        return store.content_hash(self.identity)

    @property
    def folder(self) -> Path:
        """``<out>/<dataset>-<regime>-<model>-<hash>``."""
        name = store.safe_name(Path(self.config.dataset).name or "images")
        return self.config.out / f"{name}-{self.config.regime}-{self.config.model}-{self.key[:10]}"


def prepare(config: RunConfig, report: Reporter) -> Plan:
    """Load the data and resolve every default; raises the error a person can act on before anything is computed."""
    given = None if config.strategy is None else Usage.parse(config.strategy)
    for name in config.arm_names:
        parse_arm(name, config.model, given or Usage())
    device = choose_device(config.device)
    data = without_test_images(config.load_data(report), report)
    counts = regimes.class_counts(
        config.regime,
        data.train.counts(len(data.classes)),
        size=config.size,
        imbalance_factor=config.imbalance_factor,
        explicit=config.class_counts,
        seed=config.seed,
    )
    usage = default_usage(counts, given)
    plan = Plan(
        config=config,
        data=data,
        counts=counts,
        usage=usage,
        arms=tuple(parse_arm(name, config.model, usage) for name in config.arm_names),
        device=str(device),
        precision=choose_precision(config.precision, device),
        updates=config.updates or default_updates(sum(counts)),
    )
    _check_models(plan)
    return replace(plan, arms=tuple(arm for arm in plan.arms if _possible(plan, arm, report)))


def without_test_images(data: ImageSet, report: Reporter) -> ImageSet:
    """The set without training images that are, pixel for pixel, test images, too; says how many were left out."""
    known = Fingerprint(data.test.images).contains(data.train.images)
    if not bool(known.any()):
        return data
    kept = (~known).nonzero()[:, 0]
    note = f"{int(known.sum()):,} training images are test images, too, pixel for pixel; training leaves them out."
    report.note(note)
    if not len(kept):
        raise DataError(f"{data.name}: every training image is a test image, too. Give parts that differ.")
    return replace(data, train=data.train.subset(kept), sha256="", notes=(*data.notes, note))


def _possible(plan: Plan, arm: ArmSpec, report: Reporter) -> bool:
    """Can its generator make the arm? One of a named set that it cannot is left out; one asked for is an error."""
    try:
        _check_capabilities(plan, arm)
    except UsageError as error:
        if arm.name in arms_of(plan.config.arms, None, plan.config.model):
            raise
        report.note(f"Set {plan.config.arm_set!r} without {arm.name}: {error}")
        return False
    return True


def _check_models(plan: Plan) -> None:
    """Models, their options, and that every option has a generator it belongs to."""
    for model in plan.models:
        trained.check_model(model, plan.config.options_of(model), plan.config.steps)
    for key in plan.config.options:
        owner = key.partition(".")[0]
        if "." in key and owner not in plan.models:
            known = registry.registered()
            hint = (
                f"No arm uses {owner!r}; add --arm {owner}." if owner in known else unknown_name("model", owner, known)
            )
            raise UsageError(f"--set {key}: {hint}")


def _check_capabilities(plan: Plan, arm: ArmSpec) -> None:
    """Can the generator do what the arm wants of it? Known only of an instance, as options may switch tags off."""
    source = arm.usage["source"]
    if arm.generator is None or (arm.adds != LATENT_SMOTE and source is None):
        return
    with torch.random.fork_rng(devices=[]):
        generator = registry.create(arm.generator, plan.data.spec, dict(plan.config.options_of(arm.generator)))
    if isinstance(source, SourceStrategy):
        check_source(generator, source)
    if arm.adds == LATENT_SMOTE:
        check_decodes(generator)
