"""What ``augment results`` lists: a row for each experiment and classifier, and one for each feature study and k."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augment.evidence.statistics import Comparison, mean_with_interval
from augment.evidence.verdict import Verdict
from augment.metrics.scores import SCORES
from augment.results.experiments import Experiment, PooledArm, experiments
from augment.results.features_result import ComparisonAtK, FeaturesResult
from augment.results.records import FeaturesRecord, Found, RunRecord
from augment.results.selection import Condition, check_names, columns_of, select, sort_keys, value_of
from augment.results.settings import apart, settings_of

SCHEMA = "augment.results/2"


@dataclass(frozen=True)
class RunRow:
    """One classifier of an experiment, over all of its seeds.

    differs: what sets the experiment apart from others of this model.  accuracy: in [0, 1], its mean over seeds with
    ``accuracy_low`` and ``accuracy_high``, bounds of the 95% interval, None with one seed.  arm: the best with a
    generator.  against: the best without.  difference, low, high: in percentage points, None where a guard failed.
    p: corrected for the arms tried.  kid, kid_floor: means over runs, of the first seed of each, None where these were
    not scored alike.  scored_by: what KID depends on besides the images.  fidelity: every score of samples by name.
    seconds: wall clock of all runs together.
    """

    dataset: str
    regime: str
    size: int
    model: str
    differs: str
    classifier: str
    arm: str
    accuracy: float
    accuracy_low: float | None
    accuracy_high: float | None
    against: str | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    decision: str
    kid: float | None
    kid_floor: float | None
    scored_by: str | None
    fidelity: Mapping[str, float | None]
    seconds: float
    seeds: int
    folders: list[str]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class FeatureRow:
    """One k of a feature study, with the probe that its verdict is on.

    accuracy: in [0, 1], its mean over episodes, with the bounds of its 95% interval.  against: the best baseline at
    this k.  difference, low, high: in percentage points.  p: corrected for every baseline and k.
    """

    dataset: str
    model: str
    differs: str
    t: int | None
    layer: str | None
    dimensions: int
    probe: str
    k: int
    accuracy: float
    accuracy_low: float | None
    accuracy_high: float | None
    against: str | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    episodes: int
    seconds: float
    folders: list[str]
    settings: Mapping[str, Any]


def run_rows(records: Sequence[RunRecord], *, each: bool = False) -> list[RunRow]:
    """A row per experiment and classifier, over all seeds; with ``each`` one per run and classifier."""
    return [
        _run_row(experiment, classifier)
        for experiment in experiments(records, join=not each)
        for classifier in dict.fromkeys(row.classifier for row in experiment.arms)
    ]


def _run_row(experiment: Experiment, classifier: str) -> RunRow:
    verdict = _verdict(experiment, classifier)
    compared = _compared(experiment, classifier)
    trusted = compared if verdict.decision not in ("invalid", "nothing to compare") else None
    best = _best(experiment, classifier, compared)
    mean, interval = mean_with_interval(best.accuracy)
    accuracy_low, accuracy_high = interval or (None, None)
    low, high = (None, None) if trusted is None or trusted.ci95 is None else trusted.ci95
    fidelity = _fidelity(experiment)
    return RunRow(
        dataset=experiment.dataset,
        regime=experiment.regime,
        size=experiment.size,
        model=experiment.model,
        differs=experiment.label.removeprefix(experiment.model).strip(),
        classifier=classifier,
        arm=best.arm,
        accuracy=mean,
        accuracy_low=accuracy_low,
        accuracy_high=accuracy_high,
        against=None if compared is None else compared.against,
        difference=None if trusted is None else trusted.delta,
        low=low,
        high=high,
        p=verdict.p,
        decision=verdict.decision,
        kid=fidelity.get("kid"),
        kid_floor=_kid_floor(experiment),
        scored_by=_scored_by(experiment),
        fidelity=fidelity,
        seconds=round(sum(record.seconds for record in experiment.runs), 2),
        seeds=len(experiment.seeds),
        folders=[str(record.folder) for record in experiment.runs],
        settings=dict(experiment.settings),
    )


def _verdict(experiment: Experiment, classifier: str) -> Verdict:
    """Of this classifier; a failed guard's, and one on nothing, are on all of them."""
    verdicts = [verdict for verdict in experiment.verdicts if verdict.classifier in (classifier, None)]
    return verdicts[0] if verdicts else Verdict("", "nothing to compare")


def _compared(experiment: Experiment, classifier: str) -> Comparison | None:
    """The best arm with a generator against the best one without."""
    generative = {row.arm for row in experiment.arms if row.family == "generative"}
    rows = [row for row in experiment.comparisons if row.classifier == classifier and row.arm in generative]
    return max(rows, key=lambda row: row.delta, default=None)


def _best(experiment: Experiment, classifier: str, compared: Comparison | None) -> PooledArm:
    """The arm that a row is about: without a comparison, the most accurate one, with a generator where there is one."""
    own = [row for row in experiment.arms if row.classifier == classifier]
    if compared is not None:
        own = [row for row in own if row.arm == compared.arm]
    return max(own, key=lambda row: (row.family == "generative", sum(row.accuracy)))


def _scored_by(experiment: Experiment) -> str | None:
    """The extractor and number of images of every run's scores; None where these differ."""
    alike = {record.result.fidelity.measured_by for record in experiment.runs}
    return alike.pop() if len(alike) == 1 else None


def _fidelity(experiment: Experiment) -> dict[str, float | None]:
    """Means over runs: of an extractor's scores only where one scored as many images in each."""
    alike = _scored_by(experiment) is not None
    kinds = [kind for kind in SCORES if alike or kind.by != "extractor"]
    return {kind.name: _mean_of([run.result.fidelity[kind.name].value for run in experiment.runs]) for kind in kinds}


def _kid_floor(experiment: Experiment) -> float | None:
    if _scored_by(experiment) is None:
        return None
    return _mean_of([record.result.fidelity["kid"].floor for record in experiment.runs])


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def feature_rows(records: Sequence[FeaturesRecord]) -> list[FeatureRow]:
    """A row per feature study and k, for the probe that the verdict is on."""
    groups: dict[tuple[str, str], list[FeaturesRecord]] = {}
    for record in records:
        groups.setdefault((record.dataset, record.model), []).append(record)
    rows_by_record = {}
    for group in groups.values():
        all_settings = [settings_of(record) for record in group]
        for record, settings, differs in zip(group, all_settings, apart(all_settings), strict=True):
            rows_by_record[id(record)] = list(_feature_rows(record, settings, differs))
    return [row for record in records for row in rows_by_record.get(id(record), [])]


def _feature_rows(
    record: FeaturesRecord, settings: Mapping[str, Any], differs: Mapping[str, Any]
) -> Iterator[FeatureRow]:
    result = record.result
    chosen, probe = result.chosen, result.protocol.probes[0]
    for row in (row for row in result.rows if (row.method, row.probe) == (record.model, probe)):
        compared = None if record.failed_guards else _against_best(result, row.k)
        low, high = (None, None) if compared is None or compared.ci95 is None else compared.ci95
        accuracy_low, accuracy_high = row.ci95 or (None, None)
        yield FeatureRow(
            dataset=record.dataset,
            model=record.model,
            differs=" ".join(f"{name}={value}" for name, value in differs.items()),
            t=chosen.t,
            layer=chosen.layer,
            dimensions=chosen.dimensions,
            probe=probe,
            k=row.k,
            accuracy=row.accuracy,
            accuracy_low=accuracy_low,
            accuracy_high=accuracy_high,
            against=None if compared is None else compared.against,
            difference=None if compared is None else compared.delta,
            low=low,
            high=high,
            p=None if compared is None else compared.p_holm,
            episodes=row.episodes,
            seconds=record.seconds,
            folders=[str(record.folder)],
            settings=dict(settings),
        )


def _against_best(result: FeaturesResult, k: int) -> ComparisonAtK | None:
    """The comparison with the baseline that is hardest to beat at this k; None without baselines."""
    return min((row for row in result.comparisons if row.k == k), key=lambda row: row.delta, default=None)


@dataclass(frozen=True)
class Listing:
    """Rows of runs and of feature studies."""

    runs: Sequence[RunRow]
    features: Sequence[FeatureRow]
    found: Found

    def to_json(self, columns: Sequence[str] = (), kind: str | None = None) -> dict[str, Any]:
        """The document of ``--json``: all columns or some, of both kinds or of ``run`` or ``features``."""
        return {
            "schema": SCHEMA,
            "runs": [] if kind == "features" else _cut(self.runs, columns),
            "features": [] if kind == "run" else _cut(self.features, columns),
            "unfinished": [str(folder) for folder in self.found.unfinished],
            "damaged": [{"folder": str(folder), "reason": reason} for folder, reason in self.found.damaged],
            "stale": [str(folder) for folder in self.found.stale],
        }


def _cut(rows: Sequence[RunRow] | Sequence[FeatureRow], columns: Sequence[str]) -> list[dict[str, Any]]:
    return [{name: value_of(row, name) for name in columns} if columns else dict(columns_of(row)) for row in rows]


def listing(
    found: Found,
    conditions: Sequence[Condition] = (),
    sort: str | None = None,
    *,
    each: bool = False,
    columns: Sequence[str] = (),
) -> Listing:
    """Rows for which all conditions hold, sorted; rows of a kind without the column of a condition are left out.

    columns: looked at here only to be refused before anything is shown. Raises UsageError for an unknown column.
    """
    keys = sort_keys(sort)
    runs, features = run_rows(found.runs, each=each), feature_rows(found.features)
    names = [*(condition.name for condition in conditions), *(key.lstrip("-") for key in keys), *columns]
    if names:
        check_names(names, [*runs, *features])
    return Listing(select(runs, conditions, keys), select(features, conditions, keys), found)
