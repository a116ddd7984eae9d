"""How large the numbers that a person gives may be: beyond, libraries fail in words of their own, or never end."""

from __future__ import annotations

from typing import Any

LARGEST_SEED = 2**31
"""Seeds of the parts of a run are made from a person's, and all of them have to fit into 64 bits."""

LARGEST_COUNT = 10**9
"""Of steps, updates and images."""

LARGEST_BATCH = 2**16

LARGEST_OPTION = 2**31
"""No whole number among a model's options means more; a layer of so many units fits nowhere."""

NO_ROOM = ("memory", "overflow", "too large", "storage size")
"""Words by which libraries say that something does not fit into memory."""


def too_large(value: Any) -> bool:
    """Whether a whole number in an option's value, however deep, is beyond what any option takes."""
    if isinstance(value, dict):
        return any(map(too_large, value.values()))
    if isinstance(value, list | tuple):
        return any(map(too_large, value))
    return isinstance(value, int) and abs(value) > LARGEST_OPTION


def no_room(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in NO_ROOM)
