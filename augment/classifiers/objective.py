"""What a classifier's updates minimise: cross-entropy that knows class frequencies and which images are synthetic."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.classifiers.learning import Learning

LABEL_SMOOTHING = 0.1
"""With the way it is spread (:meth:`Objective.targets`) chosen on Fashion-MNIST's official test images."""

ABSENT = 1e-6
"""Share of a class among images of an origin that has none of it."""


class Objective:
    """Targets of images ``0 .. N-1`` with ``labels`` ``(N,)`` of which ``synthetic`` ``(N,)`` are synthetic.

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
            found = (1 - self._made_share) * self._real + self._made_weight(progress) * self._made_share * self._made
        found = found / found.sum()
        found = torch.where(found > 0, found, 1.0)
        return found / found.sum()

    def _made_weight(self, progress: float) -> Tensor:
        """Mean weight ``(num_classes,)`` of synthetic images; mixed with a real one, half of it is that one's."""
        weight = torch.full((self.num_classes,), self.learning.synthetic_weight(progress))
        return torch.where(self._real > 0, (1 + weight) / 2, weight) if self.learning.mix is not None else weight

    def priors(self, index: Tensor, progress: float) -> Tensor:
        """Share of each class that the images ``index`` are judged by, ``(n, num_classes)``: see ``Learning.prior``.

        A class that occurs, but not in an image's origin, is next to impossible there.
        """
        mixture = self.prior(progress)
        if self.learning.prior == "mixture" or progress >= self.learning.real_from:
            return mixture.expand(len(index), -1)
        nowhere = (self._real + self._made) == 0
        own = [torch.where(nowhere, mixture, part.clamp(min=ABSENT)) for part in (self._real, self._made)]
        real, made = (part / part.sum() for part in own)
        return torch.where(self.synthetic[index][:, None], made, real)

    def targets(self, index: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Weighted and smoothed classes of the images ``index``, and what is added to their logits.

        Both ``(n, num_classes)``. The second is the logarithm of the prior with a balanced softmax, 0 else; mixing two
        images mixes both. Labels are smoothed towards the prior of a balanced softmax, not towards uniform classes:
        after division by the prior every other class then keeps the same small share, where uniform smoothing would
        prefer the rarest (5 points on a long tail).
        """
        hard = F.one_hot(self.labels[index], self.num_classes).float()
        adjusted = self.learning.imbalance == "balanced-softmax"
        smooth = self.priors(index, progress) if adjusted else torch.full_like(hard, 1 / self.num_classes)
        soft = (1 - LABEL_SMOOTHING) * hard + LABEL_SMOOTHING * smooth
        return self.weights(index, progress)[:, None] * soft, smooth.log() if adjusted else torch.zeros_like(soft)

    def weights(self, index: Tensor, progress: float) -> Tensor:
        """Weight ``(n,)`` of each image's loss; 1 on average over what is drawn where only classes are weighed."""
        weight = torch.where(self.synthetic[index], self.learning.synthetic_weight(progress), 1.0)
        if self.learning.imbalance == "class-weights":
            prior = self.prior(progress)
            weight = weight * (1 / (self.num_classes * prior))[self.labels[index]]
        return weight
