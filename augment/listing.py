"""What is there: the state of this machine, a data set at a glance, and whether plugins keep the contract."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from augment import registry
from augment.errors import AugmentError
from augment.progress import Reporter

CORE_PACKAGES = (
    "torchvision",
    "accelerate",
    "diffusers",
    "open_clip_torch",
    "torch-fidelity",
    "pytorch-msssim",
    "scikit-learn",
    "imbalanced-learn",
    "scipy",
    "typer",
    "pydantic",
)


def check(names: Sequence[str], report: Reporter) -> dict[str, Any]:
    """Run the conformance kit over registered generators."""
    from augment.testing import CheckResult, check_generator

    rows: list[dict[str, Any]] = []
    for name in names:
        report.stage(f"Check {name}")

        def on_result(result: CheckResult) -> None:
            report.advance(len(rows), len(rows) + 1, result.check)
            rows.append(asdict(result))

        check_generator(name, on_result=on_result)
    return {"passed": all(row["outcome"] != "failed" for row in rows), "checks": rows}


def inspect_dataset(
    dataset: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    strict: bool = False,
    out: Path | None = None,
    offline: bool = False,
    report: Reporter | None = None,
) -> dict[str, Any]:
    """Describe a data set and draw a contact sheet of its training images."""
    from augment.datasets import describe, load_dataset
    from augment.pictures import class_grid, require_picture
    from augment.storage.files import safe_name, writing

    report = report or Reporter()
    if out is not None:
        require_picture(out)
    report.stage(f"Load {dataset}")
    data = load_dataset(
        dataset, data_dir=data_dir, image_size=image_size, strict=strict, offline=offline, report=report.note
    )
    sheet = out or Path(f"{safe_name(data.name)}-contact-sheet.png")
    with writing(sheet.parent):
        class_grid(data.train.images, data.train.labels, data.classes).save(sheet)
    return {**describe(data), "contact_sheet": str(sheet)}


def doctor() -> dict[str, Any]:
    """Versions, devices, precision, folders and plugins of this machine, each with what to do where something lacks."""
    from augment.datasets import known_datasets
    from augment.device import available_devices, bf16_speedup, choose_device, choose_precision
    from augment.locations import cache_folder
    from augment.run_folder.environment import environment

    device = choose_device("auto")
    cache = cache_folder()
    return {
        **asdict(environment(str(device))),
        "packages": {name: _version(name) for name in CORE_PACKAGES},
        "devices": available_devices(),
        "precision": choose_precision("auto", device),
        "bf16_speedup_on_cpu": bf16_speedup(),
        "cache": {"folder": str(cache), "writable": _writable(cache)},
        "datasets": list(known_datasets()),
        "models": [{"name": name, "problem": _problem(name)} for name in registry.registered()],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _problem(name: str) -> str | None:
    try:
        registry.get(name)
    except AugmentError as error:
        return str(error)
    return None
