"""Heat maps with a column for each class: shares by arm, and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augment.report import chart_numbers as numbers
from augment.report.chart import HeatMap, Table
from augment.report.sections import CLASSES, CONFUSION
from augment.results.experiments import PooledArm


def class_map(
    rows: Sequence[Sequence[float]],
    names: Sequence[str],
    classes: Sequence[str],
    counts: Sequence[int],
    *,
    name: str,
    title: str,
    caption: str,
    facets: Mapping[str, str],
    counted: bool = True,
) -> HeatMap:
    """A heat map of shares ``(len(names), len(classes))``, classes from the most training images to the fewest.

    counted: do the counts hold for all rows and seeds? Else classes stand in their own order, without counts.
    """
    order = numbers.class_order(counts if counted else [0] * len(classes))
    heads = [f"{classes[index]} ({counts[index]:,})" if counted else classes[index] for index in order]
    values = tuple(tuple(row[index] for index in order) for row in rows)
    text = tuple(tuple(f"{100 * value:.0f}" for value in row) for row in values)
    words = " Classes stand from the most to the fewest training images, which are in brackets." if counted else ""
    return HeatMap(
        name=name,
        section=CLASSES,
        title=title,
        caption=f"{caption}{words}{numbers.left_out(classes)}",
        facets=facets,
        table=numbers.class_table("arm", names, heads, [[numbers.per_cent(value) for value in row] for row in values]),
        x=tuple(heads),
        y=tuple(names),
        values=values,
        text=text,
        x_title="class (training images)" if counted else "class",
        low=0.0,
        high=1.0,
    )


def confusion_map(
    arm: PooledArm,
    classes: Sequence[str],
    counts: Sequence[int],
    *,
    name: str,
    title: str,
    caption: str,
    facets: Mapping[str, str],
) -> HeatMap:
    """The confusion matrix of an arm: colour is the share of the true class, text the number of images.

    counts: training images, by which classes are ordered; none where they differ between seeds.
    """
    order = numbers.class_order(counts or [0] * len(classes))
    words = " Classes stand from the most to the fewest training images." if counts else ""
    names = [classes[index] for index in order]
    totals = [max(1, sum(arm.confusion[index])) for index in order]
    cells = [[arm.confusion[row][column] for column in order] for row in order]
    rows = tuple((name, *map(str, row)) for name, row in zip(names, cells, strict=True))
    return HeatMap(
        name=name,
        section=CONFUSION,
        title=title,
        caption=f"{caption} Numbers are images, colour is their share of the true class."
        f"{words}{numbers.left_out(classes)}",
        facets=facets,
        table=Table(("true class", *names), rows),
        x=tuple(names),
        y=tuple(names),
        values=tuple(
            tuple(count / total if count else None for count in row) for row, total in zip(cells, totals, strict=True)
        ),
        text=tuple(tuple(str(count) if count else "" for count in row) for row in cells),
        x_title="predicted class",
        y_title="true class",
        low=0.0,
        high=1.0,
        square=True,
    )
