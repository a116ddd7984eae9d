"""The pictures of a feature study, drawn from its document and features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.features.few_labels import FeatureTable
from augment.features.plan import FeaturesPlan
from augment.generator import Generator
from augment.report.charts import accuracy_curves
from augment.report.interactive import save_page
from augment.report.layer_charts import layer_map, timestep_curves
from augment.report.maps import save_map
from augment.report.pictures import image_rows
from augment.report.projection import TITLES, Points, axis_names, project
from augment.sampling import as_uint8
from augment.scoring import reconstructions
from augment.workers import Job, Workers

MAPPED = 1500
"""Images of a map; t-SNE in three dimensions takes half a minute of CPU for them."""
PICTURED = 12
"""Held-out images whose reconstructions are drawn."""


@dataclass(frozen=True)
class Embedding:
    """One map while it is computed."""

    method: str
    dimensions: int
    points: Job[Points]

    @property
    def title(self) -> str:
        """As it is called on the page."""
        return f"{TITLES[self.method]}, {self.dimensions}-D"


@dataclass(frozen=True)
class Embeddings:
    """All maps of one study, of the same images: training ones, as the test images are there for one score only."""

    rows: Tensor
    features: Tensor
    maps: tuple[Embedding, ...]


def begin_embeddings(plan: FeaturesPlan, table: FeatureTable, workers: Workers) -> Embeddings:
    """Begin every map of ``--plot``, in two and in three dimensions."""
    rows = plan.reference[torch.linspace(0, len(plan.reference) - 1, min(MAPPED, len(plan.reference))).long()]
    features = table.of(rows)
    maps = [
        Embedding(method, dimensions, workers.submit(_project, features, method, dimensions, plan.config.seed))
        for method in plan.config.plots
        for dimensions in (2, 3)
    ]
    return Embeddings(rows, features, tuple(maps))


def _project(features: Tensor, method: str, dimensions: int, seed: int) -> Points:
    return project(features, method, dimensions, seed=seed)


def draw_pictures(
    plan: FeaturesPlan,
    document: dict[str, Any],
    embeddings: Embeddings,
    generator: Generator,
    workers: Workers,
) -> None:
    """Write accuracy curves, maps of the features, and where there are such the layer map and reconstructions."""
    folder, title = plan.folder, f"{plan.data.name}, features of {plan.model}"
    for suffix in (".png", ".svg"):
        accuracy_curves(document["rows"], folder / f"accuracy{suffix}", title=title)
    if document["map"] is not None:
        _draw_search(document, folder, title, chance=1 / len(plan.data.classes))
    if embeddings.maps:
        _draw_embeddings(plan, embeddings, workers, title)
    if generator.tags.reconstructs:
        _draw_reconstructions(plan, generator)


def _draw_search(document: dict[str, Any], folder: Path, title: str, *, chance: float) -> None:
    grid, chosen = document["map"]["grid"], document["map"]["chosen"]
    for suffix in (".png", ".svg"):
        layer_map(grid, chosen, folder / f"layers{suffix}", title=title)
        if len({row["t"] for row in grid}) > 1:
            timestep_curves(grid, folder / f"timesteps{suffix}", chance, title=title)


def _draw_embeddings(plan: FeaturesPlan, embeddings: Embeddings, workers: Workers, title: str) -> None:
    """Each map as a picture, and all of them on one page, where a point shows its image."""
    data, folder = plan.data, plan.folder
    labels = data.train.labels[embeddings.rows]
    maps, axes = [], {}
    found = workers.results([each.points for each in embeddings.maps])
    for each, points in zip(embeddings.maps, found, strict=True):
        names = axis_names(each.method, embeddings.features, points)
        path = folder / f"embedding-{each.method}-{each.dimensions}d.png"
        save_map(points, labels, data.classes, path, title=f"{title}: {each.title}", axes=names)
        maps.append((each.title, points, labels))
        axes[each.title] = names
    images = data.train.images[embeddings.rows]
    save_page(maps, data.classes, folder / "embeddings.html", title=title, images=images, axes=axes)


def _draw_reconstructions(plan: FeaturesPlan, generator: Generator) -> None:
    held = plan.data.train.subset(torch.tensor(plan.manifest.validation or plan.manifest.train)[:PICTURED])
    restored = reconstructions(generator, held)
    if restored is not None:
        rows = [held.images, as_uint8(restored)]
        image_rows(rows, ["held out", "reconstructed"]).save(plan.folder / "reconstructions.png")
