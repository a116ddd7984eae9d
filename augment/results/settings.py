"""Settings of a run by the names people know them by, with every default resolved; what two runs differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from augment.results.records import AnyRecord

SEEDS = frozenset({"seed", "seeds", "regime_seed"})
"""Settings in which repetitions of one study may differ."""

RESOLVED = SEEDS | {"model", "regime", "size", "steps", "updates", "spread", "save_images"}
"""Settings that are seeds, that are known in resolved form, or that change no accuracy."""


def settings_of(record: AnyRecord) -> dict[str, Any]:
    """Everything that was set, seeds left out; options of the run's own generator by their plain names.

    Another generator's options have its name before, as ``name.option``. Empty where the run folder lost its
    ``config.json``.
    """
    identity, config = record.identity, record.config
    if not identity:
        return {}
    found = {name: value for name, value in config.items() if name not in RESOLVED}
    for name in ("strategy", "updates", "arms", "encode"):
        if name in identity:
            found[name] = identity[name]
    own = record.model
    if "arms" in found:
        found["arms"] = [plain_arm(arm, own) for arm in found["arms"]]
    recipes = {own: identity["generator"]} if record.kind == "features" else identity["recipes"]
    for model, recipe in recipes.items():
        found.update(_options(model, recipe, plain=model == own, taken=config))
    return found


def plain_arm(arm: str, model: str) -> str:
    """An arm's name with ``model`` for the run's own generator, as in ``--arm``: so those of two models are alike."""
    parts = ["model" if part.strip() == model else part.strip() for part in arm.split("+")]
    return "+".join(part.removesuffix(f":{model}") for part in parts)


def _options(model: str, recipe: Mapping[str, Any], *, plain: bool, taken: Mapping[str, Any]) -> dict[str, Any]:
    """Options and training of one generator."""
    options = {**recipe.get("options", {}), "steps": recipe.get("steps"), "precision": recipe.get("precision")}
    clash = set(taken) - {"steps"}
    return {name if plain and name not in clash else f"{model}.{name}": value for name, value in options.items()}


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
