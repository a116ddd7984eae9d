"""What a probe returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ProbePrediction:
    """Predicted classes and how they were arrived at.

    Attributes:
        predictions: ``(E, Q)`` int64.
        chosen: Per episode, what was selected inside its labels: the strength of ``linear``, the weight decay of
            ``mlp``, the shrinkage of ``prototype``, the number of neighbours of ``knn``.

    Example:
        >>> import torch
        >>> from augment.classifiers.probes import predict
        >>> features, labels = torch.tensor([[[-1.0], [-0.9], [0.9], [1.0]]]), torch.tensor([[0, 0, 1, 1]])
        >>> found = predict("knn", features, labels, torch.tensor([[-0.8], [0.8]]), num_classes=2, seeds=[0])
        >>> found.predictions.shape, len(found.chosen)
        (torch.Size([1, 2]), 1)
    """

    predictions: Tensor
    chosen: tuple[float, ...]


def as_floats(values: Tensor) -> tuple[float, ...]:
    """Selected values as plain numbers, to three significant digits: 0.1 and not float32's 0.10000000149."""
    return tuple(float(f"{value:.3g}") for value in values.tolist())
