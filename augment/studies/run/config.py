"""What a person asks of a run, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from augment.datasets.catalogue import DESCRIPTIONS, EXPLICIT, LONG_TAIL, NATURAL, REGIMES, default_regime
from augment.errors import LARGEST_COUNT, LARGEST_SEED, ConfigError
from augment.studies.config import MODEL, ClassCounts, ImbalanceFactor, Option, Size, StudyConfig

SAME_RARE = "All cells have the first seed as it, so that the same classes are rare in all seeds."


OWN_SPLIT, SPLITS = "holdout:0.2", 5
"""How own images without a test part are divided where nothing is said, and how often."""


class RunConfig(StudyConfig):
    """What a person asks of a run; the same names as the command line's options.

    Attributes:
        arms: As in :mod:`augment.arms.grammar`.
        arm_set: ``quick`` or ``full``, quick where neither is given.
        options: Of ``model``; those of another generator with its name before, as in ``{"other.steps": 200}``.
        regime_seed: Decides which classes are rare, in all seeds alike; None takes ``seed``, and a sweep gives all its
            cells the same.
        spread: Train the generator with other seeds on the first subset too, to tell their shares of the spread apart.
        score_on: ``validation`` scores on training images that a repetition did not draw, for whatever is still to be
            chosen.

    Example:
        >>> from augment import RunConfig
        >>> config = RunConfig.parse(dataset="digits", model="vae", arms=["real", "model+mixup"], seeds=5)
        >>> config.regime, config.arm_names
        ('high', ('real', 'vae+mixup'))
        >>> RunConfig.parse(dataset="digits", model="vae", seeds=0)
        Traceback (most recent call last):
        augment.errors.ConfigError: --seeds 0: Input should be greater than or equal to 1.
    """

    called: ClassVar[str] = "run"

    model: Annotated[str, MODEL]
    regime: Annotated[
        str,
        Option(
            f"{', '.join(REGIMES)}.",
            default=f"{NATURAL}; {LONG_TAIL} for a named set",
        ),
    ] = ""
    size: Size = None
    imbalance_factor: ImbalanceFactor = 100.0
    class_counts: ClassCounts = None
    regime_seed: Annotated[
        int | None,
        Field(ge=0, le=LARGEST_SEED),
        Option("Decides which classes are rare.", default="--seed", refused=SAME_RARE),
    ] = None
    arms: Annotated[
        tuple[str, ...],
        Option(
            "An arm, as in oversample+mixup or model+balanced-softmax; repeatable. See `augment arms`.",
            flag="arm",
            given="repeated",
        ),
    ] = ()
    arm_set: Annotated[
        str | None, Option("A set of arms, quick or full.", flag="arms", default="quick, without --arm")
    ] = None
    classifiers: Annotated[
        tuple[str, ...],
        Option("cnn, cart-pixels, cart-pca, cart-cnn; repeatable.", flag="classifier", given="repeated"),
    ] = ("cnn", "cart-pca")
    strategy: Annotated[
        str | None,
        Option("How synthetic images are used, as in partial:share=0.5,cap=5+teacher. See `augment arms`.", whole=True),
    ] = None
    split: Annotated[
        str, Option("given, holdout:0.2 or kfold:5.", default=f"given; {OWN_SPLIT} for own images without a test part")
    ] = ""
    seeds: Annotated[
        int | None,
        Field(ge=1, le=1000),
        Option(
            "Repetitions with new subsets, generators and classifiers.",
            default=f"1; {SPLITS} for {OWN_SPLIT}; the folds of kfold",
        ),
    ] = None
    spread: Annotated[
        bool,
        Option(
            "Train generators with other seeds on the first subset, too.",
            refused="Every seed is a run of its own here; use `augment run --spread`.",
        ),
    ] = False
    max_minutes: Annotated[
        float | None, Field(gt=0), Option("Minutes for all; generators are trained as long as is left for them.")
    ] = None
    updates: Annotated[
        int | None,
        Field(ge=1, le=LARGEST_COUNT),
        Option("Optimizer updates of the CNN, the same in every arm."),
    ] = None
    score_on: Annotated[
        Literal["test", "validation"],
        Option("test, or validation: training images that were not drawn, to choose on."),
    ] = "test"
    fidelity_images: Annotated[
        int, Field(ge=2, le=LARGEST_COUNT), Option("Samples whose fidelity is scored, at most.")
    ] = 2000
    save_images: Annotated[bool, Option("Keep the synthetic images as PNG.", decides=False)] = False

    @field_validator("classifiers")
    @classmethod
    def _known_classifiers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from augment.arms.evaluation import resolve_classifier

        return tuple(dict.fromkeys(resolve_classifier(name) for name in names))

    @model_validator(mode="before")
    @classmethod
    def _with_a_regime(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and not given.get("regime"):
            fallback = default_regime(str(given.get("dataset", "")))
            return {**given, "regime": fallback if given.get("class_counts") is None else EXPLICIT}
        return given

    @field_validator("split")
    @classmethod
    def _readable_split(cls, text: str) -> str:
        from augment.datasets.splits import Split

        return str(Split.parse(text)) if text else text

    def divided(self, *, own_test: bool) -> Self:
        """With split and number of repetitions resolved.

        Args:
            own_test: The data bring a test part of their own.

        Raises:
            ConfigError: For ``given`` where there is no test part, and for another number of repetitions than folds.
        """
        from augment.datasets.splits import Split

        own = not own_test and self.dataset not in DESCRIPTIONS
        split = Split.parse(self.split or (OWN_SPLIT if own else "given"))
        if own and split.kind == "given":
            raise ConfigError(
                f"--split given: {self.dataset} has no test part. Take --split {OWN_SPLIT}, or add test/."
            )
        if split.kind == "kfold" and self.seeds not in (None, split.folds):
            raise ConfigError(
                f"--split {split} has {split.folds} repetitions, one for each fold; leave --seeds {self.seeds} out."
            )
        repetitions = {"given": 1, "holdout": SPLITS, "kfold": split.folds}[split.kind]
        return self.model_copy(update={"split": str(split), "seeds": self.seeds or repetitions})

    @property
    def repetitions(self) -> int:
        """How many, once :meth:`divided`."""
        return self.seeds or 1

    @property
    def set_name(self) -> str | None:
        """The set of arms that is taken: the one that was asked for, and ``quick`` where no arm was."""
        return self.arm_set or (None if self.arms else "quick")

    @property
    def arm_names(self) -> tuple[str, ...]:
        """All arms, sets resolved, the model's own among them."""
        from augment.arms.grammar import arms_of

        return arms_of(self.arms, self.set_name, self.model)

    @property
    def for_trees(self) -> frozenset[str]:
        """Those of :attr:`arm_names` that a set has for trees alone, and that nobody asked for by name."""
        from augment.arms.grammar import FOR_TREES

        return frozenset(FOR_TREES.get(self.set_name or "", ())) - frozenset(self.arms)

    def options_of(self, model: str) -> Mapping[str, Any]:
        """Options of one generator: those with its name before, and for the run's model those without a name.

        Args:
            model: Its registered name.

        Returns:
            Values by the plain names of options.
        """
        named = {key.partition(".")[2]: value for key, value in self.options.items() if key.startswith(f"{model}.")}
        own = {key: value for key, value in self.options.items() if "." not in key} if model == self.model else {}
        return {**own, **named}


CONFIG = RunConfig
