"""A trained generator: from the cache when the same one was trained before, else from the training loop.

The key covers data, options, seed, budget, device, precision and the code itself, so a stale generator is never reused.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from augment import registry
from augment.datasets import LabelledImages
from augment.datasets.regimes import Manifest
from augment.errors import DataError
from augment.generator import Generator, ImageSpec
from augment.progress import Reporter
from augment.seeds import derived_seed
from augment.storage.cache import kept
from augment.storage.files import replace_folder, writing
from augment.storage.hashing import code_fingerprint, imported_sources
from augment.storage.locations import cache_folder
from augment.training.recipe import FILE, Recipe, TrainingRecord

if TYPE_CHECKING:
    from augment.training.fitting import TrainingResult

SHOWN = ("val_loss", "val_ssim", "val_psnr")
"""Validation values on the progress line, beside every loss term; ``history.csv`` has all."""

KEPT = ("config.json", "model.safetensors", "README.md", "history.csv", FILE)
"""Files of a generator's folder that the cache keeps; checkpoints stay where they were written."""


@dataclass(frozen=True)
class Trained:
    """A generator ready to sample, and what its training cost."""

    generator: Generator
    steps: int
    seconds: float
    images_per_second: float
    stopped: str
    cached: bool


def generator_parts(manifest: Manifest, train: LabelledImages) -> tuple[LabelledImages, LabelledImages | None]:
    """What a generator is trained on, and the drawn images that are held back to validate it (None: too few)."""
    held = set(manifest.validation)
    fit = train.subset([index for index in manifest.train if index not in held])
    return fit, train.subset(manifest.validation) if held else None


def plugin_code(cls: type[Generator]) -> str:
    """Hash of the sources a trained generator is made of.

    The training loop's with all it imports, and the plugin's: its module with all that imports from its own package,
    so that an edit elsewhere in either package keeps what was trained.
    """
    parents = [parent for parent in cls.__mro__ if issubclass(parent, Generator) and parent is not Generator]
    return code_fingerprint(imported_sources(__name__, "augment.training", *(parent.__module__ for parent in parents)))


def obtain(
    recipe: Recipe,
    spec: ImageSpec,
    train: LabelledImages,
    validation: LabelledImages | None,
    folder: Path,
    reporter: Reporter,
    *,
    reuse: bool = True,
) -> Trained:
    """Fill ``folder`` with the generator of ``recipe``: reused, resumed or trained, whichever is least work.

    A kept generator that is damaged is named and made again; without ``reuse`` every one is. One that another process
    trains is waited for.
    """
    reused = _reuse(folder, folder, recipe, reporter) if reuse else None
    if reused is not None:
        return reused

    def make() -> Trained:
        fit_into(recipe, spec, train, validation, folder, reporter, resume=reuse)
        return load_trained(folder, cached=False)

    def unwritable(error: OSError) -> None:  # the work is done and safe; a cache only spares doing it again
        file = error.filename2 or error.filename
        reporter.note(f"The generator is not kept in the cache: {file} cannot be written ({error.strerror or error}).")

    return kept(
        cache_folder() / "generators" / recipe.key,
        make,
        read=lambda path: _reuse(path, folder, recipe, reporter),
        write=lambda path, _: replace_folder(path, lambda temporary: _copy_files(folder, temporary)),
        reuse=reuse,
        waiting=lambda: reporter.note(f"{recipe.model}: waiting for another process that trains the same."),
        unwritable=unwritable,
    )


def fit_into(
    recipe: Recipe,
    spec: ImageSpec,
    train: LabelledImages,
    validation: LabelledImages | None,
    folder: Path,
    reporter: Reporter,
    *,
    resume: bool,
) -> None:
    """Train into ``folder``; ``training.json`` is written last and marks it complete.

    Until then the folder is no saved generator: what an earlier one left there must not be taken for this one. In
    several processes of a launch the first writes.
    """
    from augment.training.fitting import fit
    from augment.training.history import Progress
    from augment.training.processes import Processes

    def on_progress(progress: Progress) -> None:
        shown = {name: value for name, value in progress.terms.items() if name in SHOWN or not name.startswith("val_")}
        terms = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        reporter.advance(progress.step, progress.steps, f"{progress.images_per_second:,.0f} images/s  {terms}")

    processes = Processes.join(torch.device(recipe.device))
    if processes.is_main_process:
        with writing(folder):
            for name in (FILE, "config.json"):
                (folder / name).unlink(missing_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(recipe.seed, "weights"))
        generator = registry.create(recipe.model, spec, dict(recipe.options))
    result = fit(
        generator,
        train,
        validation,
        seed=recipe.seed,
        steps=recipe.steps,
        max_seconds=recipe.max_seconds,
        device=recipe.device,
        precision=recipe.precision,
        folder=folder,
        resume=resume,
        on_progress=on_progress,
        on_row=lambda row: reporter.metrics(row, int(row["step"]), folder),
    )
    if processes.is_main_process:
        _save(generator, recipe, result, folder)
    if result.stopped != "finished":
        reporter.note(f"{recipe.model}: stopped after {result.steps} of {recipe.steps} steps ({result.stopped}).")


def _save(generator: Generator, recipe: Recipe, result: TrainingResult, folder: Path) -> None:
    with writing(folder):
        generator.save(folder)
        record = TrainingRecord(
            key=recipe.key,
            recipe=recipe,
            steps=result.steps,
            seconds=result.seconds,
            images_per_second=result.images_per_second,
            stopped=result.stopped,
            best_step=result.best_step,
            skipped_updates=result.skipped_updates,
        )
        record.write(folder)


def reusable(folder: Path, recipe: Recipe) -> bool:
    """Does ``folder`` hold the finished generator of this recipe?"""
    training = TrainingRecord.read(folder)
    return training is not None and training.key == recipe.key


def _reuse(source: Path, folder: Path, recipe: Recipe, reporter: Reporter) -> Trained | None:
    """The generator of ``recipe`` in ``source``, copied into ``folder``; None where there is none that can be read."""
    if not reusable(source, recipe):
        return None
    try:
        trained = load_trained(source, cached=True)
    except DataError as error:
        reporter.note(
            f"{recipe.model}: the one that was kept is unusable and will be replaced or trained again. {error}"
        )
        return None
    if source != folder:
        with writing(folder):
            replace_folder(folder, lambda temporary: _copy_files(source, temporary))
    _tell_history(folder, reporter)
    reporter.note(f"{recipe.model}: cached, trained before with the same data, options and code.")
    return trained


def _tell_history(folder: Path, reporter: Reporter) -> None:
    """The curves of a training that is over, for who follows this run."""
    from augment.training.history import read_history

    for row in read_history(folder / "history.csv"):
        if "step" in row:
            reporter.metrics(row, int(row["step"]), folder)


def _copy_files(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (source / name).exists():
            shutil.copy2(source / name, target / name)


def load_trained(folder: Path, *, cached: bool) -> Trained:
    """The generator in ``folder``; what its training cost is unknown where it was not trained by us.

    Raises DataError where there is none, or it is damaged.
    """
    generator, training = registry.load_generator(folder), TrainingRecord.read(folder)
    if training is None:
        return Trained(generator, steps=0, seconds=0.0, images_per_second=0.0, stopped="unknown", cached=cached)
    return Trained(
        generator,
        steps=training.steps,
        seconds=training.seconds,
        images_per_second=training.images_per_second,
        stopped=training.stopped,
        cached=cached,
    )


def check_model(model: str, options: Mapping[str, Any], steps: int | None) -> None:
    """Raise the error for an unknown model or option before any data is loaded."""
    completed(model, options, steps)


def completed(model: str, options: Mapping[str, Any], steps: int | None) -> dict[str, Any]:
    """A model's options with its defaults; ``steps`` overrides the option of that name.

    Raises UsageError for an unknown model, ConfigError for unknown options or values.
    """
    return (
        registry.get(model)
        .Config.parse({**options, **({} if steps is None else {"steps": steps})})
        .model_dump(mode="json")
    )


def make_recipe(
    model: str,
    options: Mapping[str, Any],
    *,
    classes: tuple[str, ...],
    data_sha256: str,
    seed: int,
    steps: int | None,
    max_minutes: float | None,
    device: str,
    precision: str,
) -> Recipe:
    """Complete a model's options with its defaults; ``steps`` overrides the option of that name.

    Raises ConfigError for unknown options or values.
    """
    complete = completed(model, options, steps)
    return Recipe(
        model=model,
        options=complete,
        classes=classes,
        version=registry.version(model),
        code=plugin_code(registry.get(model)),
        data_sha256=data_sha256,
        seed=seed,
        steps=complete["steps"],
        max_seconds=None if max_minutes is None else 60 * max_minutes,
        device=device,
        precision=precision,
    )
