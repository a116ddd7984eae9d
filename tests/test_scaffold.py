"""The template is true: what it writes is a package whose generator keeps the contract as it stands."""

import importlib.util
import tomllib

import pytest

from augment import registry
from augment.errors import DataError, UsageError
from augment.generators.scaffold import write_plugin
from augment.testing import check_generator


def test_a_new_plugin_passes_the_checks(tmp_path):
    files = write_plugin(tmp_path / "new", "my_model")
    assert [str(file.relative_to(tmp_path / "new")) for file in files] == [
        "pyproject.toml",
        "README.md",
        "augment_my_model.py",
        "tests/test_augment_my_model.py",
    ]
    project = tomllib.loads(files[0].read_text())["project"]
    assert project["entry-points"]["augment.generators"] == {"my_model": "augment_my_model:MyModel"}
    spec = importlib.util.spec_from_file_location("augment_my_model", files[2])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [result for result in check_generator(module.MyModel) if result.outcome != "passed"] == []
    compile(files[3].read_text(), files[3], "exec")


@pytest.mark.parametrize("name", ["", "Mine", "my-model", "2d", "_mine", "mine_", "a__b", "ünder", "class", "a b"])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be a model's name"):
        write_plugin(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()


def test_a_taken_name(tmp_path):
    taken = next(iter(registry.registered()))
    with pytest.raises(UsageError, match="exists already, from augment-toolkit"):
        write_plugin(tmp_path / "new", taken)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        write_plugin(tmp_path, "mine")
    with pytest.raises(DataError, match="is a file"):
        write_plugin(tmp_path / "notes.txt", "mine")
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_plugin(tmp_path / "file" / "new", "mine")


def test_an_empty_folder_will_do(tmp_path):
    assert all(file.is_file() for file in write_plugin(tmp_path, "mine"))
