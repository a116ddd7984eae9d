"""A feature study's numbers as one result: comparisons with every baseline, guards, and the verdict's sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from augment.evidence.guards import Fingerprint
from augment.evidence.statistics import Comparison, compare, corrected, signed
from augment.evidence.verdict import LEVEL, Guard
from augment.results.features_result import Chosen, ComparisonAtK, EncoderInfo, FeaturesResult, Protocol, SearchMap
from augment.results.study_result import DatasetInfo
from augment.studies.features.few_labels import EpisodePredictions
from augment.studies.features.plan import FeaturesPlan
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


WORDS = {"pixels": "pixels", "cnn": "a CNN from scratch", "untrained": "an untrained net of the same shape"}
"""How baselines are called in a sentence."""


def verdict(model: str, probe: str, baselines: Sequence[str], found: Sequence[ComparisonAtK]) -> str:
    """At which k are the features worth more than each baseline, and at which less?

    found: comparisons of the model's probe with a baseline, for every k and baseline.
    """
    if not found:
        return "Nothing to compare with: add --baseline pixels or --baseline cnn."
    subject = f"features of {model} with a {probe} probe"
    parts = [_against(name, [row for row in found if row.against == name]) for name in baselines]
    if all(not better for better, _, _ in parts):
        rivals = " or ".join(WORDS[name] for name in baselines)
        sentence = f"No evidence that {subject} are worth more than {rivals} at any k"
    else:
        sentence = f"{subject} are worth more than " + ", than ".join(gain for better, gain, _ in parts if better)
        equal = " or ".join(name for better, name, _ in parts if not better)
        sentence += f"; no evidence of more than {equal} at any k" if equal else ""
    losses = [loss for _, _, loss in parts if loss]
    sentence += f"; they are worth less than {', than '.join(losses)}" if losses else ""
    if found[0].n == 1:
        return f"{sentence[0].upper()}{sentence[1:]}: one episode cannot tell; repeat with --episodes 5."
    pairs = f", corrected for {len(found)} comparisons" if len(found) > 1 else ""
    return f"{sentence[0].upper()}{sentence[1:]} (p < .05 over draws of the labels{pairs}; of one generator)."


def _against(name: str, rows: Sequence[ComparisonAtK]) -> tuple[bool, str, str]:
    """Is there a gain over this baseline; the gains in words; the losses in words, empty where there are none."""
    gains = [(row.k, row.delta) for row in rows if _surely(row) and row.delta > 0]
    losses = [(row.k, row.delta) for row in rows if _surely(row) and row.delta < 0]
    ks = [row.k for row in rows]
    return bool(gains), _spanned(WORDS[name], gains, ks), _spanned(WORDS[name], losses, ks) if losses else ""


def _spanned(name: str, changes: Sequence[tuple[int, float]], ks: Sequence[int]) -> str:
    """``pixels at k = 8 and 32 to 512 (+2.0 to +2.4 points)``; the name alone where there are no changes."""
    points = [signed(delta) for _, delta in sorted(changes, key=lambda one: abs(one[1]))]
    span = " to ".join(dict.fromkeys([*points[:1], *points[-1:]]))
    return f"{name} at k = {_listed(_runs([k for k, _ in changes], ks))} ({span} points)" if changes else name


def _runs(some: Sequence[int], ks: Sequence[int]) -> list[str]:
    """Three or more in a row, as they follow each other in ``ks``, become ``first to last``."""
    runs: list[list[int]] = []
    for k in some:
        if runs and ks.index(k) == ks.index(runs[-1][-1]) + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return [text for run in runs for text in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))]


def _surely(comparison: Comparison) -> bool:
    """Is the sign known, all comparisons of the study considered? One episode has no interval, and tells nothing."""
    p = comparison.p if comparison.p_holm is None else comparison.p_holm
    return comparison.ci95 is not None and p < LEVEL


def _listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
