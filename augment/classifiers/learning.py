"""How a classifier learns from the images it is given; the same updates and the same shifts whatever is chosen here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from augment.classifiers.strategy import Slot, Strategy
from augment.errors import ConfigError, unknown_name


class BatchShare(Strategy):
    """A fixed share of every batch is synthetic, however many synthetic images there are.

    As for mixing real and synthetic data in He et al. 2022, "Is synthetic data from generative models ready for image
    recognition?" (arXiv 2210.07574).
    """

    name: ClassVar[str] = "batch-share"
    slot: ClassVar[Slot] = "share"
    share: float = Field(0.3, gt=0, lt=1, description="of every batch")


class Weight(Strategy):
    """Synthetic images weigh less in the loss, constantly.

    He et al. 2022 (arXiv 2210.07574) weigh synthetic against real losses; .2 to .6 are the usual values.
    """

    name: ClassVar[str] = "weight"
    slot: ClassVar[Slot] = "weight"
    weight: float = Field(0.5, ge=0, le=1, description="of a synthetic image's loss; a real one's is 1")


class Decay(Strategy):
    """The weight of synthetic images falls linearly over the training, so that real images have the last word.

    A curriculum from synthetic to real, in the spirit of Bengio et al. 2009, "Curriculum Learning" (ICML).
    """

    name: ClassVar[str] = "decay"
    slot: ClassVar[Slot] = "weight"
    start: float = Field(1.0, ge=0, le=1, description="weight at the beginning")
    end: float = Field(0.0, ge=0, le=1, description="weight at the end")


class ClassMixUp(Strategy):
    """Each synthetic image in a batch is mixed with a random real one of its class; the label stays.

    MixUp, Zhang et al. 2017 (arXiv 1710.09412), inside a class and across the two origins.
    """

    name: ClassVar[str] = "class-mixup"
    slot: ClassVar[Slot] = "mix"
    alpha: float = Field(1.0, gt=0, le=10, description="of the Beta distribution of the real image's share")


class RealNorm(Strategy):
    """Normalisation is by statistics of real images; synthetic ones are normalised by their own while training.

    Two sets of statistics for two kinds of images, Xie et al. 2019, "AdvProp" (arXiv 1911.09665), there with weights of
    their own as well.
    """

    name: ClassVar[str] = "real-norm"
    slot: ClassVar[Slot] = "norm"


class RealLast(Strategy):
    """The last updates see real images only, and train the last layer alone or all of them.

    Decoupling, Kang et al. 2019 (arXiv 1910.09217): the classifier is tuned last; MiSLAS, Zhong et al. 2021
    (arXiv 2104.00466) after MixUp.
    """

    name: ClassVar[str] = "real-last"
    slot: ClassVar[Slot] = "last"
    share: float = Field(0.2, gt=0, lt=1, description="of the updates")
    layers: Literal["classifier", "all"] = Field("all", description="what they train")


Imbalance = Literal["as-is", "oversample", "class-weights", "balanced-softmax"]
Prior = Literal["mixture", "origin"]

IMBALANCES: tuple[str, ...] = get_args(Imbalance)
PRIORS: tuple[str, ...] = get_args(Prior)


@dataclass(frozen=True)
class Learning:
    """Everything that tells one arm's training from another's besides the images.

    Attributes:
        imbalance: ``as-is``; ``oversample`` draws classes uniformly; ``class-weights`` weighs each class's loss by the
            inverse of its frequency; ``balanced-softmax`` adds the logarithm of each class's frequency to the logits in
            the loss (Ren et al. 2020, arXiv 2007.10740; logit adjustment, Menon et al. 2020, arXiv 2007.07314).
            Frequencies are those with which classes are really drawn.
        transforms: Names of :mod:`~augment.classifiers.transforms`, applied in order.
        mixing: ``mixup`` or ``cutmix`` of a batch; None for neither.
        alpha: Of the Beta distribution of ``mixing``; None for the usual one.
        share: How large a share of each batch is synthetic; None for as many as come.
        weight: What synthetic images weigh in the loss; None for as much as real ones.
        mix: Mixes synthetic images with real ones of their class; None for not.
        norm: Normalises by statistics of real images; None for those of all.
        last: Ends the training with real images only; None for not.
        prior: Frequencies in the ``mixture`` of real and synthetic images, their weights counted, or among images of
            the same ``origin``. A classifier that can tell synthetic images from real ones learns
            p(class | image, origin); the mixture's frequencies then correct its answer to real images too little.

    Raises:
        ConfigError: For an unknown ``imbalance`` or ``prior``.

    Example:
        >>> from augment.classifiers import Learning
        >>> learning = Learning(imbalance="balanced-softmax", mixing="mixup")
        >>> learning.prior, learning.weight is None
        ('mixture', True)
    """

    imbalance: Imbalance = "as-is"
    transforms: tuple[str, ...] = ()
    mixing: str | None = None
    alpha: float | None = None
    share: BatchShare | None = None
    weight: Weight | Decay | None = None
    mix: ClassMixUp | None = None
    norm: RealNorm | None = None
    last: RealLast | None = None
    prior: Prior = "mixture"

    def __post_init__(self) -> None:
        if self.imbalance not in IMBALANCES:
            raise ConfigError(unknown_name("way with imbalance", self.imbalance, IMBALANCES))
        if self.prior not in PRIORS:
            raise ConfigError(unknown_name("prior", self.prior, PRIORS))

    def synthetic_weight(self, progress: float) -> float:
        """Weight of a synthetic image's loss at ``progress`` in [0, 1)."""
        if isinstance(self.weight, Decay):
            return self.weight.start + progress * (self.weight.end - self.weight.start)
        return 1.0 if self.weight is None else self.weight.weight

    @property
    def real_from(self) -> float:
        """Progress from which on only real images are seen; 1 for never."""
        return 1.0 if self.last is None else 1 - self.last.share


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
        self._real_frequencies = self._frequencies(~synthetic)
        self._synthetic_frequencies = self._frequencies(synthetic)
        self._synthetic_share = float(synthetic.float().mean())
        if learning.share is not None and synthetic.any():
            self._synthetic_share = learning.share.share

    def _frequencies(self, chosen: Tensor) -> Tensor:
        counts = torch.bincount(self.labels[chosen], minlength=self.num_classes).float()
        return counts / counts.sum().clamp(min=1)

    def prior(self, progress: float) -> Tensor:
        """Share of each class ``(num_classes,)`` in what is drawn at ``progress``, images by their weight; sums to 1.

        A class that is never drawn counts as if it were the whole, so that nothing makes it look likely.
        """
        if progress >= self.learning.real_from:
            prior = self._real_frequencies
        else:
            synthetic = self._synthetic_weight(progress) * self._synthetic_share * self._synthetic_frequencies
            prior = (1 - self._synthetic_share) * self._real_frequencies + synthetic
        prior = prior / prior.sum()
        prior = torch.where(prior > 0, prior, 1.0)
        return prior / prior.sum()

    def _synthetic_weight(self, progress: float) -> Tensor:
        """Mean weight ``(num_classes,)`` of synthetic images; mixed with a real one, half of it is that one's."""
        weight = torch.full((self.num_classes,), self.learning.synthetic_weight(progress))
        if self.learning.mix is None:
            return weight
        return torch.where(self._real_frequencies > 0, (1 + weight) / 2, weight)

    def priors(self, index: Tensor, progress: float) -> Tensor:
        """Share of each class that the images ``index`` are judged by, ``(n, num_classes)``: see ``Learning.prior``.

        A class that occurs, but not in an image's origin, is next to impossible there.
        """
        mixture = self.prior(progress)
        if self.learning.prior == "mixture" or progress >= self.learning.real_from:
            return mixture.expand(len(index), -1)
        nowhere = (self._real_frequencies + self._synthetic_frequencies) == 0
        own = [
            torch.where(nowhere, mixture, part.clamp(min=ABSENT))
            for part in (self._real_frequencies, self._synthetic_frequencies)
        ]
        real, synthetic = (part / part.sum() for part in own)
        return torch.where(self.synthetic[index][:, None], synthetic, real)

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
