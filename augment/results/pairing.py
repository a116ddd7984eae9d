"""Arms of two runs in pairs: what may be paired, and what the test of each pair says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from augment.evidence.statistics import Comparison, compare, corrected
from augment.results.experiments import Experiment, PooledArm
from augment.results.predictions import Predictions
from augment.results.settings import plain_arm
from augment.results.study_result import DatasetInfo

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
    found: list[Right] = []
    for experiment, row in sides:
        kept = [_predicted(experiment, row, seed) for seed in seeds]
        known = [one for one in kept if one is not None]
        if len(known) < len(kept):
            return None, "one seed, and predictions.safetensors is missing, so images cannot be compared one by one"
        truths.append([truth for truth, _ in known])
        found.append([right for _, right in known])
    if truths[0] != truths[1]:
        return None, "one seed, and the test images are in another order, so they cannot be compared one by one"
    return (found[0], found[1]), ""


def _predicted(experiment: Experiment, row: PooledArm, seed: int) -> tuple[list[int], list[float]] | None:
    """The true classes, and where the arm was right."""
    repetition = experiment.repetitions[experiment.seeds.index(seed)]
    kept = Predictions.load(repetition.record.folder)
    if kept is None:
        return None
    truth, right = kept.truth(repetition.index), kept.right(repetition.index, row.classifier, row.arm)
    if truth is None or right is None:
        return None
    return truth.tolist(), right.tolist()
