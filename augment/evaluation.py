"""Evaluate arms, each at most once: the same images under the same budget and code give the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from augment import arms, store
from augment.arms import Arm, ArmResult, Budget
from augment.datasets import ImageSet
from augment.locations import cache_folder


def evaluate_cached(arm: Arm, classifiers: Sequence[str], data: ImageSet, budget: Budget) -> list[ArmResult]:
    """Results of one arm, one per classifier in the order given; those in the cache are read, the others computed."""
    num_classes, test = len(data.classes), data.test
    identity = _identity(arm, data, budget)
    files = {name: _file(identity, name) for name in classifiers}
    records = {name: store.read_json(file) for name, file in files.items()}
    missing = [name for name, record in records.items() if record is None]
    found = {result.classifier: result for result in arms.evaluate(arm, missing, test, num_classes, budget)}
    for name, result in found.items():
        with store.writing(files[name].parent):
            store.write_json(files[name], result.record())
    for name, record in records.items():
        if record is not None:
            found[name] = arms.from_record(record, arm.name, name, budget, test.labels, num_classes)
    return [found[name] for name in classifiers]


def _identity(arm: Arm, data: ImageSet, budget: Budget) -> dict[str, object]:
    train = hashlib.sha256(arm.train.images.contiguous().numpy().data)
    train.update(arm.train.labels.contiguous().numpy().data)
    return {
        "train": train.hexdigest(),
        "test": data.sha256,
        "sampling": arm.sampling,
        "budget": asdict(budget),
        "code": store.code_fingerprint([Path(__file__).parent]),
    }


def _file(identity: dict[str, object], classifier: str) -> Path:
    key = store.content_hash({**identity, "classifier": classifier})
    return cache_folder() / "arms" / f"{key}.json"
