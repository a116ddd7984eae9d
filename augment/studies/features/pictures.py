"""Images that a feature study keeps for whoever draws it: maps of the features, samples, reconstructions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.compute.sampling import as_uint8, sample_images
from augment.compute.workers import Job
from augment.datasets import LabelledImages
from augment.generator import Generator
from augment.generators.scoring import reconstructions
from augment.results.contact_sheets import image_rows
from augment.results.embeddings import Embedding, Embeddings
from augment.results.gallery import Gallery
from augment.results.gallery_choice import (
    RECONSTRUCTED_EACH,
    SAMPLES_EACH,
    first_of_each,
    of_each,
    restored_beside_originals,
    samples_beside_nearest,
)
from augment.studies.features.few_labels import FeatureTable
from augment.studies.features.plan import FeaturesPlan
from augment.studies.features.projection import TITLES, Points, axis_names, project

MAPPED = 1500
"""Images of a map; t-SNE in three dimensions takes half a minute of CPU for them."""
PICTURED = 12
"""Held-out images whose reconstructions are drawn."""


@dataclass(frozen=True)
class PendingMap:
    """One map while it is computed."""

    method: str
    dimensions: int
    points: Job[Points]

    @property
    def title(self) -> str:
        """As it is called on the page."""
        return f"{TITLES[self.method]}, {self.dimensions}-D"


@dataclass(frozen=True)
class PendingMaps:
    """All maps of one study, of the same images: training ones, as the test images are there for one score only."""

    rows: Tensor
    features: Tensor
    maps: tuple[PendingMap, ...]


def begin_maps(plan: FeaturesPlan, table: FeatureTable) -> PendingMaps:
    """Begin every map of ``--plot``, in two and in three dimensions."""
    rows = plan.reference[torch.linspace(0, len(plan.reference) - 1, min(MAPPED, len(plan.reference))).long()]
    features = table.of(rows)
    queue = plan.compute.queue
    maps = [
        PendingMap(method, dimensions, queue.submit(_project, features, method, dimensions, plan.config.seed))
        for method in plan.config.plots
        for dimensions in (2, 3)
    ]
    return PendingMaps(rows, features, tuple(maps))


def _project(features: Tensor, method: str, dimensions: int, seed: int) -> Points:
    return project(features, method, dimensions, seed=seed)


def save_pictures(plan: FeaturesPlan, maps: PendingMaps, generator: Generator) -> None:
    """Keep what whoever draws the study needs: maps of the features, samples, and images restored."""
    if maps.maps:
        _save_maps(plan, maps)
    _save_gallery(plan, generator)


def _save_maps(plan: FeaturesPlan, pending: PendingMaps) -> None:
    train, maps = plan.data.train, []
    found = plan.compute.queue.results([each.points for each in pending.maps])
    for each, points in zip(pending.maps, found, strict=True):
        maps.append(Embedding(each.title, each.method, axis_names(each.method, pending.features, points), points))
    images, labels = train.images[pending.rows].numpy(), train.labels[pending.rows].numpy()
    Embeddings(plan.data.classes, labels, tuple(maps), images).save(plan.folder)


def _save_gallery(plan: FeaturesPlan, generator: Generator) -> None:
    """Samples where the generator draws the classes of the data set, reconstructions where it makes any."""
    data, num_classes = plan.data, len(plan.data.classes)
    samples = made = None
    if generator.tags.conditional and generator.spec.num_classes == num_classes > 1:
        labels = torch.arange(num_classes).repeat_interleave(of_each(SAMPLES_EACH, num_classes))
        images = sample_images(generator, labels, seed=plan.config.seed, compute=plan.compute)
        drawn = LabelledImages(images, labels)
        samples = samples_beside_nearest(drawn, data.train, num_classes)
    if generator.tags.reconstructs:
        held = _not_trained_on(plan)
        held = held.subset(first_of_each(held.labels, RECONSTRUCTED_EACH, num_classes).sort().values)
        restored = reconstructions(generator, held)
        if restored is not None:
            rows = [held.images[:PICTURED], as_uint8(restored[:PICTURED])]
            image_rows(rows, ["held out", "reconstructed"]).save(plan.folder / "reconstructions.png")
            made = restored_beside_originals(held, restored, num_classes)
    if samples is not None or made is not None:
        Gallery(plan.model, data.classes, samples, made).save(plan.folder)


def _not_trained_on(plan: FeaturesPlan) -> LabelledImages:
    """Images that the generator has not learnt from: those held back to validate it.

    Where there are none, or nobody knows what a saved generator has seen, they are test images: nothing is chosen by
    looking at pictures.
    """
    held = plan.manifest.validation
    return plan.data.train.subset(held) if held and plan.config.generator is None else plan.data.test
