"""The key of a cell: a hash of all that decides its result, the data and the code among it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from augment import registry, store, study_config, trained
from augment.evidence.guards import Fingerprint
from augment.experiment.config import RunConfig
from augment.experiment.plan import without_test_images
from augment.features.config import FeaturesConfig
from augment.progress import Reporter
from augment.source_code import imported_sources
from augment.study_config import StudyConfig
from augment.sweep.cell import STUDIED, Command


@dataclass(frozen=True)
class Data:
    """What a key and a check need of a data set; its images are let go."""

    sha256: str
    counts: tuple[int, ...]


@dataclass
class Facts:
    """What cells have in common, found once."""

    command: Command
    report: Reporter
    data: dict[tuple[Any, ...], Data] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)

    def data_of(self, config: StudyConfig) -> Data:
        """Load a data set as a run does, its training images that are test images left out."""
        key = (config.dataset, config.data_dir, config.image_size, config.strict)
        if key not in self.data:
            data = config.load_data(self.report)
            if self.command == "run":
                data = without_test_images(data, Fingerprint(data.test.images), Reporter())
            self.data[key] = Data(data.sha256, tuple(data.train.counts(len(data.classes))))
        return self.data[key]

    def code_of(self, models: tuple[str, ...]) -> dict[str, str]:
        """Hashes of the code of a study and of each generator."""
        for model in models:
            if model not in self.plugins:
                self.plugins[model] = trained.plugin_code(registry.get(model))
        if "" not in self.plugins:
            self.plugins[""] = store.code_fingerprint(imported_sources(STUDIED[self.command]))
        return {model: self.plugins[model] for model in ("", *models)}


def key_of(config: StudyConfig, models: tuple[str, ...], facts: Facts) -> str:
    """Hash of everything the result of a run or feature study with these generators depends on.

    A device that is found by itself is left out: a sweep may go on where there is another one.
    """
    unlike = {name for name in ("device", "precision") if getattr(config, name) != "auto"}
    left_out = (study_config.NOT_IDENTITY - {"options"} - unlike) | {"save_images", "arms", "arm_set"}
    saved = config.generator if isinstance(config, FeaturesConfig) else None
    identity = {
        "command": facts.command,
        "settings": config.model_dump(mode="json", exclude=left_out),
        "arms": config.arm_names if isinstance(config, RunConfig) else None,
        "data": facts.data_of(config).sha256,
        "code": facts.code_of(models),
        "weights": None if saved is None else _file_hash(saved / "model.safetensors"),
        "torch": torch.__version__,
    }
    return store.content_hash(identity)


def _file_hash(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
