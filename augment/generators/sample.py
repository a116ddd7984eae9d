"""Draw images from a saved generator into a folder of PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.compute.device import Compute, choose_device, choose_precision
from augment.datasets import class_folders
from augment.errors import ConfigError, DataError
from augment.progress import Reporter
from augment.registry import load_generator
from augment.storage import files
from augment.synthesis.synthesis import draw_unlabelled, synthesise
from augment.training.recipe import TrainingRecord


@dataclass(frozen=True)
class SampledFolder:
    """Images that were drawn.  class_counts: one number where none have a class.  sheet: a picture of some."""

    generator: str
    n: int
    class_counts: tuple[int, ...]
    folder: Path
    sheet: Path
    seed: int


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
    target_device = choose_device(device)
    generator = load_generator(folder).to(target_device)
    num_classes = generator.spec.num_classes
    conditional = generator.tags.conditional
    if counts is not None and not conditional:
        raise ConfigError(f"{folder} samples without classes, so it takes no --class-counts. Give --n alone.")
    class_counts = _counts(folder, n, counts, num_classes)
    target = out or folder / "samples"
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target} is not empty; images of two draws must not mix. Remove it, or choose another --out.")
    reporter.stage(f"Sample {generator.name}")
    compute = Compute(str(target_device), choose_precision(precision, target_device))
    if conditional:
        drawn = synthesise(generator, class_counts, seed=seed, compute=compute, on_progress=reporter.advance)
        classes = class_names(folder, num_classes)
    else:
        drawn = draw_unlabelled(generator, n, seed=seed, compute=compute, on_progress=reporter.advance)
        classes = ("unlabelled",)
    class_folders.save_class_folders(target, drawn.images, drawn.labels, classes, drawn.rows)
    destination = target if target.name else target.resolve()  # "." has no name to put a sheet beside
    sheet = destination.with_name(f"{destination.name}.png")  # beside the folder, which then holds class folders only
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
        option = f"--n {n}" if counts is None else "--class-counts of zeros"
        raise ConfigError(f"{option} asks for no image; at least one is needed.")
    return counts or [n // num_classes + (index < n % num_classes) for index in range(num_classes)]


def class_names(folder: Path, num_classes: int) -> tuple[str, ...]:
    """Class names kept beside a saved generator, else numbers."""
    training = TrainingRecord.read(folder)
    names = () if training is None else training.recipe.classes
    return names if len(names) == num_classes else tuple(str(index) for index in range(num_classes))
