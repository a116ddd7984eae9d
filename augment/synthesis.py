"""Class deficits -> synthetic images: how many per class (strategies), the drawing, and a provenance row for each.

A strategy maps real counts to synthetic counts and knows nothing else. ``balance`` fills every class to the largest;
``partial`` fills a share of the deficit with a cap per class, because a generator that saw 20 images of a class cannot
give 2,000 useful ones; ``ratio`` adds a multiple of every class.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from augment.errors import ConfigError, UsageError, unknown_name
from augment.generator import SAMPLE_CHUNK, Generator, chunk_seed
from augment.sampling import OnProgress, sample_images
from augment.workers import Workers

Counts = tuple[int, ...]


def balance(counts: Sequence[int]) -> Counts:
    """Fill every class to the largest."""
    return tuple(max(counts) - count for count in counts)


def partial(counts: Sequence[int], share: float = 0.5, cap: float = 5.0) -> Counts:
    """Fill ``share`` of each class's deficit, at most ``cap`` synthetic images for each real one."""
    return tuple(round(min(share * (max(counts) - count), cap * count)) for count in counts)


def ratio(counts: Sequence[int], ratio: float = 1.0) -> Counts:
    """Add ``ratio`` synthetic images for each real one, in every class."""
    return tuple(round(ratio * count) for count in counts)


STRATEGIES: dict[str, Callable[..., Counts]] = {"balance": balance, "partial": partial, "ratio": ratio}
RANGES = {"share": (0.0, 1.0), "cap": (0.0, 1000.0), "ratio": (0.0, 1000.0)}
OPTIONS = {"balance": (), "partial": ("share", "cap"), "ratio": ("ratio",)}


@dataclass(frozen=True)
class Strategy:
    """A named strategy with its options, as written on the command line: ``partial:share=0.5,cap=5``."""

    name: str
    options: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Strategy:
        """Read ``name`` or ``name:key=value,...``; raises UsageError or ConfigError with what is known."""
        name, _, rest = text.partition(":")
        if name not in STRATEGIES:
            raise UsageError(unknown_name("strategy", name, STRATEGIES))
        pairs = [item.partition("=") for item in rest.split(",") if item]
        options = tuple((key, _option(name, key, value)) for key, _, value in pairs)
        for key in dict(options):
            if sum(key == other for other, _ in options) > 1:
                raise UsageError(f"Strategy {text!r} gives {key} more than once. Leave one of them.")
        return cls(name, options)

    def counts(self, real: Sequence[int]) -> Counts:
        """Synthetic images per class for ``real`` images per class."""
        return STRATEGIES[self.name](real, **dict(self.options))

    def __str__(self) -> str:
        options = ",".join(f"{key}={str(value).removesuffix('.0')}" for key, value in self.options)
        return f"{self.name}:{options}" if options else self.name


def _option(strategy: str, key: str, text: str) -> float:
    if key not in OPTIONS[strategy]:
        raise UsageError(unknown_name(f"option of strategy {strategy!r}", key, OPTIONS[strategy]))
    low, high = RANGES[key]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(f"Strategy option {key}={text!r}: a number from {low:g} to {high:g} is needed.")
    return value


def default_strategy(counts: Sequence[int]) -> Strategy:
    """``partial`` where classes differ in size, ``ratio`` where they do not and there is no deficit to fill."""
    return Strategy("ratio" if max(counts) == min(counts) else "partial")


@dataclass(frozen=True)
class SyntheticSet:
    """Synthetic images with their labels and one provenance row each.

    images: uint8 ``(n, C, H, W)``.  labels: int64 ``(n,)``, ascending.  rows: generator, config_sha256, seed, class,
    nearest training image (index and root-mean-square pixel distance in [0, 1]).
    """

    images: Tensor
    labels: Tensor
    rows: tuple[dict[str, Any], ...]

    def counts(self, num_classes: int) -> Counts:
        """Synthetic images per class."""
        return tuple(torch.bincount(self.labels, minlength=num_classes).tolist())


def config_sha256(generator: Generator) -> str:
    """Hash of a generator's name, shape and options."""
    document = {
        "name": generator.name,
        "spec": generator.spec.shape,
        "config": generator.config.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def synthesise(
    generator: Generator,
    counts: Sequence[int],
    *,
    seed: int,
    precision: str = "fp32",
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
) -> SyntheticSet:
    """Draw exactly ``counts[c]`` images of every class c.

    Raises ConfigError for counts that do not fit the classes, and for a generator that cannot follow labels: its images
    would carry labels that mean nothing.
    """
    num_classes = generator.spec.num_classes
    if len(counts) != num_classes or min(counts) < 0:
        raise ConfigError(
            f"Images per class are {', '.join(map(str, counts))}; {generator.name!r} has {num_classes} classes, and "
            "each needs a number that is not negative."
        )
    if not generator.tags.conditional:
        raise ConfigError(
            f"{generator.name!r} with these options samples without classes, so its images have no labels to train a "
            f"classifier on. `augment models {generator.name}` shows the options that make it class-conditional."
        )
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = sample_images(generator, labels, seed=seed, precision=precision, workers=workers, on_progress=on_progress)
    return SyntheticSet(images, labels, _provenance(generator, labels, seed))


def draw_unlabelled(
    generator: Generator, n: int, *, seed: int, precision: str = "fp32", on_progress: OnProgress | None = None
) -> SyntheticSet:
    """Draw ``n`` images of a generator without classes: all labels are 0, and the rows name no class."""
    labels = torch.zeros(n, dtype=torch.int64)
    images = sample_images(generator, labels, seed=seed, precision=precision, on_progress=on_progress)
    rows = ({**row, "class": None} for row in _provenance(generator, labels, seed))
    return SyntheticSet(images, labels, tuple(rows))


def _provenance(generator: Generator, labels: Tensor, seed: int) -> tuple[dict[str, Any], ...]:
    origin = {"generator": generator.name, "config_sha256": config_sha256(generator), "seed": seed}
    seeds = [chunk_seed(seed, chunk) for chunk in range(-(-len(labels) // SAMPLE_CHUNK))]
    return tuple(
        {**origin, "index": index, "class": label, "chunk_seed": seeds[index // SAMPLE_CHUNK]}
        for index, label in enumerate(labels.tolist())
    )


def with_nearest(synthetic: SyntheticSet, index: Tensor, distance: Tensor) -> SyntheticSet:
    """The same set with each row naming its nearest training image."""
    rows = tuple(
        {**row, "nearest_training_index": int(near), "nearest_training_distance": round(float(far), 5)}
        for row, near, far in zip(synthetic.rows, index.tolist(), distance.tolist(), strict=True)
    )
    return SyntheticSet(synthetic.images, synthetic.labels, rows)
