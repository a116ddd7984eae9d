"""One run: split, train generators, synthesise, train every arm alike, score once on the test images.

The rules of evidence live here: the split comes first, generators and arms see training images only, all arms have one
budget, and a generative arm is judged against the best arm without synthetic images.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augment import evaluation, store
from augment.arms import ArmSpec
from augment.errors import UsageError
from augment.evaluation import Pending
from augment.evidence.verdict import reached, reached_on_average, verdict_from_json
from augment.experiment import retraining, seed_spread
from augment.experiment.config import RunConfig
from augment.experiment.document import document
from augment.experiment.draw import draw_of
from augment.experiment.estimate import within
from augment.experiment.fidelity import scoring
from augment.experiment.kept import save_images, save_predictions, write_cards
from augment.experiment.plan import Plan, prepare
from augment.experiment.repetition import Repetition, add_images, begin, obtain_generator
from augment.progress import Reporter
from augment.run_folder.environment import environment
from augment.run_folder.finish import finish
from augment.tracking import outcome, tracked
from augment.workers import Workers, side_by_side


@dataclass(frozen=True)
class Result:
    """A finished run: the document of ``result.json``, its folder, and whether it was there before."""

    document: dict[str, Any]
    folder: Path
    cached: bool

    @property
    def verdict(self) -> str:
        """One sentence: does the generator help?"""
        return str(self.document["verdict"]["text"])

    @property
    def decision(self) -> str:
        """The verdict in a word: helps, hurts, no evidence, invalid, nothing to compare."""
        return str(self.document["verdict"]["decision"])

    def reached(self, points: float) -> bool:
        """Is there evidence that the generator helps by at least so many points of accuracy?"""
        return reached(verdict_from_json(self.document["verdict"]), points)

    def reached_on_average(self, points: float) -> bool:
        """Is there evidence that it helps, and is the estimate at least so many points?"""
        return reached_on_average(verdict_from_json(self.document["verdict"]), points)


def run(config: RunConfig | None = None, report: Reporter | None = None, **settings: Any) -> Result:
    """Carry out a run, or hand back the result of an identical one that is there already.

    config: what is asked, or the same as keywords: ``run(dataset="digits", model="vae", seeds=5)``.

    Whatever was finished before (generators, synthetic images, single arms) is reused and marked ``cached``; an
    unfinished folder is resumed. With ``resume`` off everything is computed anew. Raises the errors of
    :mod:`augment.errors`.
    """
    if config is None:
        config = RunConfig.parse(**settings)
    elif settings:
        raise UsageError(f"run() was given a config and {', '.join(settings)} besides. Put all into one of them.")
    report = report or Reporter()
    start = time.perf_counter()
    plan = prepare(config, report)
    folder = plan.folder
    found = store.finished(folder, plan.key) if config.resume else None
    if found is not None:
        report.note("Cached: this very run was finished before.")
        return Result(found, folder, cached=True)
    with store.locked(folder), tracked(config.tracker, folder, plan.identity, report) as report:
        found = store.finished(folder, plan.key) if config.resume else None
        if found is not None:  # by whoever held the folder just now
            return Result(found, folder, cached=True)
        with store.writing(folder):
            store.write_json(folder / "config.json", {**plan.identity, "dataset": config.dataset})
        timed, made_in = _within_time(plan, report), environment(plan.device)
        with side_by_side(len(plan.arms) * config.seeds, plan.device) as workers:
            finished = _carry_out(timed, workers, report)
        finished = finish(
            folder,
            finished,
            identity=plan.key,
            environment=made_in,
            seconds=time.perf_counter() - start,
            classifier_seconds=sum(row["seconds"] for row in (*finished["arms"], *finished["spread"])),
        )
        report.metrics(outcome(finished), 0)
    return Result(finished, folder, cached=False)


def _within_time(plan: Plan, report: Reporter) -> Plan:
    """The plan with the time its generators may take; a resumed run keeps what it had."""
    file = plan.folder / "time.json"
    known = store.read_json(file)
    minutes = known["generator_minutes"] if known is not None else within(plan, report)
    if known is None and plan.config.max_minutes is not None:
        with store.writing(plan.folder):
            store.write_json(file, {"generator_minutes": minutes})
    return replace(plan, generator_minutes=minutes)


def _carry_out(plan: Plan, workers: Workers, report: Reporter) -> dict[str, Any]:
    """All repetitions; arms without a generator begin first, and workers train them while generators are trained."""
    repetitions = [Repetition(draw_of(plan, index)) for index in range(plan.config.seeds)]
    pending = [_begin(plan, repetition, "classical", workers, report) for repetition in repetitions]
    for repetition, begun in zip(repetitions, pending, strict=True):
        for model in plan.models:
            repetition.trained[model] = obtain_generator(plan, repetition.draw, model, report)
        begun += _begin(plan, repetition, "generative", workers, report)
        save_images(plan, repetition)
    scores = workers.submit(scoring(plan, repetitions[0], workers, report).compute)
    repeats = seed_spread.begin(plan, repetitions, workers, report) if plan.config.seeds > 1 else []
    report.stage("Train classifiers and score the samples")
    entries = [(repetition, entry) for repetition, begun in zip(repetitions, pending, strict=True) for entry in begun]
    for done, (repetition, entry) in enumerate(entries):
        report.advance(done, len(entries), f"{entry.arm}{repetition.draw.label}")
        repetition.results += evaluation.collect([entry], repetition.draw.data, workers)
    spreads = seed_spread.collect(plan, repetitions, repeats, workers)
    retraining.train_again(plan, repetitions, workers, report)
    (fidelity,) = workers.results([scores])
    found = document(plan, repetitions, fidelity, spreads)
    save_predictions(plan, repetitions)
    write_cards(plan, repetitions, found)
    return found


def _begin(plan: Plan, repetition: Repetition, family: str, workers: Workers, report: Reporter) -> list[Pending]:
    """Begin the arms of one family; their images are made first."""
    specs: list[ArmSpec] = [spec for spec in plan.arms if spec.family == family]
    for spec in specs:
        add_images(plan, repetition, spec, workers, report)
    return list(begin(plan, repetition, specs, workers))
