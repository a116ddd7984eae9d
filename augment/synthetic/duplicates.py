"""Copies of real images in the place of synthetic ones, as they are or transformed: what no generator is needed for."""

from __future__ import annotations

import torch

from augment.classifiers.draws import moved
from augment.classifiers.transforms import transformed
from augment.datasets import LabelledImages
from augment.seeds import torch_rng
from augment.synthetic.synthesis import SyntheticSet, provenance

PART = 512
"""Images transformed at a time."""


def duplicates(real: LabelledImages, counts: tuple[int, ...], seed: int) -> SyntheticSet:
    """``counts[c]`` copies of real images of each class, every image as often as the others of its class.

    The control for added images as such. A class without images gets none.
    """
    index = _chosen(real, counts, seed)
    labels = real.labels[index]
    rows = provenance(None, labels, seed, "duplicate", index, stream=None)
    return SyntheticSet(real.images[index], labels, rows, index)


def transformed_copies(real: LabelledImages, counts: tuple[int, ...], transform: str, seed: int) -> SyntheticSet:
    """:func:`duplicates`, each shifted as a classifier's batches are and changed by ``transform``.

    What a tree, which sees every image once, has of augmentation. transform: one of
    :data:`augment.classifiers.transforms.TRANSFORMS`, whose errors it raises.
    """
    index, moves = _chosen(real, counts, seed), torch_rng(seed, "transformed copies")
    labels = real.labels[index]
    images = real.images[index]
    for start in range(0, len(index), PART):
        rows = index[start : start + PART]
        shifted = moved(real.images, rows, "shift", moves)
        images[start : start + PART] = transformed(shifted, [transform], moves, share=1.0)
    made = provenance(None, labels, seed, f"copies:{transform}", index, stream=None)
    return SyntheticSet(images, labels, made, index)


def _chosen(real: LabelledImages, counts: tuple[int, ...], seed: int) -> torch.Tensor:
    chosen, shuffles = [], torch_rng(seed, "copied images")
    for label, count in enumerate(counts):
        rows = (real.labels == label).nonzero()[:, 0]
        passes = -(-count // max(1, len(rows))) if len(rows) else 0
        order = [rows[torch.randperm(len(rows), generator=shuffles)] for _ in range(passes)]
        chosen.append(torch.cat([*order, rows[:0]])[:count])
    return torch.cat(chosen)
