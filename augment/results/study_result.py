"""What the results of all studies have in common: the data, guards, where and when it was made, what decides it
(``config.json``), and ``result.json``.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from augment.errors import DataError
from augment.evidence.verdict import Guard
from augment.storage import hashing, typed_json
from augment.storage.typed_json import to_json

if TYPE_CHECKING:
    from augment.datasets import ImageSet

CONFIG = "config.json"
"""File of the identity, in a study's folder."""


@dataclass(frozen=True)
class Environment:
    """Versions of what decides a number, and the machine; ``threads`` are those of torch in this process."""

    augment: str
    python: str
    torch: str
    numpy: str
    platform: str
    processor: str
    device: str
    threads: int


def environment(device: str) -> Environment:
    """Where this process is at work.

    device: a name of :func:`augment.compute.device.available_devices`; that of a GPU is followed by what it is.
    """
    import numpy as np
    import torch

    from augment.compute.device import processor

    return Environment(
        augment=version("augment-toolkit"),
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=np.__version__,
        platform=platform.platform(),
        processor=processor()[0] or platform.processor() or platform.machine(),
        device=_described(device),
        threads=torch.get_num_threads(),
    )


def _described(device: str) -> str:
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if torch.device(device).type == "cuda" else device


@dataclass(frozen=True)
class GeneratorIdentity:
    """A generator before it is trained, or the weights of a saved one.

    options: complete, defaults included.  version, code: of its package.  weights: hash of a saved one's.
    """

    options: Mapping[str, Any]
    version: str | None = None
    code: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Identity:
    """Everything a result depends on.

    settings: as a config takes them, all that it takes to ask for the same again.  decided: of these what decides, as
    it was resolved.  generators: by name, the study's own first.  code: of the study.
    """

    schema: str
    settings: Mapping[str, Any]
    decided: Mapping[str, Any]
    data: str
    generators: Mapping[str, GeneratorIdentity]
    code: str
    torch: str

    @property
    def key(self) -> str:
        """Hash of what decides."""
        document = to_json(self)
        del document["settings"]
        return hashing.content_hash(document)

    def on(self, device: str, precision: str) -> Identity:
        """The same with where and how it is computed, which is known when it begins."""
        compute = {"device": device, "precision": precision}
        return replace(self, settings={**self.settings, **compute}, decided={**self.decided, **compute})


FILE = "result.json"


@dataclass(frozen=True)
class DatasetInfo:
    """The data set of a study: sizes in pixels, names of classes in order, and what was said when it was loaded."""

    name: str
    sha256: str
    channels: int
    height: int
    width: int
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: ImageSet) -> DatasetInfo:
        """What is said of a loaded data set."""
        spec, notes = data.spec, tuple(data.notes)
        return cls(data.name, data.sha256, spec.channels, spec.height, spec.width, data.classes, notes)

    @property
    def headline(self) -> str:
        """``1 x 28 x 28, 10 classes``."""
        return f"{self.channels} x {self.height} x {self.width}, {len(self.classes)} classes"


@dataclass(frozen=True)
class GeneratorInfo:
    """How a generator was trained, over all its trainings in a study.

    config: its options with defaults resolved.  steps: of the shortest training.  stopped: ``finished``, or why a
    training was cut short.  seconds: of all.  images_per_second: of the first.  cached: were all there before?
    """

    name: str
    config: Mapping[str, Any]
    version: str | None
    steps: int
    stopped: str
    seconds: float
    images_per_second: float
    cached: bool
    device: str
    precision: str

    @property
    def cut_short(self) -> str:
        """Why its training ended early, for a sentence; empty where it did not."""
        return "" if self.stopped in ("finished", "unknown") else f", cut short: {self.stopped}"

    @property
    def speed(self) -> str:
        """``1,200 images/s``, or ``cached``."""
        return "cached" if self.cached else f"{self.images_per_second:,.0f} images/s"


@dataclass(frozen=True)
class Cost:
    """seconds: wall clock of the attempt that finished it.  The others: of all trainings, whenever they were."""

    seconds: float
    generator_seconds: float
    classifier_seconds: float


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """A finished study. Everything but the first fields is known when it is written, and the same when read again.

    environment: where it was made.  finished_at: ISO time in UTC.  folder: where it lies.  identity: hash of
    everything it depends on.  cached: was it there before it was asked for?
    """

    schema: ClassVar[str]

    dataset: DatasetInfo
    guards: tuple[Guard, ...]
    environment: Environment | None = None
    finished_at: str = ""
    cost: Cost | None = None
    seconds: float = 0.0
    folder: Path = field(default=Path(), compare=False)
    identity: str = ""
    cached: bool = field(default=False, compare=False)

    @property
    def sentence(self) -> str:
        """The verdict, in one sentence."""
        raise NotImplementedError

    @property
    def classifier_seconds(self) -> float:
        """Of all classifiers, whenever they were trained."""
        raise NotImplementedError

    def numbers(self) -> Iterator[tuple[str, float]]:
        """What is worth comparing between studies, by name; a name may come several times, as with several seeds."""
        raise NotImplementedError

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """Names of the guards that failed."""
        return tuple(guard.name for guard in self.guards if not guard.passed)

    def to_json(self) -> dict[str, Any]:
        """What ``result.json`` holds."""
        document = typed_json.to_json(self)
        del document["cached"]
        names = [one.name for one in fields(StudyResult) if one.name not in ("dataset", "guards", "cached")]
        last = {name: document.pop(name) for name in names}  # at the end, where a sweep looks for the identity
        return {"schema": self.schema, **document, **last}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What :meth:`to_json` wrote; raises DataError for another schema, and where something is missing or wrong."""
        schema = document.get("schema")
        if schema != cls.schema:
            raise DataError(f"made by another version ({schema}; this one reads {cls.schema}): run it again")
        return typed_json.from_json(cls, document, FILE)
