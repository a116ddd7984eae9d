"""The draw of one repetition: its split, its seeds, its budget, and the images it is scored on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment import store
from augment.arms import Budget
from augment.datasets import ImageSet, LabelledImages
from augment.errors import DataError
from augment.experiment.config import Seeds
from augment.experiment.plan import Plan
from augment.regimes import Manifest


@dataclass(frozen=True)
class Draw:
    """One repetition before anything is trained; repetitions after the first have folders of their own.

    data: the data set, with what is scored on as its test part.
    """

    label: str
    folder: Path
    seeds: Seeds
    manifest: Manifest
    data: ImageSet
    real: LabelledImages
    budget: Budget


def draw_of(plan: Plan, index: int) -> Draw:
    """The split and seeds of repetition ``index``."""
    config = plan.config
    seeds = Seeds.of(config.seed + index)
    manifest = plan.manifest(seeds)
    folder = plan.folder if index == 0 else plan.folder / f"seed-{index}"
    with store.writing(folder):
        store.write_json(folder / "manifest.json", manifest.to_json())
    return Draw(
        label=f" (seed {index + 1} of {config.seeds})" if config.seeds > 1 else "",
        folder=folder,
        seeds=seeds,
        manifest=manifest,
        data=_scored_on(plan, manifest),
        real=plan.data.train.subset(manifest.train),
        budget=Budget(plan.updates, seeds.classifier, plan.device, plan.precision),
    )


def _scored_on(plan: Plan, manifest: Manifest) -> ImageSet:
    data = plan.data
    if plan.config.score_on == "test":
        return data
    rows = held_out(data.train.labels, manifest, len(data.test))
    return replace(data, test=data.train.subset(rows), sha256="")


def held_out(labels: Tensor, manifest: Manifest, most: int) -> tuple[int, ...]:
    """Indices of training images that a split left alone: the same number of every class, ``most`` in all.

    labels: of all training images ``(N,)``. Raises DataError where a class has none left.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    free[list(manifest.train)] = False
    rng = np.random.default_rng([manifest.seed, 1])  # another stream than the split's own
    classes = [
        rng.permutation(torch.nonzero(free & (labels == label)).flatten().numpy())
        for label in range(len(manifest.class_counts))
    ]
    each = min(max(1, most // len(classes)), *(len(members) for members in classes))
    if each == 0:
        raise DataError(
            "No training images are left to validate on: a class is drawn whole. Take a smaller --size, or score on "
            "the test images, once all choices are made."
        )
    return tuple(sorted(int(index) for members in classes for index in members[:each]))
