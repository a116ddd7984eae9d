"""The cache: what was made once is read the next time, by whichever process asks.

One process makes a thing while others wait for it. A cache that cannot be written only means making it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from augment.storage.locks import lock

K = TypeVar("K")
T = TypeVar("T")


def kept(
    path: Path,
    make: Callable[[], T],
    *,
    read: Callable[[Path], T | None],
    write: Callable[[Path, T], object],
    reuse: bool = True,
    waiting: Callable[[], object] = lambda: None,
    unwritable: Callable[[OSError], object] = lambda error: None,
) -> T:
    """What is kept at ``path``, or what ``make`` gives, kept for the next time; without ``reuse`` it is made anew.

    path: a file or folder whose name holds the hash of everything the thing depends on.  read: None for what is not
    there or is damaged.  write: must not leave half of a thing.  waiting: called once where another process makes it.
    unwritable: told why it could not be kept.
    """
    found = kept_parts(
        path,
        {None: path},
        lambda _: {None: make()},
        read=read,
        write=write,
        reuse=reuse,
        waiting=waiting,
        unwritable=unwritable,
    )
    return found[None]


def kept_parts(
    whole: Path,
    parts: Mapping[K, Path],
    make: Callable[[Sequence[K]], Mapping[K, T]],
    *,
    read: Callable[[Path], T | None],
    write: Callable[[Path, T], object],
    reuse: bool = True,
    waiting: Callable[[], object] = lambda: None,
    unwritable: Callable[[OSError], object] = lambda error: None,
) -> dict[K, T]:
    """As :func:`kept` for several things that are made together: those that are missing are made in one go.

    whole: what is held meanwhile.
    """
    if not reuse:
        made = make(list(parts))
        with lock(whole):
            _write(parts, made, write, unwritable)
        return {name: made[name] for name in parts}
    with lock(whole, waiting):
        found = {name: thing for name, path in parts.items() if (thing := read(path)) is not None}
        missing = [name for name in parts if name not in found]
        if missing:
            made = make(missing)
            _write(parts, made, write, unwritable)
            found.update(made)
    return {name: found[name] for name in parts}


def _write(
    parts: Mapping[K, Path],
    made: Mapping[K, T],
    write: Callable[[Path, T], object],
    unwritable: Callable[[OSError], object],
) -> None:
    for name, thing in made.items():
        try:
            write(parts[name], thing)
        except OSError as error:
            unwritable(error)
