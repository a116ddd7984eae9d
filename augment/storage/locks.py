"""One process at a time: a folder that is refused while it is taken, and a part of the cache that is waited for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from augment.errors import BusyError
from augment.storage.files import writing

if TYPE_CHECKING:
    from filelock import BaseFileLock

POLL_SECONDS = 0.2
"""How often a process that waits looks whether it is its turn; signals arrive in between."""


@contextmanager
def try_lock(folder: Path, name: str = ".lock", busy: str = "") -> Iterator[None]:
    """Hold a folder for this process; raises BusyError when another one has it.  busy: what it says then."""
    from filelock import FileLock, Timeout

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            message = f"Another process is writing into {folder}. Wait for it, or choose another folder with --out."
            raise BusyError(busy or message) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def lock(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Make ``path``, a file or folder of a cache, while no other process does; waits for one that makes it.

    waiting: called once where another holds it; look again for what it has made. A holder that dies, also by SIGKILL,
    lets go. The lock is an empty file in ``.locks`` beside ``path``, left there: without a holder it means nothing, and
    it may be removed while nothing runs. Where files cannot be locked, all go on at once, which only costs time.

    Holds may nest only from caches of whole sets into those of single arms, so that no two wait for each other.
    """
    from filelock import FileLock

    file = path.parent / ".locks" / f"{path.name}.lock"
    lock = FileLock(file, fallback_to_soft=False)  # a soft lock would outlive a holder that dies
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        if not _free(lock):
            waiting()
            lock.acquire(poll_interval=POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _free(lock: BaseFileLock) -> bool:
    """Take the lock if nobody has it."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
