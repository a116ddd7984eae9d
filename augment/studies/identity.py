"""What decides a result, said once: the keys of a folder, a result and a cell of a sweep come from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augment.results.study_result import GeneratorIdentity, Identity
from augment.studies.config import StudyConfig

if TYPE_CHECKING:
    from augment.datasets import ImageSet

RESTATED = frozenset({"dataset", "options", "steps"})
"""Settings that the hash of the data and the options of the generators say exactly."""


@dataclass(frozen=True)
class DataFacts:
    """What a study's key needs of its data; images are let go.

    counts, tested: training and test images of each class.  own_test: as of the data set.
    """

    sha256: str
    counts: tuple[int, ...]
    tested: tuple[int, ...] = ()
    own_test: bool = True

    @classmethod
    def of(cls, data: ImageSet) -> DataFacts:
        """Those of a loaded data set."""
        train, test = (part.counts(len(data.classes)) for part in (data.train, data.test))
        return cls(data.sha256, train, test, data.own_test)


def untrained(model: str, options: Mapping[str, Any], steps: int | None) -> GeneratorIdentity:
    """A generator that is to be trained; raises the errors of :func:`augment.training.trained.completed`."""
    from augment import registry
    from augment.training import trained

    complete = trained.completed(model, options, steps)
    return GeneratorIdentity(complete, registry.version(model), trained.plugin_code(registry.get(model)))


def identity_of(
    config: StudyConfig,
    data: DataFacts,
    generators: Mapping[str, GeneratorIdentity],
    *,
    schema: str,
    code: str,
    settings: Mapping[str, Any],
    resolved: Mapping[str, Any],
) -> Identity:
    """The identity of a study.

    settings: what the config leaves open, made definite, by the names of its fields.  resolved: the same for what
    decides, where that is more, or other than a person would write; a None leaves a setting out.
    """
    import torch

    asked = {**config.model_dump(mode="json"), **settings}
    kept = {"dataset", *config.deciding()}
    decided = {name: value for name, value in asked.items() if name in config.deciding() - RESTATED}
    decided = {name: value for name, value in {**decided, **resolved}.items() if value is not None}
    return Identity(
        schema=schema,
        settings={name: value for name, value in asked.items() if name in kept},
        decided=decided,
        data=data.sha256,
        generators=generators,
        code=code,
        torch=torch.__version__,
    )
