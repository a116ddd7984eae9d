"""The commands as functions: what ``augment.run`` and ``augment.study_features`` are."""

from __future__ import annotations

from typing import Any

from augment.errors import UsageError
from augment.experiment.config import RunConfig
from augment.features.config import FeaturesConfig
from augment.progress import Reporter
from augment.report.drawing import draw_study
from augment.results.features_result import FeaturesResult
from augment.results.run_result import RunResult


def run(config: RunConfig | None = None, report: Reporter | None = None, **settings: Any) -> RunResult:
    """Carry out a run, or hand back the result of an identical one that is there already.

    config: what is asked, or the same as keywords: ``run(dataset="digits", model="vae", seeds=5)``.

    Whatever was finished before (generators, synthetic images, single arms) is reused and marked ``cached``; an
    unfinished folder is resumed. With ``resume`` off everything is computed anew. Raises the errors of
    :mod:`augment.errors`.
    """
    from augment.experiment.study import STUDY  # each study loads its own half of the package

    return STUDY.complete(_asked(RunConfig, config, settings), report or Reporter(), draw_study)


def study_features(
    config: FeaturesConfig | None = None, report: Reporter | None = None, **settings: Any
) -> FeaturesResult:
    """Carry out a feature study, or hand back the result of an identical one that is there already.

    config: what is asked, or the same as keywords.

    What was finished before (the generator, encoded features, networks trained from scratch) is reused; an unfinished
    folder is resumed. With ``resume`` off everything is computed anew. Raises the errors of :mod:`augment.errors`.
    """
    from augment.features.study import STUDY

    return STUDY.complete(_asked(FeaturesConfig, config, settings), report or Reporter(), draw_study)


def _asked(kind: Any, config: Any, settings: dict[str, Any]) -> Any:
    if config is None:
        return kind.parse(**settings)
    if settings:
        raise UsageError(f"There is a config and {', '.join(settings)} besides. Put all into one of them.")
    return config
