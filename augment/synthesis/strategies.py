"""Which synthetic images are made: how many of each class, from what, and which are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from augment.classifiers.strategy import Slot, Strategy

Counts = tuple[int, ...]


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
        n_classes = sum(count > 0 for count in real)
        each = round(self.ratio * sum(real) / max(1, n_classes))
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
