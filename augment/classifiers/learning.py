"""How a classifier learns from the images it is given; the same updates and the same shifts whatever is chosen here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from augment.classifiers.origins import BatchShare, ClassMixUp, Decay, RealLast, RealNorm, Weight
from augment.errors import ConfigError, unknown_name

Imbalance = Literal["as-is", "oversample", "class-weights", "balanced-softmax"]
Prior = Literal["mixture", "origin"]

IMBALANCES: tuple[str, ...] = get_args(Imbalance)
PRIORS: tuple[str, ...] = get_args(Prior)


@dataclass(frozen=True)
class Learning:
    """Everything that tells one arm's training from another's besides the images.

    imbalance: ``as-is``; ``oversample`` draws classes uniformly; ``class-weights`` weighs each class's loss by the
    inverse of its frequency; ``balanced-softmax`` adds the logarithm of each class's frequency to the logits in the
    loss (Ren et al. 2020, arXiv 2007.10740; logit adjustment, Menon et al. 2020, arXiv 2007.07314). Frequencies are
    those with which classes are really drawn.  prior: in the ``mixture`` of real and synthetic images, their weights
    counted, or among images of the same ``origin``. A classifier that can tell synthetic images from real ones learns
    p(class | image, origin); the mixture's frequencies then correct its answer to real images too little.
    transforms: names of :mod:`~augment.classifiers.transforms`, applied in order.  mixing: ``mixup`` or ``cutmix`` of a
    batch; alpha: of its Beta distribution, None for the usual one.  share, weight, mix, norm, last: how synthetic
    images are used.
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
