"""Where files lie: paths as people write them, and where this program keeps what it has fetched or computed."""

from __future__ import annotations

import os
from pathlib import Path

from augment.errors import DataError, UsageError

SHOWN = 80
"""Letters of a path that a message shows."""

ABSENT = (FileNotFoundError, NotADirectoryError)
"""What says that nothing is there, which may be as it should."""


def local_path(given: str | Path) -> Path:
    """A path that a person wrote, with ``~`` resolved; nothing need be there.

    Every path of a command line comes through here, so that what no file system can hold is told at once.

    Raises UsageError for an empty path, one that is no UTF-8 and one with a home folder that does not exist, DataError
    where the system refuses even to look.
    """
    text = str(given)
    if not text:
        raise UsageError("An empty path was given. The folder one is in is written as a dot.")
    if not _is_text(text):
        raise UsageError(f"{shown(text)}: a path whose name is no UTF-8 text cannot be used. Rename it.")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{shown(text)}: there is no user {text.split('/')[0][1:]!r} with a home folder.") from None
    try:
        os.stat(path)
    except ABSENT:
        return path
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{shown(text)} ({len(text):,} letters): {reason}. Give another path.") from None
    return path


def local_file(given: str | Path) -> Path:
    """A path to write a file to, as :func:`local_path`; raises UsageError for a folder."""
    path = local_path(given)
    if path.is_dir() or str(given).endswith(("/", os.sep)):
        raise UsageError(f"{shown(str(given))} is a folder. Give the file to write, as in {path / 'NAME'}.")
    return path


def shown(text: str) -> str:
    """A name or path as a message has it: shortened where it is long, with an escape for each byte that is no text."""
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return safe if len(safe) <= SHOWN else f"{safe[: SHOWN // 2]}...{safe[-SHOWN // 2 :]}"


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def require_text(path: Path) -> None:
    """Raise DataError for a file or folder whose name is no UTF-8, as results and pages could not name it."""
    if not _is_text(str(path)):
        raise DataError(f"The name of {shown(str(path))} is no UTF-8 text (\\udc.. stands for a byte). Rename it.")


def cache_folder() -> Path:
    """The cache: ``AUGMENT_HOME`` when it is set, else the user's cache folder (XDG). It need not exist yet."""
    home = os.environ.get("AUGMENT_HOME")
    if home:
        return local_path(home).absolute()
    import platformdirs

    return platformdirs.user_cache_path("augment")
