"""The result of ``augment run``: arms, comparisons, verdicts and fidelity, as computed and as read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer

from augment.errors import DataError
from augment.evidence.effects import ClassEffect, GroupEffect
from augment.evidence.spread import Spread
from augment.evidence.statistics import Comparison, Drawn
from augment.evidence.verdict import Family, Verdict
from augment.metrics.scores import FidelityScores, nested
from augment.results.study_result import FILE, GeneratorInfo, StudyResult
from augment.synthesis.filter_outcome import FilterOutcome

UNEVEN = 1.5
"""Classes of a test part that differ by more: accuracy weighs them by their images, balanced accuracy alike."""

Part = Literal["test", "held-out", "validation"]
"""The test part that is given; what each repetition holds out of all images; training images that were not drawn."""


@dataclass(frozen=True)
class ScoredOn:
    """The part of the data that arms were scored on, and its images."""

    part: Part
    images: int


@dataclass(frozen=True)
class RegimeInfo:
    """The real training images of the first repetition.

    class_counts: images ``(K,)`` of each class.  available: those that the data have.  groups: names of the classes
    with many, medium and few.
    """

    name: str
    size: int
    class_counts: tuple[int, ...]
    available: tuple[int, ...]
    groups: Mapping[str, tuple[str, ...]]
    seed: int
    manifest_sha256: str

    @property
    def drawn(self) -> str:
        """``5,000 of 60,000``, or ``all 240``."""
        total = sum(self.available)
        return f"all {total:,}" if self.size == total else f"{self.size:,} of {total:,}"


@dataclass(frozen=True)
class AddedImages:
    """What an arm adds to the real images of the first repetition.

    adds: ``synthetic``, or the cheap way that makes the images.  class_counts: images ``(K,)``.  filter: what became of
    the images that a filter was shown, in each repetition; None without one.
    """

    arm: str
    adds: str
    generator: str | None
    strategy: str
    class_counts: tuple[int, ...]
    filter: tuple[FilterOutcome, ...] | None


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class in [0, 1], and its images."""

    name: Annotated[str, Field(alias="class")]
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ArmScores:
    """One arm with one classifier in one repetition; scores in [0, 1].

    seed: of the repetition.  updates: optimizer steps of each training; None for a tree.  accuracy: mean over
    ``trainings``, which holds that of each, with a second training that is not in the mean where there is one seed.
    confusion: counts ``[truth][predicted]``, summed over trainings.  seconds: of all.
    """

    arm: str
    classifier: str
    seed: int
    updates: int | None
    accuracy: float
    trainings: tuple[float, ...]
    balanced_accuracy: float
    seconds: float
    cached: bool
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    family: Family


@dataclass(frozen=True)
class ArmEffects:
    """What an arm does to recall, against another one: by groups of classes, and by class where that is known."""

    classifier: str
    arm: str
    against: str
    groups: tuple[GroupEffect, ...]
    classes: tuple[ClassEffect, ...]


@dataclass(frozen=True)
class ArmSpread:
    """How an arm's accuracy varies over seeds.  seconds: of the repeats that tell.  text: one sentence."""

    classifier: str
    arm: str
    seconds: float
    sd: Spread
    text: str


Fidelity = Annotated[FidelityScores, BeforeValidator(nested), PlainSerializer(FidelityScores.to_json)]
"""In a file each score stands by its name."""

Some = Field(min_length=1)


@dataclass(frozen=True, kw_only=True)
class RunResult(StudyResult):
    """A finished run.

    Attributes:
        scored_on: The part of the data that arms were scored on.
        regime: The real training images of the first repetition.
        generators: How they were trained, the run's own first.
        synthetic: What each arm adds to the real images of the first repetition.
        seeds: Of the repetitions.
        drawn: How the images of the repetitions were drawn.
        arms: Scores, one for each repetition, classifier and arm.
        fidelity: Of samples of the run's own generator, in the first repetition.
        comparisons: Every arm against the best one without a generator.
        effects: What arms with a generator do to recall, by groups of classes and by class.
        spread: How accuracies vary over seeds; with several seeds.
        verdicts: One for each classifier, or one in all.
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
        >>> quick = {"size": 120, "steps": 5, "classifiers": ["cart-pixels"], "fidelity_images": 60}
        >>> result = augment.run(dataset="digits", model="ae", arms=["real", "model"], **quick)
        >>> result.generators[0].steps, sum(result.regime.class_counts), result.scored_on.images
        (5, 120, 359)
        >>> list(result.of("cart-pixels")), [(one.arm, one.against) for one in result.comparisons]
        (['real', 'ae'], [('ae', 'real')])
    """

    schema: ClassVar[str] = "augment.run/8"

    scored_on: ScoredOn
    regime: RegimeInfo
    generators: Annotated[tuple[GeneratorInfo, ...], Some]
    synthetic: tuple[AddedImages, ...]
    seeds: Annotated[tuple[int, ...], Some]
    drawn: Drawn
    arms: tuple[ArmScores, ...]
    fidelity: Fidelity
    comparisons: tuple[Comparison, ...]
    effects: tuple[ArmEffects, ...]
    spread: tuple[ArmSpread, ...]
    verdicts: Annotated[tuple[Verdict, ...], Some]

    @property
    def uneven_test(self) -> bool:
        """Has the largest class more than 1.5 times as many images to score on as the smallest that has any?"""
        support = [one.support for one in self.arms[0].per_class if one.support]
        return max(support) > UNEVEN * min(support)

    @property
    def verdict(self) -> Verdict:
        """Does the generator help? On the first classifier."""
        return self.verdicts[0]

    @property
    def sentence(self) -> str:
        """The verdict, in one sentence."""
        return self.verdict.text

    @property
    def classifier_seconds(self) -> float:
        """Of all classifiers, whenever they were trained."""
        return sum([*(row.seconds for row in self.arms), *(row.seconds for row in self.spread)])

    @property
    def classifiers(self) -> tuple[str, ...]:
        """In the order in which they were asked for."""
        return tuple(dict.fromkeys(row.classifier for row in self.arms))

    def of(self, classifier: str) -> dict[str, list[ArmScores]]:
        """The rows of one classifier.

        Args:
            classifier: Its name.

        Returns:
            By arm, one for each repetition.
        """
        by_arm: dict[str, list[ArmScores]] = {}
        for row in self.arms:
            if row.classifier == classifier:
                by_arm.setdefault(row.arm, []).append(row)
        return by_arm

    def numbers(self) -> Iterator[tuple[str, float]]:
        """What is worth comparing: ``accuracy/<classifier>/<arm>`` of each seed, ``fidelity/<score>``.

        Yields:
            Names and numbers.
        """
        for row in self.arms:
            yield f"accuracy/{row.classifier}/{row.arm}", row.accuracy
        for kind, score in self.fidelity.known():
            yield f"fidelity/{kind.name}", float(score.value or 0.0)
            if score.floor is not None:
                yield f"fidelity/{kind.name}_floor", score.floor

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Args:
            document: The content of ``result.json``.

        Returns:
            The result.

        Raises:
            DataError: For another schema, where something is missing or wrong, and where something is not given for
                each class.
        """
        result = super().from_json(document)
        lengths = {
            "regime.class_counts": len(result.regime.class_counts),
            **{f"synthetic[{index}].class_counts": len(row.class_counts) for index, row in enumerate(result.synthetic)},
            **{f"arms[{index}].per_class": len(row.per_class) for index, row in enumerate(result.arms)},
        }
        classes = len(result.dataset.classes)
        for name, length in lengths.items():
            if length != classes:
                raise DataError(f"{FILE} is damaged at {name} ({length} values for {classes} classes): run it again")
        return result

    def to_json(self) -> dict[str, Any]:
        """What ``result.json`` holds; ``verdict`` is the first of ``verdicts``."""
        document = super().to_json()
        return {**document, "verdict": document["verdicts"][0]}
