"""Features with labels and split in one file for other programs: ``.npz``, ``.csv`` (or ``.csv.gz``), ``.safetensors``.

None of them needs pickle to be read.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.errors import DataError, UsageError
from augment.storage.files import write_bytes, write_json, writing

SPLITS = ("train", "test")
SUFFIXES = (".npz", ".csv", ".csv.gz", ".safetensors")
COLUMNS = ("split", "label", "class")
"""Columns of a CSV before the features ``f0``, ``f1`` .."""

COMPRESSION = 1
"""Level of gzip for ``.csv.gz``: digits of floats hardly get smaller at higher ones, which take many times as long."""


@dataclass(frozen=True, eq=False)
class ExportedFeatures:
    """What an exported file holds: one row per image.

    features: ``(N, D)`` float32.  labels: ``(N,)`` int64.  split: "train" or "test" per row.  classes: names, by label.
    metadata: JSON values that say where the features come from.
    """

    features: Tensor
    labels: Tensor
    split: tuple[str, ...]
    classes: tuple[str, ...]
    metadata: dict[str, Any]

    def __post_init__(self) -> None:
        n = len(self.features)
        if self.features.dim() != 2 or self.features.dtype != torch.float32:
            raise DataError(
                f"Features are float32 (N, D); these are {self.features.dtype} {tuple(self.features.shape)}."
            )
        if self.labels.shape != (n,) or len(self.split) != n:
            raise DataError(f"{n} rows need {n} labels and splits; there are {len(self.labels)} and {len(self.split)}.")
        if n and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            low, high = int(self.labels.min()), int(self.labels.max())
            raise DataError(f"Labels go from {low} to {high}; they count the {len(self.classes)} named classes from 0.")
        unknown = sorted(set(self.split) - set(SPLITS))
        if unknown:
            raise DataError(f"A row's split is {' or '.join(SPLITS)}; there is {', '.join(map(repr, unknown))}.")


def suffix_of(path: str | Path) -> str:
    """The suffix that decides how ``path`` is written; raises UsageError for any but :data:`SUFFIXES`."""
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return suffix
    raise UsageError(
        f"Features cannot be exported to {str(path)!r}: the name must end in .npz, .csv (or .csv.gz) or .safetensors."
    )


def export_features(
    path: str | Path,
    features: Tensor,
    labels: Tensor,
    split: Sequence[str],
    classes: Sequence[str],
    *,
    metadata: Mapping[str, Any],
) -> None:
    """Write features ``(N, D)``, labels ``(N,)`` and split (N times "train" or "test") to ``path``, by its suffix.

    ``.npz``: arrays features (float32), labels (int64), split, classes (text), metadata (JSON text).
    ``.csv``, ``.csv.gz``: columns split, label, class, f0, f1 .., with nine digits, so that floats come back equal;
    classes and metadata are in ``<path>.json``, as CSV has no place for them.
    ``.safetensors``: tensors features, labels and split (uint8: 0 train, 1 test); in the file's metadata, under
    ``table``, JSON with split_names, classes and metadata.

    Parent folders are made, an existing file is replaced. Raises UsageError for another suffix, DataError for rows that
    do not fit each other and where the file cannot be written, TypeError or ValueError for metadata that is not JSON.
    """
    suffix = suffix_of(path)
    table = ExportedFeatures(
        features.detach().float().cpu(), labels.detach().long().cpu(), tuple(split), tuple(classes), dict(metadata)
    )
    target = Path(path)
    content = WRITERS[suffix](table)
    with writing(target.parent):
        if suffix.startswith(".csv"):
            write_json(_beside(target), {"classes": table.classes, "metadata": table.metadata})
        write_bytes(target, content)


# ---------------------------------------------------------------- NumPy


def _npz(table: ExportedFeatures) -> bytes:
    file = io.BytesIO()
    np.savez(
        file,
        features=table.features.numpy(),
        labels=table.labels.numpy(),
        split=np.array(table.split, dtype=str),
        classes=np.array(table.classes, dtype=str),
        metadata=np.array(_json(table.metadata)),
    )
    return file.getvalue()


# ---------------------------------------------------------------- CSV


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _csv(table: ExportedFeatures) -> bytes:
    return b"".join(_csv_lines(table))


def _csv_gz(table: ExportedFeatures) -> bytes:
    return gzip.compress(_csv(table), COMPRESSION, mtime=0)


def _csv_lines(table: ExportedFeatures) -> Iterator[bytes]:
    """The csv module writes each pair of split and label once only: all rows would take it many times as long."""
    width = table.features.shape[1]
    yield _line([*COLUMNS, *(f"f{index}" for index in range(width))], csv.QUOTE_MINIMAL)
    numbers = (",%.9g" * width).encode() + b"\n"
    begins: dict[tuple[str, int], bytes] = {}
    keys = zip(table.split, table.labels.tolist(), strict=True)
    for key, values in zip(keys, table.features.numpy(), strict=True):
        if key not in begins:
            begins[key] = _line([*key, table.classes[key[1]]], csv.QUOTE_NONNUMERIC).rstrip(b"\n")
        yield begins[key] + numbers % tuple(values.tolist())


def _line(values: Sequence[Any], quoting: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


# ---------------------------------------------------------------- safetensors


def _safetensors(table: ExportedFeatures) -> bytes:
    from safetensors.torch import save

    split = torch.tensor([SPLITS.index(name) for name in table.split], dtype=torch.uint8)
    tensors = {"features": table.features.contiguous(), "labels": table.labels.contiguous(), "split": split}
    texts = {"split_names": SPLITS, "classes": table.classes, "metadata": table.metadata}
    return save(tensors, metadata={"table": _json(texts)})  # of several keys the order would change from run to run


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


WRITERS: Mapping[str, Callable[[ExportedFeatures], bytes]] = {
    ".npz": _npz,
    ".csv": _csv,
    ".csv.gz": _csv_gz,
    ".safetensors": _safetensors,
}
