"""``result.json`` of a feature study: rows, comparisons with the baselines, guards and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from augment.evidence.guards import Fingerprint
from augment.evidence.statistics import Comparison, compare, corrected
from augment.experiment.document import describe_data
from augment.features.few_labels import Cell
from augment.features.layer_search import LayerMap
from augment.features.plan import SCHEMA, FeaturesPlan
from augment.features.verdict import verdict
from augment.trained import Trained


@dataclass(frozen=True)
class Findings:
    """What a study found. generators: one, or one for every k and episode where labels were shown in training."""

    generators: tuple[Trained, ...]
    t: int | None
    layer: str | None
    dimensions: int
    layer_map: LayerMap | None
    cells: tuple[Cell, ...]


def document(plan: FeaturesPlan, findings: Findings) -> dict[str, Any]:
    """Everything a study found; ``schema`` changes when the meaning of a field does."""
    truth = plan.data.test.labels
    found = comparisons(plan, findings.cells)
    return {
        "schema": SCHEMA,
        "dataset": describe_data(plan.data),
        "generator": _generator(plan, findings),
        "protocol": _protocol(plan),
        "chosen": {"t": findings.t, "layer": findings.layer, "dimensions": findings.dimensions},
        "map": None if findings.layer_map is None else findings.layer_map.to_json(),
        "baselines": list(plan.config.baselines),
        "rows": [cell.to_json(truth) for cell in findings.cells],
        "comparisons": [{"k": k, **row.to_json()} for k, row in found],
        "guards": _guards(plan),
        "verdict": verdict(plan.model, plan.config.heads[0], plan.config.baselines, found),
    }


def _generator(plan: FeaturesPlan, findings: Findings) -> dict[str, Any]:
    first = findings.generators[0]
    return {
        "name": plan.model,
        "config": first.generator.config.model_dump(mode="json"),
        "folder": None if plan.config.generator is None else str(plan.config.generator),
        "trained": len(findings.generators),
        "labels_seen": labels_seen(plan),
        "steps": first.steps,
        "stopped": first.stopped,
        "seconds": round(sum(one.seconds for one in findings.generators), 3),
        "images_per_second": round(first.images_per_second, 1),
        "cached": all(one.cached for one in findings.generators),
        "device": plan.device,
        "precision": plan.precision,
        "encode": plan.encode_options,
    }


def labels_seen(plan: FeaturesPlan) -> str:
    """Whose labels the generator has seen in its training, in words."""
    if plan.semi_supervised:
        return "the k labels of the episode"
    if plan.config.generator is not None and plan.untrained.spec.num_classes > 1:
        return "possibly all: it was trained with classes"
    return "none"


def _protocol(plan: FeaturesPlan) -> dict[str, Any]:
    episodes, search = plan.episodes, plan.search
    return {
        "labels_per_class": list(episodes.ks),
        "episodes": len(episodes.seeds),
        "seeds": list(episodes.seeds),
        "pool_images": len(plan.data.train),
        "test_images": len(plan.data.test),
        "heads": list(plan.config.heads),
        "second_stage": list(plan.config.second_stage),
        "regularisation": "chosen inside the k labels",
        "choice": None if search is None else f"{len(search.validation)} validation images of the training part",
        "standardised_by": f"{len(plan.reference)} unlabelled training images",
    }


def comparisons(plan: FeaturesPlan, cells: Sequence[Cell]) -> list[tuple[int, Comparison]]:
    """The model's first head against every baseline at every k: the same episodes, so differences are paired.

    p is corrected over all of them: ten k and three baselines would find a gain somewhere in half of all studies of
    methods that are equal.
    """
    head = plan.config.heads[0]
    table = {(cell.method, cell.k): cell for cell in cells if cell.head in (head, None)}
    keys = [(k, name) for k in plan.episodes.ks for name in plan.config.baselines]
    found = [_compare(plan, table[plan.model, k], table[name, k], head) for k, name in keys]
    return [(k, row) for (k, _), row in zip(keys, corrected(found), strict=True)]


def _compare(plan: FeaturesPlan, ours: Cell, other: Cell, head: str) -> Comparison:
    truth = plan.data.test.labels
    correct = [(cell.predictions == truth).tolist() for cell in (ours, other)]
    return compare(head, ours.method, other.method, ours.accuracies(truth), other.accuracies(truth), *correct)


def _guards(plan: FeaturesPlan) -> list[dict[str, Any]]:
    leaks = Fingerprint(plan.data.test.images).exact(plan.data.train.images)
    drawn = plan.data.train.labels[plan.episodes.order]
    classes = torch.arange(drawn.shape[1])[:, None].expand_as(drawn[0])
    exact = all(bool((rows == classes).all()) and len(rows.unique()) for rows in drawn)
    distinct = all(len(rows.unique()) == rows.numel() for rows in plan.episodes.order)
    overlap = (
        0 if plan.search is None else len(set(plan.search.validation.tolist()) & set(plan.episodes.all_rows.tolist()))
    )
    seen = labels_seen(plan)
    return [
        {
            "name": "no test image in training",
            "passed": leaks == 0,
            "detail": f"{leaks} test images are, pixel for pixel, among the training images",
        },
        {
            "name": "exactly k labels per class",
            "passed": exact and distinct,
            "detail": "labels and indices of every episode were counted",
        },
        {
            "name": "nothing chosen on images that are labelled or scored",
            "passed": overlap == 0,
            "detail": f"{overlap} validation images are also labelled in an episode",
        },
        {
            "name": "the generator saw no label beyond the k",
            "passed": not seen.startswith("possibly"),
            "detail": f"labels seen in its training: {seen}",
        },
    ]
