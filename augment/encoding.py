"""Features by a generator's ``encode``, with the options this model has and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from augment.capabilities import REQUIRED, encode_options
from augment.cards import kept_cards
from augment.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from augment.generator import Generator


def encode_with(generator: Generator, images: Tensor, **options: Any) -> Tensor:
    """``generator.encode(images, **options)`` in eval mode without gradients: ``(n, D)`` float32.

    images: ``(n, C, H, W)`` float32 in [0, 1] on the generator's device. Raises UsageError for an option that this
    model's ``encode`` does not have, or needs and was not given.
    """
    from augment.generator import evaluating

    check_encode_options(type(generator), options)
    with evaluating(generator):
        return generator.encode(images, **options)


def check_encode_options(cls: type[Generator], options: Mapping[str, Any]) -> None:
    """Raise UsageError unless ``cls.encode`` can be called with these options."""
    known = encode_options(cls)
    name = cls.name or cls.__name__
    for option in options:
        if option not in known:
            raise UsageError(_unknown(name, option, known))
    missing = [option for option, default in known.items() if default is REQUIRED and option not in options]
    if missing:
        raise UsageError(f"Features of {name!r} need {', '.join(missing)}. `augment models {name}` says what it is.")


def _unknown(model: str, option: str, known: Mapping[str, Any]) -> str:
    """What was wrong, what this model has, and which others have the option, as far as is known without importing."""
    has = ", ".join(f"{key}={_shown(default)}" for key, default in known.items())
    others = [card["name"] for card in kept_cards() if any(option == entry["name"] for entry in card["encode_options"])]
    hint = (
        f" Models that have {option}: {', '.join(others)}." if others else " `augment models` shows which model has it."
    )
    return (
        f"Features of {model!r} have no option {option!r}; "
        + (f"its options and defaults are {has}." if known else "its encode has no options at all. Leave it out.")
        + hint
    )


def _shown(default: Any) -> str:
    return "(must be given)" if default is REQUIRED else str(default)
