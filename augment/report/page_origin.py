"""How every number was made: settings, seeds, hashes, versions, guards, cost, and a command line that repeats it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from augment.results.records import AnyRecord, FeaturesRecord, RunRecord

Pairs = list[tuple[str, str]]


def origin(record: AnyRecord) -> dict[str, Any]:
    """Everything about one run folder, as texts for the template."""
    result = record.result
    environment = {} if result.environment is None else vars(result.environment)
    return {
        "folder": str(record.folder),
        "command": [shlex.join(words) for words in _words(record)],
        "guards": result.guards,
        "notes": result.dataset.notes,
        "groups": [
            (title, pairs)
            for title, pairs in (
                ("Settings", _settings(record)),
                *_generators(record),
                ("Seeds", _seeds(record)),
                ("Hashes", _hashes(record)),
                ("Versions", [(name, _text(value)) for name, value in environment.items()]),
                ("Cost", _costs(record)),
            )
            if pairs
        ],
    }


def command(record: AnyRecord) -> str:
    """The command line that repeats a run, with every setting spelled out so that later defaults do not change it.

    Empty where ``config.json`` is missing. ``--data-dir`` is not kept in a result: add it where it was used.
    """
    return " ".join(shlex.join(words) for words in _words(record))


def _words(record: AnyRecord) -> list[list[str]]:
    """The command, then each option with its value."""
    if not record.config:
        return []
    options = _run_options(record) if isinstance(record, RunRecord) else _features_options(record)
    found = [["augment", record.kind]]
    for flag, value in options:
        if value is True:
            found.append([flag])
        elif value is not None and value is not False:
            found.append([flag, _word(value)])
    return found


def _run_options(record: AnyRecord) -> Iterator[tuple[str, Any]]:
    config, identity = record.config, record.identity
    model = config.get("model") or record.model
    recipes = identity.get("recipes", {})
    yield from (("--dataset", _dataset(record)), ("--model", model))
    if config.get("class_counts") is None:
        yield from (("--regime", config.get("regime")), ("--size", config.get("size")))
        yield "--imbalance-factor", config.get("imbalance_factor")
    else:
        yield "--class-counts", ",".join(map(str, config["class_counts"]))
    yield from (
        (f"--{name.replace('_', '-')}", config.get(name)) for name in ("regime_seed", "seeds", "seed", "spread")
    )
    yield from _shared(config, next(iter(recipes.values()), {}))
    yield from (("--updates", config.get("updates")), ("--score-on", config.get("score_on")))
    yield from (("--arm", arm) for arm in identity.get("arms", ()))
    yield from (("--classifier", name) for name in config.get("classifiers", ()))
    yield "--strategy", identity.get("strategy")
    for name, recipe in recipes.items():
        yield from _model_options(recipe, config, prefix="" if name == model else f"{name}.")


def _features_options(record: AnyRecord) -> Iterator[tuple[str, Any]]:
    config, recipe = record.config, record.identity.get("generator") or {}
    yield from (("--dataset", _dataset(record)), ("--model", config.get("model") or record.model))
    yield from (("--generator", config.get("generator")), ("--t", _joined(config.get("t"))))
    yield from (("--layer", config.get("layer")), ("--labels-per-class", _joined(config.get("labels_per_class"))))
    yield from (("--head", _joined(config.get("heads"))), ("--second-stage", _joined(config.get("second_stage"))))
    yield from (("--baseline", _joined(config.get("baselines"), "none")), ("--episodes", config.get("episodes")))
    yield from (("--plot", _joined(config.get("plots"), "none")), ("--seed", config.get("seed")))
    yield from _shared(config, {name: record.identity.get(name) for name in ("device", "precision")})
    for key, value in (config.get("encode") or {}).items():
        yield ("--noise-draws", value) if key == "noise_draws" else ("--encode", f"{key}={_option(value)}")
    if config.get("generator") is None:
        yield from _model_options(recipe, config)


def _shared(config: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("image_size", "strict", "steps", "max_minutes"):
        yield f"--{name.replace('_', '-')}", config.get(name)
    yield from (("--device", recipe.get("device")), ("--precision", recipe.get("precision")))


def _model_options(recipe: Mapping[str, Any], config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in (recipe.get("options") or {}).items():
        if not (key == "steps" and config.get("steps") is not None):  # --steps has said so
            yield "--set", f"{prefix}{key}={_option(value)}"


def _dataset(record: AnyRecord) -> str:
    return str(record.identity.get("dataset") or record.dataset)


def _option(value: Any) -> str:
    """As ``--set`` reads it: JSON, or text where that is no JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _joined(values: Any, nothing: str | None = None) -> str | None:
    if values is None or isinstance(values, str):
        return values
    return ",".join(map(str, values)) or nothing


def _settings(record: AnyRecord) -> Pairs:
    pairs = [(name.replace("_", " "), _text(value)) for name, value in record.config.items() if value is not None]
    if strategy := record.identity.get("strategy"):
        pairs.append(("strategy", strategy))
    pairs += [("arms", ", ".join(record.identity["arms"]))] if record.identity.get("arms") else []
    if isinstance(record, RunRecord):
        scored = record.result.scored_on
        pairs.append(("scored on", f"{scored.images:,} {scored.part} images"))
    return pairs


def _generators(record: AnyRecord) -> list[tuple[str, Pairs]]:
    """A group for each generator: how it was trained, then its options."""
    found = []
    for row in record.generators:
        trained = f"{row.steps:,} steps{row.cut_short}, {row.precision} on {row.device}"
        options = [(name.replace("_", " "), _text(value)) for name, value in row.config.items() if name != "steps"]
        found.append((f"Generator {row.name}", [("training", trained), *options]))
    return found


def _seeds(record: AnyRecord) -> Pairs:
    if isinstance(record, FeaturesRecord):
        return [("episodes", ", ".join(map(str, record.seeds)))]
    return [
        (f"repetition {number}", ", ".join(f"{part} {seed}" for part, seed in vars(seeds).items()))
        for number, seeds in enumerate(record.result.seeds, start=1)
    ]


def _hashes(record: AnyRecord) -> Pairs:
    result, identity = record.result, record.identity
    recipe = _first(identity.get("recipes")) or identity.get("generator") or {}
    found = [
        ("result", result.identity),
        ("data", result.dataset.sha256),
        ("code", identity.get("code")),
        ("generator's code", recipe.get("code")),
        ("schema", result.schema),
    ]
    if isinstance(record, RunRecord):
        run = record.result
        found += [("split", run.regime.manifest_sha256), ("extractor of fidelity", run.fidelity.extractor_sha256)]
    return [(name, str(value)) for name, value in found if value]


def _first(recipes: Mapping[str, Mapping[str, Any]] | None) -> Mapping[str, Any]:
    return next(iter((recipes or {}).values()), {})


def _costs(record: AnyRecord) -> Pairs:
    cost = record.result.cost
    told = (
        ()
        if cost is None
        else (
            ("this attempt, wall clock", cost.seconds),
            ("generators, whenever they were trained", cost.generator_seconds),
            ("classifiers, whenever they were trained", cost.classifier_seconds),
        )
    )
    pairs = [(name, f"{value:,.1f} s") for name, value in told if value]
    return [*pairs, ("finished", record.finished_at)]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    words = {True: "yes", False: "no"}
    return "none" if value is None else words[value] if isinstance(value, bool) else str(value)
