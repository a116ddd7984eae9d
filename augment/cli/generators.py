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
    Device,
    ImageSize,
    Json,
    Offline,
    Precision,
    Quiet,
    Seed,
    Settings,
    Strict,
    parse_counts,
    with_settings,
)
from augment.cli.output import print_json, reporting
from augment.storage.typed_json import to_json
from augment.studies.train import TrainConfig


@with_settings(TrainConfig)
def train_command(settings: Settings, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Train a generator and save it as a folder.

    `augment sample` and Python need nothing else.
    """
    from augment.studies.train import train

    config = TrainConfig.parse(**settings)
    with reporting(quiet=quiet or as_json) as reporter:
        training = train(config.load_data(reporter), config, reporter)
    leave()
    if as_json:
        told = {key: value for key, value in to_json(training).items() if key != "recipe"}
        print_json({"model": config.model, "folder": str(config.out), **told})
    else:
        sys.stdout.write(
            f"{config.model}: {training.steps} steps in {training.seconds:.1f} s "
            f"({training.images_per_second:,.0f} images/s, {training.stopped}), saved in {config.out}\n"
            f"Next: augment sample {config.out} --n 100\n"
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
    from augment.generators.sample import sample

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
