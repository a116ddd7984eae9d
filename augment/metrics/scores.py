"""Every score of samples, in one table: its name and title, which way is better, and how it is computed.

Whatever shows, keeps or compares scores reads :data:`SCORES`; a new one is a row here. Reading the table imports no
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from augment.metrics.fidelity import SampleImages


@dataclass(frozen=True)
class Score:
    """A score of samples, and what it is for real images.

    Attributes:
        value: None where it cannot be told, as ``reason`` says.
        floor: Of other real images, equally many; None where there is no such thing.
        floor_range: Bounds that hold 95% of the floors of many halvings of the real images.
        std: Deviation over the subsets that it is a mean of.
        reason: Why there is no value.

    Example:
        >>> from augment.metrics.scores import Score
        >>> Score(4.5, floor=4.1, floor_range=(3.8, 4.6)).like_real
        True
    """

    value: int | float | None = None
    floor: float | None = None
    floor_range: tuple[float, float] | None = None
    std: float | None = None
    reason: str | None = None

    @property
    def like_real(self) -> bool:
        """Is a distance no larger than that of halves of the real images?"""
        return self.value is not None and self.floor_range is not None and self.value <= self.floor_range[1]


@dataclass(frozen=True)
class ScoreKind:
    """A row of :data:`SCORES`.

    Attributes:
        name: In documents and columns.
        title: As people write it.
        better: Which way, "lower" or "higher".
        meaning: What it says, in a few words.
        compute: From the images and their features; None where it does not apply at all.
        by: What it rests on. A score by the ``extractor``'s features means nothing beside that of another extractor, or
            of another number of images; one of ``reconstructions`` is of held-out images that a generator restored.
        parts: Fields of :class:`Score` that it has besides ``value``.
        unit: Shown scores are multiplied by it, which the title then says.
        form: How it is written, a format specification.
        floor: Of real images, by definition.

    Example:
        >>> from augment.metrics.scores import SCORES
        >>> (kid,) = [kind for kind in SCORES if kind.name == "kid"]
        >>> kid.heading, kid.text(0.0125)
        ('KID x 1000 ↓', '12.50')
    """

    name: str
    title: str
    better: Literal["lower", "higher"]
    meaning: str
    compute: Callable[[SampleImages], Score | None]
    by: Literal["extractor", "pixels", "reconstructions"] = "extractor"
    parts: tuple[str, ...] = ()
    unit: float = 1
    form: str = ".3f"
    floor: float | None = None

    @property
    def heading(self) -> str:
        """Title, unit and an arrow towards the better."""
        return f"{self.scaled_title} {'↓' if self.better == 'lower' else '↑'}"

    @property
    def scaled_title(self) -> str:
        """``KID x 1000``, or the title alone."""
        return self.title if self.unit == 1 else f"{self.title} x {self.unit:g}"

    def text(self, value: int | float | None) -> str:
        """A score or floor as it is shown."""
        return "-" if value is None else format(self.unit * value, self.form)

    def floor_text(self, score: Score) -> str:
        """The score of real images with the range of their halvings; empty where there is none."""
        floor = self.floor if score.floor is None else score.floor
        if floor is None:
            return ""
        bounds = score.floor_range
        return self.text(floor) + ("" if bounds is None else f" ({' to '.join(map(self.text, bounds))})")


SCORES = (
    ScoreKind(
        *("fid", "FID", "lower", "lower is closer"),
        lambda images: images.fid(),
        parts=("floor", "floor_range", "reason"),
        form=".2f",
    ),
    ScoreKind(
        *("kid", "KID", "lower", "lower is closer"),
        lambda images: images.kid(),
        parts=("std", "floor", "floor_range"),
        unit=1000,
        form=".2f",
    ),
    ScoreKind(
        *("is", "IS", "higher", "higher: clear and varied"),
        lambda images: images.inception_score(),
        form=".2f",
    ),
    ScoreKind(
        *("precision", "Precision", "higher", "samples that look real"),
        lambda images: images.neighbourhood("precision"),
        parts=("floor",),
    ),
    ScoreKind(
        *("recall", "Recall", "higher", "real images reached"),
        lambda images: images.neighbourhood("recall"),
        parts=("floor",),
    ),
    ScoreKind(
        *("density", "Density", "higher", "samples near real ones"),
        lambda images: images.neighbourhood("density"),
        parts=("floor",),
    ),
    ScoreKind(
        *("coverage", "Coverage", "higher", "real ones with a sample"),
        lambda images: images.neighbourhood("coverage"),
        parts=("floor",),
    ),
    ScoreKind(
        *("ssim_diversity", "SSIM in a class", "lower", "lower: more varied"),
        lambda images: images.diversity(),
        by="pixels",
        parts=("floor",),
    ),
    ScoreKind(
        *("memorisation", "Memorisation", "lower", "higher: nearer to training"),
        lambda images: images.memorised(),
        by="pixels",
        floor=0.5,
    ),
    ScoreKind(
        *("near_copies", "Near copies", "lower", "share of samples"),
        lambda images: images.near_copies(),
        by="pixels",
        parts=("floor",),
    ),
    ScoreKind(
        *("exact_copies", "Exact copies", "lower", "samples"),
        lambda images: images.exact_copies(),
        by="pixels",
        form=",d",
    ),
    ScoreKind(
        *("ssim", "Reconstruction SSIM", "higher", "of held-out images"),
        lambda images: images.restored_ssim(),
        by="reconstructions",
        floor=1.0,
    ),
    ScoreKind(
        *("ms_ssim_reduced", "Reconstruction MS-SSIM", "higher", "of held-out images"),
        lambda images: images.restored_ms_ssim(),
        by="reconstructions",
        floor=1.0,
    ),
    ScoreKind(
        *("psnr", "Reconstruction PSNR dB", "higher", "of held-out images"),
        lambda images: images.restored_psnr(),
        by="reconstructions",
        form=".1f",
    ),
)
"""In the order in which they are shown."""

NO_SCORE = Score()


@dataclass(frozen=True)
class FidelityScores:
    """All scores of one set of samples.

    Attributes:
        extractor: Name of the network.
        extractor_sha256: Its weights.
        n: Samples scored, and real images of the floors.
        n_reference: Real images that they are compared with.
        scores: By the names of :data:`SCORES`.

    Example:
        >>> from augment.metrics.scores import FidelityScores, Score
        >>> scores = FidelityScores("digits", "00ff" * 16, n=300, n_reference=1000, scores={"fid": Score(4.5)})
        >>> scores["fid"].value, scores["kid"].value, scores.measured_by
        (4.5, None, 'digits (00ff00ff), 300 samples against 1,000 real images')
    """

    extractor: str
    extractor_sha256: str
    n: int
    n_reference: int
    scores: Mapping[str, Score]

    def __getitem__(self, name: str) -> Score:
        """A score by its name; one without a value where it was not computed."""
        return self.scores.get(name, NO_SCORE)

    def known(self) -> Iterator[tuple[ScoreKind, Score]]:
        """Kinds that have a value, in order."""
        return ((kind, self[kind.name]) for kind in SCORES if self[kind.name].value is not None)

    @property
    def measured_by(self) -> str:
        """What scores by an extractor depend on besides the images: the extractor, and how many images it saw."""
        return (
            f"{self.extractor} ({self.extractor_sha256[:8]}), {self.n:,} samples against {self.n_reference:,} "
            "real images"
        )

    def to_json(self) -> dict[str, Any]:
        """The section of a document: each score by its name, its parts as ``<name>_<part>``."""
        section: dict[str, Any] = {
            "extractor": self.extractor,
            "extractor_sha256": self.extractor_sha256,
            "n": self.n,
            "n_reference": self.n_reference,
        }
        for kind in SCORES:
            score = self[kind.name]
            section[kind.name] = score.value
            for part in kind.parts:
                value = getattr(score, part)
                section[f"{kind.name}_{part}"] = list(value) if isinstance(value, tuple) else value
        return section


def nested(document: Any) -> Any:
    """What :meth:`FidelityScores.to_json` wrote, by the fields of the class, for whoever checks them.

    Args:
        document: The section of a document; what is no mapping stays as it is.

    Returns:
        The document with ``scores`` by name.

    Example:
        >>> from augment.metrics.scores import FidelityScores, Score, nested
        >>> scores = FidelityScores("digits", "00ff" * 16, n=300, n_reference=1000, scores={"is": Score(7.5)})
        >>> nested(scores.to_json())["scores"]
        {'is': {'value': 7.5}}
    """
    if not isinstance(document, Mapping):
        return document
    scores = {}
    for kind in SCORES:
        parts = {part: document.get(f"{kind.name}_{part}") for part in kind.parts}
        score = {"value": document.get(kind.name), **parts}
        if any(value is not None for value in score.values()):
            scores[kind.name] = score
    return {**document, "scores": scores}


def compute_scores(images: SampleImages) -> FidelityScores:
    """Compute every score of :data:`SCORES`; equal images, equal scores.

    Args:
        images: Samples, and the real images that they are scored against.

    Returns:
        Those that could be computed, by name.

    Example:
        >>> from augment import load_dataset
        >>> from augment.metrics.extractors import load_extractor
        >>> from augment.metrics.fidelity import SampleImages
        >>> from augment.metrics.scores import compute_scores
        >>> train = load_dataset("digits").train.images
        >>> images = SampleImages(train[:50], train[50:100], train[100:150], load_extractor("digits", 1), seed=0)
        >>> scores = compute_scores(images)
        >>> scores.n, "precision" in scores.scores, "memorisation" in scores.scores  # which needs all of ``train``
        (50, True, False)
    """
    computed = ((kind.name, kind.compute(images)) for kind in SCORES)
    scores = {name: score for name, score in computed if score is not None and score != NO_SCORE}
    return FidelityScores(images.extractor.name, images.extractor.sha256, images.n, len(images.real), scores)
