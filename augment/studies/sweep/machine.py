"""How this machine is divided among workers: cores, memory and GPUs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.studies.sweep.cell import Cell

MEMORY_EACH = 2 * 1024**3
"""Bytes that a worker may need: PyTorch, a data set, a generator and classifiers of the usual sizes."""


@dataclass(frozen=True)
class Share:
    """Workers side by side, threads of each, and GPUs they take in turn; no ``gpus`` leaves devices as they are."""

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()


def divided(cells: Sequence[Cell], workers: int | None = None) -> Share:
    """Cores and GPUs for the workers of a sweep.

    workers: how many a person asked for; None takes one per GPU, or on the CPU as many as there are cells, cores and
    memory for. A cell that asks for one GPU by its number keeps it, and the default is one worker then. Raises
    UsageError where a cell asks for a device that is not there.
    """
    asked = {str(cell.settings.get("device", "auto")) for cell in cells}
    found = {_kind(device) for device in asked}
    gpus = _gpus() if "cuda" in found and all(":" not in device for device in asked) else ()
    if workers is None and found - {"cpu"}:
        workers = max(1, min(len(gpus), len(cells)))
    elif workers is None:
        memory = available_memory()
        fitting = len(cells) if memory is None else memory // MEMORY_EACH
        workers = max(1, min(len(cells), cores(), fitting))
    return Share(workers, _threads(workers), gpus)


def _kind(device: str) -> str:
    """Its precision is found here, too, and remembered: workers that race side by side would disagree on it."""
    from augment.compute.device import choose_device, choose_precision

    kind = str(choose_device(device).type)
    choose_precision("auto", kind)
    return kind


def _gpus() -> tuple[str, ...]:
    """Names of the GPUs this process may use."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index) for index in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return tuple(name.strip() for name in names[: torch.cuda.device_count()])


def _threads(workers: int) -> int:
    """Cores of each worker; a smaller number that a person has set stays."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    each = max(1, cores() // workers)
    return min(each, int(asked)) if asked.isdigit() and int(asked) > 0 else each


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping, by the system and by this process's group; None where nothing tells.

    root: where ``proc`` and ``sys`` are.
    """
    known = []
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            known.append(1024 * int(line.split()[1]))
    limit, used = (_lines(root / "sys/fs/cgroup" / f"memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0].isdigit():
        known.append(max(0, int(limit[0]) - int(used[0])))
    return min(known) if known else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
