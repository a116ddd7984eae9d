"""A feature study's numbers as one result, with comparisons with the baselines, guards and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from augment.evidence.guards import Fingerprint
from augment.evidence.statistics import Comparison, compare, corrected
from augment.evidence.verdict import Guard
from augment.results.features_result import (
    Chosen,
    ComparisonAtK,
    EncoderInfo,
    FeaturesResult,
    Protocol,
    SearchMap,
)
from augment.results.study_result import DatasetInfo
from augment.studies.features.few_labels import EpisodePredictions
from augment.studies.features.plan import FeaturesPlan
from augment.studies.features.verdict import verdict
from augment.training.trained import Trained


@dataclass(frozen=True)
class Findings:
    """What a study found. generators: one, or one for every k and episode where labels were shown in training."""

    generators: tuple[Trained, ...]
    t: int | None
    layer: str | None
    dimensions: int
    search: SearchMap | None
    cells: tuple[EpisodePredictions, ...]


def result_of(plan: FeaturesPlan, findings: Findings) -> FeaturesResult:
    """Everything a study found; its schema changes when the meaning of a field does."""
    truth = plan.data.test.labels
    found = comparisons(plan, findings.cells)
    return FeaturesResult(
        dataset=DatasetInfo.of(plan.data),
        generator=_generator(plan, findings),
        protocol=_protocol(plan),
        chosen=Chosen(findings.t, findings.layer, findings.dimensions),
        map=findings.search,
        baselines=plan.config.baselines,
        rows=tuple(cell.scores(truth) for cell in findings.cells),
        comparisons=tuple(found),
        guards=tuple(_guards(plan)),
        verdict=verdict(plan.model, plan.config.probes[0], plan.config.baselines, found),
    )


def _generator(plan: FeaturesPlan, findings: Findings) -> EncoderInfo:
    first = findings.generators[0]
    return EncoderInfo(
        name=plan.model,
        config=first.generator.config.model_dump(mode="json"),
        version=None if plan.config.generator is not None else plan.recipe().version,
        folder=None if plan.config.generator is None else str(plan.config.generator),
        trained=len(findings.generators),
        labels_seen=labels_seen(plan),
        steps=first.steps,
        stopped=first.stopped,
        seconds=round(sum(one.seconds for one in findings.generators), 3),
        images_per_second=round(first.images_per_second, 1),
        cached=all(one.cached for one in findings.generators),
        device=plan.compute.device,
        precision=plan.compute.precision,
        encode=plan.encode_options,
    )


def labels_seen(plan: FeaturesPlan) -> str:
    """Whose labels the generator has seen in its training, in words."""
    if plan.semi_supervised:
        return "the k labels of the episode"
    if plan.config.generator is not None and plan.untrained.spec.num_classes > 1:
        return "possibly all: it was trained with classes"
    return "none"


def _protocol(plan: FeaturesPlan) -> Protocol:
    episodes, search = plan.episodes, plan.search
    return Protocol(
        labels_per_class=tuple(episodes.ks),
        episodes=len(episodes.seeds),
        seeds=tuple(episodes.seeds),
        pool_images=len(plan.data.train),
        test_images=len(plan.data.test),
        probes=plan.config.probes,
        second_stage=plan.config.second_stage,
        regularisation="chosen inside the k labels",
        choice=None if search is None else f"{len(search.validation)} validation images of the training part",
        standardised_by=f"{len(plan.reference)} unlabelled training images",
    )


def comparisons(plan: FeaturesPlan, cells: Sequence[EpisodePredictions]) -> list[ComparisonAtK]:
    """The model's first probe against every baseline at every k: the same episodes, so differences are paired.

    p is corrected over all of them: ten k and three baselines would find a gain somewhere in half of all studies of
    methods that are equal.
    """
    probe = plan.config.probes[0]
    table = {(cell.method, cell.k): cell for cell in cells if cell.probe in (probe, None)}
    keys = [(k, name) for k in plan.episodes.ks for name in plan.config.baselines]
    found = [_compare(plan, table[plan.model, k], table[name, k], probe) for k, name in keys]
    return [ComparisonAtK(**vars(row), k=k) for (k, _), row in zip(keys, corrected(found), strict=True)]


def _compare(plan: FeaturesPlan, ours: EpisodePredictions, other: EpisodePredictions, probe: str) -> Comparison:
    truth = plan.data.test.labels
    correct = [(cell.predictions == truth).tolist() for cell in (ours, other)]
    return compare(probe, ours.method, other.method, ours.accuracies(truth), other.accuracies(truth), *correct)


def _guards(plan: FeaturesPlan) -> list[Guard]:
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
        Guard(
            "no test image in training",
            leaks == 0,
            f"{leaks} test images are, pixel for pixel, among the training images",
        ),
        Guard(
            "exactly k labels per class",
            exact and distinct,
            "labels and indices of every episode were counted",
        ),
        Guard(
            "nothing chosen on images that are labelled or scored",
            overlap == 0,
            f"{overlap} validation images are also labelled in an episode",
        ),
        Guard(
            "the generator saw no label beyond the k",
            not seen.startswith("possibly"),
            f"labels seen in its training: {seen}",
        ),
    ]
