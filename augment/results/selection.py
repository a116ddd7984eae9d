"""Rows chosen and put in order: what ``--where``, ``--sort`` and ``--columns`` mean."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from augment.errors import UsageError, unknown_name

Row = TypeVar("Row")
"""Values by column, as a mapping or a dataclass.

``settings`` holds everything that was set, and ``fidelity`` all scores of samples, by name.
"""

INNER = ("settings", "fidelity")
"""Columns that are asked for by what they hold."""

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

WRITTEN = re.compile(r"\s*([^=<>!\s]+)\s*(!=|<=|>=|=|<|>)(?!=)\s*(.*?)\s*")


@dataclass(frozen=True)
class Condition:
    """``name operator value``; of several values, one has to be equal (with ``!=``, none)."""

    name: str
    sign: str
    values: tuple[str, ...]
    text: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """From ``regime=high``, ``size>=2000`` or ``model=vae,ddpm``; raises UsageError for anything else."""
        match = WRITTEN.fullmatch(text)
        if match is None:
            raise UsageError(f"--where {text!r}: write it as regime=high, size>=2000 or decision=helps,hurts.")
        name, sign, rest = match.groups()
        values = tuple(part.strip() for part in rest.split(",")) if sign in ("=", "!=") else (rest,)
        return cls(name, sign, values, text)

    def holds(self, row: object) -> bool:
        """For a row without a value only ``!=`` holds; raises UsageError where text is compared with a number."""
        value = value_of(row, self.name)
        if self.sign == "!=":
            return value is None or not any(self._equal(value, text) for text in self.values)
        if value is None:
            return False
        if self.sign == "=":
            return any(self._equal(value, text) for text in self.values)
        if not _is_number(value):
            raise UsageError(f"--where {self.text!r}: {self.name} is no number; only = and != compare text.")
        return OPERATORS[self.sign](value, self._number(self.values[0]))

    def _equal(self, value: Any, text: str) -> bool:
        if _is_number(value):
            return bool(value == self._number(text))
        if isinstance(value, list):
            return text in map(str, value)
        return str(value).casefold() == text.casefold()

    def _number(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"--where {self.text!r}: {self.name} is a number; compare it with one.") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def columns_of(row: object) -> Mapping[str, Any]:
    """Values by column."""
    return row if isinstance(row, Mapping) else vars(row)


def value_of(row: object, name: str) -> Any:
    """A column's value, or that of a setting or score of this name; None where there is none.

    ``fidelity.precision`` is the score, ``precision`` the setting.
    """
    return next((part[name] for part in (columns_of(row), *_inner(row)) if name in part), None)


def _inner(row: object) -> list[Mapping[str, Any]]:
    """Settings, then scores of samples where there are such; last both with where they stand before their names."""
    columns = columns_of(row)
    parts = {part: columns[part] for part in INNER if part in columns}
    full = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    return [*parts.values(), full]


def sort_keys(text: str | None) -> list[str]:
    """Names separated by commas, ``-`` before one for descending."""
    return [key.strip() for key in (text or "").split(",") if key.strip()]


def select(rows: Sequence[Row], conditions: Sequence[Condition], keys: Sequence[str]) -> list[Row]:
    """Rows for which every condition holds, in the order ``keys`` ask for; rows without a value come last."""
    selected = [row for row in rows if all(condition.holds(row) for condition in conditions)]
    for key in reversed(keys):
        selected = _sorted(selected, key.lstrip("-"), descending=key.startswith("-"))
    return selected


def _sorted(rows: Sequence[Row], name: str, *, descending: bool) -> list[Row]:
    known = [row for row in rows if value_of(row, name) is not None]
    rest = [row for row in rows if value_of(row, name) is None]
    return sorted(known, key=lambda row: _rank(value_of(row, name)), reverse=descending) + rest


def _rank(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then text by the alphabet."""
    return (0, float(value), "") if _is_number(value) else (1, 0.0, str(value).casefold())


def check_names(names: Iterable[str], rows: Sequence[object]) -> None:
    """Raises UsageError for a name that is no column, setting or score of any row, with the known ones."""
    columns = dict.fromkeys(name for row in rows for name in columns_of(row) if name not in INNER)
    inner = dict.fromkeys(name for row in rows for part in _inner(row)[:-1] for name in part)
    full = {name for row in rows for name in _inner(row)[-1]}
    for name in names:
        if name not in columns and name not in inner and name not in full:
            raise UsageError(unknown_name("column", name, [*columns, *inner]))
