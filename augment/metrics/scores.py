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

    value: None where it cannot be told, as ``reason`` says.  floor: of other real images, equally many; None where
    there is no such thing.  floor_range: bounds that hold 95% of the floors of many halvings of the real images.
    std: deviation over the subsets that it is a mean of.
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

    name: in documents and columns.  title: as people write it.  better: which way.  meaning: what it says, in a few
    words.  compute: from the images and their features; None where it does not apply at all.  by: what it rests on. A
    score by the ``extractor``'s features means nothing beside that of another extractor, or of another number of
    images; one of ``reconstructions`` is of held-out images that a generator restored.  parts: fields of
    :class:`Score` that it has besides ``value``.  unit: shown scores are multiplied by it, which the title then says.
    form: how it is written.  floor: of real images, by definition.
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

    extractor, extractor_sha256: name and weights of the network.  n: samples scored, and real images of the floors.
    n_reference: real images that they are compared with.  scores: by the names of :data:`SCORES`.
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
        found: dict[str, Any] = {
            "extractor": self.extractor,
            "extractor_sha256": self.extractor_sha256,
            "n": self.n,
            "n_reference": self.n_reference,
        }
        for kind in SCORES:
            score = self[kind.name]
            found[kind.name] = score.value
            for part in kind.parts:
                value = getattr(score, part)
                found[f"{kind.name}_{part}"] = list(value) if isinstance(value, tuple) else value
        return found


def nested(document: Any) -> Any:
    """What :meth:`FidelityScores.to_json` wrote, by the fields of the class, for whoever checks them."""
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
    """Every score of :data:`SCORES`; equal images, equal scores."""
    found = ((kind.name, kind.compute(images)) for kind in SCORES)
    scores = {name: score for name, score in found if score is not None and score != NO_SCORE}
    return FidelityScores(images.extractor.name, images.extractor.sha256, images.n, len(images.real), scores)
