"""Which synthetic images are worth keeping: judged by classifiers that were trained without parts of the real images.

Each teacher is trained without one part, so every real image has a teacher that never saw it. What those teachers say
of held-out real images is the measure that synthetic images are held to. Drawing until enough are kept:
:mod:`augment.synthesis.acceptance`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from augment.classifiers.cnn import CNN, fit_cnn
from augment.classifiers.learning import LABEL_SMOOTHING, Learning
from augment.compute.device import CPU, Compute
from augment.compute.workers import threads
from augment.datasets import LabelledImages
from augment.errors import DataError
from augment.metrics.memorisation import pixel_copies
from augment.seeds import derived_seed, torch_rng
from augment.synthesis.strategies import Teacher

NEIGHBOURS = 3
"""Real images of the class over which a distance is averaged; with 1, 5 or 10 about as many were kept of each kind."""

MIN_HELD_OUT = 20
"""Held-out images a class needs for a limit of its own; fewer say nothing of a 0.95 quantile."""

QUERY_CHUNK = 1024
"""Bounds the matrix of distances to 1,024 rows."""

REASONS = ("confidence", "distance", "copy")
"""Grounds of refusal, in the order in which they are looked for."""

SEEN_BY_ALL = -1
"""Part of an image that no teacher was trained without."""


@dataclass(frozen=True, eq=False)
class FilterDecisions:
    """What the teachers say of ``n`` images.

    probability: mean over the teachers asked of the probability of the image's class, float32 ``(n,)`` in [0, 1],
    classes being equally likely beforehand.  distance: mean of the distances to the class's nearest real images,
    float32 ``(n,)``; a root mean square over features, in standard deviations.  copy: bool ``(n,)``, near copies of a
    training image.  reasons: why each is refused, the first of ``REASONS`` that applies; None for an image that is
    kept.
    """

    probability: Tensor
    distance: Tensor
    copy: Tensor
    reasons: tuple[str | None, ...]

    @property
    def kept(self) -> Tensor:
        """Bool ``(n,)``."""
        return torch.tensor([reason is None for reason in self.reasons], dtype=torch.bool)


@dataclass(frozen=True, eq=False)
class FoldTeacher:
    """A CNN trained on the real images but one part, and all real images as it sees them.

    seen: bool ``(N,)``, the real images it was trained on.  prior: share of each class among them, ``(K,)``.  centre
    and scale ``(D,)`` standardise its features on them.  features: ``(N, D)``, standardised.
    """

    cnn: CNN
    seen: Tensor
    prior: Tensor
    centre: Tensor
    scale: Tensor
    features: Tensor

    def look(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Probability ``(n,)`` of each uint8 image's class, and standardised features ``(n, D)``; one pass."""
        features = self.cnn.features(images)
        with torch.no_grad():
            raw = self.cnn.head(features.to(self.cnn.head.weight.device)).softmax(dim=1).cpu()
        return self.unsmoothed(raw).gather(1, labels[:, None])[:, 0], (features - self.centre) / self.scale

    def unsmoothed(self, probabilities: Tensor) -> Tensor:
        """The CNN's probabilities ``(n, K)`` without what label smoothing took from the likely classes.

        Smoothing towards the prior leaves a certain image of a class with 40% of the images only 0.7, and one of a rare
        class 0.99: a threshold would mean something else for each class. Classes are equally likely beforehand.
        """
        raw = probabilities * (self.prior > 0)
        relative = raw / (raw @ self.prior)[:, None]  # of the posterior in training to the prior
        clean = (relative - LABEL_SMOOTHING).clamp(min=0)
        return clean / clean.sum(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Teachers:
    """Cross-fitted teachers of the ``real`` images, and the limits their held-out images set.

    parts: int64 ``(N,)``, the teacher trained without each real image; ``SEEN_BY_ALL`` where there is none.  seconds:
    of training.  With ``dataclasses.replace(teachers, strategy=...)`` the same teachers judge by other thresholds.
    """

    real: LabelledImages
    num_classes: int
    strategy: Teacher
    parts: Tensor
    members: tuple[FoldTeacher, ...]
    seconds: float

    @classmethod
    def fit(
        cls,
        real: LabelledImages,
        num_classes: int,
        strategy: Teacher,
        *,
        updates: int,
        seed: int,
        compute: Compute = CPU,
    ) -> Teachers:
        """Train ``strategy.folds`` teachers for ``updates`` each, with balanced softmax (arXiv:2007.10740).

        The result depends on ``seed``, not on the number of workers. Raises DataError when no class has two images:
        then none can be held out.
        """
        start = time.perf_counter()
        check_held_out(real.counts(num_classes))
        parts = stratified_parts(real.labels, strategy.folds, seed)
        workers = compute.queue
        jobs = [
            workers.submit(
                _fit_fold, real, num_classes, parts != fold, updates, derived_seed(seed, "teacher", fold), compute
            )
            for fold, own in enumerate(derived_seed(seed, "teacher", fold) for fold in range(strategy.folds))
        ]
        members = tuple(workers.results(jobs))
        return cls(real, num_classes, strategy, parts, members, time.perf_counter() - start)

    def judge(self, images: Tensor, labels: Tensor, parents: Tensor | None = None) -> FilterDecisions:
        """Judge uint8 images ``(n, C, H, W)`` said to be of the classes ``labels``, int64 ``(n,)``.

        parents: index ``(n,)`` of the real image each was made from, -1 for none. An image with a parent is judged
        only by the teacher that never saw the parent; one without, or whose parent every teacher saw (the single image
        of a class), by all. Raises DataError for labels of classes without a real image.
        """
        self._check(images, labels)
        asked = self._asked(parents, len(images))
        probability, distance = torch.zeros(len(images)), torch.zeros(len(images))
        with threads(1):  # sums in another order could tip an image over a limit
            for fold, teacher in enumerate(self.members):
                rows = asked[:, fold].nonzero()[:, 0]
                if len(rows):
                    sure, features = teacher.look(images[rows], labels[rows])
                    probability[rows] += sure
                    distance[rows] += self._distances(teacher, features, labels[rows])
            copy = pixel_copies(images, self.real.images) if len(images) else torch.zeros(0, dtype=torch.bool)
        count = asked.sum(dim=1)
        return self._decisions(labels, probability / count, distance / count, copy)

    def _decisions(self, labels: Tensor, probability: Tensor, distance: Tensor, copy: Tensor) -> FilterDecisions:
        band = (probability >= self.strategy.low) & (probability <= self.strategy.high)
        grounds = torch.stack([~band, distance > self.limits[labels], copy], dim=1).tolist()
        reasons = tuple(next((name for name, bad in zip(REASONS, row, strict=True) if bad), None) for row in grounds)
        return FilterDecisions(probability, distance, copy, reasons)

    def _asked(self, parents: Tensor | None, n: int) -> Tensor:
        """Bool ``(n, folds)``: which teachers judge each image."""
        if parents is None:
            return torch.ones(n, len(self.members), dtype=torch.bool)
        part = torch.where(parents >= 0, self.parts[parents], SEEN_BY_ALL)[:, None]
        return (part == SEEN_BY_ALL) | (part == torch.arange(len(self.members)))

    def _distances(self, teacher: FoldTeacher, features: Tensor, labels: Tensor) -> Tensor:
        """Distance ``(n,)`` of standardised features to the nearest images of their class that the teacher saw."""
        distances = torch.zeros(len(features))
        for label in labels.unique():
            gallery = teacher.features[teacher.seen & (self.real.labels == label)]
            distances[labels == label] = distance_to_nearest(features[labels == label], gallery)
        return distances

    @cached_property
    def held_out(self) -> Tensor:
        """Distance ``(N,)`` of each real image by the teacher that never saw it; NaN where every teacher did."""
        distances = torch.full((len(self.real),), torch.nan)
        with threads(1):
            for fold, teacher in enumerate(self.members):
                rows = self.parts == fold
                distances[rows] = self._distances(teacher, teacher.features[rows], self.real.labels[rows])
        return distances

    @cached_property
    def limits(self) -> Tensor:
        """Largest distance allowed in each class, ``(num_classes,)``: the ``far`` quantile of held-out real images.

        A class with fewer than ``MIN_HELD_OUT`` of them takes the quantile of the larger classes, each measured
        against only as many images as the rare class has. Against all their images the limit would be too near: on a
        long tail of Fashion-MNIST it refused 57% of new real images of a class with 34. Infinite for a class without
        images, of which nothing can be judged.
        """
        labels, known = self.real.labels, self.parts != SEEN_BY_ALL
        held_out = torch.bincount(labels[known], minlength=self.num_classes)
        enough = held_out >= MIN_HELD_OUT
        limits = torch.full((self.num_classes,), torch.inf)
        for label in labels.unique().tolist():
            own = self.held_out[known & (labels == label)] if enough[label] else self._borrowed(label, enough)
            limits[label] = own.quantile(self.strategy.far)
        return limits

    def _borrowed(self, rare: int, enough: Tensor) -> Tensor:
        """Held-out distances of the classes with ``enough`` images, as if they had as few as the class ``rare``."""
        if not bool(enough.any()):
            return self.held_out[self.held_out.isfinite()]
        distances = []
        for fold, teacher in enumerate(self.members):
            few = int((teacher.seen & (self.real.labels == rare)).sum())
            for label in enough.nonzero()[:, 0]:
                of_class = self.real.labels == label
                queries, gallery = of_class & (self.parts == fold), of_class & teacher.seen
                distances.append(distance_to_nearest(teacher.features[queries], teacher.features[gallery][:few]))
        return torch.cat(distances)

    def _check(self, images: Tensor, labels: Tensor) -> None:
        if images.dtype != torch.uint8 or images.shape[1:] != self.real.images.shape[1:] or len(images) != len(labels):
            raise DataError(
                f"Teachers judge uint8 images {tuple(self.real.images.shape[1:])} with a label each; got "
                f"{tuple(images.shape)} {images.dtype} and {len(labels)} labels."
            )
        missing = sorted(set(labels.unique().tolist()) - set(self.real.labels.unique().tolist()))
        if missing:
            raise DataError(
                f"The real images have none of class {', '.join(map(str, missing))}, so no teacher knows it. Ask for "
                "no images of it, or leave the teacher filter out."
            )


def check_held_out(counts: Sequence[int]) -> None:
    """Raise DataError where no class has two images, so that teachers could not be checked on a held-out one."""
    if max(counts) < 2:
        raise DataError(
            "Teachers are checked on held-out real images, and no class has two images. Use more images, or leave the "
            "teacher filter out."
        )


def stratified_parts(labels: Tensor, count: int, seed: int) -> Tensor:
    """The part 0..count-1 in which each image is held out, int64 ``(N,)``; sizes differ by one at most in each class.

    A class with fewer images than parts is held out of as many parts as it has images, and no part takes its last
    one: a single image is ``SEEN_BY_ALL``.
    """
    parts = torch.full((len(labels),), SEEN_BY_ALL)
    shuffles = torch_rng(seed, "parts without a teacher")
    first = 0  # goes on from class to class, so that rare classes do not all miss in the same part
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        if len(members) > 1:
            order = members[torch.randperm(len(members), generator=shuffles)]
            parts[order] = (first + torch.arange(len(members))) % count
            first += len(members)
    return parts


def distance_to_nearest(queries: Tensor, gallery: Tensor) -> Tensor:
    """Mean distance ``(n,)`` of each query ``(n, D)`` to its ``NEIGHBOURS`` nearest (all, if fewer) gallery rows.

    The distance is a root mean square over the features.
    """
    count = min(NEIGHBOURS, len(gallery))
    mean_distances = torch.zeros(len(queries))
    for rows in torch.arange(len(queries)).split(QUERY_CHUNK):
        # direct differences: matrix products would round, and differently for each size of a chunk
        distances = torch.cdist(queries[rows], gallery, compute_mode="donot_use_mm_for_euclid_dist")
        mean_distances[rows] = distances.topk(count, dim=1, largest=False).values.mean(dim=1)
    return mean_distances / math.sqrt(queries.shape[1])


def _fit_fold(
    real: LabelledImages, num_classes: int, seen: Tensor, updates: int, seed: int, compute: Compute
) -> FoldTeacher:
    labels = real.labels[seen]
    cnn = fit_cnn(
        real.images[seen],
        labels,
        num_classes,
        updates=updates,
        seed=seed,
        device=compute.device,
        precision=compute.precision,
        learning=Learning(imbalance="balanced-softmax"),
    )
    features = cnn.features(real.images)
    centre, scale = features[seen].mean(dim=0), features[seen].std(dim=0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)  # a feature that is always off
    counts = torch.bincount(labels, minlength=num_classes).float()
    return FoldTeacher(cnn, seen, counts / counts.sum(), centre, scale, (features - centre) / scale)
