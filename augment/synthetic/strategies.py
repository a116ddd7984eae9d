"""How synthetic images are used: how many, made from what, which are kept, and how a classifier learns from them.

Each strategy is a class with a name, a slot and options; a plan takes at most one per slot, written as
``partial:share=0.5,cap=5+weight:weight=0.4+real-last``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from augment.errors import ConfigError, UsageError, unknown_name

Counts = tuple[int, ...]
Slot = Literal["counts", "source", "filter", "share", "weight", "mix", "norm", "last"]


class Strategy(BaseModel):
    """One decision; options are checked when it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    slot: ClassVar[Slot]

    def __str__(self) -> str:
        """As one writes it: the name, and options that are not the default."""
        given = [f"{key}={_shown(value)}" for key, value in self if value != type(self).model_fields[key].default]
        return f"{self.name}:{','.join(given)}" if given else self.name


class CountStrategy(Strategy):
    """Maps real images per class to synthetic images per class."""

    slot: ClassVar[Slot] = "counts"

    def counts(self, real: Sequence[int]) -> Counts:
        """Synthetic images per class for ``real`` images per class."""
        raise NotImplementedError


class Balance(CountStrategy):
    """Fill every class to the largest, as random oversampling does.

    Naive filling; with a generator that saw 20 images of a class it teaches the wrong tail.
    """

    name: ClassVar[str] = "balance"

    def counts(self, real: Sequence[int]) -> Counts:
        """The deficit of every class."""
        return tuple(max(real) - count for count in real)


class Partial(CountStrategy):
    """Fill a share of each class's deficit, at most ``cap`` synthetic images for each real one.

    DiffuLT, Shao et al. 2024 (arXiv 2403.05170) and others find that more than 5 to 10 times a class's images hurt.
    """

    name: ClassVar[str] = "partial"
    share: float = Field(0.5, ge=0, le=1, description="of the deficit")
    cap: float = Field(5.0, ge=0, le=1000, description="synthetic images for each real one, at most")

    def counts(self, real: Sequence[int]) -> Counts:
        """A share of the deficit of every class, capped."""
        return tuple(round(min(self.share * (max(real) - count), self.cap * count)) for count in real)


class Ratio(CountStrategy):
    """Add ``ratio`` synthetic images for each real one, in every class.

    As Azizi et al. 2023, "Synthetic Data from Diffusion Models Improves ImageNet Classification" (arXiv 2304.08466).
    """

    name: ClassVar[str] = "ratio"
    ratio: float = Field(1.0, ge=0, le=1000, description="synthetic images for each real one")

    def counts(self, real: Sequence[int]) -> Counts:
        """A multiple of every class."""
        return tuple(round(self.ratio * count) for count in real)


class Even(CountStrategy):
    """Add equally many synthetic images to every class, ``ratio`` for each real image there is in all.

    What a share per batch needs: a synthetic part that is balanced, whatever the real one is. As Azizi et al. 2023
    (arXiv 2304.08466) draw it for balanced real images.
    """

    name: ClassVar[str] = "even"
    ratio: float = Field(1.0, ge=0, le=1000, description="synthetic images for each real one, all classes together")

    def counts(self, real: Sequence[int]) -> Counts:
        """The same for every class that has real images."""
        known = sum(count > 0 for count in real)
        each = round(self.ratio * sum(real) / max(1, known))
        return tuple(each if count else 0 for count in real)


class SourceStrategy(Strategy):
    """Makes the images of classes with few real ones from real images; larger classes are drawn from noise."""

    slot: ClassVar[Slot] = "source"
    below: int = Field(100, ge=1, description="classes with fewer real images than this are made so")


class PartialNoise(SourceStrategy):
    """Noise a real image of the class part of the way and denoise it again, for a generator tagged ``edits``.

    SDEdit, Meng et al. 2021 (arXiv 2108.01073); for few images per class: DA-Fusion, Trabucco et al. 2023
    (arXiv 2302.07944).
    """

    name: ClassVar[str] = "partial-noise"
    strength: float = Field(0.8, gt=0, le=1, description="share of the noise levels; 1 forgets the image, .5 copies it")


class Neighbourhood(SourceStrategy):
    """Decode a point between the codes of a real image and one of its neighbours of the class, plus Gaussian noise.

    For a generator tagged ``decodes``. DeVries and Taylor 2017, "Dataset Augmentation in Feature Space"
    (arXiv 1702.05538).
    """

    name: ClassVar[str] = "neighbourhood"
    neighbours: int = Field(5, ge=1, description="nearest images of the class to choose from")
    spread: float = Field(0.5, ge=0, le=10, description="noise, in standard deviations of the class's codes")


class Translation(SourceStrategy):
    """Noise an image of a frequent class and denoise it as the rare one: head-to-tail translation, generator ``edits``.

    The variety of the head is lent to the tail, as in M2m, Kim et al. 2020 (arXiv 2004.00431), there by an optimised
    perturbation; here by SDEdit (arXiv 2108.01073) under the rare class's label.
    """

    name: ClassVar[str] = "translation"
    strength: float = Field(0.95, gt=0, le=1, description="share of the noise levels; .7 keeps the head's class")


class Teacher(Strategy):
    """Keep what cross-fitted teachers find plausible, that is like real images of its class, and that is no copy.

    Teachers are trained on the real images without one fold each. An image is kept when their mean probability of its
    class, classes being equally likely, lies in [low, high], when its distance in their feature space to the class's
    nearest real images is at most the ``far`` quantile of the same distance of held-out real images, and when it is no
    near copy: three times nearer, in pixels, to one training image than to the next.
    Sources: confidence as the filter, Azizi et al. 2023 (arXiv 2304.08466); a middle band (``high`` below 1), because
    what the teacher is sure of adds least, DiffuLT (arXiv 2403.05170); it leaves next to nothing of rare classes that
    are easy to tell.
    """

    name: ClassVar[str] = "teacher"
    slot: ClassVar[Slot] = "filter"
    folds: int = Field(3, ge=2, le=20, description="parts of the real images, a teacher without each")
    low: float = Field(0.3, ge=0, le=1, description="lowest mean probability of its class")
    high: float = Field(1.0, ge=0, le=1, description="highest one")
    far: float = Field(0.95, gt=0, le=1, description="quantile of real images' distances that may be reached")
    rounds: int = Field(4, ge=1, le=50, description="draws of what is still missing, at most")

    @model_validator(mode="after")
    def _a_band(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low={self.low:g} must be below high={self.high:g}")
        return self


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


STRATEGIES: dict[str, type[Strategy]] = {
    kind.name: kind
    for kind in (
        *(Balance, Partial, Ratio, Even),
        *(PartialNoise, Neighbourhood, Translation),
        Teacher,
        *(BatchShare, Weight, Decay, ClassMixUp, RealNorm, RealLast),
    )
}


def parse_strategy(text: str) -> Strategy:
    """Read ``name`` or ``name:key=value,...``; raises UsageError or ConfigError with what is known."""
    name, _, rest = text.partition(":")
    if name not in STRATEGIES:
        raise UsageError(unknown_name("strategy", name, STRATEGIES))
    return with_options(STRATEGIES[name], rest)


def with_options(kind: type[Strategy], text: str) -> Strategy:
    """A strategy with the options of ``key=value,...``."""
    options: dict[str, str] = {}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in kind.model_fields:
            raise UsageError(unknown_name(f"option of strategy {kind.name!r}", key, kind.model_fields))
        if key in options:
            raise UsageError(f"Strategy {kind.name}:{text} gives {key} more than once. Leave one of them.")
        options[key] = value
    try:
        return kind(**options)  # pydantic turns text into numbers
    except ValidationError as error:
        raise ConfigError("\n".join(_explained(kind, dict(item)) for item in error.errors())) from None


def _explained(kind: type[Strategy], item: dict[str, Any]) -> str:
    if not item["loc"]:
        return f"Strategy {kind.name!r}: {str(item['msg']).removeprefix('Value error, ')}."
    return f"Strategy {kind.name!r}, option {item['loc'][0]}={item['input']!r}: {item['msg']}."


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Usage:
    """At most one strategy per slot; an empty slot means the plain way: drawn from noise, all kept, weighed as real."""

    strategies: tuple[Strategy, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Usage:
        """Read strategies joined by ``+``; raises UsageError when two want the same slot."""
        return cls.of(parse_strategy(part.strip()) for part in text.split("+"))

    @classmethod
    def of(cls, strategies: Iterable[Strategy]) -> Usage:
        """One of each slot, in the order of the slots; raises UsageError when two want the same."""
        found: dict[str, Strategy] = {}
        for strategy in strategies:
            other = found.setdefault(strategy.slot, strategy)
            if other is not strategy:
                raise UsageError(f"Strategies {str(other)!r} and {str(strategy)!r} exclude each other. Leave one out.")
        order = list(STRATEGIES)
        return cls(tuple(sorted(found.values(), key=lambda strategy: order.index(strategy.name))))

    def or_else(self, default: Usage) -> Usage:
        """These strategies, and those of ``default`` for the slots that are empty here."""
        taken = {strategy.slot for strategy in self.strategies}
        return Usage.of([*self.strategies, *(other for other in default.strategies if other.slot not in taken)])

    def __getitem__(self, slot: Slot) -> Strategy | None:
        return next((strategy for strategy in self.strategies if strategy.slot == slot), None)

    def __str__(self) -> str:
        return "+".join(map(str, self.strategies))
