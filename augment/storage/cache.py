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
    values = kept_parts(
        path,
        {None: path},
        lambda _: {None: make()},
        read=read,
        write=write,
        reuse=reuse,
        waiting=waiting,
        unwritable=unwritable,
    )
    return values[None]


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
        new_values = make(list(parts))
        with lock(whole):
            _write(parts, new_values, write, unwritable)
        return {name: new_values[name] for name in parts}
    with lock(whole, waiting):
        values = {name: value for name, path in parts.items() if (value := read(path)) is not None}
        missing = [name for name in parts if name not in values]
        if missing:
            new_values = make(missing)
            _write(parts, new_values, write, unwritable)
            values.update(new_values)
    return {name: values[name] for name in parts}


def _write(
    parts: Mapping[K, Path],
    values: Mapping[K, T],
    write: Callable[[Path, T], object],
    unwritable: Callable[[OSError], object],
) -> None:
    for name, value in values.items():
        try:
            write(parts[name], value)
        except OSError as error:
            unwritable(error)
