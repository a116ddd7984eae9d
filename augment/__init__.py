"""Does synthetic data help my classifier? Image generators as plugins, with evidence one can trust.

Public names are resolved on first use, so that ``import augment`` and ``augment --help`` do not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augment.datasets import ImageSet, LabelledImages, load_dataset
    from augment.experiment import Result, run
    from augment.generator import Generator, GeneratorConfig, ImageSpec, StopTraining, Tags
    from augment.registry import create, load_generator
    from augment.run_config import RunConfig

__version__ = "0.1.0"

_HOMES = {
    "Generator": "generator",
    "GeneratorConfig": "generator",
    "ImageSpec": "generator",
    "StopTraining": "generator",
    "Tags": "generator",
    "ImageSet": "datasets",
    "LabelledImages": "datasets",
    "load_dataset": "datasets",
    "create": "registry",
    "load_generator": "registry",
    "Result": "experiment",
    "RunConfig": "run_config",
    "run": "experiment",
}

__all__ = [
    "Generator",
    "GeneratorConfig",
    "ImageSet",
    "ImageSpec",
    "LabelledImages",
    "Result",
    "RunConfig",
    "StopTraining",
    "Tags",
    "create",
    "load_dataset",
    "load_generator",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'augment' has no attribute {name!r}")
    return getattr(importlib.import_module(f"augment.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
