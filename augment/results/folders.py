"""Where run folders lie: in a folder itself, or somewhere below it, in the order of a sweep where there is one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.errors import DataError
from augment.storage.files import read_json

INNER = re.compile(r"generator|synthetic(-.*)?|seed-\d+|checkpoint|cells|logs|spread|\..*")
"""Folders that hold no runs, whatever their files are called."""

URL = re.compile(r"[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


@dataclass(frozen=True)
class RunFolder:
    """A folder that a run began; ``stale``: it lies in a sweep's folder and is recorded for none of its cells."""

    path: Path
    finished: bool
    stale: bool = False


@dataclass(frozen=True)
class SweepOrder:
    """Names of the run folders that are recorded for a sweep's cells, with their rank; ``known``: are its cells?"""

    rank: Mapping[str, int]
    known: bool


def run_folders(paths: Sequence[Path]) -> Iterator[RunFolder]:
    """Run folders at or below ``paths``, each once; raises DataError for a path that is missing or a URL."""
    seen: set[tuple[int, int]] = set()
    for path in paths:
        yield from _below(_start(path), seen)


def _start(path: Path) -> Path:
    if URL.match(str(path)):
        written = re.sub(":/+", "://", str(path))
        raise DataError(f"{written} is a URL. Results are read from local folders: copy it here first.")
    if not path.exists():
        raise DataError(f"There is no {path}. Give a run folder, a sweep's folder, or a folder above some, like runs/.")
    if path.is_dir():
        return path
    if path.name != "result.json":
        raise DataError(f"{path} is no result. Give a run folder, a folder above some, or a result.json.")
    return path.parent


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[RunFolder]:
    """Depth first; a link back to a folder above ends there."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as scanned:
            entries = {entry.name: entry for entry in scanned}
    except OSError as error:
        raise DataError(f"Cannot look into {folder}: {error.strerror or error}. Give the folders to read.") from error
    if "result.json" in entries:
        yield RunFolder(folder, finished=True)
    elif "config.json" in entries and _began(folder):
        yield RunFolder(folder, finished=False)
    else:
        inner = [name for name, entry in entries.items() if not INNER.fullmatch(name) and _is_folder(entry)]
        sweep = _sweep_order(folder) if "sweep.json" in entries else SweepOrder({}, known=False)
        for name in sorted(inner, key=lambda name: (sweep.rank.get(name, len(sweep.rank)), name)):
            for run in _below(folder / name, seen):
                yield RunFolder(run.path, run.finished, stale=run.stale or (sweep.known and name not in sweep.rank))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link onto itself
        return False


def _began(folder: Path) -> bool:
    """Is this ``config.json`` that of a run? Those of generators and of other programs are not."""
    return str((read_json(folder / "config.json") or {}).get("schema", "")).startswith("augment.")


def _sweep_order(folder: Path) -> SweepOrder:
    """From ``sweep.json`` and the records of ended cells; without them, by name."""
    cells = (read_json(folder / "sweep.json") or {}).get("cells")
    listed = enumerate(cells if isinstance(cells, list) else [])
    keys = {cell["key"]: rank for rank, cell in listed if isinstance(cell, dict) and "key" in cell}
    rank: dict[str, int] = {}
    records = folder / "cells"
    for file in sorted(records.glob("*.json")) if records.is_dir() else []:
        outcome = read_json(file) or {}
        if (name := outcome.get("folder")) and outcome.get("key") in keys:
            rank[name] = keys[outcome["key"]]
    return SweepOrder(rank, known=bool(keys))
