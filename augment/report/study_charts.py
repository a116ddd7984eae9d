"""Charts of one study: classes, confusion, what was added, whom it helped, and how the generators trained."""

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
from augment.results.run_result import AddedImages, ArmEffects
from augment.results.studies import Study


@dataclass(frozen=True)
class StudySubject:
    """The study with what its charts are called."""

    study: Study

    def name(self, *kind: str) -> str:
        """A file name that no other study's chart has."""
        study = self.study
        return file_name(*kind, study.dataset, study.regime, str(study.size), study.label, study.runs[0].short_key)

    def words(self, classifier: str = "") -> str:
        """``fashionmnist, regime high, 5,000 images, <model>, cnn``, for titles."""
        study = self.study
        words = [study.dataset, f"regime {study.regime}", f"{study.size:,} images", study.label, classifier]
        return ", ".join(word for word in words if word)

    def facets(self, classifier: str | None = None) -> dict[str, str]:
        """What the page's filters look at."""
        study = self.study
        found = {"dataset": study.dataset, "regime": study.regime, "size": str(study.size), "model": study.model}
        return found if classifier is None else {**found, "classifier": classifier}


def study_charts(study: Study) -> list[Chart]:
    """All charts of a study, in the order of the report's sections.

    For each classifier: recall and precision of all arms by class, what arms with a generator change for classes with
    many and few images, and two confusion matrices. Then class counts with what each arm adds, and training curves of
    the first run's first seed. Files that are missing or damaged leave their charts out.
    """
    subject, classifiers = StudySubject(study), numbers.classifiers_of([study])
    found: list[Chart] = []
    for classifier in classifiers:
        found += [*_measures(subject, classifier), *_effects(subject, classifier)]
    for classifier in classifiers:
        found += _confusions(subject, classifier)
    return [*found, *_counts(subject), *_training(subject)]


def _measures(subject: StudySubject, classifier: str) -> Iterator[Chart]:
    study = subject.study
    arms = [arm for arm in study.arms if arm.classifier == classifier and arm.recall]
    for measure, says in (
        ("recall", f"of the {study.part} images of a class, those that were found"),
        ("precision", f"of the {study.part} images taken for a class, those that are of it"),
    ):
        yield class_map(
            [numbers.over_seeds(getattr(arm, measure)) for arm in arms],
            [arm.arm for arm in arms],
            study.classes,
            study.class_counts,
            name=subject.name(measure, classifier),
            title=f"{measure.capitalize()} by class: {subject.words(classifier)}",
            caption=f"{measure.capitalize()} in per cent ({says}), mean over seeds.",
            facets=subject.facets(classifier),
            counted=study.one_order,
        )


def _confusions(subject: StudySubject, classifier: str) -> Iterator[Chart]:
    study = subject.study
    for family, words in (("generative", "best generator arm"), ("classical", "best classical arm")):
        arm = numbers.best_arm(study.arms, classifier, family)
        if arm is not None:
            seeds = "one seed" if len(arm.accuracy) == 1 else f"{len(arm.accuracy)} seeds together"
            yield confusion_map(
                arm,
                study.classes,
                study.class_counts if study.one_order else (),
                name=subject.name("confusion", family, classifier),
                title=f"Confusion of {arm.arm}, the {words}: {subject.words(classifier)}",
                caption=f"Rows are true classes, columns predicted ones; {seeds}.",
                facets=subject.facets(classifier),
            )


# whom it helps


def _effects(subject: StudySubject, classifier: str) -> Iterator[Chart]:
    found = [row for row in subject.study.effects if row.classifier == classifier]
    if any(len(row.groups) > 1 for row in found):  # a group of all classes says what the accuracy says
        yield _group_effects(subject, classifier, found)
    if any(row.classes for row in found):
        yield _class_effects(subject, classifier, found)


def _group_effects(subject: StudySubject, classifier: str, found: Sequence[ArmEffects]) -> Intervals:
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


def _class_effects(subject: StudySubject, classifier: str, found: Sequence[ArmEffects]) -> HeatMap:
    study = subject.study
    order = numbers.class_order(study.class_counts)
    rows = []
    for effect in found:
        deltas = {each.name: each.delta for each in effect.classes}
        rows.append(tuple(deltas.get(study.classes[index]) for index in order))
    heads = tuple(f"{study.classes[index]} ({study.class_counts[index]:,})" for index in order)
    cells = [tuple("" if value is None else signed(value) for value in row) for row in rows]
    names, against = [effect.arm for effect in found], found[0].against
    reach = max((abs(value) for row in rows for value in row if value is not None), default=0.0)
    return HeatMap(
        name=subject.name("change", classifier),
        section=CLASSES,
        title=f"Change of recall by class against {against}: {subject.words(classifier)}",
        caption=f"Difference of recall to {against}, the best classical arm, in points, mean over seeds. Orange is "
        "better, blue worse. Classes stand from the most to the fewest training images, which are in brackets."
        f"{numbers.left_out(study.classes)}",
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


def _counts(subject: StudySubject) -> Iterator[Chart]:
    """A chart for each set of added images; arms that add the same share one."""
    study = subject.study
    rows = study.first.synthetic
    order = numbers.class_order(study.class_counts)
    heads = tuple(study.classes[index] for index in order)
    real = tuple(study.class_counts[index] for index in order)
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
            f"{sum(counts):,} to {sum(study.class_counts):,}. Classes stand from the most to the fewest real images."
            f"{numbers.left_out(study.classes)}",
            facets=subject.facets(),
            table=Table(("class", "real", kind, "together"), cells),
            categories=heads,
            groups=(BarGroup("real", tuple(map(float, real))), BarGroup(kind, tuple(map(float, added)), 0)),
            y_title="training images",
            stacked=True,
        )


def _training(subject: StudySubject) -> Iterator[Chart]:
    study = subject.study
    folder = study.runs[0].folder
    files = {study.model: [folder / "history.csv", folder / "generator" / "history.csv"]}
    for generator in study.first.generators:
        files.setdefault(generator.name, [folder / f"generator-{generator.name}" / "history.csv"])
    for model, places in files.items():
        kinds = partial(_training_name, subject, model)
        yield from training_charts(places, name=kinds, model=model, words=subject.words(), facets=subject.facets())


def _training_name(subject: StudySubject, model: str, kind: str) -> str:
    return subject.name(kind, model)
