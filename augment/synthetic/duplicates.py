"""Copies of real images in the place of synthetic ones: the control for added images as such."""

from __future__ import annotations

import torch

from augment.datasets import LabelledImages
from augment.synthetic.synthesis import SyntheticSet, provenance


def duplicates(real: LabelledImages, counts: tuple[int, ...], seed: int) -> SyntheticSet:
    """``counts[c]`` copies of real images of each class, every image as often as the others of its class.

    What they do to a classifier, no generator is needed for. A class without images gets none.
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
