"""What a person asks of a sweep: the options of ``augment run``, each with one value or several.

A sweep file says the same in YAML, with errors that name the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.datasets.catalogue import DESCRIPTIONS, EXPLICIT, LONG_TAIL, default_regime
from augment.errors import LARGEST_SEED, ConfigError, InvalidValue, invalid_values, unknown_name
from augment.storage import files, hashing
from augment.storage.locations import local_path
from augment.studies.config import Setting, split_names, split_numbers
from augment.studies.lifecycle import HOMES, Command, config_of

OWN = ("command", "name", "out", "seed", "seeds", "set")
"""Keys of a sweep itself."""

OF_THE_MACHINE = ("workers", "executor", "address", "retries", "cpus_per_cell", "gpus_per_cell", "dry_run", "json")
"""Options of the command that are no keys of a sweep file."""


class SweepConfig(BaseModel):
    """A grid: every combination of ``values``, each with ``seeds`` seeds.

    command: what a cell is, ``run`` or ``features``.  name: of the folder in ``out``, which may be a URL.  values: by
    the name of a setting of :class:`~augment.studies.run.config.RunConfig` (or
    :class:`~augment.studies.features.config.FeaturesConfig`), what it takes in turn.  options: of generators; with a
    model's name before, as in ``MODEL.steps``, of that one alone.  seed: the first of ``seeds``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    command: Command = "run"
    name: str = Field(min_length=1)
    out: str = "runs"
    values: dict[str, tuple[Any, ...]]
    options: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    seeds: int = Field(1, ge=1, le=1000)

    called: ClassVar[str] = "sweep"

    @property
    def location(self) -> str:
        """The sweep's folder, a path or a URL."""
        return f"{self.out.rstrip('/')}/{self.name}" if "://" in self.out else str(Path(self.out) / self.name)

    @property
    def axes(self) -> tuple[str, ...]:
        """Settings with more than one value."""
        return tuple(name for name, values in self.values.items() if len(values) > 1)

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Read keys named like options, with dashes or underscores; a list gives several values in turn.

        Settings that are lists themselves (``arm``, ``classifier``, ``class_counts``) take a list of lists for that.
        Raises ConfigError that names the key, the value and what is allowed.
        """
        keys = _normal(given)
        command: Any = keys.get("command", "run")
        if command not in tuple(HOMES):
            raise ConfigError(f"command: {command}: {unknown_name('command of a sweep', str(command), HOMES)}")
        settings = {one.key: one for one in config_of(command).settings()}
        for key in keys:
            _check_key(key, settings)
        values = _values({key: value for key, value in keys.items() if key not in OWN}, settings)
        if not isinstance(keys.get("out", ""), str | Path):
            raise ConfigError(f"out: {keys['out']}: give one folder or URL.")
        own = {key: keys[key] for key in ("seed", "seeds", "out", "name") if keys.get(key) is not None}
        asked = {"command": command, "values": values, "options": flat_options(keys.get("set")), **own}
        asked.setdefault("name", f"sweep-{hashing.content_hash({**asked, 'out': None})[:8]}")
        try:
            config = cls.model_validate({**asked, "out": _location(str(asked.get("out", "runs")))})
        except ValidationError as error:
            raise ConfigError("\n".join(map(_explained, invalid_values(error)))) from None
        return config._checked()

    def _checked(self) -> Self:
        if files.safe_name(self.name) != self.name:
            example = files.safe_name(self.name)
            raise ConfigError(f"name: {self.name}: letters, digits, - _ and . make a name, as in {example}.")
        for needed in ("dataset",) if "generator" in self.values else ("dataset", "model"):
            if needed not in self.values:
                raise ConfigError(f"A sweep needs a {needed}: give --{needed}, or the key {needed} in the sweep file.")
        if "class_counts" in self.values and EXPLICIT not in self.values["regime"]:
            raise ConfigError("class_counts go with regime explicit (or with no regime), and only with it.")
        return self


def _location(out: str) -> str:
    """A URL as it is, a path as :func:`~augment.storage.locations.local_path` takes it."""
    return out if "://" in out else str(local_path(out))


def _normal(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Keys with underscores; raises ConfigError where one comes twice."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = str(key).replace("-", "_")
        if name in found:
            raise ConfigError(f"{key}: this key comes twice, once with - and once with _. Keep one of them.")
        found[name] = value
    return found


def _check_key(key: str, settings: Mapping[str, Setting]) -> None:
    if key in OF_THE_MACHINE:
        flag = f"--{key.replace('_', '-')}"
        told = f"Give {flag} on the command line; it may differ from machine to machine."
        raise ConfigError(f"{key} is no key of a sweep. {told}")
    if key in settings and settings[key].option.refused:
        raise ConfigError(f"{key} is no key of a sweep. {settings[key].option.refused}")
    known = {*OWN, *(name for name, one in settings.items() if not one.option.refused)}
    if key not in known:
        raise ConfigError(unknown_name("key of a sweep", key, known))


def _values(keys: Mapping[str, Any], settings: Mapping[str, Setting]) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for key, value in keys.items():
        if value is None:
            continue
        setting = settings[key]
        values = _of_list(setting, value) if setting.is_list else _of_scalar(setting, value)
        if not values:
            raise ConfigError(f"{key}: {value}: give at least one value, or leave the key out.")
        found[setting.name] = tuple(one for index, one in enumerate(values) if one not in values[:index])
    if "regime" in settings and "regime" not in found:
        found["regime"] = (EXPLICIT,) if "class_counts" in found else _default_regimes(found.get("dataset", ()))
    return found


def _default_regimes(datasets: Iterable[Any]) -> tuple[str, ...]:
    """The regime of all data sets; raises ConfigError where they have different ones."""
    regimes = sorted({default_regime(str(name)) for name in datasets}) or [LONG_TAIL]
    if len(regimes) > 1 and all(str(name) in DESCRIPTIONS or local_path(str(name)).exists() for name in datasets):
        found = " and ".join(regimes)
        raise ConfigError(f"Named sets and own images have different regimes, {found}. Give one with --regime.")
    return tuple(regimes[:1])  # a name that is none is told where the cells are made


def _of_scalar(setting: Setting, value: Any) -> list[Any]:
    values = value if isinstance(value, list | tuple) else [value]
    several = (list, tuple) if setting.option.given == "pairs" else (list, tuple, dict)
    nested = [one for one in values if isinstance(one, several)]
    if nested:
        raise ConfigError(f"{setting.key}: {nested[0]}: a single value is needed here, or a list of single values.")
    if setting.option.whole or not isinstance(value, str):
        return list(values)
    return [part.strip() for part in value.split(",") if part.strip()]


def _of_list(setting: Setting, value: Any) -> list[Any]:
    """A list is one value of such a setting; several are lists in a list, or texts with commas in a list."""
    if not isinstance(value, list | tuple):
        return [_one_list(setting, value)]
    several = any(isinstance(one, list | tuple) or (setting.numbers and isinstance(one, str)) for one in value)
    return [_one_list(setting, one) for one in value] if several else [tuple(value)] if value else []


def _one_list(setting: Setting, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, dict):
        raise ConfigError(f"{setting.key}: {value}: a list is needed here.")
    text = str(value)
    if not setting.numbers:
        return split_names(text)
    if text.strip() in setting.words_instead:
        return text.strip()
    try:
        return split_numbers(text)
    except ValueError:
        raise ConfigError(
            f"{setting.key}: {value}: whole numbers separated by commas are needed, like 400,200,100."
        ) from None


def flat_options(given: Any) -> dict[str, Any]:
    """Options of generators from ``set``: those of one model have its name and a dot before, or are nested under it."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"set: {given}: options are needed as key: value, for example set: {{latent_dim: 16}}.")
    found: dict[str, Any] = {}
    for key, value in given.items():
        pairs: Iterable[tuple[str, Any]] = [(str(key), value)]
        if isinstance(value, Mapping):
            pairs = [(f"{key}.{name}", one) for name, one in value.items()]
        for name, one in pairs:
            if name in found:
                raise ConfigError(f"set: {name} is given twice. Keep one of them.")
            found[name] = one
    return found


def _explained(problem: InvalidValue) -> str:
    return f"{problem.name}: {problem.value}: {problem.message}."


def read_sweep_file(path: Path) -> dict[str, Any]:
    """Keys and values of a sweep file; ``name`` is the file's own where it gives none.

    Raises ConfigError where there is no such file, or it is no YAML, no mapping, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The sweep file {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError:
        raise ConfigError(f"The sweep file {path} is no text in UTF-8. Save it as such.") from None
    try:
        _check_unique(yaml.compose(text, Loader=yaml.SafeLoader), path)
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigError(f"{path}{line}: this is no YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this is no YAML: {error}.") from None
    except (ValueError, RecursionError) as error:  # a date that is none, an alias of itself
        raise ConfigError(f"{path}: {error}. A sweep file needs no dates and no aliases.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a sweep file has keys and values, for example\ndataset: digits\nsize: [500, 1000]")
    return {"name": files.safe_name(path.stem), **found}


def _check_unique(node: yaml.Node | None, path: Path) -> None:
    """A key that comes twice would silently drop half of a grid."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{path}, line {key.start_mark.line + 1}: a key is the name of an option, as in size.")
        if key.value in seen:
            raise ConfigError(f"{path}, line {key.start_mark.line + 1}: {key.value} comes twice. Keep one of them.")
        seen.add(key.value)
        _check_unique(value, path)


def overridden(study: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The study with what the command line gives (None: not given) in place of it; of ``set``, single options."""
    found = {str(key).replace("-", "_"): value for key, value in study.items()}
    changes = {key: value for key, value in given.items() if value is not None}
    if "set" in changes and "set" in found:
        changes["set"] = {**flat_options(found["set"]), **changes["set"]}
    return {**found, **changes}
