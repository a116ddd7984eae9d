"""Where a study's features come from: a generator trained on the unlabelled pool, or read, and encoded once.

Features are kept on disk by the content of images, weights, options and code, so that nothing is encoded twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from augment.compute.device import CPU, Compute
from augment.compute.encoding import OnProgress, encode_set
from augment.compute.workers import Workers
from augment.generator import Generator
from augment.progress import Reporter
from augment.registry.capabilities import encode_options
from augment.results.features_result import SearchMap
from augment.storage.cache import kept_parts
from augment.storage.files import write_bytes
from augment.storage.hashing import content_hash, tensors_hash
from augment.storage.locations import cache_folder
from augment.studies.features.few_labels import FeatureTable
from augment.studies.features.layer_search import Candidates, search
from augment.studies.features.plan import FeaturesPlan
from augment.training import trained
from augment.training.trained import Trained, load_trained, plugin_code


class FeatureCache:
    """Features kept on disk by the content of images, weights, options and code.

    folder: where they are kept; it need not exist. A folder that cannot be written only means encoding again.
    reporter: is told where another process encodes the same and is waited for.
    """

    def __init__(self, folder: Path, reporter: Reporter | None = None) -> None:
        self.folder = folder
        self.reporter = reporter or Reporter()

    def encode(
        self,
        generator: Generator,
        images: Tensor,
        *,
        layers: Sequence[str | None] = (None,),
        compute: Compute = CPU,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> list[Tensor]:
        """As :func:`encode_set`; layers that were encoded before are read, the others come out of one pass."""
        base = [_identity(generator), tensors_hash(images), compute.precision, _complete(generator, options)]
        found = kept_parts(
            self.folder / content_hash(base),
            {name: self._file(base, name) for name in dict.fromkeys(layers)},
            lambda missing: dict(
                zip(
                    missing,
                    encode_set(
                        generator,
                        images,
                        layers=missing,
                        compute=compute,
                        on_progress=on_progress,
                        **options,
                    ),
                    strict=True,
                )
            ),
            read=_read,
            write=lambda file, features: write_bytes(file, save({"features": features.contiguous()})),
            waiting=self._waiting,
        )
        return [found[name] for name in layers]

    def _waiting(self) -> None:
        self.reporter.note("Waiting for another process that encodes the same images.")

    def _file(self, base: Sequence[Any], layer: str | None) -> Path:
        return self.folder / f"{content_hash([*base, layer])}.safetensors"


def _identity(generator: Generator) -> str:
    """Hash of a generator's class, options, code and weights."""
    parts: list[Tensor | str] = [f"{generator.name} {plugin_code(type(generator))} {generator.config!r}"]
    for name, tensor in generator.state_dict().items():
        parts += [name, tensor]
    return tensors_hash(*parts)


def _complete(generator: Generator, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``encode`` with their defaults, without the layer."""
    return {name: value for name, value in {**encode_options(type(generator)), **options}.items() if name != "layer"}


def _read(file: Path) -> Tensor | None:
    try:
        return load_file(file)["features"]
    except (OSError, KeyError, SafetensorError):
        return None


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
