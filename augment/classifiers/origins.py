"""How a classifier learns from images of two origins, real and synthetic: shares, weights, mixing, the last updates."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from augment.strategy import Slot, Strategy


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
