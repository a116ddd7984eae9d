"""A feature study with everything resolved and nothing computed yet: data, episodes, the generator's recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from augment.compute.device import Compute, choose_device, choose_precision
from augment.compute.workers import Workers
from augment.datasets import ImageSet, LabelledImages, regimes
from augment.datasets.regimes import Manifest
from augment.generator import UNLABELLED, Generator
from augment.progress import Reporter
from augment.results.features_result import FeaturesResult
from augment.results.study_result import Identity
from augment.seeds import torch_rng
from augment.storage import files
from augment.storage.hashing import content_hash
from augment.studies.features.config import FeaturesConfig
from augment.studies.features.episodes import Episodes, SearchDraw, default_ks, draw_episodes, draw_search
from augment.studies.features.identity import encode_of, identity_of
from augment.studies.features.layer_search import Candidates
from augment.studies.features.neighbour_graph import check_pool
from augment.studies.features.projection import check_points
from augment.studies.features.resolve import (
    check_alone,
    check_options,
    layers_asked,
    model_name,
    timesteps_of,
    untrained_candidates,
    untrained_model,
)
from augment.studies.identity import DataFacts
from augment.training import trained
from augment.training.recipe import Recipe

POOL_CLASS = "unlabelled"
REFERENCE_IMAGES = 5000
"""Unlabelled training images whose mean and deviation standardise the features."""


@dataclass(frozen=True, eq=False)
class FeaturesPlan:
    """A configuration with everything resolved.

    untrained: the model before training, from which its layers and timesteps are read.  own, others: what is to be
    compared on validation images for the trained model, and for the untrained one as a baseline, which may be at its
    best elsewhere.  search: the images for that, None where nothing is left to choose.
    """

    config: FeaturesConfig
    data: ImageSet
    compute: Compute
    untrained: Generator
    own: Candidates
    others: Candidates
    search: SearchDraw | None
    episodes: Episodes

    result: ClassVar[type[FeaturesResult]] = FeaturesResult

    @property
    def model(self) -> str:
        """The generator's registered name."""
        return self.untrained.name

    @property
    def semi_supervised(self) -> bool:
        """Does the generator learn from the k labels as well? Then there is one for every k and episode."""
        return self.untrained.tags.semi_supervised and self.config.generator is None

    @cached_property
    def encode_options(self) -> dict[str, Any]:
        """Options of the model's ``encode`` but for the timestep and the layer."""
        return encode_of(self.config, self.model)

    @cached_property
    def manifest(self) -> Manifest:
        """The pool the generator is trained on: all training images, without their labels."""
        return regimes.draw_split(
            torch.zeros(len(self.data.train), dtype=torch.int64),
            (len(self.data.train),),
            dataset=self.data.name,
            dataset_sha256=self.data.sha256,
            regime=POOL_CLASS,
            imbalance_factor=None,
            seed=self.config.seed,
        )

    @cached_property
    def reference(self) -> Tensor:
        """Indices, ascending, of the unlabelled training images that features are standardised by."""
        order = torch.randperm(len(self.data.train), generator=torch_rng(self.config.seed, "reference"))
        rows: Tensor = order[:REFERENCE_IMAGES].sort().values
        return rows

    @cached_property
    def rows(self) -> Tensor:
        """Indices, ascending, of the training images that probes are fitted on or features are standardised by."""
        rows: Tensor = torch.cat([self.episodes.all_rows, self.reference]).unique()
        return rows

    @cached_property
    def all_rows(self) -> Tensor:
        """:attr:`rows`, or all training images where the second stage or an export needs the whole pool."""
        whole = self.config.second_stage or self.config.export is not None
        return torch.arange(len(self.data.train)) if whole else self.rows

    def recipe(self, labelled: Tensor | None = None) -> Recipe:
        """How the generator is trained; ``labelled``: the images whose labels a semi-supervised one is shown."""
        shown = self.manifest.sha256 if labelled is None else content_hash([self.manifest.sha256, labelled.tolist()])
        return trained.make_recipe(
            self.model,
            self.config.options,
            classes=(POOL_CLASS,) if labelled is None else self.data.classes,
            data_sha256=shown,
            seed=self.config.seed,
            steps=self.config.steps,
            max_minutes=self.config.max_minutes,
            device=self.compute.device,
            precision=self.compute.precision,
        )

    def pool(self, labelled: Tensor | None = None) -> LabelledImages:
        """The training images as the generator sees them: without labels but for those of ``labelled``."""
        truth = self.data.train.labels
        if labelled is None:
            return LabelledImages(self.data.train.images, torch.zeros_like(truth))
        shown = torch.full_like(truth, UNLABELLED)
        shown[labelled] = truth[labelled]
        return LabelledImages(self.data.train.images, shown)

    @cached_property
    def identity(self) -> Identity:
        """Everything the result depends on."""
        return identity_of(self.config, DataFacts.of(self.data)).on(self.compute.device, self.compute.precision)

    @property
    def jobs(self) -> int:
        """Networks to train from scratch, and as many sets of probes."""
        return len(self.episodes.ks) * self.config.episodes

    @property
    def reuses(self) -> bool:
        """May a finished result be handed back? Features that are to be written are not kept with it."""
        return self.config.resume and self.config.export is None

    def on(self, workers: Workers) -> Self:
        """The same, with these to help."""
        return replace(self, compute=replace(self.compute, workers=workers))

    @property
    def folder(self) -> Path:
        """``<out>/<dataset>-features-<model>-<hash>``."""
        name = files.safe_name(Path(self.config.dataset).name or "images")
        return self.config.out / f"{name}-features-{self.model}-{self.identity.key[:10]}"


def prepare(config: FeaturesConfig, reporter: Reporter) -> FeaturesPlan:
    """Load the data and resolve every default; raises the error a person can act on before anything is computed."""
    check_names(config)
    model = model_name(config)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    data = config.load_data(reporter)
    _check_images(config, data)
    untrained = untrained_model(config, model, data)
    if untrained.tags.semi_supervised and config.generator is None:
        check_alone(config, untrained)
    own = Candidates(timesteps_of(config, untrained), layers_asked(config, untrained))
    others = untrained_candidates(own, untrained)
    labels, classes = data.train.labels, len(data.classes)
    to_choose = own.several or ("untrained" in config.baselines and others.several)
    search = draw_search(labels, classes, seed=config.seed) if to_choose else None
    taken = None if search is None else search.validation
    ks = config.labels_per_class or default_ks(labels, classes, taken=taken)
    return FeaturesPlan(
        config=config,
        data=data,
        compute=Compute(str(device), precision),
        untrained=untrained,
        own=own,
        others=others,
        search=search,
        episodes=draw_episodes(labels, classes, ks, config.episodes, seed=config.seed, taken=taken),
    )


def check_names(config: FeaturesConfig) -> None:
    """Check what can be known without the data: the model, its options and those of its ``encode``."""
    model = model_name(config)
    if config.generator is None:
        trained.check_model(model, config.options, config.steps)
    check_options(config, model)


def _check_images(config: FeaturesConfig, data: ImageSet) -> None:
    """Raise DataError where maps or the second stage would refuse so few training images after all training."""
    count, of = len(data.train), f"{data.name}: "
    for method in config.plots:
        check_points(method, min(count, REFERENCE_IMAGES), of)
    if config.second_stage:
        check_pool(count, of=of)
