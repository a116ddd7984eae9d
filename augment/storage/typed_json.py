"""Dataclasses as JSON documents and back, checked: what a file holds is a dictionary here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from augment.errors import DataError, invalid_values

T = TypeVar("T")


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Built once: that takes longer than a hundred documents."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass as a JSON document: every field by its name (or alias), lists for tuples, text for paths."""
    document: dict[str, Any] = _adapter(type(value)).dump_python(value, mode="json", by_alias=True)
    return document


def from_json(kind: type[T], document: Mapping[str, Any], called: str) -> T:
    """The dataclass of which :func:`to_json` wrote ``document``; what it does not know is left out.

    called: the file, for the error. Raises DataError that says what is missing, or which value is not as it should be.
    """
    try:
        instance: T = _adapter(kind).validate_python(document)
    except ValidationError as error:
        raise DataError(f"{called} {_told(error)}: run it again") from None
    return instance


def _told(error: ValidationError) -> str:
    problems = invalid_values(error)
    missing = [_place(problem.where) for problem in problems if problem.missing]
    if missing:
        return f"has no {', '.join(missing)}"
    return f"is damaged at {_place(problems[0].where)} ({problems[0].message})"


def _place(location: tuple[int | str, ...]) -> str:
    """``arms[3].accuracy``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
