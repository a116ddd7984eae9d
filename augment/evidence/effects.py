"""Whom synthetic images help: differences of recall for each class, and for classes with many, medium and few images.

Accuracy hides it: an arm that gains ten points on three rare classes and loses three on ten common ones looks like
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from augment.errors import DataError
from augment.evidence.statistics import mean_with_interval

MANY = 1 / 3
"""A class has many images from this share of the largest class on."""

FEW = 1 / 10
"""A class has few images below this share of the largest class.

Liu et al. (2019, arXiv:1904.05160) call more than 100 images many and fewer than 20 few, for sets of 100,000 images
whose largest classes have over 1,000. In a set of a few hundred images no class would have many; in 5,000 images of
10 classes hardly one would have few. Shares of the largest class keep their meaning at every size.
"""

Recalls = Sequence[Sequence[float]]
"""One row per seed, one recall in [0, 1] per class."""


@dataclass(frozen=True)
class ClassEffect:
    """Difference of a class's recall, arm minus reference, in percentage points.

    images: real training images.  ci95: 95% interval over seeds, None with one seed or without spread between seeds.
    """

    name: Annotated[str, Field(alias="class")]
    images: int
    delta: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class GroupEffect:
    """Difference of the mean recall of the classes in a group, arm minus reference, in percentage points.

    group: ``many``, ``medium`` or ``few``.  classes: names of those with test images.  images: their real training
    images together.  ci95: as in :class:`ClassEffect`.
    """

    group: str
    classes: tuple[str, ...]
    images: int
    delta: float
    ci95: tuple[float, float] | None


def class_groups(counts: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Indices of the classes with ``many`` (from 1/3 of the largest on), ``medium`` and ``few`` (below 1/10) images.

    In this order; groups without classes are left out, so a balanced set has ``many`` alone. Raises DataError where
    there is no image at all.
    """
    largest = max(counts, default=0)
    if largest < 1:
        raise DataError(f"Class counts are {tuple(counts)}; at least one class needs an image.")
    shares = [count / largest for count in counts]
    groups = {
        "many": tuple(index for index, share in enumerate(shares) if share >= MANY),
        "medium": tuple(index for index, share in enumerate(shares) if FEW <= share < MANY),
        "few": tuple(index for index, share in enumerate(shares) if share < FEW),
    }
    return {name: members for name, members in groups.items() if members}


def class_effects(
    classes: Sequence[str],
    counts: Sequence[int],
    arm_recalls: Recalls,
    reference_recalls: Recalls,
    support: Sequence[int] | None = None,
    image_variances: Sequence[float] | None = None,
) -> list[ClassEffect]:
    """The effect on each class, in the order of ``classes``.

    counts: real training images ``(K,)``.  arm_recalls, reference_recalls: one row ``(K,)`` in [0, 1] per seed, the
    same seeds in the same order.  support: test images ``(K,)``; classes with none have no recall and are left out.
    None: all classes have some.  image_variances: what each class's test images, a sample themselves, add to the
    squared standard error, ``(K,)`` in points² (:func:`~augment.evidence.statistics.image_variance`); None where that
    is not known, and intervals are then over seeds alone.

    Raises DataError for shapes that do not fit.
    """
    deltas = _deltas(classes, counts, arm_recalls, reference_recalls)
    extra = image_variances or [0.0] * len(classes)
    return [
        ClassEffect(classes[index], counts[index], *mean_with_interval([row[index] for row in deltas], extra[index]))
        for index in _tested(classes, support)
    ]


def group_effects(
    classes: Sequence[str],
    counts: Sequence[int],
    arm_recalls: Recalls,
    reference_recalls: Recalls,
    support: Sequence[int] | None = None,
    image_variances: Sequence[float] | None = None,
) -> list[GroupEffect]:
    """The effect on classes with many, medium and few images; arguments and errors of :func:`class_effects`.

    Every class of a group weighs the same. The groups are those of all classes, tested or not; a group without test
    images is left out.
    """
    deltas = _deltas(classes, counts, arm_recalls, reference_recalls)
    tested = set(_tested(classes, support))
    members = {name: [index for index in group if index in tested] for name, group in class_groups(counts).items()}
    extra = image_variances or [0.0] * len(classes)
    return [_group_effect(name, group, classes, counts, deltas, extra) for name, group in members.items() if group]


def variance_of_group(image_variances: Sequence[float], group: Sequence[int]) -> float:
    """Of the mean of the recalls of ``group``, whose test images are different ones."""
    return math.fsum(image_variances[index] for index in group) / len(group) ** 2


def _group_effect(
    name: str,
    group: Sequence[int],
    classes: Sequence[str],
    counts: Sequence[int],
    deltas: Recalls,
    image_variances: Sequence[float],
) -> GroupEffect:
    within = [math.fsum(row[index] for index in group) / len(group) for row in deltas]
    images = sum(counts[index] for index in group)
    extra = variance_of_group(image_variances, group)
    return GroupEffect(name, tuple(classes[index] for index in group), images, *mean_with_interval(within, extra))


def _deltas(
    classes: Sequence[str], counts: Sequence[int], arm_recalls: Recalls, reference_recalls: Recalls
) -> list[list[float]]:
    """Differences in points, one row per seed."""
    lengths = {"class counts": {len(counts)}, "recalls": {len(row) for row in (*arm_recalls, *reference_recalls)}}
    for kind, sizes in lengths.items():
        if sizes != {len(classes)}:
            raise DataError(f"{_listed(sizes)} {kind} for {len(classes)} classes; give one per class.")
    if len(arm_recalls) != len(reference_recalls):
        raise DataError(f"Recalls of {len(arm_recalls)} seeds against {len(reference_recalls)}; give the same seeds.")
    pairs = zip(arm_recalls, reference_recalls, strict=True)
    return [[100 * (a - b) for a, b in zip(ours, theirs, strict=True)] for ours, theirs in pairs]


def _tested(classes: Sequence[str], support: Sequence[int] | None) -> list[int]:
    if support is not None and len(support) != len(classes):
        raise DataError(f"{len(support)} numbers of test images for {len(classes)} classes; give one per class.")
    return [index for index in range(len(classes)) if support is None or support[index] > 0]


def _listed(lengths: set[int]) -> str:
    return " and ".join(str(length) for length in sorted(lengths)) or "No"
