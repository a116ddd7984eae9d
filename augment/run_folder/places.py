"""Where a run keeps what belongs to one repetition."""

from __future__ import annotations

from pathlib import Path

MANIFEST = "manifest.json"
"""The split of a repetition."""


def repetition_folder(run: Path, index: int) -> Path:
    """That of a repetition, counted from 0; the first has no folder of its own."""
    return run if index == 0 else run / f"seed-{index}"
