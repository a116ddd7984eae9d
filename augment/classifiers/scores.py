"""What predictions are worth: accuracy, balanced accuracy, and precision, recall, F1 and support of every class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from augment.errors import DataError


@dataclass(frozen=True)
class Scores:
    """Scores of predicted classes; all shares lie in [0, 1], and no value is ever NaN.

    A score is 0 where its denominator is: a class never predicted has precision 0, one without test images has recall 0
    and support 0.

    Attributes:
        accuracy: Share of correct predictions.
        balanced_accuracy: Mean recall over the classes that have test images.
        precision: One value per class.
        recall: One value per class.
        f1: One value per class.
        support: Test images of each class.
        confusion: Counts as ``[truth][predicted]``.

    Example:
        >>> import torch
        >>> from augment.classifiers import score_predictions
        >>> scores = score_predictions(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]), num_classes=3)
        >>> scores.recall, scores.support, scores.balanced_accuracy
        ((1.0, 0.5, 0.0), (2, 2, 0), 0.75)
    """

    accuracy: float
    balanced_accuracy: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...]


def score_predictions(truth: Tensor, predicted: Tensor, num_classes: int) -> Scores:
    """Compare predictions with the truth.

    Args:
        truth: ``(n,)`` int64 classes in ``[0, num_classes)``.
        predicted: ``(n,)`` int64 classes in ``[0, num_classes)``.
        num_classes: Of the whole data set.

    Returns:
        All scores.

    Raises:
        DataError: When there is nothing to compare, the lengths differ or a class is out of range.

    Example:
        >>> import torch
        >>> from augment.classifiers import score_predictions
        >>> scores = score_predictions(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]), num_classes=2)
        >>> scores.accuracy, scores.confusion
        (0.75, ((1, 1), (0, 2)))
    """
    _check(truth, predicted, num_classes)
    pairs = truth.cpu().long() * num_classes + predicted.cpu().long()
    confusion = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    hits, support, claimed = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    recall = _share(hits, support)
    return Scores(
        accuracy=int(hits.sum()) / len(truth),
        balanced_accuracy=float(recall[support > 0].mean()),
        precision=tuple(_share(hits, claimed).tolist()),
        recall=tuple(recall.tolist()),
        f1=tuple(_share(2 * hits, support + claimed).tolist()),
        support=tuple(support.tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Average several trainings scored on the same images: means of all shares; the confusion's counts are added up.

    Args:
        scores: One of each training, at least one.

    Returns:
        Their mean, with the support of the first.

    Example:
        >>> import torch
        >>> from augment.classifiers import mean_scores, score_predictions
        >>> truth = torch.tensor([0, 1])
        >>> scores = mean_scores([score_predictions(truth, truth, 2), score_predictions(truth, truth.flip(0), 2)])
        >>> scores.accuracy, scores.confusion
        (0.5, ((1, 1), (1, 1)))
    """

    def mean(rows: Iterable[tuple[float, ...]]) -> tuple[float, ...]:
        return tuple(math.fsum(values) / len(scores) for values in zip(*rows, strict=True))

    accuracy, balanced = mean((one.accuracy, one.balanced_accuracy) for one in scores)
    return Scores(
        accuracy=accuracy,
        balanced_accuracy=balanced,
        precision=mean(one.precision for one in scores),
        recall=mean(one.recall for one in scores),
        f1=mean(one.f1 for one in scores),
        support=scores[0].support,
        confusion=tuple(map(tuple, torch.tensor([one.confusion for one in scores]).sum(0).tolist())),
    )


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole`` in float64, 0 where ``whole`` is 0."""
    return part.double() / whole.clamp(min=1)


def _check(truth: Tensor, predicted: Tensor, num_classes: int) -> None:
    if truth.shape != predicted.shape or truth.ndim != 1 or len(truth) == 0:
        raise DataError(
            f"Cannot score {tuple(predicted.shape)} predictions against {tuple(truth.shape)} labels: "
            "both must have the same shape (n,) with n at least 1. Predict every test image once."
        )
    for name, classes in (("label", truth), ("prediction", predicted)):
        low, high = int(classes.min()), int(classes.max())
        if low < 0 or high >= num_classes:
            raise DataError(
                f"A {name} is {low if low < 0 else high}; with {num_classes} classes allowed are 0 to "
                f"{num_classes - 1}. Pass the number of classes of the whole data set."
            )
