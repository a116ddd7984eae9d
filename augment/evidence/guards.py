"""Guards: proofs, made in every run, that a comparison is fair; each says what it saw, whether it holds or not.

What they watch for is what undid reported gains: test images in training, more updates for one arm, images of another
scale, and choices made on the test images. Near copies are found by perceptual hashes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.datasets import LabelledImages
from augment.errors import DataError
from augment.evidence.verdict import Guard
from augment.seeds import torch_rng

HASH_SIDE = 16
"""Frequencies of each direction in the hash: up to 255 signs, so that pictures of one class differ in many."""

NOISE = 6.0
"""Coefficients smaller than this, in grey levels, have no sign in the hash: noise of that deviation gives as much."""

CHECK_SIDE = 8
"""Frequencies of each direction that are compared as numbers; resizing and noise spare the lowest ones."""

LEAST_AGREEMENT = 0.8
"""Cosine of a copy's hash with its original's: a tenth of the signs may differ where both have the same ones."""

LEAST_CORRELATION = 0.995
"""Of the low frequencies of a copy with those of its original; brightness and contrast leave it at 1."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey picture, those that JPEG keeps best (ITU-R BT.601)."""

QUERY_CHUNK = 2048
GALLERY_CHUNK = 4096
"""Bound the matrix of agreements to 32 MB, whatever the sets' sizes."""


@dataclass(frozen=True, eq=False)
class PerceptualHashes:
    """What is kept of ``N`` images to recognise their copies: about 0.5 kB each.

    signs: int8 ``(N, B)``, -1, 0 or 1; all 0 for a flat image.  low: float32 ``(N, D)``, the low frequencies at unit
    length.  shape: ``(C, H, W)`` of the images.
    """

    signs: Tensor
    low: Tensor
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.signs)

    def rows(self, rows: Tensor) -> PerceptualHashes:
        """Those of some images."""
        return PerceptualHashes(self.signs[rows], self.low[rows], self.shape)


def perceptual_hashes(images: Tensor) -> PerceptualHashes:
    """Hash uint8 images ``(N, C, H, W)`` of any size; raises DataError for another type."""
    if images.dtype != torch.uint8 or images.dim() != 4:
        raise DataError(f"Perceptual hashes are of uint8 images (N, C, H, W); got {images.dtype} {[*images.shape]}.")
    down, across = _cosines(images.shape[2]), _cosines(images.shape[3])
    signs, low = [], []
    for part in images.split(QUERY_CHUNK):
        waves = down @ _grey(part) @ across.T
        high = waves.flatten(1)[:, 1:]  # the first is the mean brightness
        signs.append(high.sign().mul(high.abs() >= NOISE).to(torch.int8))
        low.append(F.normalize(waves[:, :CHECK_SIDE, :CHECK_SIDE].flatten(1)[:, 1:], dim=1))
    return PerceptualHashes(torch.cat(signs), torch.cat(low), tuple(images.shape[1:]))


def near_copies(queries: PerceptualHashes, gallery: PerceptualHashes) -> Tensor:
    """Which queries are perceptual copies of a gallery image, exact copies included unless flat: bool ``(N,)``.

    Of each query the gallery image with the nearest hash is looked at. Raises DataError for images of two shapes.
    """
    if queries.shape != gallery.shape:
        raise DataError(f"Near copies are sought among images of one shape; got {queries.shape} and {gallery.shape}.")
    if not len(queries) or not len(gallery):
        return torch.zeros(len(queries), dtype=torch.bool)
    agreement, index = _nearest(queries.signs, gallery.signs)
    correlation = (queries.low * gallery.low[index]).sum(1)
    return (agreement >= LEAST_AGREEMENT) & (correlation >= LEAST_CORRELATION)


def _grey(images: Tensor) -> Tensor:
    """Float32 ``(N, H, W)`` in 0..255; channels that are not three count alike."""
    if images.shape[1] != len(LUMA):
        return images.float().mean(1)
    return (images.float() * torch.tensor(LUMA)[:, None, None]).sum(1)


def _cosines(side: int) -> Tensor:
    """The first rows of the orthonormal cosine transform of ``side`` samples."""
    frequency, position = torch.arange(min(HASH_SIDE, side))[:, None], torch.arange(side) + 0.5
    waves = torch.cos(math.pi / side * frequency * position) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves


def _nearest(queries: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine with the nearest hash of the gallery, float32 ``(N,)``, and its index, int64 ``(N,)``."""
    best = torch.full((len(queries),), -math.inf)
    index = torch.zeros(len(queries), dtype=torch.int64)
    for start, rows in _chunks(gallery, GALLERY_CHUNK):
        for first, hashes in _chunks(queries, QUERY_CHUNK):
            chunk = slice(first, first + QUERY_CHUNK)
            agreement, nearest = (hashes @ rows.T).max(dim=1)
            index[chunk] = torch.where(agreement > best[chunk], nearest + start, index[chunk])
            best[chunk] = torch.maximum(best[chunk], agreement)
    return best, index


def _chunks(signs: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Rows at unit length, ``size`` at a time, with the index of the first."""
    for start in range(0, len(signs), size):
        yield start, F.normalize(signs[start : start + size].float(), dim=1)


LEVELS = 256


class Fingerprint:
    """Hashes of a set of images, computed once, by which others are compared with it; keeps no image.

    images: uint8 ``(N, C, H, W)``; raises DataError for another type. What is compared must have their shape.
    """

    def __init__(self, images: Tensor) -> None:
        self._hashes = perceptual_hashes(images)
        self._digests = frozenset(digests(images))

    def exact(self, images: Tensor) -> int:
        """How many of ``images`` are, pixel for pixel, in the set."""
        return int(self.contains(images).sum())

    def near(self, images: Tensor) -> int:
        """How many of ``images`` look like one of the set (:mod:`~augment.evidence.guards`), exact copies too."""
        return self.exact_and_near(images)[1]

    def exact_and_near(self, images: Tensor) -> tuple[int, int]:
        """:meth:`exact` and :meth:`near` at the price of one."""
        exact = self.contains(images)
        return int(exact.sum()), int((exact | near_copies(self._hashed(images), self._hashes)).sum())

    def _hashed(self, images: Tensor) -> PerceptualHashes:
        hashes = perceptual_hashes(images)
        if hashes.shape != self._hashes.shape:
            raise DataError(
                f"Images of shape {hashes.shape} cannot be compared with a set of {self._hashes.shape} (channels, "
                "height, width). Resize them alike first."
            )
        return hashes

    def contains(self, images: Tensor) -> Tensor:
        """Which of ``images`` are, pixel for pixel, in the set, bool ``(N,)``."""
        self._hashed(images[:1])
        return torch.tensor([digest in self._digests for digest in digests(images)], dtype=torch.bool)


def digests(images: Tensor) -> list[bytes]:
    """A hash of the pixels of each of ``(N, C, H, W)``."""
    flat = images.flatten(1).contiguous().numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in flat]


def no_test_images(parts: Mapping[str, Tensor], test: Tensor | Fingerprint) -> Guard:
    """No test image, pixel for pixel, is in anything trained on.

    parts: everything trained on by name, uint8 ``(N, C, H, W)``.  test: the test images, or their fingerprint where it
    is needed more than once. Near copies are counted and told, and fail nothing: real data sets have look-alikes.
    """
    fingerprint = test if isinstance(test, Fingerprint) else Fingerprint(test)
    matches = {name: (*fingerprint.exact_and_near(images), len(images)) for name, images in parts.items()}
    details = [
        f"{name}: {exact:,} of {total:,} are test images pixel for pixel, {near - exact:,} more are near copies of one"
        for name, (exact, near, total) in matches.items()
    ]
    leaks = sum(exact for exact, _, _ in matches.values())
    return Guard("no test image in training", leaks == 0, "; ".join(details) or "nothing was trained on")


def refuse_test_images(images: Tensor, test: Fingerprint, purpose: str) -> None:
    """Raise DataError when ``images``, by which ``purpose`` is chosen, have test images among them.

    purpose: what is chosen, as "the threshold of the filter". To be called before every choice.
    """
    leaks = test.exact(images)
    if leaks:
        raise DataError(
            f"{purpose[:1].upper()}{purpose[1:]} would be chosen on test images: {leaks:,} of the {len(images):,} "
            "images for it are in the test part. Choose it on training images that are not."
        )


def equal_updates(updates_by_arm: Mapping[str, AbstractSet[int]]) -> Guard:
    """Every arm was trained with the same number of optimizer updates; given is what each arm really took."""
    counts = sorted(set().union(*updates_by_arm.values()))
    passed = len(counts) <= 1
    if passed:
        detail = f"{counts[0]:,} updates" if counts else "no arm was trained"
    else:
        detail = "; ".join(
            f"{arm}: {', '.join(f'{count:,}' for count in sorted(updates))} updates"
            for arm, updates in updates_by_arm.items()
        )
    return Guard("equal updates in all arms", passed, detail)


MISTAKES: dict[str, Callable[[Tensor], Tensor]] = {
    "at half their brightness": lambda level: level / 2,
    "at twice their brightness": lambda level: level * 2,
    "squeezed into the upper half of the levels (scaled from [-1, 1] twice)": lambda level: (level + 255) / 2,
    "cut off below the middle level ([-1, 1] taken for [0, 1])": lambda level: 2 * level - 255,
    "stored as 0 and 1": lambda level: level / 255,
    "inverted": lambda level: 255 - level,
}
"""What happens to images between programs: levels 0..255 to what becomes of them, before clipping."""

MARGIN = 2.0
"""A mistake is named when it explains the levels this many times better than none does; dim samples are no mistake."""

ROUNDING = 2.0
"""Mean difference in grey levels that rounding accounts for."""

DRIFT = 20.0
"""Levels by which a weak generator or another camera moves all pixels, and which are no mistake either.

An inversion that does no more than that, of pictures that are neither dark nor bright on the whole, is not seen.
"""

ANOTHER_SCALE = 45.0
"""Difference of the mean level that no honest generator has, whatever the reason; a weak one draws grey, not dark."""

FEWEST = 30
"""Images of which the levels tell anything; a handful of dark ones is no mistake of scale."""

EXCHANGES, FURTHER = 400, 0.25
"""Random exchanges of images between a part and the training images, none of which may look as bad.

What counts is further out than the worst of them, by a quarter of that one's distance from the middle one.
"""

COMPARED, PIXELS = 1_000, 1_024
"""Images of each side that are exchanged at most, and pixels of an image: more change nothing but time."""


def same_scaling(train: LabelledImages, synthetic: LabelledImages | None, test: LabelledImages) -> Guard:
    """Synthetic and test images have the brightness of the training images, class by class.

    The distribution of levels is compared with that of training images in the same mixture of classes, because
    synthetic images are mostly of the rare ones. It fails when the levels are explained better by a mistake of scale
    than by none, or lie far off, and chance cannot account for that. The measure is the mean difference of sorted
    levels (Wasserstein-1). Chance is what it becomes when images of one class change sides at random (a permutation
    test): the unit is the image, as its pixels are bright or dark together.

    Of 29,520 honest draws (24 kinds of images with mean levels of 60 to 200, 30 to 2,000 of each part) 2 failed; the
    levels alone failed 1,380 of them, one in five of 100 grey photos. In 100 pictures whose mean level is below 101 or
    above 149 every mistake was found in 96 to 100 of 100 draws, but for one that changes little: pictures of nearly
    only black and white, twice as bright.
    """
    details, passed = [], True
    for name, part in (("synthetic", synthetic), ("test", test)):
        count = 0 if part is None else len(part)
        if part is None or count < FEWEST:
            details.append(f"{count or 'no'} {name} images" + (", too few to tell" if count else ""))
            continue
        observed, expected = _mixtures(part, train)
        fault = _fault(observed, expected, part, train)
        passed = passed and not fault
        details.append(f"{name} {_summary(observed)}, training {_summary(expected)}" + (f": {fault}" if fault else ""))
    return Guard("train, synthetic and test images on one scale", passed, "; ".join(details))


def _pairs(part: LabelledImages, train: LabelledImages) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Of each class in both: its weight in the part, and its images there and in training; all as one where none is."""
    shared = [int(label) for label in part.labels.unique() if bool((train.labels == label).any())]
    if not shared:
        yield 1.0, part.images, train.images
    total = int(torch.isin(part.labels, torch.tensor(shared)).sum())
    for label in shared:
        ours = part.images[part.labels == label]
        yield len(ours) / total, ours, train.images[train.labels == label]


def _mixtures(part: LabelledImages, train: LabelledImages) -> tuple[Tensor, Tensor]:
    """Shares of the levels in a part, and in training images of its mixture of classes."""
    observed, expected = torch.zeros(2, LEVELS, dtype=torch.float64)
    for weight, ours, theirs in _pairs(part, train):
        observed += weight * _shares(ours)
        expected += weight * _shares(theirs)
    return observed, expected


def _shares(images: Tensor) -> Tensor:
    return torch.bincount(images.flatten(), minlength=LEVELS).double() / images.numel()


def _fault(observed: Tensor, expected: Tensor, part: LabelledImages, train: LabelledImages) -> str:
    """What is wrong with the levels, in words; empty when nothing is."""
    if float(_distance(observed, expected)) <= ROUNDING:
        return ""
    favour, shift = _signs(observed[None], expected[None])
    mistake, off = float(favour.max()), float(shift)
    if mistake <= 0 and abs(off) <= ANOTHER_SCALE:
        return ""
    by_chance, off_by_chance = _signs(*_exchanged(part, train))
    if mistake > max(0.0, _worst(by_chance.amax(1))):
        return f"they look like training images {list(MISTAKES)[int(favour.argmax())]}"
    far = abs(off) > max(ANOTHER_SCALE, _worst(off_by_chance.abs()))
    return f"their mean differs by {off:+.0f} levels" if far else ""


def _worst(by_chance: Tensor) -> float:
    """The value ``(EXCHANGES,)`` beyond which chance does not lead."""
    worst, middle = float(by_chance.max()), float(by_chance.median())
    return worst + FURTHER * (worst - middle)


def _signs(observed: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Of shares ``(n, LEVELS)``: by how much each mistake explains them better than none, and the shift of the mean.

    ``(n, mistakes)`` in levels, above 0 where the margin is kept, and ``(n,)``. None may move all levels a little.
    """
    levels = torch.arange(LEVELS, dtype=torch.float64)
    shift = (observed - expected) @ levels
    drifted = _spoiled(expected, levels + shift[:, None].clamp(-DRIFT, DRIFT))
    honest = torch.minimum(_distance(observed, expected), _distance(observed, drifted))
    by_mistake = [
        _distance(observed, _spoiled(expected, spoil(levels).expand_as(observed))) for spoil in MISTAKES.values()
    ]
    return honest[:, None] - MARGIN * torch.stack(by_mistake, dim=1), shift


def _spoiled(shares: Tensor, becomes: Tensor) -> Tensor:
    """Shares ``(n, LEVELS)`` of the levels after each of them has become another, of the same shape."""
    return torch.zeros_like(shares).scatter_add(1, becomes.round().long().clamp(0, LEVELS - 1), shares)


def _exchanged(part: LabelledImages, train: LabelledImages) -> tuple[Tensor, Tensor]:
    """:func:`_mixtures` ``(EXCHANGES, LEVELS)`` of sides as large, drawn from the images of both, class by class."""
    own = torch_rng(0, "images to compare")
    observed, expected = torch.zeros(2, EXCHANGES, LEVELS, dtype=torch.float64)
    for weight, ours, theirs in _pairs(part, train):
        drawn = [_evenly(images, max(2, round(COMPARED * weight))) for images in (ours, theirs)]
        mine, others = map(len, drawn)
        shares = _image_shares(torch.cat(drawn))
        chosen = torch.rand(EXCHANGES, mine + others, generator=own).argsort(1) < mine
        mean, first = shares.mean(0), chosen.float() @ shares
        fewer = ((1 / len(ours) + 1 / len(theirs)) / (1 / mine + 1 / others)) ** 0.5
        observed += weight * (mean + fewer * (first / mine - mean))
        expected += weight * (mean + fewer * ((shares.sum(0) - first) / others - mean))
    return observed, expected


def _evenly(images: Tensor, most: int) -> Tensor:
    return images[torch.linspace(0, len(images) - 1, min(len(images), most)).long()]


def _image_shares(images: Tensor) -> Tensor:
    """Shares of the levels in each image, ``(N, LEVELS)`` float32."""
    pixels = images.flatten(1)
    pixels = pixels[:, :: -(-pixels.shape[1] // PIXELS)].long()
    rows = torch.arange(len(pixels))[:, None] * LEVELS
    counts = torch.bincount((pixels + rows).flatten(), minlength=len(pixels) * LEVELS)
    return counts.view(-1, LEVELS) / pixels.shape[1]


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean difference of the sorted levels behind two shares ``(..., LEVELS)``."""
    return (one.cumsum(-1) - other.cumsum(-1)).abs().sum(-1)


def _summary(shares: Tensor) -> str:
    """Mean, deviation and 1st and 99th percentile of the levels."""
    levels = torch.arange(LEVELS, dtype=torch.float64)
    mean = float(shares @ levels)
    deviation = float(shares @ (levels - mean).square()) ** 0.5
    low, high = (int((shares.cumsum(0) < share).sum()) for share in (0.01, 0.99))
    return f"{mean:.0f} +- {deviation:.0f} ({low}..{high})"
