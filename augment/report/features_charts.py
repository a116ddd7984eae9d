"""Charts of a feature study: accuracy over labels, the map of t and layers, the generator's training, embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from augment.report import chart_numbers as numbers
from augment.report.chart import Chart, HeatMap, Lines, PointGroup, Scatter, Series, Table, file_name
from augment.report.page_pictures import square_sheet
from augment.report.sections import FEATURES
from augment.report.training_charts import training_charts
from augment.results.embeddings import Embedding, Embeddings
from augment.results.features_result import FewLabelScores
from augment.results.records import FeaturesRecord

MOST_POINTS = 1500
"""Of a map; of more, so many evenly spaced ones are drawn."""


@dataclass(frozen=True)
class FeaturesSubject:
    """The record with what its charts are called; ``alone``: in its own folder, where no other's can be."""

    record: FeaturesRecord
    alone: bool = False

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.record.dataset

    @property
    def model(self) -> str:
        """Name of the generator."""
        return self.record.model

    @property
    def labels_seen(self) -> str:
        """Labels that the generator saw in its training."""
        return self.record.result.generator.labels_seen

    @property
    def words(self) -> str:
        """For titles."""
        return f"{self.dataset}, features of {self.model}"

    @property
    def facets(self) -> dict[str, str]:
        """What the page's filters look at."""
        return {"dataset": self.dataset, "model": self.model}

    def name(self, *kind: str) -> str:
        """A file name that no other record's chart has."""
        return file_name(*kind) if self.alone else file_name("features", *kind, *self.identity)

    @property
    def identity(self) -> tuple[str, str, str]:
        """What tells it from other records."""
        return self.dataset, self.model, self.record.short_key


def features_charts(record: FeaturesRecord, *, alone: bool = False) -> list[Chart]:
    """All charts of a feature study.

    A chart of accuracy over labels for each probe, the map of t and layers and its curves where several were tried, the
    training of the generator, and maps of the features. What is missing in the folder leaves its charts out.  alone:
    names are for files in the study's own folder.
    """
    subject = FeaturesSubject(record, alone)
    files = [record.folder / "generator" / "history.csv"]
    return [
        *_accuracies(subject),
        *_search(subject),
        *_embeddings(subject),
        *training_charts(files, name=subject.name, model=subject.model, words=subject.words, facets=subject.facets),
    ]


# accuracy over labels


def _accuracies(subject: FeaturesSubject) -> Iterator[Chart]:
    """A chart for each probe; methods without one, as a classifier from scratch, stand in each."""
    result = subject.record.result
    probes: list[str | None] = [*dict.fromkeys(row.probe for row in result.rows if row.probe is not None)] or [None]
    for probe in probes if result.rows else ():
        yield accuracy_lines(
            [row for row in result.rows if row.probe in (probe, None)],
            result.baselines,
            name=subject.name("accuracy", *([probe] if probe else [])),
            title=f"Accuracy with few labels: {subject.words}{f', {probe} probe' if probe else ''}",
            facets=subject.facets,
        )


def accuracy_lines(
    rows: Sequence[FewLabelScores], baselines: Sequence[str], *, name: str, title: str, facets: Mapping[str, str]
) -> Lines:
    """Accuracy over labels per class, a line for each method; baselines are grey."""
    lines = _lines(rows, [method for method in dict.fromkeys(row.method for row in rows) if method not in baselines])
    return Lines(
        name=name,
        section=FEATURES,
        title=title,
        caption="Test accuracy over labelled images per class, the mean over episodes with its 95% interval. "
        "Grey: methods that need no generator.",
        facets=facets,
        table=_accuracy_table(lines),
        series=tuple(lines),
        x_title="labelled images per class",
        y_title="test accuracy",
        x_log=True,
        percent=True,
    )


def _lines(rows: Sequence[FewLabelScores], methods: Sequence[str]) -> list[Series]:
    """By method, and by t and layer where a method has several for the same number of labels."""
    found: dict[tuple[str, str], list[FewLabelScores]] = {}
    places = [(row.method, row.k) for row in rows]
    several = {method for method, k in places if places.count((method, k)) > 1}
    for row in rows:
        where = row.place if row.method in several else ""
        found.setdefault((row.method, where), []).append(row)
    ranks = {key: rank for rank, key in enumerate(key for key in found if key[0] in methods)}
    return [
        _line(", ".join(filter(None, key)), sorted(points, key=lambda row: row.k), ranks.get(key))
        for key, points in found.items()
    ]


def _line(name: str, points: Sequence[FewLabelScores], rank: int | None) -> Series:
    return Series(
        name=name,
        x=tuple(float(row.k) for row in points),
        y=tuple(row.accuracy for row in points),
        low=tuple(None if row.ci95 is None else row.ci95[0] for row in points),
        high=tuple(None if row.ci95 is None else row.ci95[1] for row in points),
        rank=rank,
        dashed=rank is None,
        notes=tuple(row.place for row in points),
    )


def _accuracy_table(lines: Sequence[Series]) -> Table:
    """A row for each method, a column for each number of labels."""
    ks = sorted({x for line in lines for x in line.x})
    rows = []
    for line in lines:
        found = dict(zip(line.x, zip(line.y, line.low, line.high, strict=True), strict=True))
        rows.append((line.name, *(_accuracy_text(*found[k]) if k in found else "" for k in ks)))
    return Table(("accuracy in %, labels per class:", *(f"{k:,.0f}" for k in ks)), tuple(rows))


def _accuracy_text(value: float, low: float | None, high: float | None) -> str:
    half = "" if low is None or high is None else f" ± {numbers.per_cent((high - low) / 2)}"
    return numbers.per_cent(value) + half


# t and layers


def _search(subject: FeaturesSubject) -> Iterator[Chart]:
    found = subject.record.result.map
    if found is None:
        return
    layers = list(dict.fromkeys(one.layer for one in found.grid))
    steps = sorted({one.t for one in found.grid}, key=lambda t: -1 if t is None else t)
    cells = {(one.layer, one.t): one.accuracy for one in found.grid}
    names = tuple("features" if layer is None else layer for layer in layers)
    labels = tuple("" if t is None else str(t) for t in steps)
    values = tuple(tuple(cells.get((layer, t)) for t in steps) for layer in layers)
    place = (found.chosen.layer, found.chosen.t)
    if len(cells) > 1:
        frame = (layers.index(place[0]), steps.index(place[1])) if place in cells else None
        yield _map(subject, names, labels, values, frame)
    if len(steps) > 1:
        yield _curves_over_t(subject, names, labels, values)


def _map(
    subject: FeaturesSubject,
    names: tuple[str, ...],
    labels: tuple[str, ...],
    values: tuple[tuple[float | None, ...], ...],
    frame: tuple[int, int] | None,
) -> HeatMap:
    text = tuple(tuple("" if value is None else numbers.per_cent(value) for value in row) for row in values)
    return HeatMap(
        name=subject.name("layers"),
        section=FEATURES,
        title=f"Validation accuracy by noise level t and layer: {subject.words}",
        caption="Accuracy in per cent on training images held out for the choice. The chosen t and layer are framed.",
        facets=subject.facets,
        table=numbers.class_table("layer", names, [f"t {label}" if label else "accuracy" for label in labels], text),
        x=labels,
        y=names,
        values=values,
        text=text,
        x_title="noise level t" if labels != ("",) else "",
        y_title="layer",
        frame=frame,
    )


def _curves_over_t(
    subject: FeaturesSubject,
    names: tuple[str, ...],
    labels: tuple[str, ...],
    values: tuple[tuple[float | None, ...], ...],
) -> Lines:
    lines = []
    for rank, (name, row) in enumerate(zip(names, values, strict=True)):
        known = [(float(place), value) for place, value in enumerate(row) if value is not None]
        lines.append(Series(name, tuple(x for x, _ in known), tuple(y for _, y in known), rank=rank))
    chance, places = 1 / len(subject.record.classes), tuple(map(float, range(len(labels))))
    lines.append(Series("chance", places, (chance,) * len(places), dashed=True))
    text = [["" if value is None else numbers.per_cent(value) for value in row] for row in values]
    return Lines(
        name=subject.name("timesteps"),
        section=FEATURES,
        title=f"Validation accuracy over the noise level t: {subject.words}",
        caption="A line for each layer; the noise levels that were tried stand evenly spaced.",
        facets=subject.facets,
        table=numbers.class_table("layer", names, [f"t {label}" for label in labels], text),
        series=tuple(lines),
        x_title="noise level t",
        y_title="validation accuracy",
        percent=True,
        x_labels=labels,
    )


# embeddings


def _embeddings(subject: FeaturesSubject) -> Iterator[Chart]:
    found = Embeddings.load(subject.record.folder)
    for each in found.maps if found is not None else ():
        if found is not None and len(found.labels):
            yield _scatter(subject, found, each)


def _scatter(subject: FeaturesSubject, found: Embeddings, each: Embedding) -> Scatter:
    width = -(-len(found.labels) // MOST_POINTS)
    labels, points = found.labels[::width].tolist(), each.points[::width].tolist()
    groups = []
    for label in sorted(set(labels)):
        own = [index for index, of in enumerate(labels) if of == label]
        groups.append(PointGroup(found.classes[label], tuple(tuple(points[index]) for index in own), label, tuple(own)))
    meaning = "" if each.axes else " Only neighbourhoods mean something, axes and distances do not."
    return Scatter(
        name=subject.name("embedding", each.method, f"{each.dimensions}d"),
        section=FEATURES,
        title=f"{each.title} of {subject.words}",
        caption=f"{len(labels):,} training images, a point each, by class. The map saw no labels; the generator: "
        f"{subject.labels_seen}.{meaning}",
        facets=subject.facets,
        table=Table(("class", "points"), tuple((group.name, f"{len(group.points):,}") for group in groups)),
        groups=tuple(groups),
        axes=each.axes,
        sheet=square_sheet(found.images[::width]),
    )
