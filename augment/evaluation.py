"""Evaluate arms, each at most once: the same images under the same budget and code give the same result.

That holds for runs side by side, too: who wants an arm that another process trains waits for its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from augment import arms
from augment.arms import Arm, ArmResult, Budget
from augment.datasets import ImageSet, LabelledImages
from augment.locations import cache_folder
from augment.source_code import imported_sources
from augment.storage import hashing
from augment.storage.cache import kept_parts
from augment.storage.files import read_json, write_json
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
    records = {name: read_json(file) if reuse else None for name, file in files.items()}
    wanted = {name: files[name] for name, record in records.items() if record is None}
    whole = cache_folder() / "arms" / hashing.content_hash(identity)
    parts = (arm, wanted, whole, reuse, data.test, len(data.classes), budget)
    return Pending(arm.name, tuple(classifiers), budget, records, workers.submit(_evaluate, *parts) if wanted else None)


def _evaluate(
    arm: Arm,
    files: Mapping[str, Path],
    whole: Path,
    reuse: bool,
    test: LabelledImages,
    num_classes: int,
    budget: Budget,
) -> list[ArmResult]:
    """Results by classifier, each in its file, so that an interruption loses none. Runs in a worker.

    With ``reuse``, what another process computes at this moment is waited for and read.
    """
    names = {file: name for name, file in files.items()}

    def read(file: Path) -> ArmResult | None:
        record = read_json(file)
        if record is None:
            return None
        return replace(arms.from_record(record, arm.name, names[file], budget, test.labels, num_classes), cached=True)

    def make(missing: Sequence[str]) -> dict[str, ArmResult]:
        return {result.classifier: result for result in arms.evaluate(arm, missing, test, num_classes, budget)}

    found = kept_parts(
        whole,
        files,
        make,
        read=read,
        write=lambda file, result: write_json(file, result.record()),
        reuse=reuse,
    )
    return list(found.values())


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
    parts = [arm.real, *([] if arm.added is None else [arm.added])]
    return {
        "train": hashing.tensors_hash(*(tensor for part in parts for tensor in (part.images, part.labels))),
        "test": data.sha256,
        "learning": repr(arm.learning),
        "budget": asdict(budget),
        "code": hashing.code_fingerprint(imported_sources(arms.__name__)),
    }


def _file(identity: dict[str, object], classifier: str) -> Path:
    key = hashing.content_hash({**identity, "classifier": classifier})
    return cache_folder() / "arms" / f"{key}.json"
