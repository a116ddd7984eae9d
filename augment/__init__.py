"""Does synthetic data help my classifier? Image generators as plugins, with evidence one can trust.

The commands as functions are :func:`run` and :func:`study_features`.

Public names are resolved on first use, so that ``import augment`` and ``augment --help`` do not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augment.datasets import ImageSet, LabelledImages, load_dataset
    from augment.estimators.feature_extractor import FeatureExtractor
    from augment.estimators.synthetic_sampler import SyntheticSampler
    from augment.generator import Generator, GeneratorConfig, ImageSpec, StopTraining, Tags
    from augment.progress import Reporter
    from augment.registry import create, load_generator
    from augment.results.features_result import FeaturesResult
    from augment.results.run_result import RunResult
    from augment.studies.features.config import FeaturesConfig
    from augment.studies.run.config import RunConfig

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
    "RunConfig": "studies.run.config",
    "FeatureExtractor": "estimators.feature_extractor",
    "SyntheticSampler": "estimators.synthetic_sampler",
    "FeaturesConfig": "studies.features.config",
    "FeaturesResult": "results.features_result",
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


def run(config: RunConfig | None = None, reporter: Reporter | None = None, **settings: Any) -> RunResult:
    """Carry out a run, or hand back the result of an identical one that is there already.

    Whatever was finished before (generators, synthetic images, single arms) is reused and marked ``cached``; an
    unfinished folder is resumed. With ``resume`` off everything is computed anew.

    Args:
        config: What is asked; None where it is given by ``settings``.
        reporter: Is told stages, progress and notes; None for silence.
        **settings: The same as keywords: ``run(dataset="digits", model="vae", seeds=5)``.

    Returns:
        The finished run.

    Raises:
        AugmentError: One of the errors of :mod:`augment.errors`.

    Example:
        >>> import augment
        >>> quick = {"size": 120, "steps": 5, "classifiers": ["cart-pixels"], "fidelity_images": 60}
        >>> result = augment.run(dataset="digits", model="ae", arms=["real", "model"], **quick)
        >>> [(row.arm, row.classifier) for row in result.arms]
        [('real', 'cart-pixels'), ('ae', 'cart-pixels')]
        >>> augment.run(dataset="digits", model="ae", arms=["real", "model"], **quick).cached
        True
    """
    from augment.progress import Reporter
    from augment.report.drawing import draw_study
    from augment.studies.run.config import RunConfig
    from augment.studies.run.study import STUDY  # each study loads its own half of the package

    return STUDY.complete(_asked(RunConfig, config, settings), reporter or Reporter(), draw_study)


def study_features(
    config: FeaturesConfig | None = None, reporter: Reporter | None = None, **settings: Any
) -> FeaturesResult:
    """Carry out a feature study, or hand back the result of an identical one that is there already.

    What was finished before (the generator, encoded features, networks trained from scratch) is reused; an unfinished
    folder is resumed. With ``resume`` off everything is computed anew.

    Args:
        config: What is asked; None where it is given by ``settings``.
        reporter: Is told stages, progress and notes; None for silence.
        **settings: The same as keywords: ``study_features(dataset="digits", model="vae", episodes=5)``.

    Returns:
        The finished study.

    Raises:
        AugmentError: One of the errors of :mod:`augment.errors`.

    Example:
        >>> import augment
        >>> quick = {"steps": 5, "labels_per_class": [2], "probes": ["linear"], "episodes": 2, "plots": []}
        >>> result = augment.study_features(dataset="digits", model="ae", baselines=["pixels"], **quick)
        >>> [(row.method, row.probe, row.k) for row in result.rows]
        [('ae', 'linear', 2), ('pixels', 'linear', 2)]
    """
    from augment.progress import Reporter
    from augment.report.drawing import draw_study
    from augment.studies.features.config import FeaturesConfig
    from augment.studies.features.study import STUDY

    return STUDY.complete(_asked(FeaturesConfig, config, settings), reporter or Reporter(), draw_study)


def _asked(kind: Any, config: Any, settings: dict[str, Any]) -> Any:
    if config is None:
        return kind.parse(**settings)
    if settings:
        from augment.errors import UsageError

        raise UsageError(f"There is a config and {', '.join(settings)} besides. Put all into one of them.")
    return config


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'augment' has no attribute {name!r}")
    return getattr(importlib.import_module(f"augment.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
