"""A decision on how synthetic images are used: a class with a name, a slot and options, written ``partial:share=0.5``.

What is made is decided in :mod:`augment.synthesis.strategies`, how a classifier learns from it in
:mod:`augment.classifiers.learning`; :mod:`augment.arms.grammar` knows both.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from augment.errors import ConfigError, InvalidValue, UsageError, invalid_values, unknown_name

Slot = Literal["counts", "source", "filter", "share", "weight", "mix", "norm", "last"]


S = TypeVar("S", bound="Strategy")


class Strategy(BaseModel):
    """One decision; options are checked when it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    slot: ClassVar[Slot]

    def __str__(self) -> str:
        """As one writes it: the name, and options that are not the default."""
        options = [f"{key}={_shown(value)}" for key, value in self if value != type(self).model_fields[key].default]
        return f"{self.name}:{','.join(options)}" if options else self.name


def with_options(kind: type[S], text: str) -> S:
    """A strategy with the options of ``key=value,...``."""
    options: dict[str, str] = {}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in kind.model_fields:
            raise UsageError(unknown_name(f"option of strategy {kind.name!r}", key, kind.model_fields))
        if key in options:
            raise UsageError(f"Strategy {kind.name}:{text} gives {key} more than once. Leave one of them.")
        options[key] = value
    try:
        return kind(**options)  # pydantic turns text into numbers
    except ValidationError as error:
        raise ConfigError("\n".join(_explained(kind, problem) for problem in invalid_values(error))) from None


def _explained(kind: type[Strategy], problem: InvalidValue) -> str:
    if not problem.where:
        return f"Strategy {kind.name!r}: {problem.message}."
    return f"Strategy {kind.name!r}, option {problem.where[0]}={problem.value!r}: {problem.message}."


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
