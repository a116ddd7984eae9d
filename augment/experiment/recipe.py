"""Defaults of a run that were chosen by experiment: docs/evidence.md has the figures."""

from __future__ import annotations

from collections.abc import Sequence

from augment.synthetic.strategies import Usage

LAST = "real-last:share=0.3"
"""Of all that was tried with a balanced softmax, what made most of the same images."""


def default_usage(counts: Sequence[int], given: Usage | None = None) -> Usage:
    """How synthetic images are used: as ``given``, where something is, and by the recipe of the regime else.

    ``partial`` where classes differ in size, ``ratio`` where they do not and there is no deficit to fill; then a last
    phase on real images. What is given without a number of images gets that alone.
    """
    number = "ratio" if max(counts) == min(counts) else "partial"
    return Usage.parse(f"{number}+{LAST}") if given is None else given.or_else(Usage.parse(number))
