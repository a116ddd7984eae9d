"""Paths that no file system has, and places that are no files."""

from __future__ import annotations

import os
import threading
from typing import get_args, get_type_hints

import pytest

from augment import load_dataset
from augment.cli.app import app
from augment.errors import DataError, UsageError
from augment.registry import load_generator
from augment.storage import files
from augment.storage.locations import local_file, local_path, require_text, shown

LONG = "x" * 5000
DEEP = "x/" * 2500


def test_a_path_need_not_be_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path(tmp_path / "no" / "such") == tmp_path / "no" / "such"
    assert local_path("~/here") == tmp_path / "here"
    (tmp_path / "file").touch()
    assert local_path(tmp_path / "file" / "below") == tmp_path / "file" / "below"  # told by whoever writes there


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("", UsageError, "empty"),
        ("~nobody-of-this-name/x", UsageError, "no user 'nobody-of-this-name'"),
        ("caf\udce9", UsageError, r"caf\udce9"),
        ("a\0b", DataError, "null"),
        (LONG, DataError, "5,000 letters"),
        (DEEP, DataError, "5,000 letters"),
    ],
)
def test_impossible_paths_are_told(given, error, said):
    with pytest.raises(error) as caught:
        local_path(given)
    assert said in str(caught.value) and len(str(caught.value)) < 300


def test_a_link_that_leads_to_itself_is_told(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="symbolic links"):
        local_path(tmp_path / "loop")


@pytest.mark.parametrize("given", [".", "..", "new/"])
def test_a_folder_is_no_file_to_write(given):
    with pytest.raises(UsageError, match="is a folder"):
        local_file(given)


def test_names_in_messages_are_short_and_text():
    assert shown("a/b.png") == "a/b.png"
    assert len(shown(LONG)) < 100
    shown("\udce9").encode("utf-8")


def _commands(group):
    yield from (command.callback for command in group.registered_commands)
    for inner in group.registered_groups:
        yield from _commands(inner.typer_instance)


def _path_options():
    for command in _commands(app):
        for name, hint in get_type_hints(command, include_extras=True).items():
            if "Path" in str(get_args(hint)[:1]):
                yield command.__name__, name, get_args(hint)[1].parser


def test_every_path_of_the_command_line_is_checked_in_one_place():
    found = list(_path_options())
    assert {parser for _, _, parser in found} == {local_path, local_file}
    assert ("report_command", "out", local_file) in found and ("compare_command", "first", local_path) in found


@pytest.mark.parametrize("path", ["", "~nobody-of-this-name/x", LONG, DEEP])
@pytest.mark.parametrize(
    "command",
    [
        ("results", "{}"),
        ("report", "{}"),
        ("report", ".", "--out", "{}"),
        ("compare", "{}", "{}"),
        ("sample", "{}"),
        ("sample", ".", "--out", "{}"),
        ("score", "--real", "digits", "--fake", "{}"),
        ("datasets", "inspect", "digits", "--out", "{}"),
        ("datasets", "inspect", "digits", "--data-dir", "{}"),
        ("run", "--dataset", "digits", "--model", "vae", "--out", "{}"),
        ("features", "--dataset", "digits", "--generator", "{}"),
        ("train", "--dataset", "digits", "--model", "vae", "--out", "{}"),
        ("plugins", "new", "mine", "--folder", "{}"),
    ],
)
def test_no_command_meets_them_with_a_traceback(augment, command, path):
    code, out, err = augment(*(part.format(path) for part in command))
    assert code in (2, 3) and out == ""
    assert "Traceback" not in err and len(err) < 600


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", LONG, DEEP, "./" + LONG, "a\0b/c"])
def test_data_sets_and_generators_from_python_too(path):
    with pytest.raises((UsageError, DataError)):
        load_dataset(path)
    with pytest.raises((UsageError, DataError)):
        load_generator(path)


def test_an_ending_that_is_no_pictures_is_told_before_the_data_are_loaded(augment, tmp_path):
    code, _, err = augment("datasets", "inspect", "digits", "--out", "sheet.doc")
    assert code == 2 and ".doc" in err and ".png" in err
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- what is there and no file


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    files.write_bytes(pipe, b"page")
    reader.join(600)
    assert received == [b"page"] and files.is_stream(pipe)
    files.write_bytes(tmp_path / ".." / tmp_path.name / "plain", b"page")
    assert (tmp_path / "plain").read_bytes() == b"page" and not files.is_stream(tmp_path / "plain")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for content in (b"first", b"second"):
        files.write_bytes(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == content


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        files.write_bytes(tmp_path / "folder", b"page")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_copy_that_does_not_fit_names_where_it_was_to_go(tmp_path):
    with pytest.raises(DataError) as caught, files.writing(tmp_path):
        raise OSError(28, "No space left on device", "from", None, "to")
    assert "write to to:" in str(caught.value)


def test_a_result_nested_too_deep_is_damaged(augment, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "result.json").write_text('{"schema": ' + "[" * 100_000 + "]" * 100_000 + "}")
    for command in (("results", "deep"), ("compare", "deep", "deep"), ("report", "deep")):
        code, _, err = augment(*command)
        assert code == 3 and "nested too deep" in err
    assert files.read_json(tmp_path / "deep" / "result.json") is None


def test_a_class_whose_name_is_no_text_is_told_at_the_start(tmp_path):
    try:
        os.makedirs(os.fsencode(tmp_path) + b"/caf\xe9")
    except OSError:
        pytest.skip("this file system takes no such name")
    (tmp_path / "tea").mkdir()
    with pytest.raises(DataError, match="Rename it"):
        load_dataset(tmp_path)
    require_text(tmp_path / "café")
