"""Names to classes: lazy, complete, and one broken plugin breaks nobody else."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from augment import registry
from augment.errors import ConfigError, DataError, PluginError, UsageError, unknown_name
from augment.generator import ImageSpec
from augment.testing import MinimalGenerator

MODULE = '''"""A generator for tests.

More about it.
"""
from augment.testing import MinimalGenerator

class Mine(MinimalGenerator):
    pass

not_a_generator = dict
'''


def entry(name, value, distribution="acme", version="1.2"):
    """An entry point as metadata gives it."""
    point = EntryPoint(name, value, registry.GROUP)
    vars(point)["dist"] = SimpleNamespace(name=distribution, version=version)
    return point


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Put a module of tests on the path and let only the given entry points be seen."""
    (tmp_path / "acme_good.py").write_text(MODULE)
    (tmp_path / "acme_broken.py").write_text('"""Cannot be imported."""\nimport no_such_module_anywhere\n')
    (tmp_path / "acme_syntax.py").write_text('"""Half a')
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("acme_good", "acme_broken", "acme_syntax"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    def put(*points):
        def fake(*, group):
            assert group == registry.GROUP
            return points

        monkeypatch.setattr(registry, "entry_points", fake)

    return put


def test_get_imports_one_plugin_and_names_it(register):
    register(entry("mine", "acme_good:Mine"), entry("broken", "acme_broken:Mine"))
    cls = registry.get("mine")
    assert (cls.__name__, cls.name) == ("Mine", "mine")
    assert "acme_broken" not in sys.modules


def test_listing_imports_nothing(register):
    register(
        entry("mine", "acme_good:Mine"), entry("broken", "acme_broken:Mine"), entry("half", "acme_syntax:Mine", "other")
    )
    assert [(item.name, item.distribution, item.version, item.summary) for item in registry.entries()] == [
        ("broken", "acme", "1.2", "Cannot be imported."),
        ("half", "other", "1.2", ""),
        ("mine", "acme", "1.2", "A generator for tests."),
    ]
    assert not {"acme_good", "acme_broken", "acme_syntax"} & set(sys.modules)


def test_a_module_that_is_gone_is_still_listed(register):
    register(entry("gone", "acme_gone.deep:Mine"))
    assert [(item.name, item.summary) for item in registry.entries()] == [("gone", "")]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("acme_broken:Mine", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("acme_syntax:Mine", "SyntaxError"),
        ("acme_good:Missing", "AttributeError"),
        ("acme_gone:Mine", "No module named 'acme_gone'"),
    ],
)
def test_a_broken_plugin_is_unavailable_and_breaks_nobody_else(register, value, reason):
    register(entry("broken", value), entry("mine", "acme_good:Mine"))
    with pytest.raises(PluginError) as caught:
        registry.get("broken")
    for part in ("'broken' is unavailable", reason, "from acme", "other models are not affected"):
        assert part in str(caught.value)
    assert registry.get("mine").__name__ == "Mine"


def test_not_a_generator(register):
    register(entry("dictionary", "acme_good:not_a_generator"))
    with pytest.raises(PluginError, match="'dictionary' .* is not a subclass of augment.Generator"):
        registry.get("dictionary")


def test_a_duplicate_names_both_distributions(register):
    register(entry("mine", "acme_good:Mine", "acme"), entry("mine", "other:Mine", "rival"))
    for call in (registry.registered, registry.entries, lambda: registry.get("mine")):
        with pytest.raises(PluginError, match=r"'mine': acme \(acme_good:Mine\) and rival \(other:Mine\)"):
            call()


def test_one_value_from_two_distributions_is_a_duplicate_too(register):
    register(entry("mine", "acme_good:Mine", "acme"), entry("mine", "acme_good:Mine", "rival"))
    with pytest.raises(PluginError, match="acme .* and rival"):
        registry.registered()


def test_one_entry_point_seen_twice_on_the_path_is_no_duplicate(register):
    register(entry("mine", "acme_good:Mine"), entry("mine", "acme_good:Mine"))
    assert list(registry.registered()) == ["mine"]


def test_hints_keep_the_spelling_of_the_name():
    assert "Did you mean 'ViT-B-32'?" in unknown_name("clip", "vit-b-32", ["ViT-B-32", "ViT-L-14", "small"])


def test_an_unknown_name_suggests_the_nearest(register):
    register(entry("mine", "acme_good:Mine"), entry("yours", "acme_good:Mine"))
    with pytest.raises(UsageError, match=r"Unknown model 'mien'. Did you mean 'mine'\? Known: mine, yours\."):
        registry.get("mien")
    register()
    with pytest.raises(UsageError, match="Known: none"):
        registry.get("mine")


def test_version_names_the_distribution(register):
    register(entry("mine", "acme_good:Mine", "acme", "3.4"))
    assert registry.version("mine") == "acme 3.4"


def test_create(register):
    register(entry("mine", "acme_good:Mine"))
    generator = registry.create("mine", ImageSpec(1, 8, 8, 3), {"steps": 5})
    assert (generator.config.steps, generator.spec.shape) == (5, (1, 8, 8))
    with pytest.raises(ConfigError, match="Did you mean 'steps'"):
        registry.create("mine", ImageSpec(1, 8, 8, 3), {"step": 5})


def test_load_generator_finds_the_class_by_its_name(register, tmp_path):
    register(entry("mine", "acme_good:Mine"))
    registry.create("mine", ImageSpec(1, 8, 8, 3)).save(tmp_path / "saved")
    assert type(registry.load_generator(tmp_path / "saved")) is registry.get("mine")
    with pytest.raises(DataError, match="has no config.json"):
        registry.load_generator(tmp_path)
    register()
    with pytest.raises(UsageError, match="Unknown model 'mine'"):
        registry.load_generator(tmp_path / "saved")


def test_a_subclass_of_a_plugin_gets_a_name_of_its_own(register, tmp_path):
    (tmp_path / "acme_child.py").write_text("from acme_good import Mine\nclass Child(Mine):\n    pass\n")
    register(entry("mine", "acme_good:Mine"), entry("child", "acme_child:Child"))
    assert (registry.get("mine").name, registry.get("child").name) == ("mine", "child")
    assert MinimalGenerator.name == ""


def test_listing_the_real_registry_does_not_import_torch():
    code = "import sys, augment.registry as r; assert r.entries(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
