"""The result of ``augment features``: accuracy over labels per class, what was chosen, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from augment.evidence.statistics import Comparison
from augment.results.study_result import GeneratorInfo, StudyResult


@dataclass(frozen=True)
class EncoderInfo(GeneratorInfo):
    """The generator whose features were studied.

    folder: of a saved one; None where it was trained here.  trained: how many were: one, or one for every k and
    episode.  labels_seen: whose labels it has seen, in words.  encode: options of its ``encode``.
    """

    folder: str | None
    trained: int
    labels_seen: str
    encode: Mapping[str, Any]


@dataclass(frozen=True)
class Protocol:
    """What was drawn and fitted.

    labels_per_class: every k.  episodes: draws of the labels, by ``seeds``.  choice: what timestep and layer were
    chosen on, in words; None where there was nothing to choose.
    """

    labels_per_class: tuple[int, ...]
    episodes: int
    seeds: tuple[int, ...]
    pool_images: int
    test_images: int
    probes: tuple[str, ...]
    second_stage: tuple[str, ...]
    regularisation: str
    choice: str | None
    standardised_by: str


@dataclass(frozen=True)
class Chosen:
    """Where features were taken, None where the model has no such option, and how many numbers an image gives."""

    t: int | None
    layer: str | None
    dimensions: int

    @property
    def place(self) -> str:
        """``t 50, layer up.1``; empty where there is nothing to say."""
        parts = (("t", self.t), ("layer", self.layer))
        return ", ".join(f"{name} {value}" for name, value in parts if value is not None)


@dataclass(frozen=True)
class Candidate:
    """A timestep and layer with their accuracy on the validation images; None where the model has no such option."""

    t: int | None
    layer: str | None
    accuracy: float


@dataclass(frozen=True)
class SearchMap:
    """All timesteps and layers that were tried, and the best of them.

    labels_per_class, validation_images: of the probes that they were tried with.
    """

    grid: tuple[Candidate, ...]
    chosen: Candidate
    labels_per_class: int
    validation_images: int
    chosen_on: str = "training images that no episode uses"


@dataclass(frozen=True)
class FewLabelScores:
    """One method with one probe at one k, over all episodes; accuracies in [0, 1].

    probe, t, layer: None where they do not apply.  ci95: t interval of the mean, None for a single episode.  chosen:
    the strength or number of neighbours that each episode picked inside the k labels.
    """

    method: str
    probe: str | None
    t: int | None
    layer: str | None
    k: int
    accuracy: float
    ci95: tuple[float, float] | None
    episodes: int
    accuracies: tuple[float, ...]
    chosen: tuple[float, ...]
    seconds: float

    @property
    def place(self) -> str:
        """``t 50, up.1``; empty where there is nothing to say."""
        parts = (None if self.t is None else f"t {self.t}", self.layer)
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class ComparisonAtK(Comparison):
    """The model's first probe against a baseline, with ``k`` labels per class; differences in points."""

    k: int = 0


@dataclass(frozen=True, kw_only=True)
class FeaturesResult(StudyResult):
    """A finished feature study.

    Attributes:
        generator: The one whose features were studied.
        protocol: What was drawn and fitted.
        chosen: Where features were taken, and how many numbers an image gives.
        map: Where something was to be chosen, all that was tried; None elsewhere.
        baselines: What the features were compared with.
        rows: Scores of every method, probe and k.
        comparisons: The model's first probe against each baseline, at each k.
        verdict: In one sentence.
        dataset: Sizes, classes and notes.
        guards: What was checked, and whether it passed.
        environment: Where it was made.
        finished_at: ISO time in UTC.
        cost: Seconds of the attempt that finished it, and of all trainings.
        seconds: Wall clock of the attempt that finished it.
        folder: Where it lies.
        identity: Hash of everything it depends on.
        cached: Was it there before it was asked for?

    Example:
        >>> import augment
        >>> quick = {"steps": 5, "labels_per_class": [2], "probes": ["linear"], "episodes": 2, "plots": []}
        >>> result = augment.study_features(dataset="digits", model="ae", baselines=["pixels"], **quick)
        >>> result.generator.name, result.methods, result.protocol.test_images, result.map
        ('ae', ('ae', 'pixels'), 359, None)
    """

    schema: ClassVar[str] = "augment.features/6"

    generator: EncoderInfo
    protocol: Protocol
    chosen: Chosen
    map: SearchMap | None
    baselines: tuple[str, ...]
    rows: tuple[FewLabelScores, ...]
    comparisons: tuple[ComparisonAtK, ...]
    verdict: str

    @property
    def sentence(self) -> str:
        """The verdict: are these features worth more than pixels, and than a CNN from scratch?"""
        return self.verdict

    @property
    def classifier_seconds(self) -> float:
        """Of all probes and networks, whenever they were fitted."""
        return sum(row.seconds for row in self.rows)

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods with the model first."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    def numbers(self) -> Iterator[tuple[str, float]]:
        """What is worth comparing: ``accuracy/<probe>/<method>/k<labels per class>``.

        Yields:
            Names and numbers.
        """
        for row in self.rows:
            yield f"accuracy/{row.probe or 'whole'}/{row.method}/k{row.k}", row.accuracy
