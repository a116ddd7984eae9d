"""The draw of one repetition: its split, its seed, its budget, and the images it is scored on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from augment.arms import Budget
from augment.datasets import ImageSet, LabelledImages
from augment.experiment.plan import Plan
from augment.experiment.scored import held_out
from augment.regimes import Manifest
from augment.run_folder.places import MANIFEST, repetition_folder
from augment.storage import files


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
