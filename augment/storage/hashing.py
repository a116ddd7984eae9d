"""Hashes: of documents, of code, of images. What decides a result is known by one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


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


def tensors_hash(*parts: Tensor | str) -> str:
    """SHA-256 of tensors, with their shapes and types, and of text between them; where they lie does not matter."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(part.detach().cpu().contiguous().flatten().numpy().data)
    return digest.hexdigest()


def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
