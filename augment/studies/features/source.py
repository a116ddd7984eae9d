"""Where a study's features come from: a generator trained on the unlabelled pool, or read, and encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from augment.compute.encoding import encode_set
from augment.compute.workers import Workers
from augment.generator import Generator
from augment.progress import Reporter
from augment.results.features_result import SearchMap
from augment.storage.locations import cache_folder
from augment.studies.features.cache import FeatureCache
from augment.studies.features.few_labels import FeatureTable
from augment.studies.features.layer_search import Candidates, search
from augment.studies.features.plan import FeaturesPlan
from augment.training import trained
from augment.training.trained import Trained, load_trained


def generator_folders(plan: FeaturesPlan) -> list[Path]:
    """Where the generators of a study are kept, in the order of their training; none where a saved one is studied."""
    if plan.config.generator is not None:
        return []
    if not plan.semi_supervised:
        return [plan.folder / "generator"]
    episodes = range(1, len(plan.episodes.seeds) + 1)
    return [plan.folder / "generators" / f"k{k}-episode{index}" for k in plan.episodes.ks for index in episodes]


@dataclass(frozen=True)
class FeatureSource:
    """Trains, encodes and chooses for one plan."""

    plan: FeaturesPlan
    reporter: Reporter

    def obtain(self, labelled: Tensor | None = None, number: int = 0) -> Trained:
        """The generator: the saved one, one that was trained before, or trained now.

        labelled: training images whose labels a semi-supervised generator is shown.  number: its place among
        :func:`generator_folders`.
        """
        plan = self.plan
        if plan.config.generator is not None:
            found = _saved(plan)
        else:
            manifest, pool = plan.manifest, plan.pool(labelled)
            spec = plan.untrained.spec
            fit, validation = trained.generator_parts(manifest, pool)
            found = trained.obtain(
                plan.recipe(labelled),
                spec,
                fit,
                validation,
                generator_folders(plan)[number],
                self.reporter,
                reuse=plan.config.resume,
            )
        found.generator.to(plan.compute.device)
        return found

    def encode(
        self, generator: Generator, images: Tensor, t: int | None, layers: Sequence[str | None], detail: str = ""
    ) -> list[Tensor]:
        """Features of uint8 images, one tensor per layer; read where they were encoded before."""
        plan = self.plan
        cache = FeatureCache(cache_folder() / "features", self.reporter)
        busy = plan.compute.queue.waiting  # with work enough
        encode: Any = cache.encode if plan.config.resume else encode_set
        found: list[Tensor] = encode(
            generator,
            images,
            layers=layers,
            compute=replace(plan.compute, workers=Workers(0)) if busy else plan.compute,
            on_progress=lambda done, total: self.reporter.advance(done, total, detail),
            **({} if t is None else {"t": t}),
            **plan.encode_options,
        )
        return found

    def table(self, generator: Generator, rows: Tensor, t: int | None, layer: str | None) -> FeatureTable:
        """Standardised features of training images ``rows``, which contain the reference, and of all test images."""
        data = self.plan.data
        (train,) = self.encode(generator, data.train.images[rows], t, [layer], "training images")
        (test,) = self.encode(generator, data.test.images, t, [layer], "test images")
        return FeatureTable.standardised(rows, train, test, self.plan.reference)

    def search(self, generator: Generator, among: Candidates) -> SearchMap | None:
        """The map over timesteps and layers on validation images; None where there is nothing to choose."""
        plan = self.plan
        draw = plan.search
        if draw is None or not among.several:
            return None
        images = plan.data.train.images[draw.all_rows]
        return search(
            draw,
            plan.data.train.labels,
            lambda t, layers: self.encode(generator, images, t, layers, f"t {t}"),
            among=among,
            probe=plan.config.probes[0],
            on_progress=self.reporter.advance,
        )


def _saved(plan: FeaturesPlan) -> Trained:
    """The generator of ``--generator``; what its training cost is known where it was trained by us."""
    folder = plan.config.generator
    assert folder is not None
    return load_trained(folder, cached=True)


def pixels(plan: FeaturesPlan) -> FeatureTable:
    """Pixels as features, standardised alike."""
    rows = plan.all_rows
    train, test = (images.flatten(1).float() / 255 for images in (plan.data.train.images[rows], plan.data.test.images))
    return FeatureTable.standardised(rows, train, test, plan.reference)
