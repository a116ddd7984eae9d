"""Synthetic images that are made from real ones, for classes with few: edited, or decoded between neighbours.

Which parents an image has, and where between them it lies, is drawn per class here; what a generator makes of it is
computed chunk by chunk on all cores, so that images depend neither on the batch size nor on the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from augment.compute.device import CPU, Compute
from augment.compute.encoding import encode_set
from augment.compute.sampling import OnProgress, decode_codes, edit_images
from augment.compute.workers import threads
from augment.datasets import LabelledImages
from augment.errors import ConfigError, UsageError
from augment.generator import Generator
from augment.seeds import torch_rng
from augment.synthesis.strategies import Neighbourhood, PartialNoise, SourceStrategy, Translation

NEEDED_TAGS: dict[type[SourceStrategy], tuple[str, ...]] = {
    PartialNoise: ("edits",),
    Neighbourhood: ("decodes",),
    Translation: ("edits", "conditional"),
}
"""What a generator must be able to do for a source."""


@dataclass(frozen=True)
class Made:
    """Images made from real ones: uint8 ``(n, C, H, W)``, and the index of each one's parent, int64 ``(n,)``."""

    images: Tensor
    parents: Tensor


def check_source(generator: Generator, source: SourceStrategy) -> None:
    """Raise UsageError unless the generator, with its options, can do what the source needs."""
    missing = [tag for tag in NEEDED_TAGS[type(source)] if not getattr(generator.tags, tag)]
    if missing:
        raise UsageError(
            f"Source {source.name!r} needs a generator tagged {' and '.join(missing)}, and {generator.name!r} with "
            "these options is not. `augment models` shows what each model can do."
        )


def classes_from_real(source: SourceStrategy, counts: Sequence[int], real: Sequence[int]) -> list[int]:
    """Classes of which ``counts[c]`` > 0 images are wanted and that have fewer real ones than ``source.below``."""
    return [label for label, count in enumerate(counts) if count and real[label] < source.below]


def check_parents(source: SourceStrategy, rare: Sequence[int], real: Sequence[int]) -> None:
    """Raise ConfigError where images of the classes ``rare`` are wanted and no real image could be their parent.

    real: images there are of each class.
    """
    if isinstance(source, Translation):
        if rare and max(real) < source.below:
            raise ConfigError(
                f"Source {source.name!r} lends images of classes that have at least below={source.below}, and the "
                f"largest class has {max(real)}. Give it a lower below."
            )
        return
    for label in rare:
        if not real[label]:
            raise ConfigError(
                f"Class {label} has no real image that {source.name!r} could start from. Ask for no image of it, as "
                "strategy 'partial' does, or leave the source out."
            )


def make_from_real(
    generator: Generator,
    labels: Tensor,
    real: LabelledImages,
    source: SourceStrategy,
    *,
    seed: int,
    compute: Compute = CPU,
    on_progress: OnProgress | None = None,
) -> Made:
    """One image per label, int64 ``(n,)``, from real images; parents are indices into ``real``.

    Images of a class are spread evenly over its possible parents, in a seeded order. ``partial-noise`` and
    ``neighbourhood`` take parents of the class itself; ``translation`` takes all images of the classes that have at
    least ``source.below``, so that a class lends as often as it is frequent. Raises UsageError for a generator without
    the tag that is needed, ConfigError where there is nothing to start from.
    """
    check_source(generator, source)
    check_parents(source, labels.unique().tolist(), real.counts(generator.spec.num_classes))
    if isinstance(source, Neighbourhood):
        (codes,) = encode_set(generator, real.images, compute=compute)
        with threads(1):  # the same sums, and so the same neighbours, on any machine
            parents, points = _neighbourhoods(codes, labels, real, source, seed)
        return Made(decode_codes(generator, points, compute=compute, on_progress=on_progress), parents)
    parents = _parents(labels, real, source, seed)
    strength = cast(PartialNoise | Translation, source).strength
    images = edit_images(
        generator, real.images[parents], labels, strength, seed=seed, compute=compute, on_progress=on_progress
    )
    return Made(images, parents)


def _parents(labels: Tensor, real: LabelledImages, source: SourceStrategy, seed: int) -> Tensor:
    """A real image to start from for each label."""
    parents = torch.empty_like(labels)
    lenders = _lenders(real, source) if isinstance(source, Translation) else None
    for label in labels.unique().tolist():
        candidates = torch.nonzero(real.labels == label).flatten() if lenders is None else lenders
        mask = labels == label
        parents[mask] = candidates[_in_turn(len(candidates), int(mask.sum()), torch_rng(seed, "parents", label))]
    return parents


def _lenders(real: LabelledImages, source: SourceStrategy) -> Tensor:
    frequent = torch.nonzero(torch.bincount(real.labels[real.labels >= 0]) >= source.below).flatten()
    return torch.nonzero(torch.isin(real.labels, frequent)).flatten()


def _in_turn(candidates: int, n: int, rng: torch.Generator) -> Tensor:
    """``n`` of ``candidates`` indices, each as often as any other, or once more."""
    return torch.randperm(candidates, generator=rng)[torch.arange(n) % candidates]


def _neighbourhoods(
    codes: Tensor, labels: Tensor, real: LabelledImages, source: Neighbourhood, seed: int
) -> tuple[Tensor, Tensor]:
    """Parents ``(n,)``, and codes ``(n, D)`` near theirs, one per label; ``codes`` are those of the real images."""
    parents, points = torch.empty_like(labels), codes.new_empty(len(labels), codes.shape[1])
    for label in labels.unique().tolist():
        rows = torch.nonzero(real.labels == label).flatten()
        labelled = real.labels >= 0
        alone = len(rows) == 1
        deviation = within_class_deviation(codes[labelled], real.labels[labelled]) if alone else codes[rows].std(0)
        mask, own = labels == label, torch_rng(seed, "parents", label)
        chosen, points[mask] = between_neighbours(codes[rows], int(mask.sum()), deviation, source, own)
        parents[mask] = rows[chosen]
    return parents, points


def between_neighbours(
    codes: Tensor, n: int, deviation: Tensor, source: Neighbourhood, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """``n`` points near the codes ``(m, D)`` of one class: row of the parent ``(n,)``, and point ``(n, D)``.

    A point lies anywhere between its parent and one of the parent's ``source.neighbours`` nearest, or of as many as
    there are; noise of ``source.spread`` times ``deviation`` (D,) is added. An only image has no neighbour: its points
    are its code and noise. Source: DeVries and Taylor 2017, arXiv 1702.05538.
    """
    parents = _in_turn(len(codes), n, rng)
    distances = torch.cdist(codes, codes)
    distances.fill_diagonal_(torch.inf)
    count = min(source.neighbours, len(codes) - 1)
    nearest = distances.topk(count, largest=False).indices if count else torch.zeros(1, 1, dtype=torch.int64)
    others = nearest[parents, torch.randint(nearest.shape[1], (n,), generator=rng)]
    starts, share = codes[parents], torch.rand(n, 1, generator=rng)
    noise = source.spread * deviation * torch.randn(starts.shape, generator=rng)
    return parents, starts + share * (codes[others] - starts) + noise


def within_class_deviation(codes: Tensor, labels: Tensor) -> Tensor:
    """Pooled standard deviation ``(D,)`` of codes around their class's mean; 0 where no class has two.

    What a class of one image borrows from the others, as in Yang et al. 2021, "Free Lunch for Few-Shot Learning:
    Distribution Calibration" (arXiv 2101.06395).
    """
    classes, inverse = labels.unique(return_inverse=True)
    sums = codes.new_zeros(len(classes), codes.shape[1]).index_add_(0, inverse, codes)
    means = sums / torch.bincount(inverse)[:, None]
    freedom = len(codes) - len(classes)
    return ((codes - means[inverse]).square().sum(0) / max(freedom, 1)).sqrt()
