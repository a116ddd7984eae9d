"""Which files count as the code of a result."""

import sys

import pytest

from augment.storage.hashing import imported_sources


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "acme_sources"
    (folder / "deep").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "model.py": "import json\nfrom . import layers\nfrom .deep.parts import Part\n",
        "layers.py": "def build():\n    from acme_sources import late\n",
        "late.py": "from acme_sources.model import x\n",
        "other.py": "",
        "deep/__init__.py": "",
        "deep/parts.py": "from ..layers import build\nfrom .sibling import a\n",
        "deep/sibling.py": "Part = 1\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    imported_sources.cache_clear()
    yield folder
    for module in [name for name in sys.modules if name.startswith("acme_sources")]:
        del sys.modules[module]


def names(package, *modules):
    return {str(file.relative_to(package)) for file in imported_sources(*modules)}


def test_imports_are_followed_at_any_depth_and_within_functions(package):
    deep = {"deep/__init__.py", "deep/parts.py", "deep/sibling.py"}
    assert names(package, "acme_sources.model") == {"__init__.py", "model.py", "layers.py", "late.py", *deep}


def test_what_is_not_imported_is_left_out(package):
    assert names(package, "acme_sources.other") == {"__init__.py", "other.py"}
    assert names(package, "acme_sources.deep.sibling") == {"__init__.py", "deep/__init__.py", "deep/sibling.py"}


def test_nothing_is_run(package):
    (package / "other.py").write_text("raise RuntimeError\n")
    assert names(package, "acme_sources.other") == {"__init__.py", "other.py"}
    assert "acme_sources.other" not in sys.modules


def test_of_our_own_only_what_a_training_needs():
    found = {file.name for file in imported_sources("augment.training", "augment.plugins.dvae")}
    assert {"loop.py", "generator.py", "dvae.py", "vae.py", "corruptions.py"} <= found
    assert not {"app.py", "study.py", "ddpm.py"} & found
