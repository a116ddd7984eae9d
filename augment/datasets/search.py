"""Looking for a named set in one place after the other, and saying what was tried when none has it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from augment.datasets.image_set import LabelledImages
from augment.errors import MissingDataError
from augment.storage.locks import lock

Log = Callable[[str], None]
"""Takes one line of progress."""


class Unusable(Exception):
    """A place does not have the set, or has it damaged; the message is the reason."""


class Corrupt(Unusable):
    """A place has the set, but damaged; the message names the file."""


@dataclass(frozen=True)
class Parts:
    """Training part, test part and class names of a set that was found."""

    train: LabelledImages
    test: LabelledImages
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Attempt:
    """A place to look in and how to open it; ``open`` raises Unusable or OSError when it does not have the set."""

    place: str
    open: Callable[[], Parts]
    asked_for: bool = False
    """A person pointed here: passing it over is told."""


def first_usable(name: str, attempts: Iterable[Attempt], log: Log) -> tuple[Parts, list[str]]:
    """The set from the first place that has it, and what was passed over that should have had it.

    Raises MissingDataError that lists every place with its reason.
    """
    failures: list[str] = []
    passed_over: list[str] = []
    for attempt in attempts:
        try:
            parts = attempt.open()
        except (Unusable, OSError) as error:
            reason = f"{attempt.place}: {error}"
            failures.append(reason)
            if attempt.asked_for or isinstance(error, Corrupt):
                passed_over.append(reason)
                log(f"{name}: {reason}; looking further")
        else:
            log(f"{name}: read from {attempt.place}")
            return parts, passed_over
    tried = "\n".join(f"  - {failure}" for failure in failures)
    raise MissingDataError(
        f"The data set {name!r} is not on this machine and could not be obtained. Tried:\n{tried}\n"
        "Pass --data-dir with the folder that holds its files, or try again with a network; "
        "`--dataset digits` needs no network."
    )


def skipped() -> Parts:
    """Stands in for a place that needs the network when the network is not to be used."""
    raise Unusable("not tried, because of --offline")


def obtain(folder: Path, fetch: Callable[[Path], None], read: Callable[[Path], Parts]) -> Parts:
    """Fetch a set into ``folder`` and read it; a fetch that fails, or that ``read`` refuses, leaves nothing behind.

    One process at a time: others wait, and find the folder there. What was in ``folder`` is replaced if ``read``
    refuses it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"the cache {folder.parent} cannot be written ({error.strerror})"
        raise Unusable(f"{reason}; set AUGMENT_HOME to a folder that can") from None
    with lock(folder):
        with suppress(Unusable, OSError):
            return read(folder)
        for left_over in folder.parent.glob(f".{folder.name}-*"):  # of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as workspace:
            new = Path(workspace) / "new"
            new.mkdir()
            fetch(new)
            parts = read(new)
            if folder.exists():
                folder.rename(Path(workspace) / "old")
            new.rename(folder)
            return parts
