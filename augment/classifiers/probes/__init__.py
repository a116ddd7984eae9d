"""Classification probes for few labels, fitted to features of several episodes at once.

Knows tensors only: where the features come from is not its business. Each probe chooses its regularisation inside the
labelled rows (:mod:`augment.classifiers.probes.selection`) and is then fitted to all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.classifiers.probes.linear import predict_linear
from augment.classifiers.probes.mlp import predict_mlp
from augment.classifiers.probes.nearest import predict_knn, predict_prototype
from augment.classifiers.probes.outcome import ProbePrediction
from augment.errors import ConfigError, DataError, unknown_name

__all__ = ["PROBES", "ProbePrediction", "predict"]

_PROBES = {"linear": predict_linear, "mlp": predict_mlp, "prototype": predict_prototype, "knn": predict_knn}

PROBES = tuple(_PROBES)
"""Names of the probes that :func:`predict` fits."""


def predict(
    probe: str, features: Tensor, labels: Tensor, queries: Tensor, *, num_classes: int, seeds: Sequence[int]
) -> ProbePrediction:
    """Fit a probe to the labelled rows of each episode and predict the classes of ``queries``.

    An episode's predictions depend on its rows, labels and seed (and on the number of rows of the smallest class of all
    episodes).

    Args:
        probe: One of :data:`PROBES`.
        features: ``(E, n, D)``, standardised over the pool.
        labels: ``(E, n)`` int64, every class in every episode.
        queries: ``(Q, D)``, standardised in the same way.
        num_classes: At least 1.
        seeds: One per episode.

    Returns:
        Predictions ``(E, Q)``, and what each episode chose.

    Raises:
        ConfigError: For an unknown probe.
        DataError: For features that are not finite or a class without a row.

    Example:
        >>> import torch
        >>> from augment.classifiers.probes import predict
        >>> features, labels = torch.tensor([[[-1.0], [-0.9], [0.9], [1.0]]]), torch.tensor([[0, 0, 1, 1]])
        >>> queries = torch.tensor([[-0.8], [0.8]])
        >>> predict("prototype", features, labels, queries, num_classes=2, seeds=[0]).predictions.tolist()
        [[0, 1]]
    """
    if probe not in _PROBES:
        raise ConfigError(unknown_name("probe", probe, PROBES))
    _check_shapes(features, labels, queries, seeds)
    _check_finite("features", features)
    _check_finite("queries", queries)
    _check_classes(labels, num_classes)
    with torch.no_grad():
        return _PROBES[probe](features.float(), labels.long(), queries.float(), num_classes=num_classes, seeds=seeds)


def _check_shapes(features: Tensor, labels: Tensor, queries: Tensor, seeds: Sequence[int]) -> None:
    fits = features.ndim == 3 and queries.ndim == 2 and features.shape[2] == queries.shape[1]
    if not fits or labels.shape != features.shape[:2] or len(seeds) != len(features):
        raise DataError(
            f"Features {tuple(features.shape)}, labels {tuple(labels.shape)}, queries {tuple(queries.shape)} and "
            f"{len(seeds)} seeds do not fit; give (E, n, D), (E, n), (Q, D) and E seeds."
        )


def _check_finite(kind: str, values: Tensor) -> None:
    wrong = int((~values.isfinite()).sum())
    if wrong:
        raise DataError(
            f"{wrong} of {values.numel()} numbers of the {kind} are not finite. Check the generator's weights, "
            "or take another layer or timestep."
        )


def _check_classes(labels: Tensor, num_classes: int) -> None:
    if labels.numel() == 0 or not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise DataError(f"Labels must be at least one per episode, each from 0 to {num_classes - 1}.")
    missing = (F.one_hot(labels, num_classes).sum(1) == 0).nonzero().tolist()
    if missing:
        episode, label = missing[0]
        raise DataError(
            f"Episode {episode} has no labelled row of class {label}; a probe needs at least one of each of the "
            f"{num_classes} classes."
        )
