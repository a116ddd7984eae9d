"""Options that several commands share, named the same everywhere, and how their text becomes values."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from augment.errors import UsageError
from augment.limits import LARGEST_COUNT, LARGEST_SEED
from augment.locations import local_file, local_path


class Shell(StrEnum):
    """Shells with completion."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def complete_model(incomplete: str) -> list[str]:
    """Registered generators that begin so."""
    from augment.registry import registered

    return [name for name in registered() if name.startswith(incomplete)]


def complete_dataset(incomplete: str) -> list[str]:
    """Named data sets that begin so."""
    from augment.datasets.catalogue import DESCRIPTIONS

    return [name for name in DESCRIPTIONS if name.startswith(incomplete)]


A_PATH: dict[str, Any] = {"parser": local_path, "metavar": "PATH"}
A_FILE: dict[str, Any] = {"parser": local_file, "metavar": "FILE"}
"""What an option or argument that is a path has, so that impossible ones are told in one way."""

Dataset = Annotated[
    str,
    typer.Option(help="A named data set, or a folder of images.", autocompletion=complete_dataset),
]
Model = Annotated[
    str, typer.Option(help="A registered generator; see `augment models`.", autocompletion=complete_model)
]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the data set's files; looked at first.", **A_PATH)]
ImageSize = Annotated[int | None, typer.Option(help="Resize an image folder to this many pixels, squared.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse broken image files instead of skipping them.")]
Regime = Annotated[
    str | None, typer.Option(help="balanced, semi, high, explicit, seed-high or gamo.", show_default="high")
]
Size = Annotated[int | None, typer.Option(help="Training images in all.", show_default="5000", max=LARGEST_COUNT)]
ImbalanceFactor = Annotated[float, typer.Option(help="Largest over smallest class, for --regime high.")]
ClassCounts = Annotated[str | None, typer.Option(help="Explicit counts per class, separated by commas.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A model's option as key=value; repeatable.")]
Seed = Annotated[int, typer.Option(help="First seed.", min=0, max=LARGEST_SEED)]
Steps = Annotated[int | None, typer.Option(help="Training steps of the generator.", min=1, max=LARGEST_COUNT)]
MaxMinutes = Annotated[float | None, typer.Option(help="Stop the generator's training after this many minutes.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]


def stay_offline(value: bool) -> bool:
    """``--offline`` for the libraries that plugins load weights with, too: they read this variable."""
    if value:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return value


Offline = Annotated[bool, typer.Option("--offline", help="Never try the network.", callback=stay_offline)]
Tracker = Annotated[
    str | None,
    typer.Option(help="Keep curves and results for tensorboard, wandb or mlflow, in the run's folder `tracker`."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]


def model_options(pairs: list[str] | None, flag: str = "--set") -> dict[str, Any]:
    """``key=value`` pairs of ``flag``; values are JSON where they parse as JSON, text otherwise."""
    options: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{flag} {pair!r}: write it as key=value, for example {flag} latent_dim=64.")
        try:
            options[key] = json.loads(value)
        except (ValueError, RecursionError):
            options[key] = value
    return options


def parse_counts(text: str | None) -> tuple[int, ...] | None:
    """Counts per class from ``400,200,100``; raises UsageError for anything else."""
    if text is None:
        return None
    return whole_numbers(text, "--class-counts", "400,200,100")


def whole_numbers(text: str, flag: str, example: str) -> tuple[int, ...]:
    """Whole numbers separated by commas; raises UsageError for anything else."""
    try:
        return tuple(int(part) for part in text.replace(" ", "").split(","))
    except ValueError:
        raise UsageError(f"{flag} {text!r}: write whole numbers separated by commas, like {example}.") from None


def names(text: str | None) -> tuple[str, ...]:
    """Names separated by commas, each once; ``none`` and nothing are no names."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(dict.fromkeys(part for part in parts if part and part != "none"))
