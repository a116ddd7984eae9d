"""Evaluate arms, each at most once: the same images under the same budget and code give the same result.

That holds for runs side by side, too: who wants an arm that another process trains waits for its result.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from augment import arms, store
from augment.arms import Arm, ArmResult, Budget
from augment.datasets import ImageSet, LabelledImages
from augment.locations import cache_folder
from augment.source_code import imported_sources
from augment.workers import Job, Workers


@dataclass(frozen=True)
class Pending:
    """Results of one arm under one budget, as far as they are known: kept ones, and a job for the others."""

    arm: str
    classifiers: tuple[str, ...]
    budget: Budget
    records: dict[str, dict[str, Any] | None]
    job: Job[list[ArmResult]] | None


def begin(
    arm: Arm, classifiers: Sequence[str], data: ImageSet, budget: Budget, workers: Workers, *, reuse: bool
) -> Pending:
    """Begin to evaluate an arm; with ``reuse``, results in the cache are read instead."""
    identity = _identity(arm, data, budget)
    files = {name: _file(identity, name) for name in classifiers}
    records = {name: store.read_json(file) if reuse else None for name, file in files.items()}
    missing = [name for name, record in records.items() if record is None]
    wanted = {name: files[name] for name in missing}
    lock = cache_folder() / "arms" / store.content_hash(identity) if reuse else None
    job = workers.submit(_evaluate, arm, wanted, lock, data.test, len(data.classes), budget) if missing else None
    return Pending(arm.name, tuple(classifiers), budget, records, job)


def _evaluate(
    arm: Arm,
    files: Mapping[str, Path],
    lock: Path | None,
    test: LabelledImages,
    num_classes: int,
    budget: Budget,
) -> list[ArmResult]:
    """Results by classifier, each in its file as soon as it is there, so that an interruption loses none.

    Runs in a worker. With a ``lock``, what another process computes at this moment is waited for and read.
    """
    if lock is None:
        return _computed(arm, files, test, num_classes, budget)
    with store.held(lock):
        found = []
        for name, file in files.items():
            record = store.read_json(file)
            if record is not None:
                kept = arms.from_record(record, arm.name, name, budget, test.labels, num_classes)
                found.append(replace(kept, cached=True))
        missing = {name: file for name, file in files.items() if name not in {result.classifier for result in found}}
        return found + (_computed(arm, missing, test, num_classes, budget) if missing else [])


def _computed(
    arm: Arm, files: Mapping[str, Path], test: LabelledImages, num_classes: int, budget: Budget
) -> list[ArmResult]:
    made = arms.evaluate(arm, list(files), test, num_classes, budget)
    for result in made:
        with contextlib.suppress(OSError):  # a cache that cannot be written only means computing again next time
            store.write_json(files[result.classifier], result.record())
    return made


def collect(pending: Sequence[Pending], data: ImageSet, workers: Workers) -> list[ArmResult]:
    """Results of all arms in order, one per classifier."""
    fresh = workers.in_order(entry.job for entry in pending if entry.job is not None)
    results = []
    for entry in pending:
        found = {result.classifier: result for result in (next(fresh) if entry.job is not None else [])}
        for name, record in entry.records.items():
            if record is not None:
                test = data.test.labels
                kept = arms.from_record(record, entry.arm, name, entry.budget, test, len(data.classes))
                found[name] = replace(kept, cached=True)
        results += [found[name] for name in entry.classifiers]
    return results


def _identity(arm: Arm, data: ImageSet, budget: Budget) -> dict[str, object]:
    train = hashlib.sha256()
    for part in (arm.real, *([] if arm.added is None else [arm.added])):
        train.update(str(tuple(part.images.shape)).encode())
        train.update(part.images.contiguous().numpy().data)
        train.update(part.labels.contiguous().numpy().data)
    return {
        "train": train.hexdigest(),
        "test": data.sha256,
        "learning": repr(arm.learning),
        "budget": asdict(budget),
        "code": store.code_fingerprint(imported_sources(arms.__name__)),
    }


def _file(identity: dict[str, object], classifier: str) -> Path:
    key = store.content_hash({**identity, "classifier": classifier})
    return cache_folder() / "arms" / f"{key}.json"
