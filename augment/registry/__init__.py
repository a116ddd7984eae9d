"""Names -> generator classes, over the entry-point group ``augment.generators``.

Listing reads package metadata and source text only; :func:`get` imports exactly one plugin.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.errors import PluginError, UsageError, unknown_name
from augment.storage.locations import local_path

if TYPE_CHECKING:
    from augment.generator import Generator, ImageSpec

GROUP = "augment.generators"


@dataclass(frozen=True)
class PluginEntry:
    """One registered name, as far as it is known without importing anything.

    Attributes:
        name: As registered.
        target: Where it points, ``module:class``.
        distribution: Which distribution brought it.
        version: Of that distribution.
        summary: The first line of the module's docstring.
        problem: Why it cannot be used, as far as can be told without importing it; empty where nothing is wrong.

    Example:
        >>> from augment.registry import entries
        >>> (entry,) = [entry for entry in entries() if entry.name == "vae"]
        >>> entry.target, entry.distribution, entry.problem
        ('augment.plugins.vae:VAE', 'augment-toolkit', '')
    """

    name: str
    target: str
    distribution: str
    version: str
    summary: str
    problem: str


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "?")


def _unique(entries: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    """Entry points by name; raises PluginError that names both distributions when two claim one name."""
    by_name: dict[str, EntryPoint] = {}
    for entry in entries:
        other = by_name.setdefault(entry.name, entry)
        if other is entry:
            continue  # the name of a distribution is parsed from all of its metadata, in milliseconds
        if other.value != entry.value or _distribution(other)[0] != _distribution(entry)[0]:
            raise PluginError(
                f"Two distributions register the generator {entry.name!r}: {_distribution(other)[0]} ({other.value}) "
                f"and {_distribution(entry)[0]} ({entry.value}). Uninstall one of them, or rename its entry point."
            )
    return dict(sorted(by_name.items()))


def registered() -> dict[str, EntryPoint]:
    """All registered generators, without importing any.

    Returns:
        Their entry points by name, in alphabetical order.

    Raises:
        PluginError: When two distributions register one name.

    Example:
        >>> from augment.registry import registered
        >>> registered()["ddpm"].value
        'augment.plugins.ddpm:DDPM'
    """
    return _unique(entry_points(group=GROUP))


def _find_spec(name: str, path: list[str] | None) -> ModuleSpec | None:
    specs = (finder.find_spec(name, path) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    return next((spec for spec in specs if spec is not None), None)


def _source(module: str) -> Path | None:
    """File of a module, found without importing its parents; None where there is none."""
    path: list[str] | None = None
    spec = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _find_spec(".".join(parts[:depth]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    return Path(spec.origin) if spec is not None and spec.origin else None


def _missing_import(tree: ast.Module) -> str | None:
    """A package the module imports at its top level and that is not installed."""
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            if name.split(".")[0] not in sys.modules and _find_spec(name.split(".")[0], None) is None:
                return name
    return None


def _summary(module: str) -> tuple[str, str]:
    """First line of a module's docstring, and what is wrong with its source (empty: nothing)."""
    source = _source(module)
    if source is None:
        return "", f"module {module} is not there"
    if source.suffix != ".py":
        return "", ""
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        return "", f"{type(error).__name__}: {error}"
    missing = _missing_import(tree)
    summary = (ast.get_docstring(tree) or "").split("\n", 1)[0].strip()
    return summary, f"it needs {missing}, which is not installed" if missing else ""


def entries() -> list[PluginEntry]:
    """What is registered, for a listing: metadata and the first line of each module's docstring.

    Returns:
        One entry for each name, in alphabetical order.

    Raises:
        PluginError: When two distributions register one name.

    Example:
        >>> from augment.registry import entries
        >>> {"ae", "cgan", "realnvp"} <= {entry.name for entry in entries()}
        True
    """
    return [
        PluginEntry(name, entry.value, *_distribution(entry), *_summary(entry.module))
        for name, entry in registered().items()
    ]


def sources(target: str) -> list[Path]:
    """Files a plugin's class is made of, without importing them.

    Args:
        target: Where an entry points, ``module:class``.

    Returns:
        The module's folder, or the module outside of any; empty where there is no such module.

    Example:
        >>> from augment.registry import sources
        >>> [path.name for path in sources("json:JSONDecoder")], sources("no_such_module:Model")
        (['json'], [])
    """
    module = target.partition(":")[0]
    source = _source(module)
    if source is None:
        return []
    return [source.parent if "." in module or source.name == "__init__.py" else source]


def get(name: str) -> type[Generator]:
    """Import the class registered under a name, that plugin alone.

    Args:
        name: As registered.

    Returns:
        The class, whose ``name`` is set.

    Raises:
        UsageError: For an unknown name, with the nearest known one.
        PluginError: When the plugin cannot be imported or is not a Generator.

    Example:
        >>> from augment.registry import get
        >>> get("vae").tags.reconstructs
        True
        >>> get("vea")
        Traceback (most recent call last):
        augment.errors.UsageError: Unknown model 'vea'. Did you mean 'vae'? Known: ...
    """
    from augment.generator import Generator

    available = registered()
    if name not in available:
        raise UsageError(unknown_name("model", name, available))
    entry = available[name]
    try:
        cls = entry.load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"Model {name!r} is unavailable: {type(error).__name__}: {error} (from {_distribution(entry)[0]}, "
            f"{entry.value}). Reinstall or repair that package; other models are not affected."
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Generator)):
        raise PluginError(f"Model {name!r} ({entry.value}) is not a subclass of augment.Generator.")
    if "name" not in vars(cls):  # a parent's name is not this plugin's
        cls.name = name
    return cls


def version(name: str) -> str:
    """Name the distribution that provides a model; part of what identifies a result.

    Args:
        name: As registered.

    Returns:
        ``distribution version``.

    Raises:
        UsageError: For a name that is not registered, with the nearest one.

    Example:
        >>> from augment.registry import version
        >>> version("vae").split()[0]
        'augment-toolkit'
    """
    known = registered()
    if name not in known:
        raise UsageError(unknown_name("model", name, known))
    return " ".join(_distribution(known[name]))


def create(name: str, spec: ImageSpec, options: dict[str, Any] | None = None) -> Generator:
    """Make a fresh, untrained generator.

    Args:
        name: As registered.
        spec: Shape and classes of the images.
        options: Of the model's config, by name; what is left out has its default.

    Returns:
        The generator, with weights from torch's global random state.

    Raises:
        ConfigError: For options it does not know.

    Example:
        >>> from augment import ImageSpec, create
        >>> generator = create("vae", ImageSpec(1, 8, 8, num_classes=10), {"latent_dim": 4, "width": 8})
        >>> generator.name, generator.config.latent_dim
        ('vae', 4)
    """
    cls = get(name)
    return cls(cls.Config.parse(options or {}), spec)


def load_generator(folder: str | Path) -> Generator:
    """Load a saved generator, finding its class by the name in its ``config.json``.

    Args:
        folder: Written by :meth:`augment.Generator.save`, as the folder ``generator`` of a training.

    Returns:
        The generator, on the CPU and in eval mode.

    Raises:
        DataError: When the folder is no saved generator, incomplete, truncated or of another format.

    Example:
        >>> from augment import ImageSpec, create, load_generator
        >>> create("ae", ImageSpec(1, 8, 8, num_classes=10)).save("ae-generator")
        >>> generator = load_generator("ae-generator")
        >>> generator.name, generator.spec.shape, generator.training
        ('ae', (1, 8, 8), False)
    """
    from augment.generator import read_saved

    path = local_path(folder)
    return get(read_saved(path)["generator"]).load(path)
