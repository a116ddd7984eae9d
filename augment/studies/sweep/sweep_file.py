"""A sweep file: YAML whose keys are options, with errors that say in which line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from augment.errors import ConfigError
from augment.storage import files
from augment.studies.sweep.config import flat_options


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
