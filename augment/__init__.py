"""Does synthetic data help my classifier? Image generators as plugins, with evidence one can trust.

Public names are resolved on first use, so that ``import augment`` and ``augment --help`` do not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augment.api import run, study_features
    from augment.arrays.feature_extractor import FeatureExtractor
    from augment.arrays.synthetic_sampler import SyntheticSampler
    from augment.datasets import ImageSet, LabelledImages, load_dataset
    from augment.experiment.config import RunConfig
    from augment.features.config import FeaturesConfig
    from augment.generator import Generator, GeneratorConfig, ImageSpec, StopTraining, Tags
    from augment.registry import create, load_generator
    from augment.results.features_result import FeaturesResult
    from augment.results.run_result import RunResult

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
    "RunResult": "results.run_result",
    "RunConfig": "experiment.config",
    "FeatureExtractor": "arrays.feature_extractor",
    "SyntheticSampler": "arrays.synthetic_sampler",
    "FeaturesConfig": "features.config",
    "FeaturesResult": "results.features_result",
    "study_features": "api",
    "run": "api",
}

__all__ = [
    "FeatureExtractor",
    "FeaturesConfig",
    "FeaturesResult",
    "Generator",
    "GeneratorConfig",
    "ImageSet",
    "ImageSpec",
    "LabelledImages",
    "RunConfig",
    "RunResult",
    "StopTraining",
    "SyntheticSampler",
    "Tags",
    "create",
    "load_dataset",
    "load_generator",
    "run",
    "study_features",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'augment' has no attribute {name!r}")
    return getattr(importlib.import_module(f"augment.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
