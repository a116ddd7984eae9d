"""Who may import whom: cli -> experiment/sweep -> parts -> generator <- plugins, read from the source text."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from augment import registry

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "augment").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("*.py"))
OURS = [*CORE, *PLUGINS, *(ROOT / "tests").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), ROOT / "cli.py"]
TENSORS_ONLY = ("regimes", "metrics", "classifiers", "evidence")
PARENTS = {"ae": "vae", "dvae": "vae", "clip_guided": "ddpm"}
"""Built-ins that extend another one; a plugin that is not here stands alone."""
BUILT_IN = {
    name
    for name, target in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        registry.GROUP
    ].items()
    if target.startswith("augment.plugins.")
}


def named(path):
    return str(path.relative_to(ROOT))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("augment", *parts) if parts[0] == "plugins" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source, module="", package=False):
    """Absolute names of what a source imports: ``from a import b`` counts as ``a`` and ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(path):
    return set(imports(path.read_text(), module_of(path), path.name == "__init__.py"))


def within(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def docstrings(tree):
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr):
            yield node.body[0].value


def strings(source):
    """String constants that are no docstrings."""
    tree = ast.parse(source)
    spared = set(map(id, docstrings(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spared:
            yield node.value


def test_the_readers_see_what_they_must():
    lines = ["import a.b as c", "from . import d", "from .e import f", "from ..g import h"]
    source = "\n".join([*lines, "def k():", "    'vae'", "    import m", "    return 'dvae'"])
    assert set(imports(source, "p.q.r")) == {
        *("a.b", "p.q", "p.q.d", "p.q.e", "p.q.e.f", "p.g", "p.g.h", "m"),
    }
    assert set(imports("from .x import y", "p.q", package=True)) == {"p.q.x", "p.q.x.y"}
    assert list(strings(source)) == ["dvae"]
    assert module_of(ROOT / "plugins" / "vae.py") == "augment.plugins.vae"
    assert module_of(ROOT / "augment" / "metrics" / "__init__.py") == "augment.metrics"


@pytest.mark.parametrize("path", CORE, ids=named)
def test_the_core_names_no_plugin(path):
    assert not [name for name in imports_of(path) if within(name, "augment.plugins", "plugins")]
    assert not BUILT_IN & set(strings(path.read_text()))


@pytest.mark.parametrize("module", ["generator.py", "corruptions.py"])
def test_what_plugins_build_on_imports_only_errors_and_limits(module):
    ours = {name for name in imports_of(ROOT / "augment" / module) if within(name, "augment")}
    assert {name for name in ours if not within(name, "augment.errors", "augment.limits")} == set()
    for alone in ("errors.py", "limits.py"):
        assert not [name for name in imports_of(ROOT / "augment" / alone) if within(name, "augment")]


@pytest.mark.parametrize(
    "path", [p for p in CORE if p.relative_to(ROOT / "augment").parts[0].removesuffix(".py") in TENSORS_ONLY], ids=named
)
def test_parts_that_take_tensors_do_not_know_generators(path):
    forbidden = ("augment.generator", "augment.registry", "augment.plugins", "augment.Generator")
    assert not [name for name in imports_of(path) if within(name, *forbidden)]


@pytest.mark.parametrize("path", CORE, ids=named)
def test_nothing_but_the_launchers_imports_the_command_line(path):
    launcher = path.name == "__main__.py" or path.relative_to(ROOT / "augment").parts[0] == "cli"
    if not launcher:
        assert not [name for name in imports_of(path) if within(name, "augment.cli")]


@pytest.mark.parametrize("path", [p for p in PLUGINS if p.name != "__init__.py"], ids=named)
def test_plugins_import_the_contract_their_siblings_and_a_declared_parent(path):
    allowed = ["augment.generator", "augment.errors", "augment.corruptions"]
    if path.stem in PARENTS:
        allowed.append(f"augment.plugins.{PARENTS[path.stem]}")
    for name in imports_of(path):
        sibling = name == "augment.plugins" or name.startswith("augment.plugins._")  # the former: `from . import _x`
        assert not within(name, "augment") or within(name, *allowed) or sibling, name


@pytest.mark.parametrize("path", PLUGINS, ids=named)
def test_plugins_import_each_other_relatively(path):
    """An absolute import would work only where the built-ins are installed under their own name."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in nodes if not node.level and within(node.module or "", "augment.plugins")]


@pytest.mark.parametrize("path", OURS, ids=named)
def test_nothing_imports_the_second_plugins_or_the_tests(path):
    """`import plugins.vae` from the root gives another class than the registry's; `tests` is another package's."""
    assert not [name for name in imports_of(path) if within(name, "plugins", "tests")]


@pytest.mark.parametrize("path", [p for p in CORE if p.relative_to(ROOT / "augment").parts[0] != "testing"], ids=named)
def test_the_core_does_not_import_the_kit_at_import_time(path):
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = set(imports("\n".join(map(ast.unparse, top)), module_of(path), path.name == "__init__.py"))
    assert not [name for name in names if within(name, "augment.testing", "pytest")]


@pytest.mark.parametrize("module", ["augment", "augment.cli", "augment.registry", "augment.errors", "augment.scaffold"])
def test_light_modules_do_not_import_torch(module):
    code = (
        f"import sys, {module}\n"
        "heavy = ('torch', 'torchvision', 'sklearn', 'scipy', 'matplotlib', 'accelerate', 'diffusers')\n"
        "sys.exit(' '.join(name for name in heavy if name in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
