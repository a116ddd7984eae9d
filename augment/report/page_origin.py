"""How every number was made: settings, seeds, hashes, versions, guards, cost, and a command line that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from augment.results.records import AnyRecord, FeaturesRecord, RunRecord
from augment.studies.lifecycle import config_of

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
    if record.identity is None:
        return []
    asked = config_of(record.kind).model_construct(**record.identity.settings)
    return [["augment", record.kind], *asked.words()]


def _settings(record: AnyRecord) -> Pairs:
    told = {name: value for name, value in record.settings.items() if name != "options" and value is not None}
    pairs = [(name.replace("_", " "), _text(value)) for name, value in told.items()]
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
    return [("episodes" if isinstance(record, FeaturesRecord) else "repetitions", ", ".join(map(str, record.seeds)))]


def _hashes(record: AnyRecord) -> Pairs:
    result, generators = record.result, {} if record.identity is None else record.identity.generators
    found = [
        ("result", result.identity),
        ("data", result.dataset.sha256),
        ("code", record.code),
        *((f"code of {name}", generator.code or generator.weights) for name, generator in generators.items()),
        ("schema", result.schema),
    ]
    if isinstance(record, RunRecord):
        run = record.result
        found += [("split", run.regime.manifest_sha256), ("extractor of fidelity", run.fidelity.extractor_sha256)]
    return [(name, str(value)) for name, value in found if value]


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
