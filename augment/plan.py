"""A run with everything resolved and nothing computed yet: data, counts, device, budget, the generator's recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from augment import arms, regimes, store, trained
from augment.classifiers import default_updates
from augment.datasets import ImageSet
from augment.device import choose_device, choose_precision
from augment.progress import Reporter
from augment.regimes import Manifest
from augment.run_config import NOT_IDENTITY, RunConfig, Seeds
from augment.synthesis import Strategy, default_strategy
from augment.trained import Recipe

SCHEMA = "augment.run/1"


@dataclass(frozen=True)
class Plan:
    """A configuration with everything resolved: data, counts, device, budget, recipe. Nothing has been computed yet."""

    config: RunConfig
    data: ImageSet
    counts: tuple[int, ...]
    strategy: Strategy
    device: str
    precision: str
    updates: int

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

    def recipe(self, manifest: Manifest, seeds: Seeds) -> Recipe:
        """How the generator of one repetition is trained."""
        return trained.make_recipe(
            self.config.model,
            self.config.options,
            classes=self.data.classes,
            data_sha256=manifest.sha256,
            seed=seeds.generator,
            steps=self.config.steps,
            max_minutes=self.config.max_minutes,
            device=self.device,
            precision=self.precision,
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything the result depends on."""
        seeds = Seeds.of(self.config.seed)
        return {
            "schema": SCHEMA,
            "config": self.config.model_dump(mode="json", exclude=NOT_IDENTITY),
            "counts": self.counts,
            "strategy": str(self.strategy),
            "updates": self.updates,
            "recipe": asdict(self.recipe(self.manifest(seeds), seeds)),
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
    trained.check_model(config.model, config.options, config.steps)
    for name in config.arms:
        arms.check_arm(name, config.model)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    data = config.load_data(report)
    counts = regimes.class_counts(
        config.regime,
        data.train.counts(len(data.classes)),
        size=config.size,
        imbalance_factor=config.imbalance_factor,
        explicit=config.class_counts,
        seed=config.seed,
    )
    return Plan(
        config=config,
        data=data,
        counts=counts,
        strategy=Strategy.parse(config.strategy) if config.strategy else default_strategy(counts),
        device=str(device),
        precision=precision,
        updates=config.updates or default_updates(sum(counts)),
    )
