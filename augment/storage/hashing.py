"""Hashes: of documents, of code, of images. What decides a result is known by one.

Which source files decide it, a module's own and those it imports, is found by reading and not by running.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
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
        status = file.stat()
        digest.update(_content(file, status.st_mtime_ns, status.st_size))
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


FACADE = "augment"
"""Holds only public names, resolved lazily: what a module needs of them, it imports from their homes."""


@cache
def imported_sources(*modules: str) -> frozenset[Path]:
    """Files of ``modules`` and of everything they import, at any depth, from the packages these modules are in.

    Imports inside functions count. What comes from elsewhere (a library, the standard library) is left out.
    """
    packages = {module.partition(".")[0] for module in modules}
    sources: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = None if name in sources or name == FACADE else _file(name)
        if file is not None:
            sources[name] = file
            waiting.append(name.rpartition(".")[0] or name)  # importing a module runs its packages, too
            waiting += [other for other in _imports(name, file) if other.partition(".")[0] in packages]
    return frozenset(sources.values())


def _file(module: str) -> Path | None:
    """Source of a module; None for a name that is none (a class, say) or has no source."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # its parent is a module and not a package, or has no spec
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def _imports(module: str, file: Path) -> Iterator[str]:
    """Absolute names of all imports; ``from a import b`` counts as ``a`` and ``a.b``."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
