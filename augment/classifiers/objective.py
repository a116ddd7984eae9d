"""What a classifier's updates minimise: cross-entropy that knows class frequencies and which images are synthetic."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.classifiers.learning import Learning

LABEL_SMOOTHING = 0.1


class Objective:
    """Targets and losses of images ``0 .. N-1`` with ``labels`` ``(N,)`` of which ``synthetic`` ``(N,)`` are synthetic.

    Weights of images are part of the targets, whose rows then do not sum to 1: cross-entropy is linear in them, and so
    mixing two targets mixes the two losses.
    """

    def __init__(self, labels: Tensor, synthetic: Tensor, num_classes: int, learning: Learning) -> None:
        self.labels, self.synthetic = labels, synthetic
        self.num_classes = num_classes
        self.learning = learning
        self._real = self._frequencies(~synthetic)
        self._made = self._frequencies(synthetic)
        self._made_share = float(synthetic.float().mean())
        if learning.share is not None and synthetic.any():
            self._made_share = learning.share.share

    def _frequencies(self, chosen: Tensor) -> Tensor:
        counts = torch.bincount(self.labels[chosen], minlength=self.num_classes).float()
        return counts / counts.sum().clamp(min=1)

    def prior(self, progress: float) -> Tensor:
        """Share of each class ``(num_classes,)`` in what is drawn at ``progress``, images by their weight; sums to 1.

        A class that is never drawn counts as if it were the whole, so that nothing makes it look likely.
        """
        if progress >= self.learning.real_from:
            found = self._real
        else:
            weight = self.learning.synthetic_weight(progress)
            found = (1 - self._made_share) * self._real + weight * self._made_share * self._made
        found = found / found.sum()
        found = torch.where(found > 0, found, 1.0)
        return found / found.sum()

    def targets(self, index: Tensor, progress: float) -> Tensor:
        """Weighted and smoothed classes ``(n, num_classes)`` of the images ``index``.

        Labels are smoothed towards the prior of a balanced softmax, not towards uniform classes: after division by the
        prior every other class then keeps the same small share, where uniform smoothing would prefer the rarest (5
        points on a long tail).
        """
        hard = F.one_hot(self.labels[index], self.num_classes).float()
        prior = self.prior(progress)
        adjusted = self.learning.imbalance == "balanced-softmax"
        smooth = prior if adjusted else torch.full_like(prior, 1 / self.num_classes)
        soft = (1 - LABEL_SMOOTHING) * hard + LABEL_SMOOTHING * smooth
        return self.weights(index, progress)[:, None] * soft

    def weights(self, index: Tensor, progress: float) -> Tensor:
        """Weight ``(n,)`` of each image's loss; 1 on average over what is drawn where only classes are weighed."""
        weight = torch.where(self.synthetic[index], self.learning.synthetic_weight(progress), 1.0)
        if self.learning.imbalance == "class-weights":
            prior = self.prior(progress)
            weight = weight * (1 / (self.num_classes * prior))[self.labels[index]]
        return weight

    def loss(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Mean loss of logits ``(n, num_classes)``."""
        if self.learning.imbalance == "balanced-softmax":
            logits = logits + self.prior(progress).log().to(logits.device)
        return F.cross_entropy(logits, targets)
