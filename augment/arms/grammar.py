"""Arms as a person writes them: ``real``, ``oversample+mixup``, ``NAME+balanced-softmax+mixup+weight:weight=0.4``.

An arm is a sum of components in any order: at most one that adds images, one way with imbalance, one mixing, any number
of transforms of the images, and strategies of :mod:`augment.synthetic.strategies`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from augment import registry
from augment.classifiers.learning import IMBALANCES, Learning
from augment.classifiers.transforms import MIXINGS, TRANSFORMS
from augment.errors import ConfigError, UsageError, unknown_name
from augment.synthetic.strategies import STRATEGIES, Balance, Usage, parse_strategy

MODEL = "model"
"""Stands for the run's ``--model`` in an arm."""

REAL, DUPLICATE, SMOTE, LATENT_SMOTE, SYNTHETIC = "real", "duplicate", "smote", "latent-smote", "synthetic"

ADDS = {
    DUPLICATE: "adds copies of real images, as many of each class as synthetic ones would be added",
    SMOTE: "fills every class with interpolations of pixels (Chawla et al. 2002, arXiv 1106.1813)",
    LATENT_SMOTE: "fills every class with interpolations of a generator's codes, decoded (arXiv 2105.02340)",
}

QUICK = (REAL, "oversample", "balanced-softmax", MODEL, f"{MODEL}+balanced-softmax")
"""Nothing, the two cheap tricks that help most on long tails, and the generator on top of each."""

FULL = (
    *(REAL, DUPLICATE, "oversample", "class-weights", "balanced-softmax"),
    *("classical", "noise:gaussian", "noise:rotation", "mixup", "cutmix", SMOTE, LATENT_SMOTE),
    *("oversample+classical", "balanced-softmax+mixup"),
    *(MODEL, f"{MODEL}+balanced-softmax", f"{MODEL}+balanced-softmax+mixup"),
)
"""Every cheap trick alone, the combinations that win on long tails, and the generator alone and on top of those."""

SETS: Mapping[str, tuple[str, ...]] = {"quick": QUICK, "full": FULL}


@dataclass(frozen=True)
class ArmSpec:
    """One arm, read but not built.

    name: as written.  adds: what adds images: ``duplicate``, ``smote``, ``latent-smote``, ``synthetic`` or None.
    generator: the registered model that ``synthetic`` and ``latent-smote`` use.  usage: how synthetic images are made
    and used.  learning: how a classifier is trained on them.
    """

    name: str
    adds: str | None
    generator: str | None
    usage: Usage
    learning: Learning

    @property
    def family(self) -> str:
        """``generative`` for an arm with a generator, else ``classical``."""
        return "classical" if self.generator is None else "generative"

    def suits(self, classifier: str) -> bool:
        """Can this classifier learn so? A tree has neither batches nor logits; a last phase it leaves out."""
        learning = self.learning
        batchwise = (learning.mixing, learning.share, learning.mix)
        plain = learning.imbalance != "balanced-softmax" and not learning.transforms and not any(batchwise)
        return classifier in ("cnn", "cart-cnn") or (
            plain and learning.synthetic_weight(0) == learning.synthetic_weight(1)
        )


def parse_arm(text: str, model: str, default: Usage) -> ArmSpec:
    """Read an arm; ``default`` fills the strategies it does not name.

    Raises UsageError for an unknown component, or two that exclude each other, ConfigError for an option's value.
    """
    parts = [part.strip() for part in text.split("+")]
    found = _Components(text, model)
    for part in parts:
        found.add(part)
    return found.spec("+".join(model if part == MODEL else part for part in parts), default)


def arms_of(names: Iterable[str], arm_set: str | None, model: str) -> tuple[str, ...]:
    """The arms of a run in order, each once: those of a named set, the named ones, and the model's own if none uses it.

    Raises UsageError for an unknown set.
    """
    if arm_set is not None and arm_set not in SETS:
        raise UsageError(unknown_name("set of arms", arm_set, SETS))
    given = [*(SETS[arm_set] if arm_set else ()), *names]
    texts = ["+".join(model if part.strip() == MODEL else part.strip() for part in text.split("+")) for text in given]
    own = {model, LATENT_SMOTE, f"{LATENT_SMOTE}:{model}"}
    uses = any(part in own for text in texts for part in text.split("+"))
    return tuple(dict.fromkeys([*texts, *([] if uses else [model])]))


def components() -> Iterator[tuple[str, str, str]]:
    """``(name, kind, what it does)`` of everything an arm may hold, generators left out."""
    yield REAL, "imbalance", "real images as they come"
    yield "oversample", "imbalance", "classes drawn uniformly"
    yield "class-weights", "imbalance", "losses weighed by the inverse of the class's frequency"
    yield "balanced-softmax", "imbalance", "logits adjusted by the classes' frequencies (arXiv 2007.10740)"
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
        if not rest:
            return None
        key, _, value = rest.partition("=")
        if key != "alpha":
            raise UsageError(unknown_name(f"option of {part!r}", key, ["alpha"]))
        try:
            alpha = float(value)
        except ValueError:
            alpha = 0.0
        if not 0 < alpha <= 10:
            raise ConfigError(f"alpha={value!r} in {part!r}: a number above 0, at most 10, is needed.")
        return alpha

    def spec(self, name: str, default: Usage) -> ArmSpec:
        """The arm; strategies make sense only where there are synthetic images."""
        adds = self.once.get("images")
        given = Usage.of(map(parse_strategy, self.strategies))
        if self.strategies and adds is None:
            raise UsageError(
                f"Arm {self.text!r} adds no images, so {self.strategies[0]!r} has nothing to act on. "
                f"Add a generator: {self.text}+{self.model}."
            )
        generator = self.encoder if adds == LATENT_SMOTE else None if adds in ADDS else adds
        usage = given.or_else(_filling(adds, default)) if adds else Usage()
        learning = _learning(self.once, tuple(self.transforms), self.alpha, usage)
        return ArmSpec(name, adds if adds in ADDS or adds is None else SYNTHETIC, generator, usage, learning)


def _filling(adds: str | None, default: Usage) -> Usage:
    """SMOTE fills classes up as its papers do; nothing but a generator has sources and filters."""
    if adds in (SMOTE, LATENT_SMOTE):
        return Usage((Balance(),))
    if adds == DUPLICATE:
        return Usage(tuple(one for one in default.strategies if one.slot not in ("source", "filter")))
    return default


def _learning(once: Mapping[str, str], transforms: tuple[str, ...], alpha: float | None, usage: Usage) -> Learning:
    """Where images are added and nothing else is said, classes are drawn uniformly, as by oversampling."""
    way: Any = once.get("imbalance", "oversample" if "images" in once else REAL)
    used: Any = {slot: usage[slot] for slot in ("share", "weight", "mix", "last")}
    return Learning("as-is" if way == REAL else way, transforms, once.get("mixing"), alpha, **used)


def _instead(name: str) -> str:
    return f", and options as --set {name}.KEY=VALUE" if name in registry.registered() else ""
