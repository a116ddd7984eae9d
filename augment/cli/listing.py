"""What is there: the state of this machine, a data set at a glance, and whether plugins keep the contract."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from augment import registry
from augment.errors import AugmentError
from augment.progress import Reporter
from augment.results.study_result import Environment, environment

if TYPE_CHECKING:
    from augment.datasets import ImageSet
    from augment.testing.kit import CheckResult

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


def check(names: Sequence[str], reporter: Reporter) -> list[CheckResult]:
    """Run the conformance kit over registered generators."""
    from augment.testing.kit import check_generator

    found: list[CheckResult] = []
    for name in names:
        reporter.stage(f"Check {name}")

        def on_result(result: CheckResult) -> None:
            reporter.advance(len(found), len(found) + 1, result.check)
            found.append(result)

        check_generator(name, on_result=on_result)
    return found


def inspect_dataset(
    dataset: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    strict: bool = False,
    out: Path | None = None,
    offline: bool = False,
    reporter: Reporter | None = None,
) -> tuple[ImageSet, Path]:
    """Load a data set and draw a contact sheet of its training images, whose file comes back with the set."""
    from augment.datasets import load_dataset
    from augment.results.contact_sheets import class_grid, require_picture
    from augment.storage.files import safe_name, writing

    reporter = reporter or Reporter()
    if out is not None:
        require_picture(out)
    reporter.stage(f"Load {dataset}")
    data = load_dataset(
        dataset, data_dir=data_dir, image_size=image_size, strict=strict, offline=offline, log=reporter.note
    )
    sheet = out or Path(f"{safe_name(data.name)}-contact-sheet.png")
    with writing(sheet.parent):
        class_grid(data.train.images, data.train.labels, data.classes).save(sheet)
    return data, sheet


@dataclass(frozen=True)
class CacheFolder:
    """Where things are kept that are made once."""

    folder: str
    writable: bool


@dataclass(frozen=True)
class ModelState:
    """A registered generator; problem: why it cannot be used, None where it can."""

    name: str
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Machine(Environment):
    """What ``augment doctor`` tells. packages: version by name, None where one is missing.

    bf16_speedup_on_cpu: of training a convolution, over fp32; 0 where the CPU has no instructions for it.
    """

    packages: Mapping[str, str | None]
    devices: list[str]
    precision: str
    bf16_speedup_on_cpu: float
    cache: CacheFolder
    datasets: list[str]
    models: list[ModelState]


def doctor() -> Machine:
    """Versions, devices, precision, folders and plugins of this machine."""
    from augment.compute.device import available_devices, bf16_speedup, choose_device, choose_precision
    from augment.datasets import known_datasets
    from augment.storage.locations import cache_folder

    device = choose_device("auto")
    cache = cache_folder()
    return Machine(
        **asdict(environment(str(device))),
        packages={name: _version(name) for name in CORE_PACKAGES},
        devices=available_devices(),
        precision=choose_precision("auto", device),
        bf16_speedup_on_cpu=bf16_speedup(),
        cache=CacheFolder(str(cache), _writable(cache)),
        datasets=list(known_datasets()),
        models=[ModelState(name, _problem(name)) for name in registry.registered()],
    )


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
