"""Files by name at one place: in a folder, or in an object store by its URL. Reading many at once is what counts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from augment.errors import DataError, UsageError
from augment.storage import files

_AT_ONCE = 1000
"""Objects that are asked for in one request to the client of an object store."""


class Store(Protocol):
    """Files by names with forward slashes; what is missing or cannot be read is None."""

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; none where there is no such folder."""
        ...

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Their contents."""
        ...

    def tails(self, names: Sequence[str], size: int) -> list[bytes | None]:
        """The last ``size`` bytes of each, or all of a shorter one."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write one file; a reader sees the old content or the new."""
        ...


def path_of(location: str) -> Path | None:
    """The folder that a path or a ``file://`` URL names; None for any other URL."""
    if "://" not in location:
        return Path(location)
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme in ("file", "local") else None


class LocalStore:
    """A folder of this machine, or one that machines share."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, folder: str) -> list[str]:
        """See :class:`Store`."""
        try:
            return sorted(os.listdir(self.root / folder))
        except OSError:
            return []

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """See :class:`Store`."""
        return [self._end(name, None) for name in names]

    def tails(self, names: Sequence[str], size: int) -> list[bytes | None]:
        """See :class:`Store`."""
        return [self._end(name, size) for name in names]

    def _end(self, name: str, size: int | None) -> bytes | None:
        try:
            with open(os.path.join(self.root, name), "rb", buffering=0) as file:
                if size is not None:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - size))
                return file.readall()
        except OSError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """See :class:`Store`."""
        files.write_bytes(self.root / name, content)


class UrlStore:
    """What fsspec reaches under a URL; writing one object is atomic there. Raises UsageError for one it cannot use."""

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            files, root = fsspec.core.url_to_fs(url.rstrip("/"))
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"The folder {url} cannot be used: {error}. Install the package named there, or give a path or a URL "
                "that fsspec knows (s3://..., gs://..., file://...)."
            ) from None
        self.url, self.files, self.root = url, files, root

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def names(self, folder: str) -> list[str]:
        """See :class:`Store`; what other machines have written meanwhile is seen. Raises DataError without access."""
        try:
            self.files.invalidate_cache()
            found = self.files.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:  # every store has errors of its own: no access, no network, no such bucket
            raise DataError(f"Cannot read {self.url}: {error}. Check the address and your access to it.") from error
        return sorted(str(path).rpartition("/")[2] for path in found)

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """See :class:`Store`."""
        return self._ranges(names, None)

    def tails(self, names: Sequence[str], size: int) -> list[bytes | None]:
        """See :class:`Store`."""
        return self._ranges(names, -size)

    def _ranges(self, names: Sequence[str], start: int | None) -> list[bytes | None]:
        found: list[Any] = []
        for first in range(0, len(names), _AT_ONCE):
            paths = [self._path(name) for name in names[first : first + _AT_ONCE]]
            found += self.files.cat_ranges(paths, [start] * len(paths), [None] * len(paths), on_error="return")
        return [content if isinstance(content, bytes) else None for content in found]

    def write(self, name: str, content: bytes) -> None:
        """See :class:`Store`. Raises DataError when the store refuses."""
        try:
            self.files.pipe_file(self._path(name), content)
        except Exception as error:
            raise DataError(
                f"Cannot write {self.url}/{name}: {error}. Check your access; finished parts are kept."
            ) from error

    def send(self, files: Sequence[tuple[Path, str]]) -> None:
        """Copy files of this machine to the names beside them; raises what the store raises."""
        if files:
            self.files.put([str(file) for file, _ in files], [self._path(name) for _, name in files])
