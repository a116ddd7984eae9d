"""``result.json``: a run's numbers as one document, with comparisons, guards and the verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from augment.arms import ArmResult
from augment.datasets import ImageSet, LabelledImages
from augment.plan import SCHEMA, Plan
from augment.regimes import Manifest
from augment.run_config import Seeds
from augment.statistics import Comparison, compare, verdict
from augment.synthesis import SyntheticSet
from augment.trained import Trained


@dataclass(frozen=True)
class Repetition:
    """What one seed gave."""

    seeds: Seeds
    manifest: Manifest
    trained: Trained
    synthetic: SyntheticSet
    arms: tuple[ArmResult, ...]


def leaked_images(train: LabelledImages, test: LabelledImages) -> int:
    """How many test images, pixel for pixel, are among the training images."""

    def digests(part: LabelledImages) -> list[bytes]:
        flat = part.images.flatten(1).contiguous().numpy()
        return [hashlib.blake2b(row.data, digest_size=16).digest() for row in flat]

    seen = set(digests(train))
    return sum(digest in seen for digest in digests(test))


def _by_arm(repetitions: Sequence[Repetition], classifier: str) -> dict[str, list[ArmResult]]:
    """Results of one classifier by arm, one per repetition in order."""
    found: dict[str, list[ArmResult]] = {}
    for result in (result for repetition in repetitions for result in repetition.arms):
        if result.classifier == classifier:
            found.setdefault(result.arm, []).append(result)
    return found


def comparisons(plan: Plan, repetitions: Sequence[Repetition]) -> list[Comparison]:
    """The generator's arm against the best arm without synthetic images, for each classifier."""
    found = []
    for classifier in plan.config.classifiers:
        others = _by_arm(repetitions, classifier)
        ours = others.pop(plan.config.model)
        if others:
            best = max(others, key=lambda name: sum(result.scores.accuracy for result in others[name]))
            found.append(_compare(plan, ours, others[best]))
    return found


def _compare(plan: Plan, ours: Sequence[ArmResult], reference: Sequence[ArmResult]) -> Comparison:
    truth = plan.data.test.labels.tolist()
    return compare(
        ours[0].classifier,
        ours[0].arm,
        reference[0].arm,
        [result.scores.accuracy for result in ours],
        [result.scores.accuracy for result in reference],
        [guess == label for guess, label in zip(ours[0].predictions, truth, strict=True)],
        [guess == label for guess, label in zip(reference[0].predictions, truth, strict=True)],
    )


def document(plan: Plan, repetitions: Sequence[Repetition], fidelity: dict[str, Any]) -> dict[str, Any]:
    """Everything a run found; ``schema`` changes when the meaning of a field does."""
    found = comparisons(plan, repetitions)
    rows = [result.to_json(plan.data.classes) for repetition in repetitions for result in repetition.arms]
    first = repetitions[0]
    return {
        "schema": SCHEMA,
        "dataset": describe_data(plan.data),
        "regime": {
            "name": plan.config.regime,
            "size": sum(plan.counts),
            "class_counts": list(plan.counts),
            "seed": first.manifest.seed,
            "manifest_sha256": first.manifest.sha256,
        },
        "generator": _generator(plan, first.trained),
        "synthetic": {
            "strategy": str(plan.strategy),
            "class_counts": list(first.synthetic.counts(len(plan.data.classes))),
        },
        "seeds": [asdict(repetition.seeds) for repetition in repetitions],
        "arms": rows,
        "fidelity": fidelity,
        "comparisons": [asdict(comparison) for comparison in found],
        "guards": _guards(plan, repetitions),
        "verdict": verdict(found[0]) if found else "Nothing to compare with: add --arm real or --arm oversample.",
    }


def describe_data(data: ImageSet) -> dict[str, Any]:
    """The ``dataset`` section of a result."""
    return {
        "name": data.name,
        "sha256": data.sha256,
        "channels": data.spec.channels,
        "height": data.spec.height,
        "width": data.spec.width,
        "classes": list(data.classes),
        "notes": list(data.notes),
    }


def _generator(plan: Plan, trained: Trained) -> dict[str, Any]:
    recipe = plan.identity["recipe"]
    return {
        "name": plan.config.model,
        "config": recipe["options"],
        "version": recipe["version"],
        "steps": trained.steps,
        "stopped": trained.stopped,
        "seconds": round(trained.seconds, 3),
        "images_per_second": round(trained.images_per_second, 1),
        "cached": trained.cached,
        "device": plan.device,
        "precision": plan.precision,
    }


def _guards(plan: Plan, repetitions: Sequence[Repetition]) -> list[dict[str, Any]]:
    train = plan.data.train
    leaks = max(leaked_images(train.subset(entry.manifest.train), plan.data.test) for entry in repetitions)
    updates = {result.updates for entry in repetitions for result in entry.arms}
    return [
        {
            "name": "no test image in training",
            "passed": leaks == 0,
            "detail": f"{leaks} test images are, pixel for pixel, among the training images",
        },
        {
            "name": "equal updates in all arms",
            "passed": len(updates) == 1,
            "detail": f"{', '.join(str(count) for count in sorted(updates))} updates",
        },
    ]
