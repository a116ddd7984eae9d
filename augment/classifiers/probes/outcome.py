"""What a probe returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ProbePrediction:
    """Predicted classes and how they were arrived at.

    predictions: ``(E, Q)`` int64.  chosen: per episode, what was selected inside its labels: the strength of
    ``linear``, the weight decay of ``mlp``, the shrinkage of ``prototype``, the number of neighbours of ``knn``.
    """

    predictions: Tensor
    chosen: tuple[float, ...]


def as_floats(values: Tensor) -> tuple[float, ...]:
    """Selected values as plain numbers, to three significant digits: 0.1 and not float32's 0.10000000149."""
    return tuple(float(f"{value:.3g}") for value in values.tolist())
