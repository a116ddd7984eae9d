"""Generators as feature sources: are a generator's features worth more than pixels when labels are few?

The generator learns from the training images without their labels; probes are fitted on exactly k labels per class; the
timestep, the layer and all regularisation are chosen on training images. Test images are scored once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from augment.arms import evaluation
from augment.arms.evaluation import Arm, Budget, Pending
from augment.classifiers.cnn import default_updates
from augment.compute.workers import Job
from augment.generators.model_card import (
    FEATURES,
    SAMPLES,
    Evidence,
    features_section,
    near_copies,
    unscored,
    write_card,
)
from augment.progress import Reporter
from augment.results.features_result import FeaturesResult, SearchMap
from augment.results.study_result import Identity
from augment.storage import files
from augment.studies.features.conclusion import Findings, result_of
from augment.studies.features.config import FeaturesConfig
from augment.studies.features.export import export_features
from augment.studies.features.few_labels import EpisodePredictions, FeatureTable, score_probes
from augment.studies.features.identity import identity_of
from augment.studies.features.layer_search import Candidates
from augment.studies.features.pictures import begin_maps, save_pictures
from augment.studies.features.plan import FeaturesPlan, check_names, prepare
from augment.studies.features.resolve import model_name
from augment.studies.features.second_stage import Pictures, score_second_stage
from augment.studies.features.source import FeatureSource, generator_folders, pixels
from augment.studies.identity import DataFacts
from augment.studies.lifecycle import StudyKind
from augment.training.trained import Trained


class FeatureStudy(StudyKind[FeaturesConfig, FeaturesPlan, FeaturesResult]):
    """Few-label classification by a generator's features."""

    name = "features"
    config = FeaturesConfig
    result = FeaturesResult

    def prepare(self, config: FeaturesConfig, reporter: Reporter) -> FeaturesPlan:
        """Load the data and resolve every default."""
        return prepare(config, reporter)

    def carry_out(self, plan: FeaturesPlan, reporter: Reporter) -> FeaturesResult:
        """All episodes."""
        return _carry_out(plan, reporter)

    def models(self, config: FeaturesConfig) -> tuple[str, ...]:
        """The one generator whose features are studied."""
        return (model_name(config),)

    def check(self, config: FeaturesConfig) -> None:
        """The model with its options, and those of its ``encode``."""
        check_names(config)

    def identity(self, config: FeaturesConfig, data: DataFacts) -> Identity:
        """What decides the result."""
        return identity_of(config, data)


STUDY = FeatureStudy()


def _carry_out(plan: FeaturesPlan, reporter: Reporter) -> FeaturesResult:
    """Baselines need no generator, so workers compute them while it is trained here."""
    source, baselines = FeatureSource(plan, reporter), plan.config.baselines
    networks = _begin_networks(plan) if "cnn" in baselines else []
    jobs = _begin_probes(plan, "pixels", pixels(plan)) if "pixels" in baselines else []
    ours = _with_labels(source) if plan.semi_supervised else _without_labels(source)
    if "untrained" in baselines:
        reporter.stage("Choose and encode with the untrained net")
        untrained = plan.untrained.to(plan.compute.device)
        t, layer = _best(source.search(untrained, plan.others), plan.others)
        table = source.table(untrained, plan.rows, t, layer)
        jobs += _begin_probes(plan, "untrained", table, t, layer)
    if not ours.cells:
        jobs += _begin_probes(plan, plan.model, ours.table, ours.t, ours.layer)
    maps = begin_maps(plan, ours.table)
    reporter.stage("Fit probes and train networks from scratch")
    scored = _collected(plan, networks, reporter)
    for done, cells in enumerate(plan.compute.queue.in_order(jobs), start=1):
        reporter.advance(done, len(jobs), "sets of probes")
        scored += cells
    findings = Findings(
        generators=ours.generators,
        t=ours.t,
        layer=ours.layer,
        dimensions=ours.table.train.shape[1],
        search=ours.search,
        cells=tuple(sorted((*ours.cells, *scored), key=lambda cell: _order(plan, cell))),
    )
    finished = result_of(plan, findings)
    reporter.stage("Keep pictures")
    with files.writing(plan.folder):
        save_pictures(plan, maps, ours.generators[-1].generator)
    _write_cards(plan, ours.generators, finished)
    if plan.config.export is not None:
        _export(plan, plan.config.export, ours.table)
    return finished


@dataclass(frozen=True)
class _Ours:
    """The model's side: generators, what was chosen, standardised features, and cells that are scored already."""

    generators: tuple[Trained, ...]
    t: int | None
    layer: str | None
    search: SearchMap | None
    table: FeatureTable
    cells: tuple[EpisodePredictions, ...] = ()


def _without_labels(source: FeatureSource) -> _Ours:
    """One generator for all k and episodes, trained on the pool without any label."""
    plan, reporter = source.plan, source.reporter
    reporter.stage(f"Train {plan.model} without labels")
    generator = source.obtain()
    if plan.own.several:
        reporter.stage("Choose timestep and layer on validation images")
    found = source.search(generator.generator, plan.own)
    t, layer = _best(found, plan.own)
    reporter.stage(f"Encode with {plan.model}")
    return _Ours((generator,), t, layer, found, source.table(generator.generator, plan.all_rows, t, layer))


def _best(found: SearchMap | None, among: Candidates) -> tuple[int | None, str | None]:
    """The timestep and layer that were chosen, or the only ones there are."""
    return (among.timesteps[0], among.layers[0]) if found is None else (found.chosen.t, found.chosen.layer)


def _with_labels(source: FeatureSource) -> _Ours:
    """A generator for every k and episode, shown the pool and these k labels per class and no others."""
    plan, reporter = source.plan, source.reporter
    t, layer = _best(None, plan.own)
    generators: list[Trained] = []
    cells: list[EpisodePredictions] = []
    total = len(plan.episodes.ks) * len(plan.episodes.seeds)
    for k in plan.episodes.ks:
        found = []
        for index in range(len(plan.episodes.seeds)):
            reporter.stage(f"Train {plan.model} with k = {k}, episode {index + 1} ({len(generators) + 1} of {total})")
            episode = plan.episodes.single(k, index)
            labelled = episode.rows(k)[0]
            generators.append(source.obtain(labelled, len(generators)))
            rows = torch.cat([labelled, plan.reference]).unique()
            table = source.table(generators[-1].generator, rows, t, layer)
            found.append(score_probes(plan.model, table, episode, plan.config.probes, t=t, layer=layer))
        cells += [EpisodePredictions.joined(episodes) for episodes in zip(*found, strict=True)]
    return _Ours(tuple(generators), t, layer, None, table, tuple(cells))


def _begin_networks(plan: FeaturesPlan) -> list[tuple[int, Pending]]:
    """A CNN from scratch on the labelled images of every k and episode, with the classical augmentation of a run."""
    found = []
    for k in reversed(plan.episodes.ks):  # the long trainings first, so that the last ones to end are short
        for seed, rows in zip(plan.episodes.seeds, plan.episodes.rows(k), strict=True):
            arm = Arm("cnn", plan.data.train.subset(rows))
            budget = Budget(default_updates(len(rows)), seed, plan.compute.device, plan.compute.precision)
            reuse = plan.config.resume
            found.append((k, evaluation.begin(arm, ("cnn",), plan.data, budget, plan.compute.queue, reuse=reuse)))
    return found


def _collected(plan: FeaturesPlan, networks: list[tuple[int, Pending]], reporter: Reporter) -> list[EpisodePredictions]:
    predictions: dict[int, list[Tensor]] = {}
    seconds: dict[int, float] = {}
    for done, (k, pending) in enumerate(networks):
        reporter.advance(done, len(networks), "networks from scratch")
        (result,) = evaluation.collect([pending], plan.data, plan.compute.queue)
        predictions.setdefault(k, []).append(torch.tensor(result.predictions[0]))
        seconds[k] = seconds.get(k, 0.0) + result.seconds
    return [
        EpisodePredictions("cnn", None, k, torch.stack(found), seconds=seconds[k]) for k, found in predictions.items()
    ]


def _begin_probes(
    plan: FeaturesPlan,
    method: str,
    table: FeatureTable,
    t: int | None = None,
    layer: str | None = None,
) -> list[Job[list[EpisodePredictions]]]:
    """Probes, and the second stage where it is asked for: an untrained net's is of no interest."""
    queue = plan.compute.queue
    jobs = [queue.submit(score_probes, method, table, plan.episodes, plan.config.probes, t, layer)]
    if plan.config.second_stage and method != "untrained":
        pictures = Pictures(plan.data.train.images, plan.data.test.images, plan.compute)
        stages = plan.config.second_stage
        jobs.append(queue.submit(score_second_stage, method, table, plan.episodes, stages, pictures, t, layer))
    return jobs


def _order(plan: FeaturesPlan, cell: EpisodePredictions) -> tuple[int, int, int]:
    """The model first, then the baselines; probes and k as they were asked for."""
    methods = (plan.model, *plan.config.baselines)
    probes = (None, *plan.config.probes, *plan.config.second_stage)
    return methods.index(cell.method), probes.index(cell.probe), cell.k


def _write_cards(plan: FeaturesPlan, generators: Sequence[Trained], result: FeaturesResult) -> None:
    """A model card for every generator that was trained here."""
    told = unscored("a feature study draws no samples to score.")
    evidence = Evidence({FEATURES: features_section(result), SAMPLES: told}, (near_copies(None),))
    for folder, trained in zip(generator_folders(plan), generators, strict=False):  # a saved one has its own folder
        write_card(folder, trained.generator, plan.manifest, plan.data.classes, evidence)


def _export(plan: FeaturesPlan, path: Path, table: FeatureTable) -> None:
    data = plan.data
    export_features(
        path,
        table.original(torch.cat([table.train, table.test])),
        torch.cat([data.train.labels, data.test.labels]),
        ["train"] * len(data.train) + ["test"] * len(data.test),
        data.classes,
        metadata={**plan.identity.settings, "data": plan.identity.data, "code": plan.identity.code},
    )
