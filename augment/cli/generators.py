"""The commands ``augment train``, ``sample`` and ``score``: one generator by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from augment.cli.launch import leave
from augment.cli.options import (
    A_PATH,
    ClassCounts,
    DataDir,
    Dataset,
    Device,
    ImageSize,
    ImbalanceFactor,
    Json,
    MaxMinutes,
    Model,
    Offline,
    Precision,
    Quiet,
    Seed,
    Set,
    Size,
    Steps,
    Strict,
    Tracker,
    model_options,
    parse_counts,
)
from augment.cli.output import print_json, reporting
from augment.storage.typed_json import to_json


def train_command(
    dataset: Dataset,
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder for the generator.", **A_PATH)],
    regime: Annotated[str, typer.Option(help="Train on a regime's draw instead of all training images.")] = "all",
    size: Size = None,
    imbalance_factor: ImbalanceFactor = 100.0,
    class_counts: ClassCounts = None,
    set_: Set = None,
    seed: Seed = 0,
    steps: Steps = None,
    max_minutes: MaxMinutes = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, if there is one.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the generator that is there.")] = False,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    strict: Strict = False,
    device: Device = "auto",
    precision: Precision = "auto",
    tracker: Tracker = None,
    offline: Offline = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a generator and save it as a folder.

    The folder describes itself: `augment sample` and Python need nothing else.
    """
    from augment.datasets import load_dataset
    from augment.generators.generation import regime_counts, train

    with reporting(quiet=quiet or as_json) as reporter:
        reporter.stage(f"Load {dataset}")
        data = load_dataset(
            dataset, data_dir=data_dir, image_size=image_size, strict=strict, offline=offline, log=reporter.note
        )
        drawn = "explicit" if class_counts else regime
        counts = regime_counts(
            data,
            drawn,
            size=size,
            imbalance_factor=imbalance_factor,
            explicit=parse_counts(class_counts),
            seed=seed,
        )
        training = train(
            data,
            model,
            out,
            options=model_options(set_),
            counts=counts,
            regime=drawn,
            imbalance_factor=imbalance_factor,
            seed=seed,
            steps=steps,
            max_minutes=max_minutes,
            resume=resume,
            overwrite=overwrite,
            device=device,
            precision=precision,
            tracker=tracker,
            reporter=reporter,
        )
    leave()
    if as_json:
        told = {key: value for key, value in to_json(training).items() if key != "recipe"}
        print_json({"model": model, "folder": str(out), **told})
    else:
        sys.stdout.write(
            f"{model}: {training.steps} steps in {training.seconds:.1f} s "
            f"({training.images_per_second:,.0f} images/s, {training.stopped}), saved in {out}\n"
            f"Next: augment sample {out} --n 100\n"
        )


def sample_command(
    folder: Annotated[Path, typer.Argument(help="A saved generator.", **A_PATH)],
    n: Annotated[int, typer.Option(help="Images in all, spread evenly over the classes.", min=1)] = 100,
    class_counts: ClassCounts = None,
    out: Annotated[Path | None, typer.Option(help="For PNG class folders. [default: FOLDER/samples]", **A_PATH)] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw images from a saved generator.

    An exact number per class, as PNG in class folders.
    """
    from augment.generators.generation import sample

    with reporting(quiet=quiet or as_json) as reporter:
        drawn = sample(
            folder,
            n=n,
            counts=parse_counts(class_counts),
            out=out,
            seed=seed,
            device=device,
            precision=precision,
            reporter=reporter,
        )
    if as_json:
        print_json(to_json(drawn))
    else:
        sys.stdout.write(f"{drawn.n} images in {drawn.folder}, a sheet of them in {drawn.sheet}\n")


def score_command(
    real: Annotated[str, typer.Option(help="A named data set (its test part) or a folder of class folders.")],
    fake: Annotated[Path, typer.Option(help="Images, flat or in class folders, or a saved generator.", **A_PATH)],
    n: Annotated[int, typer.Option(help="Images to score with, at most.", min=2)] = 2000,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    strict: Strict = False,
    seed: Seed = 0,
    device: Device = "auto",
    inception: Annotated[Path | None, typer.Option(help="Inception weights (.pth) as extractor.", **A_PATH)] = None,
    offline: Offline = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score samples against real images.

    FID and KID with their floors, IS, precision, recall, density, coverage, memorisation.
    """
    from augment.generators.scoring import score

    with reporting(quiet=quiet or as_json) as reporter:
        found = score(
            real=real,
            fake=fake,
            n=n,
            data_dir=data_dir,
            image_size=image_size,
            strict=strict,
            seed=seed,
            device=device,
            inception=inception,
            offline=offline,
            reporter=reporter,
        )
    if as_json:
        print_json(found.to_json())
    else:
        from augment.cli.tables import show_score

        show_score(found)
