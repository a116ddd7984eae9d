"""What a person asks of a run, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from augment.arms import DEFAULT_CLASSIFIERS, resolve_classifier
from augment.errors import ConfigError, unknown_name


class RunConfig(BaseModel):
    """What a person asks of a run; the same names as the command line's options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    model: str
    data_dir: Path | None = None
    image_size: int | None = Field(None, ge=4, le=256)
    strict: bool = False
    regime: str = "high"
    size: int | None = Field(None, ge=1)
    imbalance_factor: float = 100.0
    class_counts: tuple[int, ...] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(0, ge=0, le=2**31)
    seeds: int = Field(1, ge=1, le=1000)
    arms: tuple[str, ...] = ("real", "oversample")
    classifiers: tuple[str, ...] = DEFAULT_CLASSIFIERS
    strategy: str | None = None
    steps: int | None = Field(None, ge=1)
    max_minutes: float | None = Field(None, gt=0)
    updates: int | None = Field(None, ge=1)
    fidelity_images: int = Field(2000, ge=2)
    device: str = "auto"
    precision: str = "auto"
    out: Path = Path("runs")
    save_images: bool = False
    resume: bool = True
    offline: bool = False

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """Validate; raises ConfigError that names the option and what is allowed."""
        try:
            return cls(**values)
        except ValidationError as error:
            lines = []
            for item in error.errors():
                key = str(item["loc"][0])
                if item["type"] == "extra_forbidden":
                    lines.append(unknown_name("setting of a run", key, cls.model_fields))
                else:
                    lines.append(f"--{key.replace('_', '-')} {item.get('input')}: {item['msg']}.")
            raise ConfigError("\n".join(lines)) from None

    @field_validator("classifiers")
    @classmethod
    def _known_classifiers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(resolve_classifier(name) for name in names))


NOT_IDENTITY = {"data_dir", "out", "save_images", "offline", "resume", "device", "precision", "dataset", "options"}
"""Fields that do not change a result, or are recorded in resolved form."""


@dataclass(frozen=True)
class Seeds:
    """The seeds of one repetition; they differ so that no two parts share a stream."""

    subset: int
    generator: int
    sampling: int
    classifier: int

    @classmethod
    def of(cls, base: int) -> Seeds:
        """Seeds of repetition ``base``."""
        return cls(*(part * 1_000_003 + base for part in range(4)))
