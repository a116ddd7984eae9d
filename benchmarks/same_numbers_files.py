"""What the files of a result hold, value by value, without what may differ: times, paths, hashes and versions."""

from __future__ import annotations

import csv
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TIMES = frozenset(
    "seconds minutes generator_seconds classifier_seconds cost time ended finished_at images_per_second "
    "bf16_speedup_on_cpu".split()
)
PATHS = frozenset("folder folders page figures sheet contact_sheet cache worker".split())
HASHES = frozenset("key identity code sha256 manifest_sha256 data_sha256 extractor_sha256 config_sha256".split())
VERSIONS = frozenset("version environment augment python torch numpy packages platform processor".split())

IGNORED = TIMES | PATHS | HASHES | VERSIONS
"""Keys of JSON documents and columns of tables that are not compared; everything else is, also what is new."""

IGNORED_LINES = re.compile(r"^\| (seconds|plugin) \|")
"""Rows of a model card with times and versions."""

DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"},
}
"""Of safetensors, as NumPy has them; bfloat16 as its bits."""

HASH = re.compile(r"(?<![0-9a-zA-Z])[0-9a-f]{10,64}(?![0-9a-zA-Z])")
"""A hash in the name of a file or folder: another one is no difference."""

TOLD_HASH = re.compile(r"(?<![0-9a-zA-Z.])(?=[0-9]*[a-f])[0-9a-f]{10,64}(?![0-9a-zA-Z])")
"""The same in text, where digits alone may be a number."""


Leaves = dict[str, Any]
"""Values of a file by where they stand: numbers, text, None, arrays."""


def leaves(value: Any, ignored: frozenset[str], place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a JSON document with its place, as in ``arms[2].accuracy``; ignored keys are left out."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            if key not in ignored:
                yield from leaves(inner, ignored, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, ignored, f"{place}[{index}]")
    else:
        yield place, value


def _json(file: Path, ignored: frozenset[str]) -> Leaves:
    text = file.read_text()
    return dict(leaves(json.loads(text), ignored)) if text.strip() else {"": ""}


def _json_lines(file: Path, ignored: frozenset[str]) -> Leaves:
    return dict(leaves([json.loads(line) for line in file.read_text().splitlines()], ignored))


def _told(name: str, text: str, ignored: frozenset[str]) -> Leaves:
    """Text that may be a JSON document, as files of arrays carry it."""
    try:
        return dict(leaves(json.loads(text), ignored, name))
    except ValueError:
        return {name: text}


def _csv(file: Path, ignored: frozenset[str]) -> Leaves:
    """Cells as numbers where they are; floats are written with all the digits that they need."""
    with open(file, newline="") as lines:
        header, *rows = list(csv.reader(lines)) or [[]]
    found: Leaves = {"columns": " ".join(name for name in header if name not in ignored), "rows": len(rows)}
    for number, row in enumerate(rows, start=1):
        for column, cell in zip(header, row, strict=True):
            if column not in ignored:
                found[f"row {number}, {column}"] = _number(cell)
    return found


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def _safetensors(file: Path, ignored: frozenset[str]) -> Leaves:
    """Tensors by name, and what the head says."""
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    head, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    found: Leaves = {}
    for name, text in sorted((head.pop("__metadata__", None) or {}).items()):
        if name not in ignored:
            found |= _told(f"metadata {name}", text, ignored)
    for name, entry in sorted(head.items()):
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        found[name] = array
        found[f"type of {name}"] = entry["dtype"]
    return found


def _npz(file: Path, ignored: frozenset[str]) -> Leaves:
    found: Leaves = {}
    with np.load(file, allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            array = arrays[name]
            found |= _told(name, str(array), ignored) if array.dtype.kind == "U" and not array.shape else {name: array}
    return found


def _npy(file: Path, ignored: frozenset[str]) -> Leaves:
    return {"array": np.load(file, allow_pickle=False)}


def _picture(file: Path, ignored: frozenset[str]) -> Leaves:
    """Pixels; how a picture is packed does not matter."""
    with Image.open(file) as image:
        return {"mode": image.mode, "pixel": np.asarray(image.convert("RGBA") if image.mode == "P" else image)}


def _card(file: Path, ignored: frozenset[str]) -> Leaves:
    lines = [line for line in file.read_text().splitlines() if not IGNORED_LINES.search(line)]
    return {f"line {number}": line for number, line in enumerate(lines, start=1)}


def whole(file: Path, ignored: frozenset[str]) -> Leaves:
    """The bytes of a file."""
    return {"bytes": np.frombuffer(file.read_bytes(), np.uint8)}


READERS: dict[str, tuple[str, Callable[[Path, frozenset[str]], Leaves]]] = {
    ".json": ("JSON documents", _json),
    ".jsonl": ("JSON documents", _json_lines),
    ".csv": ("tables", _csv),
    ".safetensors": ("tensor files", _safetensors),
    ".npz": ("array files", _npz),
    ".npy": ("array files", _npy),
    ".png": ("pictures", _picture),
    ".md": ("model cards", _card),
}
"""Kind and reader of a file by its suffix; any other one is compared byte by byte."""
