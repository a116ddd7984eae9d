"""What a person asks of a feature study, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from augment import study_config
from augment.errors import unknown_name
from augment.export import suffix_of
from augment.features.second_stage import STAGES
from augment.heads import HEADS
from augment.locations import local_path
from augment.report.projection import METHODS, check_method
from augment.study_config import StudyConfig

AUTO: Literal["auto"] = "auto"
BASELINES = ("pixels", "cnn", "untrained")


class FeaturesConfig(StudyConfig):
    """What a person asks of a feature study; the same names as the command line's options.

    t: a timestep, several to choose from, or "auto"; None for the model's default.  layer: a name, several joined by
    commas, or "auto".  encode: further options of the model's ``encode``.  labels_per_class: None for 1, 2, 4 ... up to
    512, as far as the classes reach.
    """

    called: ClassVar[str] = "feature study"

    model: str | None = None
    dataset: str = "fashionmnist"
    generator: Path | None = None
    t: tuple[int, ...] | Literal["auto"] | None = None
    layer: str | None = None
    encode: dict[str, Any] = Field(default_factory=dict)
    labels_per_class: tuple[int, ...] | None = None
    heads: tuple[str, ...] = ("linear", "mlp")
    second_stage: tuple[str, ...] = ()
    baselines: tuple[str, ...] = BASELINES
    episodes: int = Field(5, ge=1, le=1000)
    plots: tuple[str, ...] = ("pca", "tsne")
    export: Path | None = None

    @field_validator("generator", "export")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        return None if path is None else local_path(path)

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        for option, given, known in (
            ("head", self.heads, HEADS),
            ("second stage", self.second_stage, STAGES),
            ("baseline", self.baselines, BASELINES),
            ("plot", self.plots, METHODS),
        ):
            for name in given:
                if name not in known:
                    raise ValueError(unknown_name(option, name, known))
        for name in self.plots:
            check_method(name)  # raises the error that says what to install
        if not self.heads:
            raise ValueError(f"Name at least one --head: {', '.join(HEADS)}.")
        if self.labels_per_class is not None and min(self.labels_per_class, default=0) < 1:
            raise ValueError("--labels-per-class are whole numbers from 1 on, separated by commas.")
        if self.export is not None:
            suffix_of(self.export)  # raises the error that lists the formats
        if self.generator is not None and (self.options or self.steps or self.max_minutes):
            raise ValueError("--generator takes a finished generator, so --set, --steps and --max-minutes do nothing.")
        return self


NOT_IDENTITY = study_config.NOT_IDENTITY | {"export"}
"""Settings that do not change a result, or are recorded in resolved form."""
