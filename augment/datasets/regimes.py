"""Class counts of a regime, and the frozen split they are drawn into.

Counts come first, images second: :func:`class_counts` says how many images each class has, :func:`draw_split` picks
them and returns a :class:`Manifest` whose indices and hash are written into the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.datasets.catalogue import EXPLICIT, LONG_TAIL, NATURAL, REGIMES
from augment.errors import ConfigError, DataError, UsageError, unknown_name
from augment.seeds import numpy_rng

DEFAULT_SIZE = 5000
MINORITY_SHARE = 1 / 6
VALIDATION_SHARE = 0.05
ROUNDING = 1e-9
"""How far a share of floating-point numbers may lie below the whole number it stands for."""

PRESETS = {
    "seed-high": (870, 677, 161, 628, 319, 937, 775, 54, 499, 119),
    "gamo": (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40),
}


def class_shares(regime: str, num_classes: int, *, imbalance_factor: float, seed: int) -> np.ndarray:
    """Relative class sizes ``(C,)`` of a regime, summing to 1; which classes are rare is drawn by ``seed``."""
    order = numpy_rng(seed, "rare classes").permutation(num_classes)
    shares = np.ones(num_classes)
    if regime == "semi":
        shares[order[-min(2, num_classes - 1) :]] = MINORITY_SHARE
    elif regime == LONG_TAIL:
        rank = np.empty(num_classes)
        rank[order] = np.arange(num_classes)
        shares = imbalance_factor ** (-rank / max(num_classes - 1, 1))
    elif regime in PRESETS:
        if num_classes != len(PRESETS[regime]):
            raise ConfigError(
                f"Regime {regime!r} is for {len(PRESETS[regime])} classes; this data set has {num_classes}. "
                "Use --regime high, or give --class-counts."
            )
        shares = np.asarray(PRESETS[regime], dtype=float)
    return np.asarray(shares / shares.sum())


def _apportion(shares: np.ndarray, size: int) -> tuple[int, ...]:
    """Whole numbers that sum to ``size``, by largest remainder; every class keeps at least one image."""
    exact = shares * size
    lifted = np.zeros(len(shares), dtype=bool)
    while (exact[~lifted] < 1 - ROUNDING).any():  # one image each for these; the others share what is left
        lifted |= exact < 1 - ROUNDING
        exact = np.where(lifted, 1.0, shares / shares[~lifted].sum() * (size - lifted.sum()))
    counts = np.floor(exact + ROUNDING).astype(int)
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[: size - int(counts.sum())]] += 1
    return tuple(int(count) for count in counts)


def _largest_size(shares: np.ndarray, available: Sequence[int]) -> int:
    """Largest total, up to the default, whose every class is available.

    A count is below its exact share by one for rounding and one for each class lifted to one image, at most; no size
    above the bound this gives can fit.
    """
    slack = len(shares) + 1
    bound = min((have + slack) / share for have, share in zip(available, shares, strict=True))
    size = min(DEFAULT_SIZE, sum(available), int(bound))
    while size > len(shares) and any(
        count > have for count, have in zip(_apportion(shares, size), available, strict=True)
    ):
        size -= 1
    return max(size, len(shares))


def class_counts(
    regime: str,
    available: Sequence[int],
    *,
    size: int | None = None,
    imbalance_factor: float = 100.0,
    explicit: Sequence[int] | None = None,
    seed: int = 0,
) -> tuple[int, ...]:
    """Images per class of a regime.

    available: training images each class has.  size: the total; None takes all for ``natural``, a preset's own, else
    5000 or, where the data has fewer, the largest total the regime allows.  imbalance_factor: largest over smallest
    class, for ``high``.  explicit: the counts themselves, for ``explicit``.  seed: draws which classes are rare.

    Raises UsageError for an unknown regime, ConfigError for a size or factor out of range, DataError when a class has
    too few images (with the numbers).
    """
    num_classes = len(available)
    if regime not in REGIMES:
        raise UsageError(unknown_name("regime", regime, REGIMES))
    if (regime == EXPLICIT) != (explicit is not None):
        raise UsageError("--class-counts goes with --regime explicit (or with no --regime), and only with it.")
    if not 1 <= imbalance_factor <= 1e6:
        raise ConfigError(f"The imbalance factor is {imbalance_factor:g}; it must be between 1 and 1,000,000.")
    if size is not None and size < num_classes:
        raise ConfigError(f"--size {size} is less than one image for each of the {num_classes} classes.")
    if explicit is not None:
        counts = _explicit(explicit, num_classes, size)
    elif regime == NATURAL:
        if 0 in available:
            label = list(available).index(0)
            raise DataError(f"Class {label} has no image to train on. Add images, or join it with --merge-classes.")
        counts = tuple(available) if size is None else _apportion(np.asarray(available) / sum(available), size)
    elif size is None and regime in PRESETS and num_classes == len(PRESETS[regime]):
        counts = PRESETS[regime]
    else:
        shares = class_shares(regime, num_classes, imbalance_factor=imbalance_factor, seed=seed)
        counts = _apportion(shares, _largest_size(shares, available) if size is None else size)
    _check_available(counts, available)
    return counts


def _explicit(explicit: Sequence[int], num_classes: int, size: int | None) -> tuple[int, ...]:
    if len(explicit) != num_classes:
        raise ConfigError(f"--class-counts has {len(explicit)} numbers; the data set has {num_classes} classes.")
    if min(explicit) < 1:
        raise ConfigError(f"--class-counts has {min(explicit)}; every class needs at least 1 image.")
    if size is not None and size != sum(explicit):
        raise ConfigError(f"--size {size} contradicts --class-counts, which add up to {sum(explicit)}. Leave one out.")
    return tuple(explicit)


def _check_available(counts: Sequence[int], available: Sequence[int]) -> None:
    short = [
        f"class {index}: {count} wanted, {have} there"
        for index, (count, have) in enumerate(zip(counts, available, strict=True))
        if count > have
    ]
    if short:
        raise DataError(
            f"Too few training images for {sum(counts)} in this regime ({'; '.join(short)}). "
            "Give a smaller --size or --imbalance-factor, or other --class-counts."
        )


RARE = 0.5
"""A class is made rare where its share of the drawn images is less than this part of its share of all."""

NAMED = 5
"""Classes that a message names; it counts the others."""


def draw_note(classes: Sequence[str], available: Sequence[int], counts: Sequence[int]) -> str:
    """How many of how many training images are drawn, and which classes that makes rare, in a sentence or two.

    Args:
        classes: Names of the classes.
        available: Training images that each class has.
        counts: Images of each class that are drawn.
    """
    if tuple(counts) == tuple(available):
        return f"All {sum(counts):,} training images are used, the classes as they come."
    shares = np.asarray(counts) / sum(counts) * sum(available) / np.maximum(np.asarray(available), 1)
    rare = [int(index) for index in np.argsort(shares, kind="stable") if shares[index] < RARE]
    named = ", ".join(f"{classes[index]} ({counts[index]:,} of {available[index]:,})" for index in rare[:NAMED])
    more = f" and {len(rare) - NAMED:,} more" if len(rare) > NAMED else ""
    made = f" Made rare: {named}{more}." if rare else ""
    return f"{sum(counts):,} of {sum(available):,} training images are used.{made}"


@dataclass(frozen=True)
class Manifest:
    """A frozen split: which training images were drawn, and which of them validate.

    train: indices into the data set's training part, ascending.  validation: the few of ``train`` on which choices are
    made (a generator's best checkpoint); a generator is not trained on them, a classifier, which chooses nothing, is.
    """

    dataset: str
    dataset_sha256: str
    regime: str
    imbalance_factor: float | None
    seed: int
    class_counts: tuple[int, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]

    @property
    def size(self) -> int:
        """Images drawn in all."""
        return len(self.train)

    @property
    def sha256(self) -> str:
        """Hash over every field."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Every field and the hash, for ``manifest.json``."""
        return {**asdict(self), "sha256": self.sha256}


def draw_split(
    labels: Tensor,
    counts: Sequence[int],
    *,
    dataset: str,
    dataset_sha256: str,
    regime: str,
    imbalance_factor: float | None,
    seed: int,
    rows: Tensor | None = None,
) -> Manifest:
    """Draw ``counts[c]`` images of every class c without replacement, and 5% of each class for validation.

    rows: those to draw among; None for all. Raises DataError when a class has too few images.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    if rows is not None:
        free.zero_()[rows] = True
    _check_available(counts, torch.bincount(labels[free], minlength=len(counts)).tolist())
    shuffles = numpy_rng(seed, "subset")
    train: list[int] = []
    validation: list[int] = []
    for label, count in enumerate(counts):
        members = shuffles.permutation(torch.nonzero(free & (labels == label)).flatten().numpy())[:count]
        train.extend(int(index) for index in members)
        validation.extend(int(index) for index in members[: int(count * VALIDATION_SHARE)])
    return Manifest(
        dataset=dataset,
        dataset_sha256=dataset_sha256,
        regime=regime,
        imbalance_factor=imbalance_factor if regime == LONG_TAIL else None,
        seed=seed,
        class_counts=tuple(counts),
        train=tuple(sorted(train)),
        validation=tuple(sorted(validation)),
    )
