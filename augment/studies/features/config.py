"""What a person asks of a feature study, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from augment.errors import unknown_name
from augment.storage.locations import local_path
from augment.studies.config import DATASET, MODEL, Names, Numbers, Option, StudyConfig

AUTO: Literal["auto"] = "auto"
BASELINES = ("pixels", "cnn", "untrained")


class FeaturesConfig(StudyConfig):
    """What a person asks of a feature study; the same names as the command line's options.

    Attributes:
        t: A timestep, several to choose from, or "auto"; None for the model's default.
        layer: A name, several joined by commas, or "auto".
        encode: Further options of the model's ``encode``.
        labels_per_class: None for 1, 2, 4 ... up to 512, as far as the classes reach.

    Example:
        >>> from augment import FeaturesConfig
        >>> config = FeaturesConfig.parse(dataset="digits", model="ddpm", t="1,10,50", layer="auto")
        >>> config.t, config.probes, config.episodes
        ((1, 10, 50), ('linear', 'mlp'), 5)
    """

    called: ClassVar[str] = "feature study"

    model: Annotated[str | None, MODEL] = None
    dataset: Annotated[str, DATASET] = "fashionmnist"
    generator: Annotated[Path | None, Option("A saved generator instead of training one.", whole=True)] = None
    t: Annotated[
        Numbers | Literal["auto"] | None,
        Option(
            "Timestep, several to choose from (1,10,50) or auto.",
            default="the model's",
            given="commas",
        ),
    ] = None
    layer: Annotated[
        str | None, Option("A layer, several joined by commas, auto, or list.", default="the model's", whole=True)
    ] = None
    encode: Annotated[
        dict[str, Any],
        Option("Another option of the model's encode as key=value; repeatable.", given="pairs", whole=True),
    ] = Field(default_factory=dict)
    labels_per_class: Annotated[
        Numbers | None,
        Option("Labels per class, separated by commas.", default="1,2,4 ... up to 512", given="commas"),
    ] = None
    probes: Annotated[
        Names, Option("linear, mlp, prototype, knn, separated by commas.", flag="probe", given="commas")
    ] = ("linear", "mlp")
    second_stage: Annotated[
        Names,
        Option("Use the unlabelled pool: propagation, pseudo-labels, pseudo-cnn, separated by commas.", given="commas"),
    ] = ()
    baselines: Annotated[
        Names,
        Option(
            "What to compare with: pixels, cnn, untrained, separated by commas, or none.",
            flag="baseline",
            given="commas",
        ),
    ] = BASELINES
    episodes: Annotated[int, Field(ge=1, le=1000), Option("Draws of the labelled images.")] = 5
    plots: Annotated[
        Names, Option("Maps of the features: pca, tsne, umap, by commas, or none.", flag="plot", given="commas")
    ] = ("pca", "tsne")
    export: Annotated[
        Path | None,
        Option(
            "Write all images' features to a .npz, .csv or .safetensors file.",
            decides=False,
            file=True,
            refused="All cells would write the same file; use `augment features --export`.",
        ),
    ] = None

    @field_validator("generator", "export")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        return None if path is None else local_path(path)

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        from augment.classifiers.probes import PROBES
        from augment.studies.features.export import suffix_of
        from augment.studies.features.projection import METHODS, check_method
        from augment.studies.features.second_stage import STAGES

        for option, given, known in (
            ("probe", self.probes, PROBES),
            ("second stage", self.second_stage, STAGES),
            ("baseline", self.baselines, BASELINES),
            ("plot", self.plots, METHODS),
        ):
            for name in given:
                if name not in known:
                    raise ValueError(unknown_name(option, name, known))
        for name in self.plots:
            check_method(name)  # raises the error that says what to install
        if not self.probes:
            raise ValueError(f"Name at least one --probe: {', '.join(PROBES)}.")
        if self.labels_per_class is not None and min(self.labels_per_class, default=0) < 1:
            raise ValueError("--labels-per-class are whole numbers from 1 on, separated by commas.")
        if self.export is not None:
            suffix_of(self.export)  # raises the error that lists the formats
        if self.generator is not None and (self.options or self.steps or self.max_minutes):
            raise ValueError("--generator takes a finished generator, so --set, --steps and --max-minutes do nothing.")
        return self


CONFIG = FeaturesConfig
