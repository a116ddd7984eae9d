"""Who may import whom: cli -> studies -> parts -> generator <- plugins, and how large rooms and functions may be."""

import ast
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from augment import registry

ROOT = Path(__file__).parents[1]
PARENTS = {"vae": "ae", "dvae": "vae", "clip_guided": "ddpm"}
"""Built-ins that extend another one; a plugin that is not here stands alone."""
CONTRACT = ("augment.generator", "augment.corruptions", "augment.errors", "augment.seeds")
"""What a plugin builds on; these import each other and nothing else of ours."""
TENSORS_ONLY = ("augment.datasets.regimes", "augment.metrics", "augment.classifiers", "augment.evidence")


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("augment", *parts) if parts[0] == "plugins" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree, module="", package=False):
    """Absolute names of what a tree imports: ``from a import b`` counts as ``a`` and ``a.b``; not those for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        yield from imports(node, module, package)


def strings(tree):
    """String constants that are no docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    owned = [node.body[0] for node in ast.walk(tree) if isinstance(node, owners) and node.body]
    spared = {id(first.value) for first in owned if isinstance(first, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spared:
            yield node.value


def within(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


FILES = {module_of(path): path for folder in ("augment", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))}
TREES = {module: ast.parse(path.read_text()) for module, path in FILES.items()}
IMPORTS = {module: set(imports(tree, module, FILES[module].name == "__init__.py")) for module, tree in TREES.items()}
CORE = [module for module in FILES if not within(module, "augment.plugins")]
PLUGINS = [module for module in FILES if within(module, "augment.plugins") and module != "augment.plugins"]


def wrong(modules, forbidden, *, but=()):
    """``module imports name`` for each of ``modules`` and what it imports of ``forbidden`` and not of ``but``."""
    return [
        f"{module} imports {name}"
        for module in modules
        for name in sorted(IMPORTS[module])
        if within(name, *forbidden) and not within(name, *but)
    ]


def needs(module):
    """Modules of ours that one imports: a package only for what is its own, not for a module in it."""
    names = IMPORTS[module] & set(FILES)
    own = {name.rpartition(".")[0] for name in IMPORTS[module] - set(FILES)}
    above = {name.rpartition(".")[0] for name in names}
    return {name for name in names if name not in above or name in own} - {module}


def cycle(graph):
    """The modules of one cycle; nothing where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_the_readers_see_what_they_must():
    lines = ["import a.b as c", "from . import d", "from .e import f", "from ..g import h"]
    tree = ast.parse("\n".join([*lines, "def k():", "    'vae'", "    import m", "    return 'dvae'"]))
    assert set(imports(tree, "p.q.r")) == {*("a.b", "p.q", "p.q.d", "p.q.e", "p.q.e.f", "p.g", "p.g.h", "m")}
    assert set(imports(ast.parse("from .x import y"), "p.q", package=True)) == {"p.q.x", "p.q.x.y"}
    assert list(strings(tree)) == ["dvae"]
    assert {"augment.plugins.vae", "augment.metrics"} <= set(FILES) and len(CORE) > 100 and len(PLUGINS) > 10
    assert wrong(["augment.training.loop"], ["augment.errors"]) and cycle({"a": {"b"}, "b": {"a"}})
    assert len({module for module in CORE if within(module, *TENSORS_ONLY)}) > 20


def test_no_module_and_no_package_needs_itself():
    graph = {module: needs(module) for module in FILES}
    assert not cycle(graph)
    rooms = {module: ".".join(module.split(".")[:2]) for module in FILES}
    packages = {room: set() for room in rooms.values()}
    for module, names in graph.items():
        packages[rooms[module]] |= {rooms[name] for name in names} - {rooms[module], "augment"}
    packages["augment"] = set()
    assert not cycle(packages)


def test_the_core_names_no_plugin():
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][registry.GROUP]
    built_in = {name for name, target in group.items() if target.startswith("augment.plugins.")}
    named = {module: built_in & set(strings(TREES[module])) for module in CORE}
    assert not {module: names for module, names in named.items() if names}
    assert not wrong(CORE, ["augment.plugins", "plugins"])


def test_layers_do_not_reach_above_themselves():
    assert not wrong(CONTRACT, ["augment"], but=CONTRACT)
    tensors = [module for module in CORE if within(module, *TENSORS_ONLY)]
    assert not wrong(tensors, ["augment.generator", "augment.registry", "augment.Generator"])
    launchers = ("augment.cli", "augment.__main__")
    assert not wrong([module for module in CORE if not within(module, *launchers)], ["augment.cli"])
    below = [module for module in CORE if not within(module, "augment.report", "augment.cli") and module != "augment"]
    assert not wrong(below, ["augment.report"])


def test_plugins_import_the_contract_their_siblings_and_a_declared_parent():
    for module in PLUGINS:
        parent = PARENTS.get(module.rpartition(".")[2])
        names = [name for name in IMPORTS[module] if not name.startswith("augment.plugins._")]
        allowed = [*CONTRACT, *([f"augment.plugins.{parent}"] if parent else [])]
        assert not [n for n in names if within(n, "augment") and not within(n, *allowed) and n != "augment.plugins"], (
            module
        )
        # an absolute import would work only where the built-ins are installed under their own name
        nodes = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.ImportFrom) and not node.level]
        assert not [node.module for node in nodes if within(node.module or "", "augment.plugins")], module


def test_nothing_imports_the_second_plugins_or_the_tests():
    """`import plugins.vae` from the root gives another class than the registry's; `tests` is another package's."""
    others = [*(ROOT / "tests").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), ROOT / "cli.py"]
    found = {**IMPORTS, **{str(path): set(imports(ast.parse(path.read_text()))) for path in others}}
    assert not [name for names in found.values() for name in names if within(name, "plugins", "tests")]


def test_light_modules_load_neither_torch_nor_the_kit():
    code = (
        "import sys, augment, augment.cli, augment.registry, augment.errors, augment.seeds\n"
        "import augment.generators.scaffold\n"
        "heavy = ('torch', 'torchvision', 'sklearn', 'scipy', 'matplotlib', 'accelerate', 'diffusers', 'pytest')\n"
        "sys.exit(' '.join(name for name in (*heavy, 'augment.testing') if name in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for module in CORE:
        if not within(module, "augment.testing"):
            top = ast.Module([n for n in TREES[module].body if isinstance(n, ast.Import | ast.ImportFrom)], [])
            names = imports(top, module, FILES[module].name == "__init__.py")
            assert not [name for name in names if within(name, "augment.testing", "pytest")], module


def test_no_class_name_stands_twice():
    homes = {}
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, set()).add(module)
    assert not {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_every_package_is_installed_and_no_other():
    """An editable install finds the others all the same, and a wheel does not."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(module for module, path in FILES.items() if path.name == "__init__.py")


def length(function):
    """Lines of a function without its docstring, which is as long as its arguments want."""
    first = function.body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if told else 0)


def test_rooms_and_functions_stay_few_and_small():
    rooms = {module.split(".")[1] for module in FILES if "." in module}
    assert len(rooms) <= 24, sorted(rooms)
    functions = [
        (length(node), f"{module}.{node.name}")
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 1000 and max(functions)[0] <= 60, max(functions)
