"""``augment train``: one generator, trained by itself and saved as a folder with all that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from augment.datasets.catalogue import EXPLICIT, NATURAL
from augment.errors import DataError
from augment.progress import Reporter
from augment.storage import files, locks
from augment.studies.config import MODEL, ClassCounts, ImbalanceFactor, Option, Size, StudyConfig

if TYPE_CHECKING:
    from augment.datasets import ImageSet
    from augment.datasets.regimes import Manifest
    from augment.training.processes import Processes
    from augment.training.recipe import Recipe, TrainingRecord


class TrainConfig(StudyConfig):
    """What a person asks of a training; the same names as the command line's options.

    out: the generator's folder.  options: of ``model``.  resume: go on from the last checkpoint, or begin where there
    is none.
    """

    called: ClassVar[str] = "training"

    model: Annotated[str, MODEL]
    out: Annotated[Path, Option("Folder for the generator.", decides=False)]
    regime: Annotated[str, Option("natural (all training images), or the draw of another regime.")] = NATURAL
    size: Size = None
    imbalance_factor: ImbalanceFactor = 100.0
    class_counts: ClassCounts = None
    resume: Annotated[bool, Option("Go on from the last checkpoint, if there is one.", decides=False)] = False
    overwrite: Annotated[bool, Option("Replace the generator that is there.", decides=False)] = False

    def counts(self, data: ImageSet) -> tuple[int, ...]:
        """Images per class to draw; raises ConfigError or DataError for what cannot be drawn."""
        from augment.datasets.regimes import class_counts

        return class_counts(
            self.drawn,
            data.train.counts(len(data.classes)),
            size=self.size,
            imbalance_factor=self.imbalance_factor,
            explicit=self.class_counts,
            seed=self.seed,
        )

    @property
    def drawn(self) -> str:
        """The regime, or that counts are given."""
        return EXPLICIT if self.class_counts is not None else self.regime


def train(data: ImageSet, config: TrainConfig, reporter: Reporter | None = None) -> TrainingRecord:
    """Train on the training part of ``data`` and save the generator in its folder; returns what the training cost.

    5% of each class are held back for validation. In several processes of a launch all take part; the main one writes.
    Raises DataError for too few images, and when the folder holds a finished generator (without ``resume`` or
    ``overwrite``) or files that are not a training's.
    """
    from augment.training import trained
    from augment.training.recipe import TrainingRecord
    from augment.training.tracking import tracked

    reporter, folder = reporter or Reporter(), config.out
    manifest = _manifest(data, config, reporter)
    reporter.stage(f"Train {config.model}")
    processes, recipe = _recipe(data, config, manifest)
    with locks.try_lock(folder) if processes.is_main_process else nullcontext():
        if processes.broadcast_object(lambda: _is_there(folder, recipe, config)):
            reporter.note(f"{folder} holds this generator already, trained to its end.")
        else:
            fit, validation = trained.generator_parts(manifest, data.train)
            with tracked(config.tracker, folder, asdict(recipe), reporter) as telling:
                trained.fit_into(recipe, data.spec, fit, validation, folder, telling, resume=config.resume)
            if processes.is_main_process:
                _describe(folder, manifest, data)
        training = processes.broadcast_object(lambda: TrainingRecord.read(folder))
    assert training is not None, f"{folder} was trained, but holds no record"
    return training


def _manifest(data: ImageSet, config: TrainConfig, reporter: Reporter) -> Manifest:
    """The images to train on; says which they are."""
    from augment.datasets.regimes import draw_note, draw_split

    counts = config.counts(data)
    reporter.note(draw_note(data.classes, data.train.counts(len(data.classes)), counts))
    return draw_split(
        data.train.labels,
        counts,
        dataset=data.name,
        dataset_sha256=data.sha256,
        regime=config.drawn,
        imbalance_factor=config.imbalance_factor,
        seed=config.seed,
    )


def _recipe(data: ImageSet, config: TrainConfig, manifest: Manifest) -> tuple[Processes, Recipe]:
    """The processes that take part, and what the training depends on, the same in all of them."""
    from augment.compute.device import choose_device, choose_precision
    from augment.training import trained
    from augment.training.processes import Processes

    device = choose_device(config.device)
    processes = Processes.join(device)
    return processes, trained.make_recipe(
        config.model,
        config.options,
        classes=data.classes,
        data_sha256=manifest.sha256,
        seed=config.seed,
        steps=config.steps,
        max_minutes=config.max_minutes,
        device=str(device),
        precision=processes.broadcast_object(lambda: choose_precision(config.precision, device)),
    )


def _is_there(folder: Path, recipe: Recipe, config: TrainConfig) -> bool:
    """Whether the training is done already; raises DataError where it would replace something else."""
    from augment.training import trained

    there = config.resume and trained.reusable(folder, recipe)
    if not there and not config.overwrite:
        _refuse_to_replace(folder, trained.KEPT, resume=config.resume)
    return there


def _describe(folder: Path, manifest: Manifest, data: ImageSet) -> None:
    """What stands beside a generator that was trained by itself: what it learnt from, and its card."""
    from augment.generators.model_card import SAMPLES, Evidence, near_copies, unscored, write_card
    from augment.registry import load_generator
    from augment.results.predictions import MANIFEST

    with files.writing(folder):
        files.write_json(folder / MANIFEST, manifest.to_json())
    told = Evidence({SAMPLES: unscored("it was trained and no more.")}, (near_copies(None),))
    write_card(folder, load_generator(folder), manifest, data.classes, told)


def _refuse_to_replace(folder: Path, kept: Sequence[str], *, resume: bool) -> None:
    from augment.results.predictions import MANIFEST
    from augment.training.recipe import FILE

    if (folder / FILE).exists():
        what = "was trained with other options, data or code" if resume else "is a finished generator"
        raise DataError(
            f"{folder} {what}. Choose another --out, or replace it with --overwrite"
            + ("." if resume else " (--resume goes on with an interrupted training).")
        )
    others = [name for name in (*kept, MANIFEST) if (folder / name).exists()]
    if others and not (folder / "checkpoint").is_dir():  # an interrupted training left that
        raise DataError(
            f"{folder} holds {', '.join(others)}, which training would replace and no training of ours has left there. "
            "Choose another --out, or replace them with --overwrite."
        )
