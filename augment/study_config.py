"""What a run and a feature study both ask of a person: the data, the generator's training, where to put the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from augment.errors import ConfigError, unknown_name
from augment.limits import LARGEST_COUNT, LARGEST_SEED
from augment.locations import local_path

if TYPE_CHECKING:
    from augment.datasets import ImageSet
    from augment.progress import Reporter


class StudyConfig(BaseModel):
    """Settings with the same names as the command line's options; checked before anything is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    called: ClassVar[str] = "study"
    """What a person calls it, for error messages."""

    dataset: str
    data_dir: Path | None = None
    image_size: int | None = Field(None, ge=4, le=256)
    strict: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    steps: int | None = Field(None, ge=1, le=LARGEST_COUNT)
    max_minutes: float | None = Field(None, gt=0)
    device: str = "auto"
    precision: str = "auto"
    out: Path = Path("runs")
    resume: bool = True
    offline: bool = False
    tracker: str | None = None

    @field_validator("data_dir", "out")
    @classmethod
    def _usable(cls, path: Path | None) -> Path | None:
        return None if path is None else local_path(path)

    @field_validator("tracker")
    @classmethod
    def _known_tracker(cls, name: str | None) -> str | None:
        from augment.tracking import check_tracker

        return None if name is None else check_tracker(name)

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """Validate; raises ConfigError that names the option and what is allowed."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise ConfigError("\n".join(cls._explained(dict(item)) for item in error.errors())) from None

    @classmethod
    def _explained(cls, item: dict[str, Any]) -> str:
        if not item["loc"]:  # of settings together
            return str(item["msg"]).removeprefix("Value error, ")
        key = str(item["loc"][0])
        if item["type"] == "extra_forbidden":
            return unknown_name(f"setting of a {cls.called}", key, cls.model_fields)
        return f"--{key.replace('_', '-')} {item.get('input')}: {item['msg']}."

    def load_data(self, report: Reporter) -> ImageSet:
        """The data set; raises the errors of :func:`augment.load_dataset`."""
        from augment.datasets import load_dataset

        report.stage(f"Load {self.dataset}")
        return load_dataset(
            self.dataset,
            data_dir=self.data_dir,
            image_size=self.image_size,
            strict=self.strict,
            offline=self.offline,
            report=report.note,
        )


NOT_IDENTITY = {"data_dir", "out", "offline", "resume", "device", "precision", "dataset", "options", "tracker"}
"""Settings that do not change a result, or are recorded in resolved form."""
