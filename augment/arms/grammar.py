"""Arms as a person writes them: ``real``, ``oversample+mixup``, ``NAME+balanced-softmax+mixup+weight:weight=0.4``.

An arm is a sum of components in any order: at most one that adds images, one way with imbalance, one mixing, any number
of transforms of the images, and strategies, how synthetic images are made (:mod:`augment.synthesis.strategies`) and
learnt from (:mod:`augment.classifiers.learning`). ``ARM:again`` is the same arm with another seed of the classifier,
judged as if it had a generator: whoever doubts the verdict compares equals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from augment import registry
from augment.classifiers.learning import (
    IMBALANCES,
    PRIORS,
    BatchShare,
    ClassMixUp,
    Decay,
    Learning,
    Prior,
    RealLast,
    RealNorm,
    Weight,
)
from augment.classifiers.strategy import Strategy, with_options
from augment.classifiers.transforms import MIXINGS, TRANSFORMS, check_transforms
from augment.errors import ConfigError, UsageError, unknown_name
from augment.evidence.verdict import Family
from augment.synthesis.strategies import (
    Balance,
    CountStrategy,
    Even,
    Neighbourhood,
    Partial,
    PartialNoise,
    Ratio,
    SourceStrategy,
    Teacher,
    Translation,
)

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


@dataclass(frozen=True)
class Usage:
    """At most one strategy per slot; an empty slot means the plain way: drawn from noise, all kept, weighed as real."""

    counts: CountStrategy | None = None
    source: SourceStrategy | None = None
    filter: Teacher | None = None
    share: BatchShare | None = None
    weight: Weight | Decay | None = None
    mix: ClassMixUp | None = None
    norm: RealNorm | None = None
    last: RealLast | None = None

    @classmethod
    def parse(cls, text: str) -> Usage:
        """Read strategies joined by ``+``; raises UsageError when two want the same slot."""
        return cls.of(parse_strategy(part.strip()) for part in text.split("+"))

    @classmethod
    def of(cls, strategies: Iterable[Strategy]) -> Usage:
        """One of each slot; raises UsageError when two want the same."""
        slots: dict[str, Any] = {}
        for strategy in strategies:
            other = slots.setdefault(strategy.slot, strategy)
            if other is not strategy:
                raise UsageError(f"Strategies {str(other)!r} and {str(strategy)!r} exclude each other. Leave one out.")
        return cls(**slots)

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """Those that there are, in the order of the slots."""
        slots = (getattr(self, one.name) for one in fields(self))
        return tuple(strategy for strategy in slots if strategy is not None)

    def or_else(self, default: Usage) -> Usage:
        """These strategies, and those of ``default`` for the slots that are empty here."""
        filled = {strategy.slot for strategy in self.strategies}
        return Usage.of([*self.strategies, *(other for other in default.strategies if other.slot not in filled)])

    def __str__(self) -> str:
        return "+".join(map(str, self.strategies))


MODEL = "model"
"""Stands for the run's ``--model`` in an arm."""

REAL, DUPLICATE, COPIES, SMOTE = "real", "duplicate", "copies", "smote"
LATENT_SMOTE, SYNTHETIC = "latent-smote", "synthetic"

BALANCED_SOFTMAX = "balanced-softmax"

AGAIN = ":again"

ADDS = {
    DUPLICATE: "adds copies of real images, as many of each class as synthetic ones would be added",
    COPIES: "adds copies of real images, shifted and transformed once: copies:randaugment, copies:noise:blur, ...",
    SMOTE: "fills every class with interpolations of pixels (Chawla et al. 2002, arXiv 1106.1813)",
    LATENT_SMOTE: "fills every class with interpolations of a generator's codes, decoded (arXiv 2105.02340)",
}

STRONGEST = f"{BALANCED_SOFTMAX}+randaugment"
"""The cheap arm that is hardest to beat for a CNN; for a tree, which has neither, it is copies or SMOTE."""

QUICK = (
    *(REAL, "oversample", SMOTE, f"{COPIES}:randaugment", BALANCED_SOFTMAX, STRONGEST),
    *(MODEL, f"{MODEL}+{STRONGEST}"),
)
"""Nothing, the cheap tricks that help most on long tails, and the generator alone and on top of the strongest."""

FULL = (
    *(REAL, DUPLICATE, "oversample", "class-weights", BALANCED_SOFTMAX),
    *("classical", "noise:gaussian", "noise:rotation", "mixup", "cutmix"),
    *(f"{COPIES}:randaugment", SMOTE, LATENT_SMOTE),
    *("oversample+classical", STRONGEST, f"{BALANCED_SOFTMAX}+classical", f"{BALANCED_SOFTMAX}+mixup"),
    *(MODEL, f"{MODEL}+{BALANCED_SOFTMAX}", f"{MODEL}+{STRONGEST}", f"{MODEL}+{BALANCED_SOFTMAX}+mixup"),
)
"""Every cheap trick alone, the combinations that win on long tails, and the generator alone and on top of those."""

SETS: Mapping[str, tuple[str, ...]] = {"quick": QUICK, "full": FULL}

FOR_TREES: Mapping[str, tuple[str, ...]] = {"quick": (SMOTE, f"{COPIES}:randaugment")}
"""Arms of a set that only trees take: their strongest rivals, while the CNN has stronger ones, and each costs time."""


@dataclass(frozen=True)
class ArmSpec:
    """One arm, read but not built.

    name: as written.  adds: what adds images: ``duplicate``, ``copies``, ``smote``, ``latent-smote``, ``synthetic`` or
    None.  generator: the registered model that ``synthetic`` and ``latent-smote`` use.  usage: how synthetic images are
    made and used.  learning: how a classifier is trained on them.  transform: of ``copies``, on every one.  again: with
    another seed of the classifier than the arm of this name.  trees_only: left out for the CNN.
    """

    name: str
    adds: str | None
    generator: str | None
    usage: Usage
    learning: Learning
    transform: str | None = None
    again: bool = False
    trees_only: bool = False

    @property
    def family(self) -> Family:
        """``generative`` for an arm with a generator, and one to be judged as if it had one; else ``classical``."""
        return "generative" if self.generator is not None or self.again else "classical"

    def suits(self, classifier: str) -> bool:
        """Can this classifier learn so? A tree has neither batches nor logits; a last phase it leaves out."""
        if self.trees_only:
            return classifier != "cnn"
        learning = self.learning
        batchwise = (learning.mixing, learning.share, learning.mix, learning.norm)
        plain = learning.imbalance != BALANCED_SOFTMAX and not learning.transforms and not any(batchwise)
        return classifier in ("cnn", "cart-cnn") or (
            plain and learning.synthetic_weight(0) == learning.synthetic_weight(1)
        )


def parse_arm(text: str, model: str, default: Usage) -> ArmSpec:
    """Read an arm; ``default`` fills the strategies it does not name.

    Raises UsageError for an unknown component, or two that exclude each other, ConfigError for an option's value.
    """
    again = text.endswith(AGAIN)
    parts = [part.strip() for part in text.removesuffix(AGAIN).split("+")]
    parsed = _Components(text, model)
    for part in parts:
        parsed.add(part)
    spec = parsed.spec("+".join(model if part == MODEL else part for part in parts), default)
    if again and spec.generator is not None:
        raise UsageError(
            f"Arm {text!r}: only an arm without a generator can be held against itself, because a verdict compares "
            "arms with one against arms without. Try balanced-softmax:again beside balanced-softmax."
        )
    return replace(spec, name=spec.name + AGAIN, again=True) if again else spec


def arms_of(names: Iterable[str], arm_set: str | None, model: str) -> tuple[str, ...]:
    """The arms of a run in order, each once: those of a named set, the named ones, and the model's own if none uses it.

    Where an arm is to be held against itself (``:again``) and none uses the model, its own is not added.

    Raises UsageError for an unknown set.
    """
    if arm_set is not None and arm_set not in SETS:
        raise UsageError(unknown_name("set of arms", arm_set, SETS))
    requested = [*(SETS[arm_set] if arm_set else ()), *names]
    texts = [
        "+".join(model if part.strip() == MODEL else part.strip() for part in text.split("+")) for text in requested
    ]
    own = {model, LATENT_SMOTE, f"{LATENT_SMOTE}:{model}"}
    uses = any(part in own for text in texts for part in text.split("+"))
    uses = uses or any(text.endswith(AGAIN) for text in texts)
    return tuple(dict.fromkeys([*texts, *([] if uses else [model])]))


def components() -> Iterator[tuple[str, str, str]]:
    """``(name, kind, what it does)`` of everything an arm may hold, generators left out."""
    yield REAL, "imbalance", "real images as they come"
    yield "oversample", "imbalance", "classes drawn uniformly"
    yield "class-weights", "imbalance", "losses weighed by the inverse of the class's frequency"
    adjusted = "logits adjusted by the classes' frequencies (arXiv 2007.10740); :prior=origin, by those of real images"
    yield BALANCED_SOFTMAX, "imbalance", f"{adjusted} alone and of synthetic images alone"
    yield from ((name, "images", about) for name, about in ADDS.items())
    yield from ((name, "transform", about) for name, about in TRANSFORMS.items())
    yield from ((name, "mixing", about) for name, about in MIXINGS.items())
    for name, kind in STRATEGIES.items():
        options = ", ".join(f"{key}={field.default}" for key, field in kind.model_fields.items())
        summary = (kind.__doc__ or "").partition("\n")[0]
        yield name, f"strategy ({kind.slot})", f"{summary} {options}" if options else summary


class _Components:
    """What has been read of one arm so far."""

    def __init__(self, text: str, model: str) -> None:
        self.text, self.model = text, model
        self.once: dict[str, str] = {}
        self.transforms: list[str] = []
        self.strategies: list[str] = []
        self.alpha: float | None = None
        self.encoder: str | None = None
        self.transform: str | None = None
        self.prior: Prior | None = None

    def add(self, part: str) -> None:
        """Read one component."""
        if part in TRANSFORMS:
            self.transforms.append(part)
            return
        name, _, rest = part.partition(":")
        if name in STRATEGIES:
            self.strategies.append(part)
        elif name == LATENT_SMOTE:
            self._only("images", name)
            self.encoder = rest or self.model
        elif name == COPIES:
            self._only("images", name)
            self.transform = rest or "randaugment"
            check_transforms([self.transform])
        elif name == BALANCED_SOFTMAX:
            self._only("imbalance", name)
            self.prior = self._prior(part, rest)
        elif name in MIXINGS:
            self._only("mixing", name)
            self.alpha = self._alpha(part, rest)
        elif rest:
            raise UsageError(f"{name!r} in arm {self.text!r} has no options; write {name!r} alone{_instead(name)}.")
        elif name == REAL or name in IMBALANCES:
            self._only("imbalance", name)
        else:
            self._only("images", self._adding(name))

    def _adding(self, name: str) -> str:
        """What adds images: a baseline, or a registered generator."""
        name = self.model if name == MODEL else name
        if name not in ADDS and name not in registry.registered():
            known = [entry for entry, _, _ in components()]
            raise UsageError(unknown_name(f"component of arm {self.text!r}", name, [*known, *registry.registered()]))
        return name

    def _only(self, slot: str, name: str) -> None:
        if slot in self.once:
            raise UsageError(
                f"Arm {self.text!r} has both {self.once[slot]!r} and {name!r}, which exclude each other. "
                "Make two arms of it: --arm is repeatable."
            )
        self.once[slot] = name

    def _alpha(self, part: str, rest: str) -> float | None:
        value = _option("alpha", part, rest)
        try:
            alpha = None if value is None else float(value)
        except ValueError:
            alpha = 0.0
        if alpha is not None and not 0 < alpha <= 10:
            raise ConfigError(f"alpha={value!r} in {part!r}: a number above 0, at most 10, is needed.")
        return alpha

    def _prior(self, part: str, rest: str) -> Prior | None:
        value = _option("prior", part, rest)
        if value is not None and value not in PRIORS:
            raise ConfigError(unknown_name(f"prior in {part!r}", value, PRIORS))
        return cast("Prior | None", value)

    def spec(self, name: str, default: Usage) -> ArmSpec:
        """The arm; strategies make sense only where there are synthetic images."""
        adds = self.once.get("images")
        explicit = Usage.of(map(parse_strategy, self.strategies))
        if self.strategies and adds is None:
            raise UsageError(
                f"Arm {self.text!r} adds no images, so {self.strategies[0]!r} has nothing to act on. "
                f"Add a generator: {self.text}+{self.model}."
            )
        if self.prior is not None and adds is None:
            raise UsageError(
                f"Arm {self.text!r} adds no images, so all have one origin and one prior. Write 'balanced-softmax' "
                f"alone, or add a generator: {self.text}+{self.model}."
            )
        generator = self.encoder if adds == LATENT_SMOTE else None if adds in ADDS else adds
        usage = explicit.or_else(_filling(adds, default)) if adds else Usage()
        learning = _learning(self.once, tuple(self.transforms), self.alpha, usage, self.prior)
        adds = adds if adds in ADDS or adds is None else SYNTHETIC
        return ArmSpec(name, adds, generator, usage, learning, self.transform)


def _option(option: str, part: str, rest: str) -> str | None:
    """The value of the only option that a component has; None where it is not given."""
    key, _, value = rest.partition("=")
    if rest and key != option:
        raise UsageError(unknown_name(f"option of {part!r}", key, [option]))
    return value if rest else None


def _filling(adds: str | None, default: Usage) -> Usage:
    """SMOTE fills classes up as its papers do; nothing but a generator has sources and filters."""
    if adds in (SMOTE, LATENT_SMOTE):
        return Usage(counts=Balance())
    if adds in (DUPLICATE, COPIES):
        return replace(default, source=None, filter=None)
    return default


def _learning(
    once: Mapping[str, str], transforms: tuple[str, ...], alpha: float | None, usage: Usage, prior: Prior | None
) -> Learning:
    """Where images are added and nothing else is said, classes are drawn uniformly, as by oversampling."""
    way: Any = once.get("imbalance", "oversample" if "images" in once else REAL)
    return Learning(
        imbalance="as-is" if way == REAL else way,
        prior=prior or "mixture",
        transforms=transforms,
        mixing=once.get("mixing"),
        alpha=alpha,
        share=usage.share,
        weight=usage.weight,
        mix=usage.mix,
        norm=usage.norm,
        last=usage.last,
    )


def _instead(name: str) -> str:
    return f", and options as --set {name}.KEY=VALUE" if name in registry.registered() else ""
