"""Train classifiers on an arm and score them once; every arm has one budget.

That is the same updates, batch size, schedule, shifts and smoothing. Arms differ in their images and in what their name
says.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from augment.arms.arm import Arm
from augment.classifiers import CNN, Scores, fit_cart, fit_cnn, mean_scores, score_predictions
from augment.classifiers.cart import Features
from augment.datasets import LabelledImages
from augment.errors import UsageError, unknown_name
from augment.seeds import derived_seed

CLASSIFIERS = ("cnn", "cart-pixels", "cart-pca", "cart-cnn")
DEFAULT_CLASSIFIERS = ("cnn", "cart-pca")
CART_FEATURES: dict[str, Features] = {
    "cart-pixels": "pixels",
    "cart-pca": "pca",
    "cart-cnn": "cnn",
}

LEARNT_IN_UPDATES = ("cnn", "cart-cnn")
"""Classifiers with a CNN in them."""


@dataclass(frozen=True)
class Budget:
    """What every arm gets alike; ``updates`` are the CNN's optimizer steps (a tree takes none)."""

    updates: int
    seed: int
    device: str
    precision: str

    def training(self, number: int) -> Budget:
        """The same with the seed of another training; 0 is this one."""
        return replace(self, seed=derived_seed(self.seed, "training", number)) if number else self


@dataclass(frozen=True)
class ArmResult:
    """One classifier trained on one arm and scored once on the test images, or the mean of several such trainings.

    seed: of the first training.  updates: optimizer steps that each really made; None for a tree without a CNN, which
    makes none.  seconds: of all.  scores: means; counts of images are sums.  predictions: of each training, ``(n,)``.
    trainings: accuracy of each, in [0, 1].
    """

    arm: str
    classifier: str
    seed: int
    updates: int | None
    seconds: float
    scores: Scores
    predictions: tuple[tuple[int, ...], ...]
    trainings: tuple[float, ...]
    cached: bool = False

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """The row of ``result.json``: scores per class by name; the predictions stay out."""
        scores = self.scores
        columns = zip(classes, scores.precision, scores.recall, scores.f1, scores.support, strict=True)
        return {
            "arm": self.arm,
            "classifier": self.classifier,
            "seed": self.seed,
            "updates": self.updates,
            "accuracy": scores.accuracy,
            "trainings": list(self.trainings),
            "balanced_accuracy": scores.balanced_accuracy,
            "seconds": round(self.seconds, 3),
            "cached": self.cached,
            "per_class": [
                {"class": name, "precision": precision, "recall": recall, "f1": f1, "support": support}
                for name, precision, recall, f1, support in columns
            ],
            "confusion": [list(row) for row in scores.confusion],
        }

    def record(self) -> dict[str, Any]:
        """What the cache keeps of one training; the scores follow from the predictions."""
        return {"updates": self.updates, "seconds": self.seconds, "predictions": list(self.predictions[0])}


def averaged(results: Sequence[ArmResult]) -> ArmResult:
    """Several trainings of one classifier on one arm as one result."""
    first = results[0]
    return replace(
        first,
        seconds=sum(one.seconds for one in results),
        scores=mean_scores([one.scores for one in results]),
        predictions=tuple(row for one in results for row in one.predictions),
        trainings=tuple(accuracy for one in results for accuracy in one.trainings),
        cached=all(one.cached for one in results),
    )


def resolve_classifier(name: str) -> str:
    """``cart`` means the default CART; raises UsageError for an unknown classifier."""
    if name == "cart":
        return "cart-pca"
    if name not in CLASSIFIERS:
        raise UsageError(unknown_name("classifier", name, (*CLASSIFIERS, "cart")))
    return name


def evaluate(
    arm: Arm, classifiers: Sequence[str], test: LabelledImages, num_classes: int, budget: Budget
) -> list[ArmResult]:
    """Train each classifier on one arm and score it on the test images; the CNN is trained once for all that use it."""
    cnn = None
    results = []
    for name in sorted(classifiers, key=lambda name: name != "cnn"):
        start = time.perf_counter()
        if cnn is None and name in LEARNT_IN_UPDATES:
            cnn = _fit_cnn(arm, num_classes, budget)
        predicted = cnn.predict(test.images) if cnn and name == "cnn" else _cart(arm, name, test, budget, cnn)
        record = {
            "updates": cnn.updates if cnn and name in LEARNT_IN_UPDATES else None,
            "seconds": time.perf_counter() - start,
            "predictions": predicted.tolist(),
        }
        results.append(from_record(record, arm.name, name, budget, test.labels, num_classes))
    return results


def _fit_cnn(arm: Arm, num_classes: int, budget: Budget) -> CNN:
    train = arm.train
    return fit_cnn(
        train.images,
        train.labels,
        num_classes,
        updates=budget.updates,
        seed=budget.seed,
        device=budget.device,
        precision=budget.precision,
        learning=arm.learning,
        synthetic=arm.synthetic,
    )


def _cart(arm: Arm, name: str, test: LabelledImages, budget: Budget, cnn: CNN | None) -> Tensor:
    train = arm.train
    tree = fit_cart(
        train.images,
        train.labels,
        features=CART_FEATURES[name],
        seed=budget.seed,
        sampling="as_is" if arm.learning.imbalance == "as-is" else "balanced",
        weights=torch.where(arm.synthetic, arm.learning.synthetic_weight(0.0), 1.0),
        nearest=arm.nearest,
        cnn=cnn,
    )
    return tree.predict(test.images)


def from_record(
    record: dict[str, Any], arm: str, classifier: str, budget: Budget, truth: Tensor, num_classes: int
) -> ArmResult:
    """The result of :meth:`ArmResult.record`, its predictions compared with the truth ``(n,)``."""
    predictions = tuple(record["predictions"])
    scores = score_predictions(truth, torch.tensor(predictions), num_classes)
    return ArmResult(
        arm=arm,
        classifier=classifier,
        seed=budget.seed,
        updates=record["updates"],
        seconds=record["seconds"],
        scores=scores,
        predictions=(predictions,),
        trainings=(scores.accuracy,),
    )
