"""How every number was made: settings, seeds, hashes, versions, guards, cost, and a command line that repeats it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from augment.results.records import RunRecord

Pairs = list[tuple[str, str]]


def origin(record: RunRecord) -> dict[str, Any]:
    """Everything about one run folder, as texts for the template."""
    document, environment = record.document, record.document.get("environment") or {}
    return {
        "folder": str(record.folder),
        "command": [shlex.join(words) for words in _words(record)],
        "guards": document["guards"],
        "notes": list(document["dataset"].get("notes", ())),
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


def command(record: RunRecord) -> str:
    """The command line that repeats a run, with every setting spelled out so that later defaults do not change it.

    Empty where ``config.json`` is missing. ``--data-dir`` is not kept in a result: add it where it was used.
    """
    return " ".join(shlex.join(words) for words in _words(record))


def _words(record: RunRecord) -> list[list[str]]:
    """The command, then each option with its value."""
    if not record.config:
        return []
    options = _run_options(record) if record.kind == "run" else _features_options(record)
    found = [["augment", record.kind]]
    for flag, value in options:
        if value is True:
            found.append([flag])
        elif value is not None and value is not False:
            found.append([flag, _word(value)])
    return found


def _run_options(record: RunRecord) -> Iterator[tuple[str, Any]]:
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


def _features_options(record: RunRecord) -> Iterator[tuple[str, Any]]:
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


def _dataset(record: RunRecord) -> str:
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


def _settings(record: RunRecord) -> Pairs:
    scored = record.document.get("scored_on")
    pairs = [(name.replace("_", " "), _text(value)) for name, value in record.config.items() if value is not None]
    if record.strategy:
        pairs.append(("strategy", record.strategy))
    pairs += [("arms", ", ".join(record.identity["arms"]))] if record.identity.get("arms") else []
    return [*pairs, ("scored on", f"{scored['images']:,} {scored['part']} images")] if scored else pairs


def _generators(record: RunRecord) -> list[tuple[str, Pairs]]:
    """A group for each generator: how it was trained, then its options."""
    document = record.document
    rows = document["generators"] if record.kind == "run" else [document["generator"]]
    found = []
    for row in rows:
        stopped = "" if row["stopped"] == "finished" else f", cut short: {row['stopped']}"
        trained = f"{row['steps']:,} steps{stopped}, {row['precision']} on {row['device']}"
        options = [(name.replace("_", " "), _text(value)) for name, value in row["config"].items() if name != "steps"]
        found.append((f"Generator {row['name']}", [("training", trained), *options]))
    return found


def _seeds(record: RunRecord) -> Pairs:
    if record.kind == "features":
        return [("episodes", ", ".join(map(str, record.seeds)))]
    return [
        (f"repetition {number}", ", ".join(f"{part} {seed}" for part, seed in row.items()))
        for number, row in enumerate(record.document["seeds"], start=1)
    ]


def _hashes(record: RunRecord) -> Pairs:
    document, identity = record.document, record.identity
    fidelity = document.get("fidelity") or {}
    found = (
        ("result", document.get("identity")),
        ("data", document["dataset"].get("sha256")),
        ("split", (document.get("regime") or {}).get("manifest_sha256")),
        ("code", identity.get("code")),
        ("generator's code", (_first(identity.get("recipes")) or identity.get("generator") or {}).get("code")),
        ("extractor of fidelity", fidelity.get("extractor_sha256")),
        ("schema", document.get("schema")),
    )
    return [(name, str(value)) for name, value in found if value]


def _first(recipes: Mapping[str, Mapping[str, Any]] | None) -> Mapping[str, Any]:
    return next(iter((recipes or {}).values()), {})


def _costs(record: RunRecord) -> Pairs:
    cost = record.document.get("cost") or {}
    names = {
        "generator_seconds": "generators, whenever they were trained",
        "classifier_seconds": "classifiers, whenever they were trained",
        "seconds": "this attempt, wall clock",
    }
    pairs = [(names.get(name, name.replace("_", " ")), f"{value:,.1f} s") for name, value in cost.items() if value]
    if not pairs and record.seconds:
        pairs = [("in all", f"{record.seconds:,.1f} s")]
    return [*pairs, ("finished", record.finished_at)] if record.finished_at else pairs


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    words = {True: "yes", False: "no"}
    return "none" if value is None else words[value] if isinstance(value, bool) else str(value)
