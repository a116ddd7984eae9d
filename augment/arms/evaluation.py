"""Train classifiers on an arm and score them once; every arm has one budget, and is evaluated at most once.

That is the same updates, batch size, schedule, shifts and smoothing. Arms differ in their images and in what their name
says. The same images under the same budget and code give the same result, which is kept: for runs side by side, too,
where who wants an arm that another process trains waits for its result.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.classifiers.cart import Features, fit_cart
from augment.classifiers.cnn import CNN, fit_cnn
from augment.classifiers.learning import Learning
from augment.classifiers.scores import Scores, mean_scores, score_predictions
from augment.compute.workers import Job, Workers
from augment.datasets import ImageSet, LabelledImages
from augment.errors import UsageError, unknown_name
from augment.seeds import derived_seed
from augment.storage import hashing
from augment.storage.cache import kept_parts
from augment.storage.files import read_json, write_json
from augment.storage.hashing import imported_sources
from augment.storage.locations import cache_folder


@dataclass(frozen=True)
class Arm:
    """A named training set and how a classifier learns from it.

    Arms of one repetition share their ``real`` images, and often what is ``added``; they are joined where a classifier
    is trained, so that many waiting arms cost no memory.  nearest: for each of ``added`` the real image that it is most
    like, ``(n,)``.
    """

    name: str
    real: LabelledImages
    learning: Learning = Learning()
    added: LabelledImages | None = None
    nearest: Tensor | None = None

    @property
    def train(self) -> LabelledImages:
        """Real images, then added ones."""
        if self.added is None:
            return self.real
        images, labels = (
            torch.cat([getattr(part, name) for part in (self.real, self.added)]) for name in ("images", "labels")
        )
        return LabelledImages(images, labels)

    @property
    def synthetic(self) -> Tensor:
        """Which of the training images were added, bool ``(N,)``."""
        return torch.arange(len(self.real) + (len(self.added) if self.added is not None else 0)) >= len(self.real)


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


@dataclass(frozen=True)
class Pending:
    """Results of one arm under one budget, as far as they are known: kept ones, and a job for the others."""

    arm: str
    classifiers: tuple[str, ...]
    budget: Budget
    records: dict[str, dict[str, Any] | None]
    job: Job[list[ArmResult]] | None


def begin(
    arm: Arm, classifiers: Sequence[str], data: ImageSet, budget: Budget, workers: Workers, *, reuse: bool
) -> Pending:
    """Begin to evaluate an arm; with ``reuse``, results in the cache are read instead."""
    identity = _identity(arm, data, budget)
    files = {name: _file(identity, name) for name in classifiers}
    records = {name: read_json(file) if reuse else None for name, file in files.items()}
    missing = {name: files[name] for name, record in records.items() if record is None}
    whole = cache_folder() / "arms" / hashing.content_hash(identity)
    parts = (arm, missing, whole, reuse, data.test, len(data.classes), budget)
    return Pending(
        arm.name, tuple(classifiers), budget, records, workers.submit(_evaluate, *parts) if missing else None
    )


def _evaluate(
    arm: Arm,
    files: Mapping[str, Path],
    whole: Path,
    reuse: bool,
    test: LabelledImages,
    num_classes: int,
    budget: Budget,
) -> list[ArmResult]:
    """Results by classifier, each in its file, so that an interruption loses none. Runs in a worker.

    With ``reuse``, what another process computes at this moment is waited for and read.
    """
    names = {file: name for name, file in files.items()}

    def read(file: Path) -> ArmResult | None:
        record = read_json(file)
        if record is None:
            return None
        return replace(from_record(record, arm.name, names[file], budget, test.labels, num_classes), cached=True)

    def make(missing: Sequence[str]) -> dict[str, ArmResult]:
        return {result.classifier: result for result in evaluate(arm, missing, test, num_classes, budget)}

    results = kept_parts(
        whole,
        files,
        make,
        read=read,
        write=lambda file, result: write_json(file, result.record()),
        reuse=reuse,
    )
    return list(results.values())


def collect(pending: Sequence[Pending], data: ImageSet, workers: Workers) -> list[ArmResult]:
    """Results of all arms in order, one per classifier."""
    fresh = workers.in_order(entry.job for entry in pending if entry.job is not None)
    results = []
    for entry in pending:
        by_classifier = {result.classifier: result for result in (next(fresh) if entry.job is not None else [])}
        for name, record in entry.records.items():
            if record is not None:
                test = data.test.labels
                stored = from_record(record, entry.arm, name, entry.budget, test, len(data.classes))
                by_classifier[name] = replace(stored, cached=True)
        results += [by_classifier[name] for name in entry.classifiers]
    return results


def _identity(arm: Arm, data: ImageSet, budget: Budget) -> dict[str, object]:
    parts = [arm.real, *([] if arm.added is None else [arm.added])]
    return {
        "train": hashing.tensors_hash(*(tensor for part in parts for tensor in (part.images, part.labels))),
        "test": data.sha256,
        "learning": repr(arm.learning),
        "budget": asdict(budget),
        "code": hashing.code_fingerprint(imported_sources(__name__)),
    }


def _file(identity: dict[str, object], classifier: str) -> Path:
    key = hashing.content_hash({**identity, "classifier": classifier})
    return cache_folder() / "arms" / f"{key}.json"
