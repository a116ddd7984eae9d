"""Charts over all experiments of a report: accuracy over size, arms against the best classical one, classes, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from augment.evidence.statistics import signed
from augment.report import chart_numbers as numbers
from augment.report.chart import Chart, Interval, Intervals, Lines, Series, Table, file_name
from augment.report.class_maps import class_map
from augment.report.sections import ACCURACY, ARMS, CLASSES
from augment.results.experiments import Experiment, PooledArm

MOST_CHARTS = 60
"""More than anyone looks through; those of the largest sizes come first, and the last ones are left out."""

MOST_ROWS = 60
"""Rows of a forest plot."""

SPREADS_BY = 10
"""Sizes and costs of which the largest is so many times the smallest stand on a logarithmic axis."""

BEST_CLASSICAL = "best classical arm"
PLAIN = "real"
"""The arm without any augmentation, drawn beside the best classical one."""

ONE_LINE = " Of a model's runs of one size that differ only in their arms, those with the most seeds count."
ONE_ROW = " An arm that several of a model's runs have is drawn once, from those with the most seeds."
"""Said where a model has several runs of one size."""


@dataclass(frozen=True)
class Group:
    """Studies that can be compared: one data set, regime and classifier, one part scored; ``sizes`` ascend.

    ranks: place in the palette of each label, which says nothing of the arms that were asked for.
    """

    dataset: str
    regime: str
    classifier: str
    part: str
    sizes: Mapping[int, tuple[Experiment, ...]]
    ranks: Mapping[str, int]

    @property
    def largest(self) -> int:
        """The largest size."""
        return max(self.sizes)

    def note(self, words: str, *sizes: int) -> str:
        """The words, where at one of the sizes a model has several experiments, which differ in their arms alone."""
        labels = ([each.label for each in self.sizes[size]] for size in sizes)
        return words if any(len(set(found)) < len(found) for found in labels) else ""

    def facets(self, size: int | None = None) -> dict[str, str]:
        """What the page's filters look at; without a size the chart is of all sizes."""
        found = {"dataset": self.dataset, "regime": self.regime, "classifier": self.classifier}
        return found if size is None else {**found, "size": str(size)}

    def words(self, size: int | None = None) -> str:
        """``fashionmnist, regime high, cnn``, for titles."""
        images = "" if size is None else f", {size:,} images"
        part = "" if self.part == "test" else f", scored on {self.part} images"
        return f"{self.dataset}, regime {self.regime}{images}, {self.classifier}{part}"

    def name(self, kind: str, size: int | None = None) -> str:
        """File name of a chart."""
        return file_name(kind, self.dataset, self.regime, *([] if size is None else [str(size)]), self.classifier)


def overview_charts(experiments: Sequence[Experiment]) -> list[Chart]:
    """All charts over several experiments, at most 60: with more, the caption of the first says how many are left out.

    By data set, regime and classifier: accuracy over size; for each size, all arms against the best classical one; at
    the largest size recall and precision by class, and gain against cost. A chart that would say nothing is left out.
    Experiments of a model that differ only in the arms that were asked for are one line, with the model's name;
    which of several of one size counts, ``best_arms`` and ``gains`` of :mod:`~augment.report.chart_numbers` say.
    """
    groups = _groups(numbers.apart_from_arms(experiments))
    others = [(group, size) for group in groups for size in group.sizes if size != group.largest]
    found = [
        *(_accuracy(group) for group in groups),
        *(_forest(group, group.largest) for group in groups),
        *(_classes(group, "recall") for group in groups),
        *(_classes(group, "precision") for group in groups),
        *(_forest(group, size) for group, size in others),
        *(_cost(group) for group in groups),
    ]
    charts = _unique([chart for chart in found if chart is not None])
    return _ordered(_bounded(charts))


def _groups(experiments: Sequence[Experiment]) -> list[Group]:
    """By data set with its classes, regime and classifier, in the order of appearance."""
    ranks = {label: rank for rank, label in enumerate(dict.fromkeys(experiment.label for experiment in experiments))}
    found: dict[tuple[str, tuple[str, ...], str, str, str], dict[int, list[Experiment]]] = {}
    for experiment in experiments:
        for classifier in numbers.classifiers_of([experiment]):
            key = (experiment.dataset, experiment.classes, experiment.regime, classifier, experiment.part)
            found.setdefault(key, {}).setdefault(experiment.size, []).append(experiment)
    return [
        Group(dataset, regime, classifier, part, {size: tuple(sizes[size]) for size in sorted(sizes)}, ranks)
        for (dataset, _, regime, classifier, part), sizes in found.items()
    ]


def _unique(charts: Sequence[Chart]) -> list[Chart]:
    """Data sets of one name but other classes get numbers."""
    seen: dict[str, int] = {}
    found = []
    for chart in charts:
        seen[chart.name] = seen.get(chart.name, 0) + 1
        found.append(replace(chart, name=f"{chart.name}--{seen[chart.name]}") if seen[chart.name] > 1 else chart)
    return found


def _bounded(charts: list[Chart]) -> list[Chart]:
    rest = len(charts) - MOST_CHARTS
    if rest <= 0:
        return charts
    note = f" {rest} more charts are left out of this report: make one of fewer runs to see them."
    return [replace(charts[0], caption=charts[0].caption + note), *charts[1:MOST_CHARTS]]


def _ordered(charts: list[Chart]) -> list[Chart]:
    """By section, as a page shows them."""
    sections = (ACCURACY, ARMS, CLASSES)
    return sorted(charts, key=lambda chart: sections.index(chart.section))


# accuracy over size


def _accuracy(group: Group) -> Chart | None:
    lines = [line for line in (*_models(group), *_baselines(group)) if line.x]
    if not lines:
        return None
    head, words = "Accuracy over data-set size", "the mean over seeds with its 95% t interval"
    table = _accuracy_table(lines)
    if len(group.sizes) > 1:
        return Lines(
            name=group.name("accuracy"),
            section=ACCURACY,
            title=f"{head}: {group.words()}",
            caption=f"Accuracy of each model's best arm on {group.part} images, {words}; one seed has none. Grey: "
            f"without a generator.{group.note(ONE_LINE, *group.sizes)}",
            facets=group.facets(),
            table=table,
            series=tuple(lines),
            x_title="training images",
            y_title=f"{group.part} accuracy",
            x_log=max(group.sizes) >= SPREADS_BY * min(group.sizes),
            percent=True,
        )
    (size,) = group.sizes
    arms = [(line, line.notes[0] if line.name in (line.key, BEST_CLASSICAL) else line.name) for line in lines]
    rows = [Interval(arm, line.y[0], line.low[0], line.high[0], line.key, line.key is not None) for line, arm in arms]
    return Intervals(
        name=group.name("accuracy", size),
        section=ACCURACY,
        title=f"Accuracy by model: {group.words(size)}",
        caption=f"Accuracy of each model's best arm on {group.part} images, {words}. Grey: without a generator."
        f"{group.note(ONE_LINE, size)}",
        facets=group.facets(size),
        table=table,
        rows=tuple(sorted(rows, key=lambda row: -row.value)),
        x_title=f"{group.part} accuracy",
        zero=False,
        percent=True,
    )


def _models(group: Group) -> list[Series]:
    """A line for each model: its best arm at each size."""
    arms: dict[tuple[str, str], dict[int, PooledArm]] = {}
    for size in group.sizes:
        for label, (experiment, best) in numbers.best_arms(group.sizes[size], group.classifier).items():
            arms.setdefault((label, experiment.model), {})[size] = best
    return [_line(label, found, model, group.ranks[label]) for (label, model), found in arms.items()]


def _baselines(group: Group) -> list[Series]:
    """The best arm without a generator at each size, and real images alone where these are not the best throughout."""
    best: dict[int, PooledArm] = {}
    plain: dict[int, PooledArm] = {}
    for size, experiments in group.sizes.items():
        arms = numbers.classical_arms(experiments, group.classifier)
        found = numbers.best_arm(arms, group.classifier, "classical")
        if found is not None:
            best[size] = found
        plain.update((size, arm) for arm in arms if arm.arm == PLAIN)
    lines = [_line(BEST_CLASSICAL, best, None, None)]
    return lines if plain == best else [*lines, _line(PLAIN, plain, None, None)]


def _line(name: str, arms: Mapping[int, PooledArm], key: str | None, rank: int | None) -> Series:
    points = [(size, *numbers.accuracy_with_interval(arm), arm.arm) for size, arm in sorted(arms.items())]
    return Series(
        name=name,
        x=tuple(float(size) for size, _, _, _ in points),
        y=tuple(value for _, value, _, _ in points),
        low=tuple(bounds and bounds[0] for _, _, bounds, _ in points),
        high=tuple(bounds and bounds[1] for _, _, bounds, _ in points),
        key=key,
        rank=rank,
        dashed=rank is None,
        notes=tuple(arm for _, _, _, arm in points),
    )


def _accuracy_table(lines: Sequence[Series]) -> Table:
    rows = []
    for line in lines:
        for index, x in enumerate(line.x):
            low, high = line.low[index], line.high[index]
            bounds = None if low is None or high is None else (low, high)
            value = numbers.per_cent(line.y[index])
            rows.append((line.name, f"{x:,.0f}", line.notes[index], value, numbers.per_cent_bounds(bounds)))
    return Table(("model", "training images", "arm", "accuracy %", "95% interval"), tuple(rows))


# arms against the best classical one


def _forest(group: Group, size: int) -> Chart | None:
    found = _forest_rows(group, size)
    if not found:
        return None
    rows = sorted(found, key=lambda each: -each[0].value)
    against = sorted({reference for _, reference in rows})
    what = f"{against[0]}, the best classical one" if len(against) == 1 else "the best classical one"
    cut = f" The best {MOST_ROWS} of {len(rows)} arms." if len(rows) > MOST_ROWS else ""
    return Intervals(
        name=group.name("arms", size),
        section=ARMS,
        title=f"Arms against {what}: {group.words(size)}",
        caption=f"Difference in {group.part} accuracy to {' or '.join(against)}, in points, with its 95% interval over "
        f"paired seeds. Right of 0 is better; an interval over 0 is no evidence. Grey: without a generator."
        f"{group.note(ONE_ROW, size)}{cut}",
        facets=group.facets(size),
        table=Table(
            ("arm", "against", "difference in points", "95% interval"),
            tuple((row.name, reference, signed(row.value), _points(row)) for row, reference in rows),
        ),
        rows=tuple(row for row, _ in rows[:MOST_ROWS]),
        x_title="difference in points",
    )


def _forest_rows(group: Group, size: int) -> list[tuple[Interval, str]]:
    """Each arm with what it is compared with, arms without a generator last."""
    found = sorted(numbers.gains(group.sizes[size], group.classifier).items(), key=lambda each: each[0][0] is None)
    rows = []
    for (label, arm), (experiment, gain) in found:
        low, high = gain.ci95 or (None, None)
        name, key = (arm, None) if label is None else (numbers.arm_name(experiment, arm), experiment.model)
        rows.append((Interval(name, gain.delta, low, high, key, label is not None), gain.against))
    return rows


def _points(row: Interval) -> str:
    return "" if row.low is None or row.high is None else f"{signed(row.low)} to {signed(row.high)}"


# classes


def _classes(group: Group, measure: str) -> Chart | None:
    """Recall or precision of the best arms by class, at the largest size."""
    size = group.largest
    experiments = group.sizes[size]
    best = numbers.best_arm(numbers.classical_arms(experiments, group.classifier), group.classifier, "classical")
    arms = [] if best is None else [(best.arm, best)]
    arms += [
        (numbers.arm_name(experiment, arm.arm), arm)
        for experiment, arm in numbers.best_arms(experiments, group.classifier).values()
    ]
    if len(arms) < 2:
        return None
    counts = {experiment.class_counts for experiment in experiments}
    names, (first,) = [name for name, _ in arms], experiments[:1]
    rows = [numbers.over_seeds(getattr(arm, measure)) for _, arm in arms]
    return class_map(
        rows,
        names,
        first.classes,
        first.class_counts,
        name=group.name(measure, size),
        title=f"{measure.capitalize()} by class: {group.words(size)}",
        caption=f"{measure.capitalize()} in per cent of the best arm without a generator (first row) and "
        f"of each model's best arm, mean over seeds.{group.note(ONE_LINE, size)}",
        facets=group.facets(size),
        counted=len(counts) == 1 and all(experiment.one_order for experiment in experiments),
    )


# cost


def _cost(group: Group) -> Chart | None:
    """Gain of each model's best arm against what it took, at the largest size."""
    gains = numbers.gains(group.sizes[group.largest], group.classifier)
    lines, rows = [], []
    for label, (experiment, best) in numbers.best_arms(group.sizes[group.largest], group.classifier).items():
        if (label, best.arm) not in gains:
            continue
        _, gain = gains[label, best.arm]
        minutes = _minutes(experiment, best)
        low, high = gain.ci95 or (None, None)
        line = Series(label, (minutes,), (gain.delta,), (low,), (high,), experiment.model, group.ranks[label])
        lines.append(replace(line, notes=(gain.arm,)))
        bounds = _points(Interval("", gain.delta, low, high))
        rows.append((label, gain.arm, gain.against, f"{minutes:.2f}", signed(gain.delta), bounds))
    if len(lines) < 2:
        return None
    return Lines(
        name=group.name("cost", group.largest),
        section=ARMS,
        title=f"Gain against cost: {group.words(group.largest)}",
        caption="Difference of each model's best arm to the best classical one, over the minutes that it took to "
        f"train the generator and this arm, whenever that was, for one seed.{group.note(ONE_LINE, group.largest)}",
        facets=group.facets(group.largest),
        table=Table(
            ("model", "arm", "against", "minutes per seed", "difference in points", "95% interval"), tuple(rows)
        ),
        series=tuple(lines),
        x_title="minutes per seed",
        y_title="points of accuracy",
        x_log=max(line.x[0] for line in lines) >= SPREADS_BY * min(line.x[0] for line in lines),
        zero=True,
    )


def _minutes(experiment: Experiment, arm: PooledArm) -> float:
    """Of the generator and the arm alone: what models share is paid by whichever ran first."""
    rows = (row for run in experiment.runs for row in run.generators if row.name == experiment.model)
    return (sum(row.seconds for row in rows) + arm.seconds) / 60 / max(1, len(experiment.seeds))
