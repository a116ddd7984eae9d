"""The images of an arm: real ones, and what is added to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.classifiers.learning import Learning
from augment.datasets import LabelledImages
from augment.synthetic.synthesis import SyntheticSet, provenance


@dataclass(frozen=True)
class Arm:
    """A named training set and how a classifier learns from it; ``synthetic`` ``(N,)`` says which images were added."""

    name: str
    train: LabelledImages
    learning: Learning
    synthetic: Tensor


def plain(name: str, real: LabelledImages, learning: Learning | None = None) -> Arm:
    """An arm of real images alone."""
    return Arm(name, real, learning or Learning(), torch.zeros(len(real), dtype=torch.bool))


def with_added(name: str, real: LabelledImages, added: SyntheticSet, learning: Learning) -> Arm:
    """The real images and added ones."""
    joint = LabelledImages(torch.cat([real.images, added.images]), torch.cat([real.labels, added.labels]))
    return Arm(name, joint, learning, torch.arange(len(joint)) >= len(real))


def duplicates(real: LabelledImages, counts: tuple[int, ...], seed: int) -> SyntheticSet:
    """``counts[c]`` copies of real images of each class, every image as often as the others of its class.

    The control for added images as such: what they do here, no generator is needed for. A class without images gets
    none.
    """
    rng = torch.Generator().manual_seed(seed)
    chosen = []
    for label, count in enumerate(counts):
        rows = (real.labels == label).nonzero()[:, 0]
        passes = -(-count // max(1, len(rows))) if len(rows) else 0
        order = [rows[torch.randperm(len(rows), generator=rng)] for _ in range(passes)]
        chosen.append(torch.cat([*order, rows[:0]])[:count])
    index = torch.cat(chosen)
    labels = real.labels[index]
    return SyntheticSet(
        real.images[index], labels, provenance(None, labels, seed, "duplicate", index, stream=None), index
    )
