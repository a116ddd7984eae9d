"""What is compared, on what and how: rows of the table, training sets, settings, the machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augment.classifiers import default_updates
from augment.datasets import ImageSet, LabelledImages
from augment.datasets.regimes import Manifest, class_counts, draw_split
from augment.generators.scoring import References
from augment.metrics.extractor import Extractor
from augment.progress import Reporter

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain VAE": ("vae", {"conditional": False, "prior": "normal", "beta": 1.0}),
    **{name: (name, {}) for name in ("ae", "vae", "dvae", "vqvae", "cgan", "biggan", "realnvp", "ddpm", "clip_guided")},
}
"""Title of a row: the registered model and the options that differ from its defaults."""

SETS = ("all", "longtail")
SAMPLES = 5000
"""Scored of each model, unless told otherwise."""

SEED = 0


@dataclass(frozen=True)
class Settings:
    """How everything is measured; part of each result's key."""

    samples: int
    steps: int | None
    minutes: float | None
    updates: int
    device: str
    precision: str
    threads: int

    @classmethod
    def of(cls, updates: int | None, samples: int, **others: Any) -> Settings:
        """``updates`` of the CNN: by default as many as a run with ``samples`` real images has."""
        return cls(samples=samples, updates=updates or default_updates(samples), **others)


@dataclass(frozen=True)
class TrainingSet:
    """What generators are trained on: ``all`` training images or a ``longtail`` of them, with its split."""

    name: str
    manifest: Manifest
    images: LabelledImages


@dataclass(frozen=True)
class Bench:
    """What the rows of one data set share."""

    data: ImageSet
    extractor: Extractor
    references: References
    settings: Settings
    out: Path
    reporter: Reporter


def training_set(data: ImageSet, name: str) -> TrainingSet:
    """All training images, or regime ``high`` with imbalance factor 100, drawn as a run with seed 0 draws them."""
    available = data.train.counts(len(data.classes))
    counts = available if name == "all" else class_counts("high", available, imbalance_factor=100, seed=0)
    manifest = draw_split(
        data.train.labels,
        counts,
        dataset=data.name,
        dataset_sha256=data.sha256,
        regime="all" if name == "all" else "high",
        imbalance_factor=100,
        seed=SEED,
    )
    return TrainingSet(name, manifest, data.train.subset(manifest.train))


def machine(settings: Settings) -> str:
    """What the times were taken on."""
    if settings.device != "cpu":
        where = torch.cuda.get_device_name() if settings.device.startswith("cuda") else settings.device
    else:
        where = f"{_processor()} with {os.cpu_count()} cores"
    return f"{where}, {settings.threads} CPU thread(s), {settings.precision}, torch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
