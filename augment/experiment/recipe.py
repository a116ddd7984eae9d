"""Defaults of a run that were chosen by experiment: how synthetic images are used, how long classifiers are trained."""

from __future__ import annotations

from collections.abc import Sequence

from augment.classifiers import default_updates
from augment.synthetic.strategies import Usage

LONGER = 2
"""A run trains its classifiers for so many times their usual updates."""


def default_usage(counts: Sequence[int]) -> Usage:
    """``partial`` where classes differ in size, ``ratio`` where they do not and there is no deficit to fill."""
    return Usage.parse("ratio" if max(counts) == min(counts) else "partial")


def run_updates(size: int) -> int:
    """Updates of every arm's CNN for ``size`` real images: 1,200 for 5,000."""
    return LONGER * default_updates(size)
