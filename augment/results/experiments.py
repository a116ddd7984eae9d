"""Runs that differ in nothing but their seeds, taken together: what reports and tables are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from augment.evidence.statistics import Comparison
from augment.evidence.verdict import Family, Verdict
from augment.results import pooled
from augment.results.records import RunRecord
from augment.results.run_result import ArmEffects, ArmScores, RunResult
from augment.results.settings import apart, settings_of


@dataclass(frozen=True)
class PooledArm:
    """One arm with one classifier, over all seeds of an experiment.

    accuracy, balanced_accuracy: in [0, 1], one per seed.  precision, recall: ``(seeds, classes)`` in [0, 1].
    confusion: ``(classes, classes)`` summed over seeds, a row per true class.  seconds: of all its trainings.
    """

    classifier: str
    arm: str
    family: Family
    accuracy: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    recall: tuple[tuple[float, ...], ...]
    confusion: tuple[tuple[int, ...], ...]
    seconds: float


@dataclass(frozen=True)
class SeedOfExperiment:
    """One seed of an experiment: the run it is in and its place there."""

    seed: int
    record: RunRecord
    index: int

    @cached_property
    def rows(self) -> dict[tuple[str, str], ArmScores]:
        """Rows of this seed by classifier and arm."""
        return {(row.classifier, row.arm): row for row in self.record.result.arms if row.seed == self.seed}


@dataclass(frozen=True)
class Experiment:
    """One or several runs with one data set, regime, size, model and settings; a run may hold several seeds.

    differs: settings in which it differs from other experiments of the same data set, regime, size and model, by name.
    class_counts: of the first run; see :attr:`one_order`.  comparisons: every arm against the best classical one, over
    all seeds.  verdicts: one per classifier, or one in all where a guard failed.  settings: everything that was set,
    seeds left out.  repetitions: one for each seed.  notes: what a reader should know of how runs were joined.
    """

    dataset: str
    regime: str
    size: int
    model: str
    differs: Mapping[str, Any]
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    seeds: tuple[int, ...]
    runs: tuple[RunRecord, ...]
    arms: tuple[PooledArm, ...]
    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    repetitions: tuple[SeedOfExperiment, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> RunResult:
        """The result of the first run: fidelity, generators, synthetic, guards are there."""
        return self.runs[0].result

    @property
    def part(self) -> str:
        """The images it was scored on: ``test``, or ``validation`` where something was still to be chosen."""
        return self.first.scored_on.part

    @property
    def label(self) -> str:
        """The model, with what sets it apart from other experiments of it."""
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.differs.items())])

    @property
    def counts(self) -> tuple[tuple[int, ...], ...]:
        """Class counts of each seed."""
        return tuple(one.record.class_counts for one in self.repetitions)

    @property
    def one_order(self) -> bool:
        """Is a class as frequent in every seed? Where it is not, figures by class mix rare and common ones."""
        return len(set(self.counts)) <= 1

    @cached_property
    def effects(self) -> tuple[ArmEffects, ...]:
        """As of a run, over all seeds; ``classes`` is empty without :attr:`one_order`.

        Groups are those of each seed's own counts: ``few`` are the classes that are rare there.
        """
        return self.first.effects if len(self.runs) == 1 else tuple(pooled.effects(self))

    def scores(self, classifier: str, arm: str) -> PooledArm | None:
        """One arm with one classifier; None where there is none."""
        return next((row for row in self.arms if (row.classifier, row.arm) == (classifier, arm)), None)


def experiments(records: Sequence[RunRecord], *, join: bool = True) -> list[Experiment]:
    """Join run records by everything but their seeds, in the order of appearance.

    Of several results of one seed the newest counts, but where one seed was run with several orders of the classes
    (``regime_seed``), each order is an experiment. Whatever an older or newer version of the code made is joined, and
    a note says so. Without ``join`` every run is an experiment of its own.
    """
    groups: dict[str, list[RunRecord]] = {}
    settings_by_key: dict[str, dict[str, Any]] = {}
    for index, record in enumerate(records):
        settings = settings_of(record)
        key = _fingerprint(record, settings) if join else str(index)
        groups.setdefault(key, []).append(record)
        settings_by_key[key] = settings
    joined = [_experiment(part, settings_by_key[key]) for key, group in groups.items() for part in _by_order(group)]
    return list(_told_apart(joined))


def _fingerprint(record: RunRecord, settings: Mapping[str, Any]) -> str:
    """Everything but seeds; what seeds draw (which classes are rare, images, hashes of both) is not in it either."""
    data = record.result.dataset.sha256
    own = settings or {"folder": str(record.folder)}
    return json.dumps([data, record.dataset, record.regime, record.size, record.model, own], sort_keys=True)


def _by_order(group: list[RunRecord]) -> list[list[RunRecord]]:
    """One list, or one for each order of the classes where a seed was run with several: these are no repetitions."""
    orders: dict[int, set[tuple[int, ...]]] = {}
    parts: dict[tuple[int, ...], list[RunRecord]] = {}
    for record in group:
        parts.setdefault(record.class_counts, []).append(record)
        for seed in record.seeds:
            orders.setdefault(seed, set()).add(record.class_counts)
    return [group] if all(len(each) == 1 for each in orders.values()) else list(parts.values())


def _told_apart(joined: Sequence[Experiment]) -> Iterator[Experiment]:
    alike: dict[tuple[str, str, int, str], list[Experiment]] = {}
    for experiment in joined:
        alike.setdefault((experiment.dataset, experiment.regime, experiment.size, experiment.model), []).append(
            experiment
        )
    differs: dict[int, Mapping[str, Any]] = {}
    for group in alike.values():
        if len(group) > 1:
            full = [{**experiment.settings, **_origin(experiment, group)} for experiment in group]
            differs.update({id(experiment): own for experiment, own in zip(group, apart(full), strict=True)})
    for experiment in joined:
        yield replace(experiment, differs=differs.get(id(experiment), {}))


def _origin(experiment: Experiment, group: Sequence[Experiment]) -> dict[str, Any]:
    """What is no setting but may set an experiment apart: its data, and the seed that drew which classes are rare."""
    drawn: dict[str, Any] = {"data": experiment.first.dataset.sha256[:8]}
    if len({other.counts for other in group}) > 1 and experiment.one_order:
        drawn["regime_seed"] = experiment.runs[0].settings.get("regime_seed")
    return drawn


def _experiment(group: Sequence[RunRecord], settings: Mapping[str, Any]) -> Experiment:
    repetitions = _repetitions(group)
    runs = tuple({id(one.record): one.record for one in repetitions}.values())
    first = runs[0]
    arms = tuple(_arms(repetitions))
    comparisons, verdicts = pooled.judged(repetitions, arms)
    return Experiment(
        dataset=first.dataset,
        regime=first.regime,
        size=first.size,
        model=first.model,
        differs={},
        classes=first.classes,
        class_counts=first.class_counts,
        seeds=tuple(one.seed for one in repetitions),
        runs=runs,
        arms=arms,
        comparisons=comparisons,
        verdicts=verdicts,
        settings=settings,
        repetitions=tuple(repetitions),
        notes=tuple(_notes(group, runs)),
    )


def _repetitions(group: Sequence[RunRecord]) -> list[SeedOfExperiment]:
    """One for each seed, in order of seeds; the newest where several runs have it."""
    newest: dict[int, SeedOfExperiment] = {}
    for record in sorted(group, key=lambda record: record.finished_at) if len(group) > 1 else group:
        newest.update({seed: SeedOfExperiment(seed, record, index) for index, seed in enumerate(record.seeds)})
    return [newest[seed] for seed in sorted(newest)]


def _arms(repetitions: Sequence[SeedOfExperiment]) -> Iterator[PooledArm]:
    """Arms that every repetition has, in the order of the first."""
    for (classifier, arm), first in repetitions[0].rows.items():
        if all((classifier, arm) in one.rows for one in repetitions):
            rows = [one.rows[classifier, arm] for one in repetitions]
            yield PooledArm(
                classifier,
                arm,
                family=first.family,
                accuracy=tuple(row.accuracy for row in rows),
                balanced_accuracy=tuple(row.balanced_accuracy for row in rows),
                precision=tuple(tuple(one.precision for one in row.per_class) for row in rows),
                recall=tuple(tuple(one.recall for one in row.per_class) for row in rows),
                confusion=_summed([row.confusion for row in rows]),
                seconds=sum(row.seconds for row in rows),
            )


def _summed(tables: Sequence[Sequence[Sequence[int]]]) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(line[0]) if len(line) == 1 else tuple(map(sum, zip(*line, strict=True)))
        for line in zip(*tables, strict=True)
    )


def _notes(group: Sequence[RunRecord], runs: Sequence[RunRecord]) -> Iterator[str]:
    if older := len(group) - len(runs):
        yield f"{older} older result{'s' if older > 1 else ''} of the same seeds left out."
    if len({record.code for record in runs}) > 1:
        yield "Seeds were computed by different versions of the code."
    if len({record.class_counts for record in runs}) > 1:
        yield "Which classes are rare differs from seed to seed."
