"""Rows of the page as plain data: verdicts with their tally, what went wrong, fidelity, facets to filter by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

from augment.errors import DataError
from augment.evidence.statistics import signed
from augment.evidence.verdict import Verdict
from augment.metrics.scores import SCORES, Score, ScoreKind
from augment.report.chart import Chart
from augment.results.experiments import Experiment
from augment.results.records import AnyRecord, FeaturesRecord, Found, RunRecord
from augment.results.selection import Condition, check_names
from augment.results.settings import settings_of
from augment.storage.files import read_json

FACETS = {
    "dataset": "Data set",
    "regime": "Regime",
    "size": "Size",
    "model": "Model",
    "classifier": "Classifier",
}
"""What the page filters by, in the order of the filters, with their names."""

DECISIONS = {
    "helps": ("▲", "helps"),
    "no evidence": ("○", "no evidence"),
    "hurts": ("▼", "hurts"),
    "invalid": ("✕", "invalid"),
    "nothing to compare": ("–", "nothing to compare"),
}
"""Symbol and style of each decision, in the order of a tally."""

ALL = "all classifiers"
"""Of a verdict that a failed guard makes one in all."""


@dataclass(frozen=True)
class VerdictRow:
    """The verdict of one experiment with one classifier.

    label: the model with what sets the experiment apart.  delta, interval: in points of accuracy, the latter as text,
    empty where there is none.  judged: is there one?
    """

    facets: Mapping[str, str]
    label: str
    classifier: str
    decision: str
    text: str
    arm: str = ""
    against: str = ""
    delta: float | None = None
    interval: str = ""
    p: float | None = None
    seeds: int = 0
    judged: bool = False

    @property
    def symbol(self) -> str:
        """Shown beside the word, so that nobody needs the colour."""
        return DECISIONS[self.decision][0]

    @property
    def apart(self) -> str:
        """What sets the experiment apart from others of its model, empty where nothing does."""
        return self.label.removeprefix(self.facets["model"]).strip()

    @property
    def value(self) -> str:
        """The difference as text, empty where there is none."""
        return "" if self.delta is None else signed(self.delta)

    @property
    def change(self) -> str:
        """The difference with its interval: ``+1.2 (−0.3 to +2.6)``."""
        return f"{self.value} ({self.interval})" if self.interval else self.value


@dataclass(frozen=True)
class FidelityCell:
    """A score, and the floor of real images where there is one."""

    value: float | None
    text: str
    floor: str


@dataclass(frozen=True)
class FidelityRow:
    """Scores of a experiment's samples; ``by``: the extractor, and how many samples it saw."""

    facets: Mapping[str, str]
    head: str
    cells: tuple[FidelityCell, ...]
    by: str


@dataclass(frozen=True)
class FidelityTable:
    """A row for each experiment, with the titles of the scores.  about: what is scored."""

    about: str
    columns: tuple[str, ...]
    rows: tuple[FidelityRow, ...]


@dataclass(frozen=True)
class Problem:
    """Something a reader must know before the numbers. where: experiment or cell; detail: what happened."""

    where: str
    detail: str


@dataclass(frozen=True)
class Alarm:
    """Problems of one kind.  loud: do they make numbers worthless?  more: those beyond the first few."""

    symbol: str
    title: str
    loud: bool
    problems: tuple[Problem, ...]
    more: tuple[Problem, ...]

    @property
    def count(self) -> int:
        """Of all."""
        return len(self.problems) + len(self.more)


@dataclass(frozen=True)
class DecisionCount:
    """How often a decision was reached."""

    decision: str
    symbol: str
    count: int


@dataclass(frozen=True)
class Tally:
    """The decisions of one classifier, those that were reached, over ``experiments``."""

    classifier: str
    experiments: int
    counts: tuple[DecisionCount, ...]

    @property
    def sentence(self) -> str:
        """``Of 18 experiments with cnn: helps in 2, no evidence in 12, hurts in 4.``"""
        of = "1 experiment" if self.experiments == 1 else f"{self.experiments:,} experiments"
        by = "" if self.classifier == ALL else f" with {self.classifier}"
        return f"Of {of}{by}: " + ", ".join(f"{one.decision} in {one.count:,}" for one in self.counts) + "."


def facets_of(experiment: Experiment, **more: str) -> dict[str, str]:
    """What the filters compare with the reader's choice."""
    named = {
        "dataset": experiment.dataset,
        "regime": experiment.regime,
        "size": str(experiment.size),
        "model": experiment.model,
    }
    return {**named, **more}


def named(experiment: Experiment) -> str:
    """An experiment in a line: ``digits, high, 360 images, vae``."""
    return f"{experiment.dataset}, {experiment.regime}, {experiment.size:,} images, {experiment.label}"


def verdict_rows(found: Sequence[Experiment]) -> list[VerdictRow]:
    """A row for each experiment and classifier, in the order of the experiments."""
    return [_verdict_row(experiment, verdict) for experiment in found for verdict in experiment.verdicts]


def _verdict_row(experiment: Experiment, verdict: Verdict) -> VerdictRow:
    more = {} if verdict.classifier is None else {"classifier": verdict.classifier}
    return VerdictRow(
        facets=facets_of(experiment, **more),
        label=experiment.label,
        classifier=verdict.classifier or ALL,
        decision=verdict.decision,
        text=verdict.text,
        arm=verdict.arm or "",
        against=verdict.against or "",
        delta=verdict.delta,
        interval="" if verdict.ci95 is None else " to ".join(map(signed, verdict.ci95)),
        p=verdict.p,
        seeds=verdict.n or len(experiment.seeds),
        judged=verdict.ci95 is not None,
    )


def tallies(rows: Sequence[VerdictRow]) -> list[Tally]:
    """How often each decision was reached, for each classifier."""
    found = []
    for classifier in dict.fromkeys(row.classifier for row in rows):
        reached = Counter(row.decision for row in rows if row.classifier == classifier)
        counts = (DecisionCount(decision, symbol, reached[decision]) for decision, (symbol, _) in DECISIONS.items())
        found.append(Tally(classifier, reached.total(), tuple(one for one in counts if one.count)))
    return found


def by_luck(rows: Sequence[VerdictRow]) -> str:
    """How many of several verdicts chance alone would turn into ``helps``; empty where one or none could be."""
    judged = sum(row.judged for row in rows)
    if judged < 2:
        return ""
    return (
        f"Each verdict is judged by itself, at the 5% level. Were no model of any use, about {0.025 * judged:.1f} of "
        f"these {judged:,} would still say helps: trust a gain that also shows at other sizes, or run more seeds."
    )


def failed_guards(found: Sequence[Experiment], features: Sequence[FeaturesRecord]) -> list[Problem]:
    """Every guard that failed, with the experiment whose numbers it makes worthless."""
    runs: list[tuple[str, AnyRecord]] = [(named(experiment), run) for experiment in found for run in experiment.runs]
    runs += [(run.name, run) for run in features]
    return [
        Problem(where, f"{guard.name}: {guard.detail} ({run.folder})")
        for where, run in runs
        for guard in run.result.guards
        if not guard.passed
    ]


def feature_facets(run: FeaturesRecord) -> dict[str, str]:
    """Facets of a feature study, which has no regime and no classifier."""
    return {"dataset": run.dataset, "model": run.model}


def sweep_problems(folders: Iterable[Path]) -> tuple[list[Problem], list[Problem]]:
    """Of sweeps: cells that ended with an error, by name, with what it said; and how many have not ended."""
    failed: list[Problem] = []
    waiting: list[Problem] = []
    for folder in folders:
        grid = read_json(folder / "sweep.json") or {}
        cells = (cell for cell in grid.get("cells", ()) if isinstance(cell, dict) and "key" in cell)
        names = {cell["key"]: _cell_name(cell) for cell in cells}
        ended = {file.stem: read_json(file) or {} for file in sorted((folder / "cells").glob("*.json"))}
        for key, name in names.items():
            if ended.get(key, {}).get("status") == "failed":
                failed.append(Problem(name, str(ended[key].get("error") or "no reason kept")))
        if rest := len(names.keys() - ended.keys()):
            waiting.append(Problem(str(folder), f"{rest:,} of {len(names):,} cells have not ended"))
    return failed, waiting


def _cell_name(cell: Mapping[str, Any]) -> str:
    values = cell.get("coordinates") or {}
    text = " ".join(f"seed {value}" if axis == "seed" else str(value) for axis, value in values.items())
    return f"{text or 'cell'} [{str(cell['key'])[:10]}]"


def sweep_folders(paths: Iterable[Path], found: Found) -> list[Path]:
    """Folders of sweeps at ``paths`` or directly above what was found there."""
    folders = [record.folder for record in found.records]
    near = [*paths, *(folder.parent for folder in (*folders, *found.unfinished))]
    return [folder for folder in dict.fromkeys(path.resolve() for path in near) if (folder / "sweep.json").is_file()]


def chosen(found: Found, conditions: Sequence[Condition]) -> Found:
    """What was found, of its records only those for which every condition holds.

    Conditions are on ``kind``, ``dataset``, ``regime``, ``size``, ``model``, ``seeds`` and on settings. Raises
    UsageError for another name, DataError where none is left.
    """
    if not conditions:
        return found
    rows = [
        {
            "kind": record.kind,
            "dataset": record.dataset,
            "regime": record.regime if isinstance(record, RunRecord) else None,
            "size": record.size,
            "model": record.model,
            "seeds": [*record.seeds],
            "settings": settings_of(record),
        }
        for record in found.records
    ]
    check_names([condition.name for condition in conditions], rows)
    kept = [all(condition.holds(row) for condition in conditions) for row in rows]
    if not any(kept):
        asked = " and ".join(condition.text for condition in conditions)
        raise DataError(f"None of {len(rows):,} results has {asked}; `augment results` lists what there is.")
    return replace(found, records=tuple(compress(found.records, kept)))


def filters(charts: Sequence[Chart], rows: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Facets with two or more values, each with its values in a natural order."""
    seen: dict[str, set[str]] = {key: set() for key in FACETS}
    for facets in (*rows, *(chart.facets for chart in charts)):
        for key in FACETS.keys() & facets.keys():
            seen[key].add(facets[key])
    return [
        {
            "key": key,
            "title": title,
            "values": [{"value": value, "text": _shown(key, value)} for value in _sorted(seen[key])],
        }
        for key, title in FACETS.items()
        if len(seen[key]) > 1
    ]


def _sorted(values: Iterable[str]) -> list[str]:
    return sorted(values, key=lambda value: (not value.isdigit(), int(value) if value.isdigit() else 0, value))


def _shown(key: str, value: str) -> str:
    return f"{int(value):,} images" if key == "size" and value.isdigit() else value


def fidelity_tables(found: Sequence[Experiment]) -> list[FidelityTable]:
    """Scores of each experiment's first generator beside floors of real images; what has no score is left out."""
    made = [
        _fidelity_table(found, "Generated images of the first seed against real ones", ("extractor", "pixels")),
        _fidelity_table(
            found, "Held-out images of the first seed as the generator restores them", ("reconstructions",)
        ),
    ]
    return [table for table in made if table.columns]


def _fidelity_table(found: Sequence[Experiment], about: str, by: Sequence[str]) -> FidelityTable:
    scored = [(experiment, experiment.first.fidelity) for experiment in found]
    known = {kind.name for _, scores in scored for kind, _ in scores.known()}
    kinds = [kind for kind in SCORES if kind.by in by and kind.name in known]
    rows = [
        FidelityRow(
            facets_of(experiment),
            named(experiment),
            tuple(_cell(kind, scores[kind.name]) for kind in kinds),
            f"{scores.extractor}, {scores.n:,} samples",
        )
        for experiment, scores in scored
    ]
    return FidelityTable(about, tuple(kind.heading for kind in kinds), tuple(rows))


def _cell(kind: ScoreKind, score: Score) -> FidelityCell:
    return FidelityCell(score.value, "–" if score.value is None else kind.text(score.value), kind.floor_text(score))
