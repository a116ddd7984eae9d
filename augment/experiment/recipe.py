"""Defaults of a run that were chosen by experiment: docs/evidence.md."""

from __future__ import annotations

from collections.abc import Sequence

from augment.synthetic.strategies import Usage


def default_usage(counts: Sequence[int]) -> Usage:
    """``partial`` where classes differ in size, ``ratio`` where they do not and there is no deficit to fill."""
    return Usage.parse("ratio" if max(counts) == min(counts) else "partial")
