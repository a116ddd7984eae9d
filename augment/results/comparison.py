"""Two runs side by side: what differs in their settings, and what that does to every arm, in paired differences.

Which arms may be paired, and what the test of each pair says, comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from augment.errors import DataError
from augment.evidence.statistics import Comparison, compare, corrected
from augment.metrics.scores import SCORES
from augment.progress import Reporter
from augment.results.experiments import Experiment, PooledArm, experiments
from augment.results.predictions import Predictions
from augment.results.records import load_records
from augment.results.settings import differing, plain_arm
from augment.results.study_result import DatasetInfo
from augment.storage.typed_json import to_json

Right = list[list[float]]
"""For each seed, which test images an arm got right, as a share of its trainings."""


@dataclass(frozen=True)
class ArmPair:
    """An arm that both runs have.

    arm: as in ``result.json``, with ``model`` for the run's own generator.  accuracy_a, accuracy_b: means over all
    seeds of each, in [0, 1].  comparison: B minus A over the seeds of both, None where nothing can be tested; ``why``
    says the reason.
    """

    classifier: str
    arm: str
    accuracy_a: float
    accuracy_b: float
    comparison: Comparison | None
    why: str = ""


def why_unpaired(a: Experiment, b: Experiment) -> str:
    """Seeds pair what was scored on the same images; empty where that is so, and there is a seed of both."""
    failed = sorted({name for experiment in (a, b) for run in experiment.runs for name in run.failed_guards})
    if failed:
        return f"guards failed, so that the numbers mean nothing: {', '.join(failed)}"
    data_a, data_b = a.first.dataset, b.first.dataset
    if data_a.sha256 != data_b.sha256:
        return f"the data differ: {_data(data_a)} and {_data(data_b)}"
    on_a, on_b = a.first.scored_on, b.first.scored_on
    if on_a != on_b:
        return (
            f"they were scored on different images: {on_a.images:,} {on_a.part} images and "
            f"{on_b.images:,} {on_b.part} images"
        )
    drawn = [experiment.first.regime.manifest_sha256 for experiment in (a, b)]
    if on_a.part != "test" and drawn[0] != drawn[1]:
        return "they were scored on validation images, which are others where other training images are drawn"
    if not set(a.seeds) & set(b.seeds):
        return f"no seed is in both: {', '.join(map(str, a.seeds))} and {', '.join(map(str, b.seeds))}"
    return ""


def _data(data: DatasetInfo) -> str:
    return f"{data.name} (sha256 {data.sha256[:8]})"


def arms_of(experiment: Experiment) -> dict[tuple[str, str], PooledArm]:
    """By classifier and name, the run's own generator called ``model``."""
    return {(row.classifier, plain_arm(row.arm, experiment.model)): row for row in experiment.arms}


def pair_arms(a: Experiment, b: Experiment, seeds: Sequence[int], unpaired: str) -> Iterator[ArmPair]:
    """Every arm that both have, over ``seeds``, those of both; p corrected over the arms of a classifier.

    unpaired: why nothing can be paired, as :func:`why_unpaired` says it.
    """
    ours, theirs = arms_of(a), arms_of(b)
    pairs = [_pair(a, b, key, ours[key], theirs[key], seeds, unpaired) for key in ours if key in theirs]
    judged = iter(corrected([pair.comparison for pair in pairs if pair.comparison is not None]))
    for pair in pairs:
        yield pair if pair.comparison is None else replace(pair, comparison=next(judged))


def _pair(
    a: Experiment,
    b: Experiment,
    key: tuple[str, str],
    ours: PooledArm,
    theirs: PooledArm,
    seeds: Sequence[int],
    unpaired: str,
) -> ArmPair:
    classifier, arm = key
    pair = ArmPair(classifier, arm, _mean(ours.accuracy), _mean(theirs.accuracy), None, unpaired)
    if unpaired:
        return pair
    accuracies = [
        [row.accuracy[experiment.seeds.index(seed)] for seed in seeds] for experiment, row in ((b, theirs), (a, ours))
    ]
    correct, why = _correct(((b, theirs), (a, ours)), seeds)
    if correct is None and len(seeds) == 1:
        return replace(pair, why=why)
    right = (None, None) if correct is None else correct
    return replace(pair, comparison=compare(classifier, arm, "A", accuracies[0], accuracies[1], *right))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _correct(
    sides: Sequence[tuple[Experiment, PooledArm]], seeds: Sequence[int]
) -> tuple[tuple[Right, Right] | None, str]:
    """Which test images each side got right, a row per seed; None, and why, where that is not known."""
    truths: list[list[list[int]]] = []
    correct: list[Right] = []
    for experiment, row in sides:
        predicted = [_predicted(experiment, row, seed) for seed in seeds]
        known = [one for one in predicted if one is not None]
        if len(known) < len(predicted):
            return None, "one seed, and predictions.safetensors is missing, so images cannot be compared one by one"
        truths.append([truth for truth, _ in known])
        correct.append([right for _, right in known])
    if truths[0] != truths[1]:
        return None, "one seed, and the test images are in another order, so they cannot be compared one by one"
    return (correct[0], correct[1]), ""


def _predicted(experiment: Experiment, row: PooledArm, seed: int) -> tuple[list[int], list[float]] | None:
    """The true classes, and where the arm was right."""
    repetition = experiment.repetitions[experiment.seeds.index(seed)]
    predictions = Predictions.load(repetition.record.folder)
    if predictions is None:
        return None
    truth, right = predictions.truth(repetition.index), predictions.right(repetition.index, row.classifier, row.arm)
    if truth is None or right is None:
        return None
    return truth.tolist(), right.tolist()


SCHEMA = "augment.compare/2"

NAMED = 8
"""Studies that a message lists."""


@dataclass(frozen=True)
class Difference:
    """A setting, or a score, that A and B have; floor: of real images, for a score."""

    name: str
    a: Any
    b: Any
    floor_a: float | None = None
    floor_b: float | None = None


@dataclass(frozen=True)
class SideBySide:
    """Two experiments, and all that sets them apart.

    unpaired: why seeds and images of the two cannot be paired; empty where they can.  seeds: those of both.
    class_counts: real training images by class, empty where both have the same.  only_a, only_b: arms with their
    classifier that the other does not have.  unlike: why scores of samples by an extractor are left out of
    ``fidelity``; empty where they are not.
    """

    a: Experiment
    b: Experiment
    settings: tuple[Difference, ...]
    class_counts: tuple[Difference, ...]
    arms: tuple[ArmPair, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    fidelity: tuple[Difference, ...]
    unlike: str
    seeds: tuple[int, ...]
    unpaired: str

    def to_json(self) -> dict[str, Any]:
        """The document of ``--json``."""
        return {
            "schema": SCHEMA,
            "a": _side(self.a),
            "b": _side(self.b),
            "settings": [{"name": row.name, "a": row.a, "b": row.b} for row in self.settings],
            "class_counts": [{"class": row.name, "a": row.a, "b": row.b} for row in self.class_counts],
            "seeds": list(self.seeds),
            "unpaired": self.unpaired or None,
            "arms": [to_json(row) for row in self.arms],
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
            "fidelity": [asdict(row) for row in self.fidelity],
            "fidelity_unlike": self.unlike or None,
        }


def _side(experiment: Experiment) -> dict[str, Any]:
    return {
        "folders": [str(record.folder) for record in experiment.runs],
        "dataset": experiment.dataset,
        "regime": experiment.regime,
        "size": experiment.size,
        "model": experiment.model,
        "seeds": list(experiment.seeds),
        "verdicts": [to_json(verdict) for verdict in experiment.verdicts],
        "seconds": round(sum(record.seconds for record in experiment.runs), 2),
    }


def compare_folders(first: Path, second: Path, reporter: Reporter | None = None) -> SideBySide:
    """Compare the runs in two folders; each is a run folder, or one above the runs of a single experiment.

    Raises DataError for a folder without a run, or with several experiments, which are listed.
    """
    return side_by_side(_one(first, reporter), _one(second, reporter))


def _one(path: Path, reporter: Reporter | None) -> Experiment:
    records = load_records([path], reporter)
    if not records.runs:
        raise DataError(f"{path} holds a feature study alone; compare takes runs. `augment results {path}` shows it.")
    joined = experiments(records.runs)
    if len(joined) == 1:
        return joined[0]
    listed = [f"\n  {experiment.runs[0].folder}  {_named(experiment)}" for experiment in joined[:NAMED]]
    more = f"\n  and {len(joined) - NAMED} more" if len(joined) > NAMED else ""
    raise DataError(
        f"{path} holds {len(joined)} experiments; compare takes one on each side. Give one of:{''.join(listed)}{more}"
    )


def _named(experiment: Experiment) -> str:
    seeds = ", ".join(map(str, experiment.seeds))
    about = f"{experiment.dataset} {experiment.regime} {experiment.size:,} {experiment.label}"
    return f"{about}, seed{'s' if ',' in seeds else ''} {seeds}"


def side_by_side(a: Experiment, b: Experiment) -> SideBySide:
    """B minus A for every arm that both have, in points; p corrected over the arms of a classifier."""
    unpaired = why_unpaired(a, b)
    seeds = () if unpaired else tuple(seed for seed in a.seeds if seed in b.seeds)
    ours, theirs = arms_of(a), arms_of(b)
    return SideBySide(
        a,
        b,
        settings=tuple(_settings(a, b)),
        class_counts=tuple(_class_counts(a, b)),
        arms=tuple(pair_arms(a, b, seeds, unpaired)),
        only_a=tuple(f"{row.arm} ({row.classifier})" for key, row in ours.items() if key not in theirs),
        only_b=tuple(f"{row.arm} ({row.classifier})" for key, row in theirs.items() if key not in ours),
        fidelity=tuple(_fidelity(a, b)),
        unlike=_unlike(a, b),
        seeds=seeds,
        unpaired=unpaired,
    )


def _settings(a: Experiment, b: Experiment) -> Iterator[Difference]:
    """Only what differs; what lies in a experiment's name first."""
    full = [
        {
            "dataset": experiment.dataset,
            "regime": experiment.regime,
            "size": experiment.size,
            "model": experiment.model,
            "seeds": list(experiment.seeds),
            **experiment.settings,
            "code": experiment.runs[0].code,
            "device": experiment.first.generators[0].device,
        }
        for experiment in (a, b)
    ]
    for name in differing(full):
        yield Difference(name, full[0].get(name), full[1].get(name))


def _class_counts(a: Experiment, b: Experiment) -> Iterator[Difference]:
    """Of the first seed of each; a class that one of them does not have is None there."""
    ours, theirs = (dict(zip(experiment.classes, experiment.class_counts, strict=True)) for experiment in (a, b))
    if ours != theirs:
        for name in dict.fromkeys((*ours, *theirs)):
            yield Difference(name, ours.get(name), theirs.get(name))


def _fidelity(a: Experiment, b: Experiment) -> Iterator[Difference]:
    """Scores of the first seed of each; those by an extractor only where they may stand side by side."""
    unlike = bool(_unlike(a, b))
    for kind in SCORES:
        ours, theirs = (experiment.first.fidelity[kind.name] for experiment in (a, b))
        known = ours.value is not None or theirs.value is not None
        if known and not (unlike and kind.by == "extractor"):
            yield Difference(kind.name, ours.value, theirs.value, ours.floor, theirs.floor)


def _unlike(a: Experiment, b: Experiment) -> str:
    """Why scores of samples by an extractor do not stand side by side; empty where they may."""
    ours, theirs = (experiment.first.fidelity.measured_by for experiment in (a, b))
    if ours != theirs:
        return f"A was scored by {ours}, B by {theirs}"
    if a.first.dataset.sha256 != b.first.dataset.sha256:
        return "the real images that they were compared with are not the same"
    return ""
