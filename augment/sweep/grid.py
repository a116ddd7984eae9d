"""The cells of a sweep: every combination, checked before the first begins, each with a key of all that decides it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

from augment import regimes, registry, store, trained
from augment.datasets.catalogue import DESCRIPTIONS
from augment.errors import AugmentError, ConfigError, Stopped
from augment.experiment.config import RunConfig
from augment.experiment.plan import check_names, models_of
from augment.features.config import FeaturesConfig
from augment.features.resolve import check_options, model_name
from augment.locations import local_path
from augment.progress import Reporter
from augment.study_config import StudyConfig
from augment.sweep.cell import Cell, Command
from augment.sweep.config import SweepConfig
from augment.sweep.facts import Data, Facts, key_of

T = TypeVar("T")

LAST = ("dataset", "regime", "class_counts", "imbalance_factor", "size")
"""Axes that change fastest, but for the seed: cells side by side differ in them and share nothing they would wait for.

The model changes slowest, so that later models find in the cache what they share with the first one.
"""

SHOWN = ("dataset", "regime", "size", "model")
"""Coordinates of every cell, in the order people read them."""

CONFIGS: Mapping[Command, type[StudyConfig]] = {"run": RunConfig, "features": FeaturesConfig}


@dataclass(frozen=True)
class _Draft:
    """A combination that was read.  given: names of the settings that are not the defaults.  models: all it uses."""

    config: StudyConfig
    given: frozenset[str]
    chosen: Mapping[str, Any]
    models: tuple[str, ...]


@dataclass(frozen=True)
class _Models:
    """What combinations that differ only in data and seed have in common: generators and their options."""

    used: tuple[str, ...]
    options: Mapping[str, Any]


def cells(config: SweepConfig, report: Reporter) -> list[Cell]:
    """All cells in the order they are begun, each once; the model changes slowest and the seed fastest.

    Every value, model, option, arm and data set is checked, and class counts against the data. Raises the error a
    person can act on, with the combination it belongs to.
    """
    report.stage("Check all cells")
    checked: dict[str, _Models] = {}
    drafts = [_draft(config, chosen, checked) for chosen in combinations(config)]
    facts = Facts(config.command, report)
    found: dict[str, Cell] = {}
    for draft in drafts:
        cell = _cell(config, draft, facts)
        found.setdefault(cell.key, cell)
    return list(found.values())


def combinations(config: SweepConfig) -> Iterator[dict[str, Any]]:
    """Every combination of values and seeds.

    What a regime does not use is left out of its combinations, so that equal ones become one cell.
    """
    names = sorted(config.values, key=_rank)
    seeds = range(config.seed, config.seed + config.seeds)
    for *values, seed in itertools.product(*(config.values[name] for name in names), seeds):
        chosen = {**dict(zip(names, values, strict=True)), "seed": seed}
        regime = chosen.get("regime")
        unused = {name for name, only in (("class_counts", "explicit"), ("imbalance_factor", "high")) if regime != only}
        yield {name: value for name, value in chosen.items() if name not in unused}


def _rank(name: str) -> int:
    return -1 if name == "model" else LAST.index(name) + 1 if name in LAST else 0


def _draft(config: SweepConfig, chosen: Mapping[str, Any], checked: dict[str, _Models]) -> _Draft:
    """Read one combination; raises what is wrong with its values, models, options or arms."""
    settings = {**chosen, **({"regime_seed": config.seed} if config.command == "run" else {})}
    for name in ("data_dir", "generator", "dataset"):  # workers may be anywhere
        if settings.get(name) is not None:
            settings[name] = _absolute(str(settings[name]), named=name == "dataset")

    def read() -> _Draft:
        bare = CONFIGS[config.command].parse(**settings)
        alike = store.content_hash({name: value for name, value in chosen.items() if name not in (*LAST, "seed")})
        if alike not in checked:
            checked[alike] = _models(config, bare)
        models = checked[alike]
        full = bare.model_copy(update={"options": dict(models.options)})
        return _Draft(full, frozenset({*settings, "options"}), chosen, models.used)

    return _named(chosen, read)


def _absolute(text: str, *, named: bool) -> str:
    path = local_path(text)
    return text if named and (text in DESCRIPTIONS or not path.exists()) else str(path.absolute())


def _models(config: SweepConfig, bare: StudyConfig) -> _Models:
    """Generators of a combination and their options, checked."""
    if isinstance(bare, RunConfig):
        registry.get(bare.model)  # named as a model, before its arms make a component of it
        used = models_of(bare)
        options = _options(config, bare.model, used)
        with _hint(config):
            check_names(bare.model_copy(update={"options": options}))
        return _Models(used, options)
    study = cast(FeaturesConfig, bare)
    model = model_name(study)
    options = _options(config, model, (model,))
    full = FeaturesConfig.parse(**{**study.model_dump(exclude_unset=True), "options": options})
    if full.generator is None:
        with _hint(config):
            trained.check_model(model, options, full.steps)
    check_options(full, model)
    return _Models((model,), options)


@contextmanager
def _hint(config: SweepConfig) -> Iterator[None]:
    """An option that all models are given may not be one of all."""
    try:
        yield
    except ConfigError as error:
        common = [key for key in config.options if "." not in key and repr(key) in str(error)]
        if not common or len(config.values.get("model", ())) < 2:
            raise
        hint = f" An option that not all models have is given as MODEL.{common[0]}."
        raise ConfigError(f"{error}{hint}") from None


def _options(config: SweepConfig, model: str, used: tuple[str, ...]) -> dict[str, Any]:
    """Options of one cell: its model's own by their plain names, and those of generators that its arms use.

    Options of the sweep's other models are left out; any other stays, for the error it deserves.
    """
    elsewhere = {str(name) for name in config.values.get("model", ())} - set(used)
    plain: dict[str, Any] = {key: value for key, value in config.options.items() if "." not in key}
    for key, value in config.options.items():
        owner, dot, name = key.partition(".")
        if owner == model and dot:
            plain[name] = value
        elif dot and owner not in elsewhere:
            plain[key] = value
    return plain


def _cell(config: SweepConfig, draft: _Draft, facts: Facts) -> Cell:
    data = _named(draft.chosen, lambda: facts.data_of(draft.config))
    size = None
    if isinstance(draft.config, RunConfig):
        run = draft.config
        size = sum(_named(draft.chosen, lambda: _class_counts(run, data)))
    settings = {name: value for name, value in draft.config.model_dump(mode="json").items() if name in draft.given}
    return Cell(
        key=key_of(draft.config, draft.models, facts),
        command=config.command,
        settings=settings,
        coordinates=_coordinates(config, draft.chosen, size),
    )


def _class_counts(run: RunConfig, data: Data) -> tuple[int, ...]:
    seed = run.seed if run.regime_seed is None else run.regime_seed
    return _counts(run.regime, tuple(data.counts), run.size, run.imbalance_factor, run.class_counts, seed)


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


def _coordinates(config: SweepConfig, chosen: Mapping[str, Any], size: int | None) -> dict[str, str | int]:
    """Data set, regime, size, model, then every other axis, then the seed."""
    told = {**chosen, **({} if size is None else {"size": size})}
    others = [name for name in config.axes if name not in SHOWN]
    named = {name: told[name] for name in (*SHOWN, *others, "seed") if name in told}
    return {name: value if isinstance(value, int) else _text(value) for name, value in named.items()}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _named(chosen: Mapping[str, Any], call: Callable[[], T]) -> T:
    """The call's result, or its error with the combination it belongs to."""
    try:
        return call()
    except Stopped:
        raise
    except AugmentError as error:
        place = " ".join(_text(chosen[name]) for name in SHOWN if name in chosen)
        raise type(error)(f"In the cells of {place}: {error}") from None
