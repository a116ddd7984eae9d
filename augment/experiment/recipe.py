"""Defaults of a run that were chosen by experiment: docs/evidence.md has the figures."""

from __future__ import annotations

from collections.abc import Sequence

from augment.arms.strategies import Usage

LAST = "real-last:share=0.3"
"""Of all that was tried with a balanced softmax, what made most of the same images, on the official test images of
Fashion-MNIST."""


def default_usage(counts: Sequence[int], given: Usage | None = None) -> Usage:
    """How synthetic images are used: as ``given``, where something is, and by the recipe of the regime else.

    Where classes differ in size ``partial``, then a last phase on real images; where they do not there is no deficit to
    fill, and ``ratio`` adds to all, plainly. What is given without a number of images gets that alone.
    """
    equal = max(counts) == min(counts)
    if given is not None:
        return given.or_else(Usage.parse("ratio" if equal else "partial"))
    return Usage.parse("ratio" if equal else f"partial+{LAST}")
