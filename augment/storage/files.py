"""Files and folders that are whole or not there: everything is written beside its place and renamed.

Text, JSON, and arrays with names in one safetensors file, which holds no code and takes numpy alone to read, so that
what only looks at results need not wait for torch.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into an error that says so."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"Cannot write to {error.filename2 or error.filename or folder}: {reason}. "
            "Free some space or permissions there, or choose another folder with --out (for the cache: with the "
            "environment variable AUGMENT_HOME); finished parts are kept."
        ) from error


def is_stream(path: Path) -> bool:
    """Whether there is something at ``path`` that takes bytes and keeps no file, as ``/dev/null`` and pipes do."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_text(path: Path, text: str) -> None:
    """Write a file atomically, as UTF-8; see :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new, never a part.

    A link stays a link, to a file with the new content. What is there and no file (a device, a pipe) is written to, and
    never replaced.
    """
    if is_stream(path):
        path.write_bytes(content)
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document atomically; NaN and infinities are refused, as JSON has none."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON document, or None where there is none or it is damaged."""
    try:
        document = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds; raises ValueError for anything else, one nested too deep to be read among it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make ``folder`` through ``fill(temporary)`` and rename it into place; one that is already there is replaced.

    With several writers each puts a whole folder there and takes away a whole one; the last stays. A folder that is
    replaced is gone for a moment: who reads while others write holds it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    around = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    new = around / "new"
    try:
        new.mkdir(mode=0o755)
        fill(new)
        while not _renamed(new, folder):
            with contextlib.suppress(FileNotFoundError):  # another writer took it away
                os.rename(folder, Path(tempfile.mkdtemp(dir=around)) / "old")
    finally:
        shutil.rmtree(around, ignore_errors=True)


def _renamed(new: Path, folder: Path) -> bool:
    """Rename, unless there is a folder with something in it: that is moved, never emptied, as others may read it."""
    try:
        os.rename(new, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def safe_name(name: str) -> str:
    """A class or data-set name as one safe path component."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name).strip(".") or "_"


@dataclass(frozen=True)
class TensorFile:
    """The content of a file: arrays by name, and texts by name."""

    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, str]


def write_tensors(path: Path, content: TensorFile) -> None:
    """Write ``content`` atomically; raises OSError where that is impossible."""
    from safetensors.numpy import save

    write_bytes(path, save(dict(content.arrays), dict(content.metadata)))


def read_tensors(path: Path) -> TensorFile | None:
    """The content of ``path``; None where there is no file, or a damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return TensorFile({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})
    except (OSError, SafetensorError):
        return None
