"""Settings of a run by the names people know them by, with every default resolved; what two runs differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from augment.results.records import AnyRecord

SEEDS = frozenset({"seed", "seeds", "regime_seed"})
"""Settings in which repetitions of one experiment may differ."""

TOLD = SEEDS | {"dataset", "model", "regime", "size", "spread", "options", "arm_set", "device"}
"""Settings that are seeds, that stand elsewhere, or that change no accuracy."""


def settings_of(record: AnyRecord) -> dict[str, Any]:
    """Everything that was set, seeds left out; options of the run's own generator by their plain names.

    Another generator's options have its name before, as ``name.option``. Empty where the run folder lost its
    ``config.json``.
    """
    identity = record.identity
    if identity is None:
        return {}
    settings = {name: value for name, value in identity.settings.items() if name not in TOLD}
    own, reserved = record.model, {*identity.settings, *TOLD, "arms"}
    if "arms" in identity.decided:
        settings["arms"] = [plain_arm(arm, own) for arm in identity.decided["arms"]]
    for model, generator in identity.generators.items():
        for name, value in generator.options.items():
            plain = model == own and (name == "steps" or name not in reserved)
            settings[name if plain else f"{model}.{name}"] = value
    return settings


def plain_arm(arm: str, model: str) -> str:
    """An arm's name with ``model`` for the run's own generator, as in ``--arm``: so those of two models are alike."""
    parts = ["model" if part.strip() == model else part.strip() for part in arm.split("+")]
    return "+".join(part.removesuffix(f":{model}") for part in parts)


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that are not the same in all, in the order in which they come."""
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if any(each.get(name) != settings[0].get(name) for each in settings)]


def apart(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each of several settings those that set it apart, in short: of lists what not all have."""
    names = differing(settings)
    return [{name: _short(settings, each, name) for name in names} for each in settings]


def _short(settings: Sequence[Mapping[str, Any]], own: Mapping[str, Any], name: str) -> Any:
    value = own.get(name)
    if not isinstance(value, list):
        return value
    lists = [each.get(name) or [] for each in settings]
    rare = [item for item in value if not all(item in other for other in lists)]
    return ",".join(str(item) for item in rare or value)
