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
from augment.studies.config import MODEL, StudyConfig, complete_dataset, complete_model


class Shell(StrEnum):
    """Shells with completion."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


A_PATH: dict[str, Any] = {"parser": local_path, "metavar": "PATH"}
A_FILE: dict[str, Any] = {"parser": local_file, "metavar": "FILE"}
"""What an option or argument that is a path has, so that impossible ones are told in one way."""

HELP = {one.name: one.option.help for one in StudyConfig.settings()}
"""Of options that a study has, too."""

Dataset = Annotated[str, typer.Option(help=HELP["dataset"], autocompletion=complete_dataset)]
Model = Annotated[str, typer.Option(help=MODEL.help, autocompletion=complete_model)]
DataDir = Annotated[Path | None, typer.Option(help=HELP["data_dir"], **A_PATH)]
ImageSize = Annotated[int | None, typer.Option(help=HELP["image_size"])]
Strict = Annotated[bool, typer.Option("--strict", help=HELP["strict"])]
Size = Annotated[int | None, typer.Option(help="Training images in all.", show_default="5000", max=LARGEST_COUNT)]
ImbalanceFactor = Annotated[float, typer.Option(help="Largest over smallest class, for --regime high.")]
ClassCounts = Annotated[str | None, typer.Option(help="Explicit counts per class, separated by commas.")]
Set = Annotated[list[str] | None, typer.Option("--set", help=HELP["options"])]
Seed = Annotated[int, typer.Option(help=HELP["seed"], min=0, max=LARGEST_SEED)]
Steps = Annotated[int | None, typer.Option(help=HELP["steps"], min=1, max=LARGEST_COUNT)]
MaxMinutes = Annotated[float | None, typer.Option(help=HELP["max_minutes"])]
Device = Annotated[str, typer.Option(help=HELP["device"])]
Precision = Annotated[str, typer.Option(help=HELP["precision"])]


def stay_offline(value: bool) -> bool:
    """``--offline`` for the libraries that plugins load weights with, too: they read this variable."""
    if value:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return value


Offline = Annotated[bool, typer.Option("--offline", help=HELP["offline"], callback=stay_offline)]
Tracker = Annotated[
    str | None,
    typer.Option(help=HELP["tracker"]),
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
