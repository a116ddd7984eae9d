"""What decides the result of a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import sub

from augment.arms.grammar import ArmSpec, Usage, parse_arm
from augment.classifiers.cnn import default_updates
from augment.datasets import regimes
from augment.datasets.splits import Split
from augment.results.run_result import RunResult
from augment.results.study_result import GeneratorIdentity, Identity
from augment.storage import hashing
from augment.storage.hashing import imported_sources
from augment.studies import identity as studies
from augment.studies.identity import DataFacts, untrained
from augment.studies.run.config import RunConfig

LAST = "real-last:share=0.3"
"""Of all that was tried with a balanced softmax, what made most of the same images, on the official test images of
Fashion-MNIST."""


def default_usage(counts: Sequence[int], given: Usage | None = None) -> Usage:
    """How synthetic images are used: as ``given``, where something is, and by what suits the class counts else.

    Where classes differ in size ``partial``, then a last phase on real images; where they do not there is no deficit to
    fill, and ``ratio`` adds to all, plainly. What is given without a number of images gets that alone.
    """
    equal = max(counts) == min(counts)
    if given is not None:
        return given.or_else(Usage.parse("ratio" if equal else "partial"))
    return Usage.parse("ratio" if equal else f"partial+{LAST}")


SOURCE = "augment.studies.run.study"


def identity_of(config: RunConfig, data: DataFacts) -> Identity:
    """The identity of a run on these data; raises what is wrong with its counts, arms or options."""
    config = config.divided(own_test=data.own_test)
    counts = counts_of_regime(config, data)
    given = None if config.strategy is None else Usage.parse(config.strategy)
    strategy = str(default_usage(counts, given))
    models = models_of(config)
    generators = {name: untrained(name, config.options_of(name), config.steps) for name in models}
    updates = config.updates or default_updates(sum(counts))
    arms = config.arm_names
    return studies.identity_of(
        config,
        data,
        generators,
        schema=RunResult.schema,
        code=hashing.code_fingerprint(imported_sources(SOURCE)),
        settings={
            "arm_set": config.set_name,
            "strategy": strategy,
            "updates": updates,
            "split": config.split,
            "seeds": config.seeds,
            "regime_seed": _regime_seed(config),
            "options": _options(config, generators),
        },
        resolved={
            "counts": list(counts),
            **dict.fromkeys(("size", "class_counts", "imbalance_factor", "arm_set"), None),
            "arms": list(arms),
            "trees_only": [name for name in arms if name in config.for_trees],
        },
    )


def counts_of_regime(config: RunConfig, data: DataFacts) -> tuple[int, ...]:
    """Real training images of each class in the first repetition, but for those that are test images, too.

    Raises DataError or ConfigError where the data do not have them.
    """
    split, available = Split.parse(config.split), data.counts
    if split.kind != "given":
        everything = tuple(map(sum, zip(data.counts, data.tested, strict=True)))
        available = tuple(map(sub, everything, split.tested(everything, 0)))
    return counts_among(config, available)


@cache
def _counts(
    regime: str,
    available: tuple[int, ...],
    size: int | None,
    imbalance_factor: float,
    explicit: tuple[int, ...] | None,
    seed: int,
) -> tuple[int, ...]:
    """The same for all seeds and most settings of a grid."""
    return regimes.class_counts(
        regime, available, size=size, imbalance_factor=imbalance_factor, explicit=explicit, seed=seed
    )


def counts_among(config: RunConfig, available: Sequence[int]) -> tuple[int, ...]:
    """Real training images of each class, of those that a repetition may draw."""
    return _counts(
        config.regime,
        tuple(available),
        config.size,
        config.imbalance_factor,
        config.class_counts,
        _regime_seed(config),
    )


def _regime_seed(config: RunConfig) -> int:
    return config.seed if config.regime_seed is None else config.regime_seed


def specs_of(config: RunConfig) -> list[ArmSpec]:
    """The arms that were asked for; raises what is wrong with them."""
    given = Usage() if config.strategy is None else Usage.parse(config.strategy)
    return [parse_arm(name, config.model, given) for name in config.arm_names]


def models_of(config: RunConfig) -> tuple[str, ...]:
    """All generators that the arms of a run use, its own first; raises what is wrong with its arms."""
    others = (spec.generator for spec in specs_of(config) if spec.generator is not None)
    return tuple(dict.fromkeys([config.model, *others]))


def _options(config: RunConfig, generators: dict[str, GeneratorIdentity]) -> dict[str, object]:
    """All options of all generators, as one writes them; ``--steps`` has said how long they are trained."""
    return {
        name if model == config.model else f"{model}.{name}": value
        for model, found in generators.items()
        for name, value in found.options.items()
        if name != "steps" or config.steps is None
    }
