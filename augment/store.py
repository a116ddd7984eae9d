"""Run folders: content-addressed, locked while in use, and complete only when ``result.json`` is there.

Everything is written beside its place and renamed, so a reader never meets half a file; ``result.json`` comes last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.errors import BusyError, DataError

if TYPE_CHECKING:
    from filelock import BaseFileLock

POLL_SECONDS = 0.2
"""How often a process that waits looks whether it is its turn; signals arrive in between."""


def content_hash(document: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a JSON document; equal documents, equal hash."""
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_fingerprint(sources: Iterable[Path]) -> str:
    """Hash of Python files and of all those in folders: a cached part must not outlive the code that made it.

    Where the sources lie does not matter.
    """
    return content_hash(sorted(_source_hash(source) for source in set(sources)))


def _source_hash(source: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
        digest.update(str(file.relative_to(source)).encode())
        found = file.stat()
        digest.update(_content(file, found.st_mtime_ns, found.st_size))
    return digest.hexdigest()


@cache
def _content(file: Path, _changed: int, _size: int) -> bytes:
    """Read once, as long as the file stays as it is: a sweep asks for the same files for each of its cells."""
    return file.read_bytes()


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


def finished(folder: Path, identity: str) -> dict[str, Any] | None:
    """The result of a finished run with this identity, else None: an unfinished folder is not a result."""
    result = read_json(folder / "result.json")
    return result if result is not None and result.get("identity") == identity else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; raises BusyError when another one is writing into it."""
    from filelock import FileLock, Timeout

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BusyError(
                f"Another process is writing into {folder}. Wait for it, or choose another folder with --out."
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def held(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
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


def place(folder: Path, fill: Callable[[Path], None]) -> None:
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


def save_class_folders(
    folder: Path, images: Any, labels: Iterable[int], classes: tuple[str, ...], rows: Iterable[dict[str, Any]] = ()
) -> None:
    """Write uint8 images ``(n, C, H, W)`` as PNG into one folder per class, named ``<zero-padded class>-<name>``.

    ``rows``: one provenance row per image, or none; written as ``metadata.jsonl`` with each image's ``file_name``.
    Raises DataError when the folder cannot be written, ValueError when images, labels and rows differ in number.
    """
    from PIL import Image

    provenance = list(rows) or [{}] * len(images)
    if len(provenance) != len(images):
        raise ValueError(f"There are {len(images)} images and {len(provenance)} rows.")
    width = len(str(max(len(classes) - 1, 0)))
    names = [f"{index:0{width}d}-{safe_name(name)}" for index, name in enumerate(classes)]
    lines = []
    with writing(folder):
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for index, (image, label, row) in enumerate(zip(images, labels, provenance, strict=True)):
            file = f"{names[int(label)]}/{index:06d}.png"
            pixels = image.permute(1, 2, 0).contiguous().numpy()
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(folder / file, compress_level=1)
            lines.append(json.dumps({"file_name": file, "label": classes[int(label)], **row}) + "\n")
        write_text(folder / "metadata.jsonl", "".join(lines))


def safe_name(name: str) -> str:
    """A class or data-set name as one safe path component."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name).strip(".") or "_"
