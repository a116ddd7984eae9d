"""``result.json`` of a feature study: rows, comparisons with the baselines, guards and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from augment.document import describe_data, leaked_images
from augment.features.few_labels import Cell
from augment.features.layer_search import LayerMap
from augment.features.plan import SCHEMA, FeaturesPlan
from augment.statistics import Comparison, compare
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
        "comparisons": [
            {"k": k, **asdict(row), "ci95": None if row.ci95 is None else list(row.ci95)} for k, row in found
        ],
        "guards": _guards(plan),
        "verdict": verdict(plan, found),
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
    """The model's first head against every baseline at every k: the same episodes, so differences are paired."""
    head = plan.config.heads[0]
    table = {(cell.method, cell.k): cell for cell in cells if cell.head in (head, None)}
    return [
        (k, _compare(plan, table[plan.model, k], table[name, k], head))
        for k in plan.episodes.ks
        for name in plan.config.baselines
    ]


def _compare(plan: FeaturesPlan, ours: Cell, other: Cell, head: str) -> Comparison:
    truth = plan.data.test.labels
    correct = [(cell.predictions[0] == truth).tolist() for cell in (ours, other)]
    return compare(head, ours.method, other.method, ours.accuracies(truth), other.accuracies(truth), *correct)


def verdict(plan: FeaturesPlan, found: Sequence[tuple[int, Comparison]]) -> str:
    """One sentence: from how many labels on are the features no longer worth more than the baselines?"""
    if not found:
        return "Nothing to compare with: add --baseline pixels or --baseline cnn."
    by_k: dict[int, list[Comparison]] = {}
    for k, comparison in found:
        by_k.setdefault(k, []).append(comparison)
    better = [k for k, rows in by_k.items() if all(_surely(row) and row.delta > 0 for row in rows)]
    worse = [k for k, rows in by_k.items() if any(_surely(row) and row.delta < 0 for row in rows)]
    against = _listed([_WORDS[name] for name in plan.config.baselines])
    subject = f"{plan.model} features with a {plan.config.heads[0]} head"
    if not better:
        sentence = f"No evidence that {subject} are worth more than {against} at any k"
    else:
        gains = [min(row.delta for row in by_k[k]) for k in better]
        span = f"+{min(gains):.1f}" if len(gains) == 1 else f"+{min(gains):.1f} to +{max(gains):.1f}"
        sentence = (
            f"{subject} are worth more than {against} at k = {_listed(map(str, better))} "
            f"({span} points over the best of them)"
        )
    if worse:
        rivals = {row.against for k in worse for row in by_k[k] if _surely(row) and row.delta < 0}
        losses = _listed([_WORDS[name] for name in plan.config.baselines if name in rivals])
        sentence += f"; they are worth less than {losses} at k = {_listed(map(str, worse))}"
    sure = "95% intervals over episodes" if len(plan.episodes.seeds) > 1 else "McNemar's test on one episode"
    return f"{sentence[0].upper()}{sentence[1:]} ({sure})."


_WORDS = {"pixels": "pixels", "cnn": "a CNN from scratch", "untrained": "an untrained net of the same shape"}


def _surely(comparison: Comparison) -> bool:
    """Is the difference's sign known with 95% confidence?"""
    if comparison.ci95 is None:
        return comparison.p < 0.05
    low, high = comparison.ci95
    return low > 0 or high < 0


def _listed(words: Sequence[str] | Any) -> str:
    *most, last = list(words)
    return f"{', '.join(most)} and {last}" if most else last


def _guards(plan: FeaturesPlan) -> list[dict[str, Any]]:
    leaks = leaked_images(plan.data.train, plan.data.test)
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
