"""Which source files decide a result: a module's own and those it imports, found by reading and not by running."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FACADE = "augment"
"""Holds only public names, resolved lazily: what a module needs of them, it imports from their homes."""


@cache
def imported_sources(*modules: str) -> frozenset[Path]:
    """Files of ``modules`` and of everything they import, at any depth, from the packages these modules are in.

    Imports inside functions count. What comes from elsewhere (a library, the standard library) is left out.
    """
    packages = {module.partition(".")[0] for module in modules}
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = None if name in found or name == FACADE else _file(name)
        if file is not None:
            found[name] = file
            waiting.append(name.rpartition(".")[0] or name)  # importing a module runs its packages, too
            waiting += [other for other in _imports(name, file) if other.partition(".")[0] in packages]
    return frozenset(found.values())


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
