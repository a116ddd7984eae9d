"""The cells of a sweep: every combination, checked before the first begins, each with a key of all that decides it.

Data are loaded once for all cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from augment.datasets.catalogue import DESCRIPTIONS, EXPLICIT, LONG_TAIL
from augment.errors import AugmentError, ConfigError, Stopped
from augment.progress import Reporter
from augment.storage import hashing
from augment.storage.locations import local_path
from augment.studies.config import StudyConfig
from augment.studies.identity import DataFacts
from augment.studies.lifecycle import StudyKind, study_of
from augment.studies.sweep.cell import Cell
from augment.studies.sweep.config import SweepConfig


@dataclass
class Facts:
    """What cells have in common, found once."""

    study: StudyKind[Any, Any, Any]
    reporter: Reporter
    data: dict[tuple[Any, ...], DataFacts] = field(default_factory=dict)

    def data_of(self, config: StudyConfig) -> DataFacts:
        """Load a data set as the study does."""
        key = config.data_key
        if key not in self.data:
            self.data[key] = DataFacts.of(self.study.data_of(config, self.reporter))
        return self.data[key]


T = TypeVar("T")

LAST = ("dataset", "regime", "class_counts", "imbalance_factor", "size")
"""Axes that change fastest, but for the seed: cells side by side differ in them and share nothing they would wait for.

The model changes slowest, so that later models find in the cache what they share with the first one.
"""

SHOWN = ("dataset", "regime", "size", "model")
"""Coordinates of every cell, in the order people read them."""


@dataclass(frozen=True)
class _Draft:
    """A combination that was read.  given: names of the settings that are not the defaults."""

    config: StudyConfig
    given: frozenset[str]
    chosen: Mapping[str, Any]


def cells(config: SweepConfig, reporter: Reporter) -> list[Cell]:
    """All cells in the order they are begun, each once; the model changes slowest and the seed fastest.

    Every value, model, option, arm and data set is checked, and class counts against the data. Raises the error a
    person can act on, with the combination it belongs to.
    """
    reporter.stage("Check all cells")
    study = study_of(config.command)
    checked: dict[str, Mapping[str, Any]] = {}
    drafts = [_draft(config, study, chosen, checked) for chosen in combinations(config)]
    facts = Facts(study, reporter)
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
        unused = {
            name for name, only in (("class_counts", EXPLICIT), ("imbalance_factor", LONG_TAIL)) if regime != only
        }
        yield {name: value for name, value in chosen.items() if name not in unused}


def _rank(name: str) -> int:
    return -1 if name == "model" else LAST.index(name) + 1 if name in LAST else 0


def _draft(
    config: SweepConfig,
    study: StudyKind[Any, Any, Any],
    chosen: Mapping[str, Any],
    checked: dict[str, Mapping[str, Any]],
) -> _Draft:
    """Read one combination; raises what is wrong with its values, models, options or arms.

    checked: options of combinations that differ only in data and seed.
    """
    own: dict[str, Any] = {"regime_seed": config.seed} if "regime_seed" in study.config.model_fields else {}
    if "split" in study.config.model_fields and not str(chosen.get("split", "")).startswith("kfold"):
        own["seeds"] = 1  # seeds are cells; folds are the repetitions of one
    settings = {**chosen, **own}
    for name in ("data_dir", "generator", "dataset"):  # workers may be anywhere
        if settings.get(name) is not None:
            settings[name] = _absolute(str(settings[name]), named=name == "dataset")

    def read() -> _Draft:
        bare = study.config.parse(**settings)
        alike = hashing.content_hash({name: value for name, value in chosen.items() if name not in (*LAST, "seed")})
        if alike not in checked:
            checked[alike] = _options_of(config, study, bare)
        full = study.config.parse(**{**bare.model_dump(exclude_unset=True), "options": dict(checked[alike])})
        return _Draft(full, frozenset({*settings, "options"}), chosen)

    return _named(chosen, read)


def _absolute(text: str, *, named: bool) -> str:
    path = local_path(text)
    return text if named and (text in DESCRIPTIONS or not path.exists()) else str(path.absolute())


def _options_of(config: SweepConfig, study: StudyKind[Any, Any, Any], bare: StudyConfig) -> dict[str, Any]:
    """Options of the generators of a combination, checked with everything else that is known without data."""
    used = study.models(bare)
    options = _options(config, used[0], used)
    with _hint(config):
        study.check(study.config.parse(**{**bare.model_dump(exclude_unset=True), "options": options}))
    return options


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
    identity = _named(draft.chosen, lambda: facts.study.identity(draft.config, data))
    counts = identity.decided.get("counts")
    settings = {name: value for name, value in draft.config.model_dump(mode="json").items() if name in draft.given}
    return Cell(
        key=identity.key,
        command=config.command,
        settings=settings,
        coordinates=_coordinates(config, draft.chosen, None if counts is None else sum(counts)),
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
