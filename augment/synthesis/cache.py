"""Synthetic sets that were drawn before: reused by every arm and run that asks for the very same images."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from augment.errors import DataError
from augment.progress import Reporter
from augment.storage import files, hashing, typed_json
from augment.storage.cache import kept
from augment.storage.hashing import imported_sources
from augment.storage.locations import cache_folder
from augment.synthesis.filter_outcome import FilterOutcome
from augment.synthesis.synthesis import SyntheticSet

MAKERS = (
    "augment.synthesis.synthesis",
    "augment.synthesis.acceptance",
    "augment.synthesis.teacher_filter",
    "augment.synthesis.copies",
)
"""Modules that make synthetic sets; what they import is part of the identity, too."""

Drawn = tuple[SyntheticSet, FilterOutcome | None]
"""A set, and what became of the images that its filter was shown, where it had one."""


def kept_or_drawn(
    identity: Mapping[str, Any], draw: Callable[[], Drawn], *, reuse: bool, reporter: Reporter | None = None
) -> Drawn:
    """The set of ``identity`` from the cache, or drawn now and kept; without ``reuse`` it is always drawn.

    identity: everything the images depend on besides the code that draws them, which is added here. A set that another
    process draws is waited for; ``reporter`` says so.
    """
    reporter = reporter or Reporter()
    code = hashing.code_fingerprint(imported_sources(*MAKERS))
    return kept(
        cache_folder() / "synthetic" / hashing.content_hash({**identity, "code": code}),
        draw,
        read=_read,
        write=lambda folder, drawn: files.replace_folder(folder, lambda temporary: _write(temporary, drawn)),
        reuse=reuse,
        waiting=lambda: reporter.note("Waiting for another process that makes the same synthetic images."),
    )


def _write(folder: Path, drawn: Drawn) -> None:
    from safetensors.torch import save_file

    synthetic, outcome = drawn
    tensors = {"images": synthetic.images, "labels": synthetic.labels, "parents": synthetic.parents}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "images.safetensors")
    told = {"rows": synthetic.rows, "filter": None if outcome is None else typed_json.to_json(outcome)}
    (folder / "rows.json").write_text(json.dumps(told), encoding="utf-8")


def _read(folder: Path) -> Drawn | None:
    """None for what is not there, or is damaged: it is drawn again."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / "images.safetensors")
        document = files.parse_json((folder / "rows.json").read_bytes())
        told = document["filter"]
        outcome = None if told is None else typed_json.from_json(FilterOutcome, told, "rows.json")
    except (OSError, ValueError, SafetensorError, DataError):
        return None
    rows = tuple(document["rows"])
    if len(rows) != len(tensors["labels"]):
        return None
    return SyntheticSet(tensors["images"], tensors["labels"], rows, tensors["parents"]), outcome
