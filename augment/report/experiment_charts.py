"""Charts of one experiment: classes, confusion, what was added, whom it helped, and how the generators trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from augment.evidence.statistics import signed
from augment.report import chart_numbers as numbers
from augment.report.chart import BarGroup, Bars, Chart, HeatMap, Interval, Intervals, Table, file_name
from augment.report.class_maps import class_map, confusion_map
from augment.report.sections import CLASSES, COUNTS
from augment.report.training_charts import training_charts
from augment.results.experiments import Experiment
from augment.results.run_result import AddedImages, ArmEffects


@dataclass(frozen=True)
class ExperimentSubject:
    """The experiment with what its charts are called."""

    experiment: Experiment

    def name(self, *kind: str) -> str:
        """A file name that no other experiment's chart has."""
        experiment = self.experiment
        return file_name(
            *kind,
            experiment.dataset,
            experiment.regime,
            str(experiment.size),
            experiment.label,
            experiment.runs[0].short_key,
        )

    def words(self, classifier: str = "") -> str:
        """``fashionmnist, regime high, 5,000 images, <model>, cnn``, for titles."""
        experiment = self.experiment
        words = [
            experiment.dataset,
            f"regime {experiment.regime}",
            f"{experiment.size:,} images",
            experiment.label,
            classifier,
        ]
        return ", ".join(word for word in words if word)

    def facets(self, classifier: str | None = None) -> dict[str, str]:
        """What the page's filters look at."""
        experiment = self.experiment
        found = {
            "dataset": experiment.dataset,
            "regime": experiment.regime,
            "size": str(experiment.size),
            "model": experiment.model,
        }
        return found if classifier is None else {**found, "classifier": classifier}


def experiment_charts(experiment: Experiment) -> list[Chart]:
    """All charts of an experiment, in the order of the report's sections.

    For each classifier: recall and precision of all arms by class, what arms with a generator change for classes with
    many and few images, and two confusion matrices. Then class counts with what each arm adds, and training curves of
    the first run's first seed. Files that are missing or damaged leave their charts out.
    """
    subject, classifiers = ExperimentSubject(experiment), numbers.classifiers_of([experiment])
    found: list[Chart] = []
    for classifier in classifiers:
        found += [*_measures(subject, classifier), *_effects(subject, classifier)]
    for classifier in classifiers:
        found += _confusions(subject, classifier)
    return [*found, *_counts(subject), *_training(subject)]


def _measures(subject: ExperimentSubject, classifier: str) -> Iterator[Chart]:
    experiment = subject.experiment
    arms = [arm for arm in experiment.arms if arm.classifier == classifier and arm.recall]
    for measure, says in (
        ("recall", f"of the {experiment.part} images of a class, those that were found"),
        ("precision", f"of the {experiment.part} images taken for a class, those that are of it"),
    ):
        yield class_map(
            [numbers.over_seeds(getattr(arm, measure)) for arm in arms],
            [arm.arm for arm in arms],
            experiment.classes,
            experiment.class_counts,
            name=subject.name(measure, classifier),
            title=f"{measure.capitalize()} by class: {subject.words(classifier)}",
            caption=f"{measure.capitalize()} in per cent ({says}), mean over seeds.",
            facets=subject.facets(classifier),
            counted=experiment.one_order,
        )


def _confusions(subject: ExperimentSubject, classifier: str) -> Iterator[Chart]:
    experiment = subject.experiment
    for family, words in (("generative", "best generator arm"), ("classical", "best classical arm")):
        arm = numbers.best_arm(experiment.arms, classifier, family)
        if arm is not None:
            seeds = "one seed" if len(arm.accuracy) == 1 else f"{len(arm.accuracy)} seeds together"
            yield confusion_map(
                arm,
                experiment.classes,
                experiment.class_counts if experiment.one_order else (),
                name=subject.name("confusion", family, classifier),
                title=f"Confusion of {arm.arm}, the {words}: {subject.words(classifier)}",
                caption=f"Rows are true classes, columns predicted ones; {seeds}.",
                facets=subject.facets(classifier),
            )


# whom it helps


def _effects(subject: ExperimentSubject, classifier: str) -> Iterator[Chart]:
    found = [row for row in subject.experiment.effects if row.classifier == classifier]
    if any(len(row.groups) > 1 for row in found):  # a group of all classes says what the accuracy says
        yield _group_effects(subject, classifier, found)
    if any(row.classes for row in found):
        yield _class_effects(subject, classifier, found)


def _group_effects(subject: ExperimentSubject, classifier: str, found: Sequence[ArmEffects]) -> Intervals:
    rows, cells = [], []
    for effect in found:
        for group in effect.groups:
            low, high = group.ci95 or (None, None)
            name = f"{effect.arm}: {group.group}"
            rows.append(Interval(name, group.delta, low, high, emphasis=group.group == "few"))
            bounds = "" if low is None or high is None else f"{signed(low)} to {signed(high)}"
            cells.append((name, f"{group.images:,}", ", ".join(group.classes), signed(group.delta), bounds))
    against = found[0].against
    return Intervals(
        name=subject.name("effects", classifier),
        section=CLASSES,
        title=f"Recall of classes with many, medium and few images against {against}: {subject.words(classifier)}",
        caption=f"Difference of mean recall to {against}, the best classical arm, in points, with its 95% interval "
        "over seeds; few in colour. Classes with many training images have at least a third of the largest class, "
        "those with few less than a tenth.",
        facets=subject.facets(classifier),
        table=Table(("group", "images", "classes", "difference in points", "95% interval"), tuple(cells)),
        rows=tuple(rows),
        x_title="difference in points",
    )


def _class_effects(subject: ExperimentSubject, classifier: str, found: Sequence[ArmEffects]) -> HeatMap:
    experiment = subject.experiment
    order = numbers.class_order(experiment.class_counts)
    rows = []
    for effect in found:
        deltas = {each.name: each.delta for each in effect.classes}
        rows.append(tuple(deltas.get(experiment.classes[index]) for index in order))
    heads = tuple(f"{experiment.classes[index]} ({experiment.class_counts[index]:,})" for index in order)
    cells = [tuple("" if value is None else signed(value) for value in row) for row in rows]
    names, against = [effect.arm for effect in found], found[0].against
    reach = max((abs(value) for row in rows for value in row if value is not None), default=0.0)
    return HeatMap(
        name=subject.name("change", classifier),
        section=CLASSES,
        title=f"Change of recall by class against {against}: {subject.words(classifier)}",
        caption=f"Difference of recall to {against}, the best classical arm, in points, mean over seeds. Orange is "
        "better, blue worse. Classes stand from the most to the fewest training images, which are in brackets."
        f"{numbers.left_out(experiment.classes)}",
        facets=subject.facets(classifier),
        table=numbers.class_table("arm", names, heads, cells),
        x=heads,
        y=tuple(names),
        values=tuple(rows),
        text=tuple(tuple("" if value is None else f"{value:+.0f}" for value in row) for row in rows),
        x_title="class (training images)",
        scale="diverging",
        low=-reach,
        high=reach,
        percent=False,
    )


# what was added


def _counts(subject: ExperimentSubject) -> Iterator[Chart]:
    """A chart for each set of added images; arms that add the same share one."""
    experiment = subject.experiment
    rows = experiment.first.synthetic
    order = numbers.class_order(experiment.class_counts)
    heads = tuple(experiment.classes[index] for index in order)
    real = tuple(experiment.class_counts[index] for index in order)
    same: dict[tuple[int, ...], list[AddedImages]] = {}
    for row in rows:
        same.setdefault(row.class_counts, []).append(row)
    for counts, arms in same.items():
        added = tuple(counts[index] for index in order)
        names, kind = " and ".join(row.arm for row in arms), arms[0].adds
        cells = tuple(
            (head, f"{before:,}", f"{more:,}", f"{before + more:,}")
            for head, before, more in zip(heads, real, added, strict=True)
        )
        yield Bars(
            name=subject.name("counts", *(row.arm for row in arms)),
            section=COUNTS,
            title=f"Training images by class, before and after {names}: {subject.words()}",
            caption=f"Real images of the first seed, and what is added in {names} ({arms[0].strategy}): "
            f"{sum(counts):,} to {sum(experiment.class_counts):,}. Classes go from the most to the fewest real images."
            f"{numbers.left_out(experiment.classes)}",
            facets=subject.facets(),
            table=Table(("class", "real", kind, "together"), cells),
            categories=heads,
            groups=(BarGroup("real", tuple(map(float, real))), BarGroup(kind, tuple(map(float, added)), 0)),
            y_title="training images",
            stacked=True,
        )


def _training(subject: ExperimentSubject) -> Iterator[Chart]:
    experiment = subject.experiment
    folder = experiment.runs[0].folder
    files = {experiment.model: [folder / "history.csv", folder / "generator" / "history.csv"]}
    for generator in experiment.first.generators:
        files.setdefault(generator.name, [folder / f"generator-{generator.name}" / "history.csv"])
    for model, places in files.items():
        kinds = partial(_training_name, subject, model)
        yield from training_charts(places, name=kinds, model=model, words=subject.words(), facets=subject.facets())


def _training_name(subject: ExperimentSubject, model: str, kind: str) -> str:
    return subject.name(kind, model)
