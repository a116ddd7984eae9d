"""Train a generator into a folder, and draw images from a saved one: the parts of a run that are useful alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augment.compute.device import Compute, choose_device, choose_precision
from augment.datasets import ImageSet, class_folders, regimes
from augment.datasets.regimes import Manifest
from augment.errors import ConfigError, DataError
from augment.generators.model_card import SAMPLES, Evidence, near_copies, unscored, write_card
from augment.progress import Reporter
from augment.registry import load_generator
from augment.results.predictions import MANIFEST
from augment.storage import files, locks
from augment.synthesis.synthesis import draw_unlabelled, synthesise
from augment.training import Processes, trained
from augment.training.recipe import FILE, Recipe, TrainingRecord
from augment.training.tracking import check_tracker, tracked


@dataclass(frozen=True)
class SampledFolder:
    """Images that were drawn.  class_counts: one number where none have a class.  sheet: a picture of some."""

    generator: str
    n: int
    class_counts: tuple[int, ...]
    folder: Path
    sheet: Path
    seed: int


def train(
    data: ImageSet,
    model: str,
    folder: Path,
    *,
    options: dict[str, Any],
    counts: Sequence[int] | None = None,
    regime: str = "explicit",
    imbalance_factor: float | None = None,
    seed: int = 0,
    steps: int | None = None,
    max_minutes: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    tracker: str | None = None,
    reporter: Reporter | None = None,
) -> TrainingRecord:
    """Train ``model`` on the training part of ``data`` and save it in ``folder``; returns what the training cost.

    counts: images per class to draw; None takes all. 5% of each class are held back for validation.  regime,
    imbalance_factor: where the counts come from, for the record.  resume: go on from the last checkpoint, or start
    fresh where there is none.  In several processes of a launch all take part; the first writes.  Raises DataError for
    too few images, and when ``folder`` holds a finished generator (without ``resume`` or ``overwrite``) or files that
    are not a training's.
    """
    reporter = reporter or Reporter()
    if tracker is not None:
        check_tracker(tracker)
    reporter.stage(f"Train {model}")
    manifest = regimes.draw_split(
        data.train.labels,
        counts or data.train.counts(len(data.classes)),
        dataset=data.name,
        dataset_sha256=data.sha256,
        regime="all" if counts is None else regime,
        imbalance_factor=imbalance_factor,
        seed=seed,
    )
    where = choose_device(device)
    processes = Processes.join(where)
    recipe = trained.make_recipe(
        model,
        options,
        classes=data.classes,
        data_sha256=manifest.sha256,
        seed=seed,
        steps=steps,
        max_minutes=max_minutes,
        device=str(where),
        precision=processes.broadcast_object(lambda: choose_precision(precision, where)),
    )
    with locks.try_lock(folder) if processes.is_main_process else nullcontext():
        if processes.broadcast_object(lambda: _is_there(folder, recipe, resume=resume, overwrite=overwrite)):
            reporter.note(f"{folder} holds this generator already, trained to its end.")
        else:
            fit, validation = trained.generator_parts(manifest, data.train)
            with tracked(tracker, folder, asdict(recipe), reporter) as telling:
                trained.fit_into(recipe, data.spec, fit, validation, folder, telling, resume=resume)
            if processes.is_main_process:
                _describe(folder, manifest, data)
        training = processes.broadcast_object(lambda: TrainingRecord.read(folder))
    assert training is not None, f"{folder} was trained, but holds no {FILE}"
    return training


def _is_there(folder: Path, recipe: Recipe, *, resume: bool, overwrite: bool) -> bool:
    """Whether the training is done already; raises DataError where it would replace something else."""
    there = resume and trained.reusable(folder, recipe)
    if not there:
        _refuse_to_replace(folder, resume=resume, overwrite=overwrite)
    return there


def _describe(folder: Path, manifest: Manifest, data: ImageSet) -> None:
    """What stands beside a generator that was trained by itself: what it learnt from, and its card."""
    with files.writing(folder):
        files.write_json(folder / MANIFEST, manifest.to_json())
    told = Evidence({SAMPLES: unscored("it was trained and no more.")}, (near_copies(None),))
    write_card(folder, load_generator(folder), manifest, data.classes, told)


def regime_counts(
    data: ImageSet,
    regime: str,
    *,
    size: int | None,
    imbalance_factor: float,
    explicit: Sequence[int] | None,
    seed: int,
) -> tuple[int, ...] | None:
    """Counts of a regime on ``data``; None for ``all``, which takes every training image."""
    if regime == "all":
        if size is not None:
            raise ConfigError(f"--size {size} needs a regime to draw by: add --regime balanced, for example.")
        return None
    available = data.train.counts(len(data.classes))
    return regimes.class_counts(
        regime, available, size=size, imbalance_factor=imbalance_factor, explicit=explicit, seed=seed
    )


def _refuse_to_replace(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if (folder / FILE).exists() and not overwrite:
        what = "was trained with other options, data or code" if resume else "is a finished generator"
        raise DataError(
            f"{folder} {what}. Choose another --out, or replace it with --overwrite"
            + ("." if resume else " (--resume goes on with an interrupted training).")
        )
    others = [name for name in (*trained.KEPT, MANIFEST) if (folder / name).exists()]
    if others and not overwrite and not (folder / "checkpoint").is_dir():  # an interrupted training left that
        raise DataError(
            f"{folder} holds {', '.join(others)}, which training would replace and no training of ours has left there. "
            "Choose another --out, or replace them with --overwrite."
        )


def sample(
    folder: Path,
    *,
    n: int = 100,
    counts: Sequence[int] | None = None,
    out: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter | None = None,
) -> SampledFolder:
    """Draw ``n`` images spread evenly over the classes, or ``counts[c]`` of each class, into PNG class folders.

    A generator without classes gives one folder, ``unlabelled``. Raises DataError when ``folder`` is not a saved
    generator or when images would be mixed with ones already there, and ConfigError for counts that do not fit its
    classes.
    """
    from augment.results.contact_sheets import class_grid

    reporter = reporter or Reporter()
    place = choose_device(device)
    generator = load_generator(folder).to(place)
    num_classes = generator.spec.num_classes
    conditional = generator.tags.conditional
    if counts is not None and not conditional:
        raise ConfigError(f"{folder} samples without classes, so it takes no --class-counts. Give --n alone.")
    wanted = _counts(folder, n, counts, num_classes)
    target = out or folder / "samples"
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target} is not empty; images of two draws must not mix. Remove it, or choose another --out.")
    reporter.stage(f"Sample {generator.name}")
    compute = Compute(str(place), choose_precision(precision, place))
    if conditional:
        drawn = synthesise(generator, wanted, seed=seed, compute=compute, on_progress=reporter.advance)
        classes = class_names(folder, num_classes)
    else:
        drawn = draw_unlabelled(generator, n, seed=seed, compute=compute, on_progress=reporter.advance)
        classes = ("unlabelled",)
    class_folders.save_class_folders(target, drawn.images, drawn.labels, classes, drawn.rows)
    named = target if target.name else target.resolve()  # "." has no name to put a sheet beside
    sheet = named.with_name(f"{named.name}.png")  # beside the folder, which then holds class folders only
    with files.writing(target.parent):
        class_grid(drawn.images, drawn.labels, classes).save(sheet)
    return SampledFolder(
        generator=generator.name,
        n=len(drawn.labels),
        class_counts=drawn.counts(len(classes)),
        folder=target,
        sheet=sheet,
        seed=seed,
    )


def _counts(folder: Path, n: int, counts: Sequence[int] | None, num_classes: int) -> Sequence[int]:
    """Images to draw per class: those asked for, or ``n`` spread evenly with the first classes taking the rest."""
    if counts is not None and len(counts) != num_classes:
        raise ConfigError(f"--class-counts has {len(counts)} numbers; {folder} has {num_classes} classes.")
    if (n < 1 and counts is None) or (counts is not None and not any(counts)):
        asked = f"--n {n}" if counts is None else "--class-counts of zeros"
        raise ConfigError(f"{asked} asks for no image; at least one is needed.")
    return counts or [n // num_classes + (index < n % num_classes) for index in range(num_classes)]


def class_names(folder: Path, num_classes: int) -> tuple[str, ...]:
    """Class names kept beside a saved generator, else numbers."""
    training = TrainingRecord.read(folder)
    names = () if training is None else training.recipe.classes
    return names if len(names) == num_classes else tuple(str(index) for index in range(num_classes))
