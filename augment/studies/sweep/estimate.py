"""How long a sweep will take: real seconds of cells that are finished, else a timed warm-up of one cell per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from augment.progress import Reporter
from augment.storage.hashing import content_hash
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.progress import counts_of, model_of

SCHEMA = "augment.sweep-estimate/1"

ALIKE = frozenset({"seed", "regime", "regime_seed", "size", "imbalance_factor", "class_counts"})
"""Settings in which cells differ that are taken to cost the same; the largest one is timed."""


@dataclass(frozen=True)
class ModelTime:
    """Cells that cost about the same: those of one model with one data set and one set of settings.

    done: how many are finished.  each: seconds of one cell; None where nothing tells.  source: ``finished cells`` or
    ``a timed warm-up``.
    """

    dataset: str
    model: str
    cells: int
    done: int
    each: float | None
    source: str

    @property
    def left(self) -> float | None:
        """Seconds of one worker for the cells that are left."""
        left = self.cells - self.done
        return 0.0 if not left else None if self.each is None else left * self.each


@dataclass(frozen=True)
class SweepEstimate:
    """What a sweep would do; nothing was carried out and nothing written."""

    location: str
    cells: tuple[Cell, ...]
    records: Mapping[str, Outcome]
    times: tuple[ModelTime, ...]
    workers: int

    def status(self, cell: Cell) -> str:
        """``finished``, ``failed`` (it will be tried again) or ``to do``."""
        record = self.records.get(cell.key)
        return "to do" if record is None else record.status

    @property
    def seconds(self) -> float | None:
        """Wall clock of all that is left; None where that is not known of a model."""
        left = [time.left for time in self.times]
        known = [seconds for seconds in left if seconds is not None]
        return sum(known) / self.workers if len(known) == len(left) else None

    def to_json(self) -> dict[str, Any]:
        """The document of ``augment sweep --dry-run --json``."""
        seconds = self.seconds
        before = sum(record.status == "finished" for record in self.records.values())
        return {
            "schema": SCHEMA,
            "folder": self.location,
            "counts": counts_of(self.records, len(self.cells), before),
            "workers": self.workers,
            "minutes": None if seconds is None else round(seconds / 60, 2),
            "models": [{**vars(time), "left_seconds": time.left} for time in self.times],
            "cells": [
                {"key": cell.key, "coordinates": dict(cell.coordinates), "status": self.status(cell)}
                for cell in self.cells
            ],
        }


def estimate_sweep(
    location: str,
    cells: Sequence[Cell],
    records: Mapping[str, Outcome],
    reporter: Reporter,
    *,
    workers: int,
    threads: int,
) -> SweepEstimate:
    """The estimate of a sweep with so many workers, each with so many threads.

    records: of cells that have ended.  Of every model but the first, what it shares with that one is left out: arms
    without a generator are in the cache then.
    """
    kept = {cell.key: records[cell.key] for cell in cells if cell.key in records}
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_group(cell), []).append(cell)
    seen: set[str] = set()
    times = []
    for group in groups.values():
        shared = _group(group[0], without=("model", "options"))
        times.append(_time(group, kept, reporter, threads=threads, first=shared not in seen))
        seen.add(shared)
    return SweepEstimate(location, tuple(cells), kept, tuple(times), workers)


def _group(cell: Cell, without: Sequence[str] = ()) -> str:
    left_out = ALIKE | set(without)
    return content_hash([cell.command, {key: value for key, value in cell.settings.items() if key not in left_out}])


def _time(
    group: Sequence[Cell], records: Mapping[str, Outcome], reporter: Reporter, *, threads: int, first: bool
) -> ModelTime:
    done = [records[cell.key] for cell in group if cell.key in records and records[cell.key].status == "finished"]
    real = [outcome.seconds for outcome in done if not outcome.cached]
    each, source = (fmean(real), "finished cells") if real else (None, "")
    if each is None and len(done) < len(group) and group[0].command == "run":
        largest = max(group, key=lambda cell: int(cell.coordinates["size"]))
        each, source = _timed(largest, reporter, threads=threads, first=first), "a timed warm-up"
    dataset = str(group[0].coordinates["dataset"])
    return ModelTime(dataset, model_of(group[0]), len(group), len(done), each, source)


def _timed(cell: Cell, reporter: Reporter, *, threads: int, first: bool) -> float:
    """Seconds of a cell by a warm-up of each kind of work; without ``first``, of its arms with a generator alone."""
    from augment.studies.run.config import RunConfig
    from augment.studies.run.estimate import estimate_plan
    from augment.studies.run.plan import prepare

    plan = prepare(RunConfig.parse(**cell.settings), reporter)
    if not first:
        plan = replace(plan, arms=tuple(arm for arm in plan.arms if arm.family == "generative"))
    return replace(estimate_plan(plan, reporter), cores=threads).seconds
