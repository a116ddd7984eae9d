"""What is known of a training while it runs: averaged terms, rows by step, ``history.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.errors import PluginError
from augment.storage.files import write_text
from augment.training.processes import Processes

OWN_COLUMNS = ("step", "seconds", "lr", "grad_norm")
"""Columns the loop fills; a plugin's terms have other names, and none begins with ``val_``."""


@dataclass(frozen=True)
class Progress:
    """State of a training, told about twice a second.

    Attributes:
        step: Updates made.
        steps: Updates there will be.
        seconds: Since the training began, interruptions left out.
        images_per_second: In this session.
        terms: The last step's losses by name, and the last validation's values, named ``val_...``.

    Example:
        >>> from augment.training import Progress
        >>> progress = Progress(50, steps=200, seconds=2.0, images_per_second=3200.0, terms={"loss": 0.5})
        >>> f"{progress.step / progress.steps:.0%}"
        '25%'
    """

    step: int
    steps: int
    seconds: float
    images_per_second: float
    terms: Mapping[str, float]


def checked_terms(terms: Mapping[str, Tensor | float], plugin: str) -> dict[str, Tensor]:
    """Terms of a training step as detached float32 scalars; raises PluginError for what the contract does not allow."""
    if "loss" not in terms:
        raise PluginError(f"{plugin}.training_step returned {sorted(terms)}; it must report 'loss' among its terms.")
    for name in terms:
        if name in OWN_COLUMNS or name.startswith(("val_", "grad_norm")):
            raise PluginError(f"{plugin} has a loss term {name!r}; that name belongs to the loop. Choose another.")
    scalars = {name: torch.as_tensor(value).detach().float() for name, value in terms.items()}
    for name, value in scalars.items():
        if value.dim():
            raise PluginError(f"{plugin} reports {name!r} with shape {tuple(value.shape)}; a term is a scalar.")
    return scalars


class Meter:
    """Sums of terms since the last row, kept as tensors so that no step waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Count one step's terms (0-d tensors) in."""
        for name, value in terms.items():
            if name in self._sums:
                self._sums[name] += value
                self._counts[name] += 1
            else:
                self._sums[name], self._counts[name] = value.clone(), 1

    def flush(self, processes: Processes) -> dict[str, float]:
        """Means by name, over all processes, and start again."""
        means = [(total / self._counts[name]).to(processes.device) for name, total in self._sums.items()]
        processes.all_reduce_mean_(means)
        values = torch.stack(means).tolist() if means else []
        row = dict(zip(self._sums, values, strict=True))
        self._sums, self._counts = {}, {}
        return row

    def state(self) -> dict[str, tuple[float, int]]:
        """Sums and counts by name, for a checkpoint."""
        return {name: (total.item(), self._counts[name]) for name, total in self._sums.items()}

    def restore(self, state: Mapping[str, Sequence[Any]], device: torch.device) -> None:
        """Go on from :meth:`state`."""
        self._sums = {name: torch.tensor(float(total), device=device) for name, (total, _) in state.items()}
        self._counts = {name: int(count) for name, (_, count) in state.items()}


def write_history(file: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the rows as CSV, atomically; a column is empty where a row has no such value."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or ["step"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: int(value) if name == "step" else f"{value:.6g}" for name, value in row.items()})
    write_text(file, text.getvalue())


def read_history(file: Path) -> list[dict[str, float]]:
    """The rows of :func:`write_history`, without what is empty; none where there is no such file or it is damaged."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(lines)]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error):
        return []
