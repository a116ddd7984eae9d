"""Two folders of results compared number by number: which one differs first, and what was looked at.

Folders and files are matched by their names without hashes; where several have one name, by what they hold. Floats are
equal when all their bits are.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from same_numbers_files import HASH, IGNORED, READERS, TOLD_HASH, leaves, whole

LEFT_OUT = frozenset((".html", ".svg", ".log", ".lock", ".yaml", ".pyc"))
"""Pages, drawings and logs say again, in words and lines, what the files that are compared hold."""

LEFT_OUT_NAMES = frozenset(("events.jsonl", "logs", ".lock", ".locks", "__pycache__"))
"""What happened when."""


@dataclass(frozen=True)
class Difference:
    """Where two folders differ. file: without hashes.  place: key, row or tensor and index.  a, b: the two values."""

    file: str
    place: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.file}{self.place and f', {self.place}'}: {self.a} is now {self.b}"


@dataclass
class Comparison:
    """differences: the first one of each file.  files, numbers: of each kind that were compared.  left_out: files.

    skip, order: as given to :func:`compare`.
    """

    skip: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    differences: list[Difference] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    numbers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    left_out: int = 0


def compare(
    a: Path, b: Path, ignored: frozenset[str] = IGNORED, *, skip: Sequence[str] = (), order: Sequence[str] = ()
) -> Comparison:
    """All files below two folders.

    skip: patterns of names that are left out.  order: what is compared first of what lies in the two folders.
    """
    found = Comparison(tuple(skip), tuple(order))
    _folders(a, b, "", ignored, found)
    return found


def _folders(a: Path, b: Path, name: str, ignored: frozenset[str], found: Comparison) -> None:
    ours, theirs = _entries(a, ignored), _entries(b, ignored)
    first = {label: number for number, label in enumerate(() if name else found.order)}
    for label in sorted({*ours, *theirs}, key=lambda label: (first.get(label, len(first)), label)):
        here, there = ours.get(label, []), theirs.get(label, [])
        file = f"{name}{label}"
        if len(here) != len(there):
            found.differences.append(Difference(file, "", _so_many(here), _so_many(there)))
        for number, (left, right) in enumerate(zip(here, there, strict=False)):
            numbered = f"{file}#{number + 1}" if len(here) > 1 else file
            if left.is_dir() and right.is_dir():
                _folders(left, right, f"{numbered}/", ignored, found)
            else:
                _files(left, right, numbered, ignored, found)


def _so_many(paths: Sequence[Path]) -> str:
    return {0: "missing", 1: "there"}.get(len(paths), f"there {len(paths)} times")


def _entries(folder: Path, ignored: frozenset[str]) -> dict[str, list[Path]]:
    """What lies in a folder by its name without hashes; of one name, in the order of what they hold."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name not in LEFT_OUT_NAMES:
            found.setdefault(HASH.sub("*", path.name), []).append(path)
    return {
        name: sorted(paths, key=lambda path: _content(path, ignored)) if len(paths) > 1 else paths
        for name, paths in found.items()
    }


def _content(path: Path, ignored: frozenset[str]) -> str:
    """What tells files and folders of one name apart, whatever their hashes are."""
    file = path / "result.json" if path.is_dir() else path
    if file.suffix != ".json" or not file.is_file():
        return path.name
    return "\n".join(f"{place}={value!r}" for place, value in leaves(json.loads(file.read_text()), ignored))


def _files(a: Path, b: Path, name: str, ignored: frozenset[str], found: Comparison) -> None:
    """Compare two files by what they are; counts what was looked at."""
    if a.suffix in LEFT_OUT or any(fnmatch(a.name, pattern) for pattern in found.skip):
        found.left_out += 1
        return
    kind, read = READERS.get(a.suffix, ("other files", whole))
    ours, theirs = read(a, ignored), read(b, ignored)
    found.files[kind] += 1
    found.numbers[kind] += sum(_count(value) for value in ours.values())
    for place in (*ours, *(place for place in theirs if place not in ours)):
        if place not in theirs or place not in ours:
            values = (_text(side[place]) if place in side else "missing" for side in (ours, theirs))
            found.differences.append(Difference(name, place, *values))
            return
        where = unequal(ours[place], theirs[place])
        if where is not None:
            found.differences.append(Difference(name, f"{place}{where[0]}", *where[1:]))
            return


def _count(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.size)
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---------------------------------------------------------------- two values


def unequal(a: Any, b: Any) -> tuple[str, str, str] | None:
    """Index and values of the first difference between two leaves; None where there is none."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return _unequal_arrays(a, b)
    if type(a) is not type(b):
        return "", f"{_text(a)} ({type(a).__name__})", f"{_text(b)} ({type(b).__name__})"
    if isinstance(a, float):
        same = struct.pack("<d", a) == struct.pack("<d", b)
    elif isinstance(a, str):
        a, b = TOLD_HASH.sub("*", a), TOLD_HASH.sub("*", b)
        return None if a == b else ("", *_from_where_they_part(a, b))
    else:
        same = a == b
    return None if same else ("", _text(a), _text(b))


def _from_where_they_part(a: str, b: str) -> tuple[str, str]:
    part = next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    begin = part - 40 if part > 60 else 0
    x, y = (f"{'...' if begin else ''}{text[begin : begin + 120]}" for text in (a, b))
    return repr(x), repr(y)


def _unequal_arrays(a: NDArray[Any], b: NDArray[Any]) -> tuple[str, str, str] | None:
    if a.dtype != b.dtype or a.shape != b.shape:
        return "", f"{a.dtype} {a.shape}", f"{b.dtype} {b.shape}"
    if a.tobytes() == b.tobytes():
        return None
    different = np.flatnonzero((_bytes(a) != _bytes(b)).any(axis=1))
    index = np.unravel_index(different[0], a.shape)
    place = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{place} and {len(different) - 1:,} more of {a.size:,}", _text(a[index]), _text(b[index])


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """A row for each element."""
    return np.frombuffer(array.tobytes(), np.uint8).reshape(array.size, -1)


def _text(value: Any) -> str:
    """All digits of a number, the beginning of anything long."""
    text = str(value) if isinstance(value, np.ndarray) else repr(value.item() if hasattr(value, "item") else value)
    if isinstance(value, np.floating):
        text = str(value)  # of a float32 as many digits as it has
    return text if len(text) <= 300 else f"{text[:300]} ..."
