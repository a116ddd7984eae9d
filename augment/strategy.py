"""A decision on how synthetic images are used: a class with a name, a slot and options, written ``partial:share=0.5``.

What is made is decided in :mod:`augment.synthetic.strategies`, how a classifier learns from it in
:mod:`augment.classifiers.origins`; :mod:`augment.arms.strategies` knows both.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from augment.errors import ConfigError, UsageError, unknown_name

Slot = Literal["counts", "source", "filter", "share", "weight", "mix", "norm", "last"]


class Strategy(BaseModel):
    """One decision; options are checked when it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    slot: ClassVar[Slot]

    def __str__(self) -> str:
        """As one writes it: the name, and options that are not the default."""
        given = [f"{key}={_shown(value)}" for key, value in self if value != type(self).model_fields[key].default]
        return f"{self.name}:{','.join(given)}" if given else self.name


def with_options(kind: type[Strategy], text: str) -> Strategy:
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
        raise ConfigError("\n".join(_explained(kind, dict(item)) for item in error.errors())) from None


def _explained(kind: type[Strategy], item: dict[str, Any]) -> str:
    if not item["loc"]:
        return f"Strategy {kind.name!r}: {str(item['msg']).removeprefix('Value error, ')}."
    return f"Strategy {kind.name!r}, option {item['loc'][0]}={item['input']!r}: {item['msg']}."


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
