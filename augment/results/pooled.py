"""What the seeds of several runs say together: comparisons, verdicts, and whom synthetic images help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augment.evidence import verdict
from augment.evidence.effects import ClassEffect, GroupEffect, class_effects, class_groups, variance_of_group
from augment.evidence.statistics import Comparison, Drawn, class_image_variances, mean_overlap, mean_with_interval
from augment.evidence.verdict import Scored, Verdict
from augment.results.predictions import MANIFEST, Predictions, repetition_folder
from augment.results.run_result import ArmEffects
from augment.storage import files

if TYPE_CHECKING:
    from augment.results.experiments import Experiment, PooledArm, SeedOfExperiment


def judged(
    repetitions: Sequence[SeedOfExperiment], arms: Sequence[PooledArm]
) -> tuple[tuple[Comparison, ...], tuple[Verdict, ...]]:
    """Comparisons and verdicts over all seeds of ``arms``; those of a single run are in its result."""
    runs = tuple({id(one.record): one.record for one in repetitions}.values())
    if len(runs) == 1:
        return runs[0].result.comparisons, runs[0].result.verdicts
    correct, drawn = _answers(repetitions, arms).correct, _drawn(repetitions)
    scored = [
        Scored(row.classifier, row.arm, row.family, row.accuracy, correct.get((row.classifier, row.arm)), drawn)
        for row in arms
    ]
    comparisons = verdict.against_best(scored)
    failed = tuple(dict.fromkeys(name for record in runs for name in record.failed_guards))
    return tuple(comparisons), tuple(verdict.judged(scored, failed))


def _drawn(repetitions: Sequence[SeedOfExperiment]) -> Drawn:
    """How the images of all seeds were drawn; what they have in common is known where all manifests are there."""
    trained_on = []
    for one in repetitions:
        manifest = files.read_json(repetition_folder(one.record.folder, one.index) / MANIFEST)
        trained_on.append(set(manifest["train"]) if isinstance(manifest, dict) and "train" in manifest else None)
    known = [images for images in trained_on if images is not None]
    overlap = mean_overlap(known) if len(known) == len(trained_on) else None
    return replace(repetitions[0].record.result.drawn, overlap=overlap)


@dataclass(frozen=True)
class _Answers:
    """True classes ``(n,)``, and on which images each arm was right, by classifier and arm.

    ``(J, n)``, a row for each seed, the share of its trainings in [0, 1].
    """

    truth: Sequence[int]
    correct: Mapping[tuple[str, str], NDArray[np.float64]]

    def image_variances(self, comparison: Comparison, num_classes: int) -> list[float] | None:
        """What the test images of each class add to the variance of a difference; None where that is not known."""
        ours, theirs = (self.correct.get((comparison.classifier, arm)) for arm in (comparison.arm, comparison.against))
        if ours is None or theirs is None:
            return None
        return class_image_variances(ours, theirs, self.truth, num_classes)


def _answers(repetitions: Sequence[SeedOfExperiment], arms: Sequence[PooledArm]) -> _Answers:
    """From the predictions that runs keep.

    Empty where a run has none, or where runs were scored on other images; without an arm whose predictions are not
    those of its accuracies, as in a folder that was put together by hand.
    """
    by_folder = {folder: Predictions.load(folder) for folder in {one.record.folder for one in repetitions}}
    loaded = [(by_folder[one.record.folder], one.index) for one in repetitions]
    truths = [None if predictions is None else predictions.truth(index) for predictions, index in loaded]
    if truths[0] is None or not all(truth is not None and np.array_equal(truth, truths[0]) for truth in truths):
        return _Answers((), {})
    correct = {}
    for row in arms:
        rows = [predictions.right(index, row.classifier, row.arm) for predictions, index in loaded if predictions]
        known = [right for right in rows if right is not None]
        if len(known) == len(rows) and np.allclose([right.mean() for right in known], row.accuracy):
            correct[row.classifier, row.arm] = np.stack(known)
    return _Answers(truths[0].tolist(), correct)


def effects(experiment: Experiment) -> Iterator[ArmEffects]:
    """For each comparison of an arm with a generator: recall by groups of classes and by class.

    A group holds the classes that have many, medium or few images in that seed. By class only where the same classes
    are rare in all seeds.
    """
    generative = {row.arm for row in experiment.arms if row.family == "generative"}
    answers = _answers(experiment.repetitions, experiment.arms)
    for comparison in (comparison for comparison in experiment.comparisons if comparison.arm in generative):
        extra = answers.image_variances(comparison, len(experiment.classes))
        yield ArmEffects(
            comparison.classifier,
            comparison.arm,
            comparison.against,
            groups=tuple(_groups(experiment, comparison, extra)),
            classes=tuple(_classes(experiment, comparison, extra)) if experiment.one_order else (),
        )


def _recalls(
    experiment: Experiment, comparison: Comparison
) -> tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]:
    ours, theirs = (experiment.scores(comparison.classifier, arm) for arm in (comparison.arm, comparison.against))
    assert ours is not None and theirs is not None  # a comparison is of two arms of the experiment
    return ours.recall, theirs.recall


def _classes(experiment: Experiment, comparison: Comparison, extra: Sequence[float] | None) -> list[ClassEffect]:
    ours, theirs = _recalls(experiment, comparison)
    return class_effects(experiment.classes, experiment.class_counts, ours, theirs, _support(experiment), extra)


def _support(experiment: Experiment) -> list[int]:
    """Test images of each class, from any row: they are the same in all."""
    return [sum(line) for line in experiment.arms[0].confusion]


def _groups(experiment: Experiment, comparison: Comparison, extra: Sequence[float] | None) -> Iterator[GroupEffect]:
    """A group of which a seed has no class is left out, as its seeds would not be the same.

    Nor are its test images where the seeds rank classes otherwise: their variance is then left out.
    """
    tested = {index for index, images in enumerate(_support(experiment)) if images}
    by_seed = [
        {group: [index for index in members if index in tested] for group, members in class_groups(counts).items()}
        for counts in experiment.counts
    ]
    pairs = list(zip(*_recalls(experiment, comparison), strict=True))
    for group in by_seed[0]:
        if not all(groups.get(group) for groups in by_seed):
            continue
        members = [groups[group] for groups in by_seed]
        images = variance_of_group(extra, members[0]) if extra is not None and experiment.one_order else 0.0
        gains = [_gain(*pair, own) for pair, own in zip(pairs, members, strict=True)]
        delta, interval = mean_with_interval(gains, images)
        names = tuple(experiment.classes[index] for index in members[0]) if experiment.one_order else ()
        yield GroupEffect(group, names, sum(experiment.counts[0][index] for index in members[0]), delta, interval)


def _gain(ours: Sequence[float], theirs: Sequence[float], members: Sequence[int]) -> float:
    return 100 * sum(ours[index] - theirs[index] for index in members) / len(members)
