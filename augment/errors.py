"""Errors a person can act on, each with the exit code the command line ends with.

Every message names the value, what was allowed and what to do next. Anything else that escapes is a bug (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LARGEST_SEED = 2**31
"""Seeds of the parts of a run are made from a person's, and all of them have to fit into 64 bits."""

LARGEST_COUNT = 10**9
"""Of steps, updates and images."""

SMALLEST_SIDE, LARGEST_SIDE = 8, 256
"""Pixels that a resize may ask for; the largest is also the limit of images that are kept as they are."""

LARGEST_BATCH = 2**16

LARGEST_OPTION = 2**31
"""No whole number among a model's options means more; a layer of so many units fits nowhere."""

NO_ROOM = ("memory", "overflow", "too large", "storage size")
"""Words by which libraries say that something does not fit into memory."""


class AugmentError(Exception):
    """Base of all expected errors; ``exit_code`` is what the command line returns.

    Example:
        >>> import augment
        >>> from augment.errors import AugmentError
        >>> try:
        ...     augment.load_dataset("digit")
        ... except AugmentError as error:
        ...     print(type(error).__name__, error.exit_code, str(error).partition(" Known")[0])
        UsageError 2 Unknown data set 'digit'. Did you mean 'digits'?
    """

    exit_code = 1


class UsageError(AugmentError):
    """A command line that cannot be carried out (unknown name, contradictory options)."""

    exit_code = 2


class ConfigError(AugmentError):
    """A configuration with an unknown key, a wrong type or a value out of range."""

    exit_code = 3


class ImageSizeError(ConfigError):
    """Images of a size that a model does not take.

    Args:
        problem: What is wrong, a sentence.
        side: Pixels of a square that it takes; callers that are no command say so in their own words.

    Example:
        >>> from augment.errors import ImageSizeError
        >>> str(ImageSizeError("The images are 8 x 8.", side=32))
        'The images are 8 x 8. Resize the images with --image-size 32.'
    """

    def __init__(self, problem: str, side: int) -> None:
        super().__init__(f"{problem} Resize the images with --image-size {side}.")
        self.problem, self.side = problem, side

    def __reduce__(self) -> tuple[type[ImageSizeError], tuple[str, int]]:  # from a worker, too
        return type(self), (self.problem, self.side)


class DataError(AugmentError):
    """Images, labels or a saved folder that cannot be used as they are."""

    exit_code = 3


class BusyError(DataError):
    """A folder that another process is writing into."""


class MissingDataError(AugmentError):
    """A data set or weights that are not on this machine and could not be obtained."""

    exit_code = 4


class PluginError(AugmentError):
    """A plugin that is unavailable, ambiguous or does not keep the contract."""

    exit_code = 5


class Stopped(AugmentError):
    """A signal ended the work after a checkpoint was written; ``exit_code`` is 128 + the signal's number.

    Args:
        message: What was kept, and how to go on.
        signal_number: Such as 15 for SIGTERM.

    Example:
        >>> from augment.errors import Stopped
        >>> Stopped("Stopped by SIGTERM after step 40.", signal_number=15).exit_code
        143
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class ProcessLost(AugmentError):
    """The processes of a training lost each other: one has ended, or cannot be reached."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Message for a name that is not among the known ones, with the nearest of them first.

    Args:
        kind: What it names.
        name: As it was given.
        known: All that there are.

    Returns:
        Sentences.

    Example:
        >>> from augment.errors import unknown_name
        >>> unknown_name("model", "vea", ["ae", "ddpm", "vae"])
        "Unknown model 'vea'. Did you mean 'vae'? Known: ae, ddpm, vae."
    """
    names = sorted(known)
    spelled = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
    return f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}."


@dataclass(frozen=True)
class InvalidValue:
    """Why a value was refused.

    Attributes:
        where: Its place, of what is within what; empty for values together.
        unknown: Is there no such name?
        missing: Is there no value?
        value: What was given.
        message: What is wrong, without a full stop.

    Example:
        >>> from augment.errors import InvalidValue
        >>> InvalidValue(("options", "lr"), unknown=False, missing=False, value=-1, message="too small").name
        'options.lr'
    """

    where: tuple[str | int, ...]
    unknown: bool
    missing: bool
    value: Any
    message: str

    @property
    def name(self) -> str:
        """The place in one word."""
        return ".".join(map(str, self.where))


def invalid_values(error: Any) -> list[InvalidValue]:
    """What a ``pydantic.ValidationError`` found wrong.

    Args:
        error: The error.

    Returns:
        One for each value, in the order of the fields.

    Example:
        >>> from pydantic import ValidationError
        >>> from augment import GeneratorConfig
        >>> from augment.errors import invalid_values
        >>> try:
        ...     GeneratorConfig(steps=0, colour="red")
        ... except ValidationError as error:
        ...     [(problem.name, problem.value, problem.unknown) for problem in invalid_values(error)]
        [('steps', 0, False), ('colour', 'red', True)]
    """
    return [
        InvalidValue(
            where=tuple(item["loc"]),
            unknown=item["type"] == "extra_forbidden",
            missing=item["type"] in ("missing", "missing_argument"),
            value=item.get("input"),
            message=item["msg"].removeprefix("Value error, ").removesuffix("."),
        )
        for item in error.errors()
    ]


def too_large(value: Any) -> bool:
    """Whether a whole number in an option's value, however deep, is beyond what any option takes.

    Args:
        value: As it was given.

    Returns:
        True for a number beyond :data:`LARGEST_OPTION` on either side of 0.

    Example:
        >>> from augment.errors import too_large
        >>> too_large({"widths": [64, 10**12]}), too_large([64, 128])
        (True, False)
    """
    if isinstance(value, dict):
        return any(map(too_large, value.values()))
    if isinstance(value, list | tuple):
        return any(map(too_large, value))
    return isinstance(value, int) and abs(value) > LARGEST_OPTION


def no_room(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory.

    Args:
        error: Any.

    Returns:
        True for a MemoryError, and for a RuntimeError in the words that libraries have for it.

    Example:
        >>> from augment.errors import no_room
        >>> no_room(RuntimeError("CUDA out of memory.")), no_room(ValueError("out of memory"))
        (True, False)
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in NO_ROOM)
