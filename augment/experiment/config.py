"""What a person asks of a run, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from augment import study_config
from augment.arms import DEFAULT_CLASSIFIERS, arms_of, resolve_classifier
from augment.arms.grammar import FOR_TREES
from augment.limits import LARGEST_COUNT, LARGEST_SEED
from augment.study_config import StudyConfig


class RunConfig(StudyConfig):
    """What a person asks of a run; the same names as the command line's options.

    arms: as in :mod:`augment.arms.grammar`; arm_set: ``quick`` or ``full``, quick where neither is given.  options: of
    ``model``; those of another generator with its name before, as in ``{"other.steps": 200}``.  regime_seed: decides
    which classes are rare, in all seeds alike; None takes ``seed``, and a sweep gives all its cells the same.  spread:
    train the generator with other seeds on the first subset too, to tell their shares of the spread apart.  score_on:
    ``validation`` scores on training images that a repetition did not draw, for whatever is still to be chosen.
    """

    called: ClassVar[str] = "run"

    model: str
    regime: str = "high"
    size: int | None = Field(None, ge=1, le=LARGEST_COUNT)
    imbalance_factor: float = 100.0
    class_counts: tuple[int, ...] | None = None
    regime_seed: int | None = Field(None, ge=0, le=LARGEST_SEED)
    seeds: int = Field(1, ge=1, le=1000)
    arms: tuple[str, ...] = ()
    arm_set: str | None = None
    classifiers: tuple[str, ...] = DEFAULT_CLASSIFIERS
    strategy: str | None = None
    updates: int | None = Field(None, ge=1, le=LARGEST_COUNT)
    spread: bool = False
    score_on: Literal["test", "validation"] = "test"
    fidelity_images: int = Field(2000, ge=2, le=LARGEST_COUNT)
    save_images: bool = False

    @field_validator("classifiers")
    @classmethod
    def _known_classifiers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(resolve_classifier(name) for name in names))

    @property
    def arm_names(self) -> tuple[str, ...]:
        """All arms, sets resolved, the model's own among them."""
        return arms_of(self.arms, self.arm_set or (None if self.arms else "quick"), self.model)

    @property
    def for_trees(self) -> frozenset[str]:
        """Those of :attr:`arm_names` that a set has for trees alone, and that nobody asked for by name."""
        return frozenset(FOR_TREES.get(self.arm_set or ("" if self.arms else "quick"), ())) - frozenset(self.arms)

    def options_of(self, model: str) -> Mapping[str, Any]:
        """Options of one generator: those with its name before, and for the run's model those without a name."""
        named = {key.partition(".")[2]: value for key, value in self.options.items() if key.startswith(f"{model}.")}
        own = {key: value for key, value in self.options.items() if "." not in key} if model == self.model else {}
        return {**own, **named}


NOT_IDENTITY = study_config.NOT_IDENTITY | {"save_images", "arms", "arm_set", "strategy", "options"}
"""Settings that do not change a result, or are recorded in resolved form."""
