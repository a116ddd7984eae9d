"""Files that are whole or not there, folders that one process holds, images that come back as they were."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_results import run_result
from PIL import Image

from augment.datasets import class_folders, load_dataset
from augment.errors import DataError
from augment.results.run_result import RunResult
from augment.storage import files, hashing, locks
from augment.studies import lifecycle


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- hashes


def test_equal_documents_have_equal_hashes():
    document = {"a": 1, "b": [1, 2.5, None], "c": {"d": True}}
    turned = {"c": {"d": True}, "b": (1, 2.5, None), "a": 1}
    assert hashing.content_hash(document) == hashing.content_hash(turned)
    assert len(hashing.content_hash(document)) == 16


@pytest.mark.parametrize("other", [{"a": 2}, {"b": 1}, {"a": "1"}, {"a": 1, "b": None}, {"a": [1]}, {}])
def test_other_documents_have_other_hashes(other):
    assert hashing.content_hash(other) != hashing.content_hash({"a": 1})


def test_paths_count_as_text():
    assert hashing.content_hash({"a": Path("x/y")}) == hashing.content_hash({"a": "x/y"})


def test_the_fingerprint_follows_the_sources(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "one.py").write_text("a = 1\n")
    (tmp_path / "deep" / "two.py").write_text("b = 2\n")
    first = hashing.code_fingerprint([tmp_path])
    assert hashing.code_fingerprint([tmp_path, tmp_path]) == first
    (tmp_path / "notes.txt").write_text("not code")
    assert hashing.code_fingerprint([tmp_path]) == first
    (tmp_path / "deep" / "two.py").write_text("b = 3\n")
    second = hashing.code_fingerprint([tmp_path])
    (tmp_path / "deep" / "two.py").rename(tmp_path / "deep" / "three.py")
    third = hashing.code_fingerprint([tmp_path])
    assert len({first, second, third}) == 3


def test_the_fingerprint_of_a_file_is_its_own(tmp_path):
    (tmp_path / "one.py").write_text("a = 1\n")
    (tmp_path / "two.py").write_text("b = 1\n")
    first = hashing.code_fingerprint([tmp_path / "one.py"])
    (tmp_path / "two.py").write_text("b = 2\n")
    assert hashing.code_fingerprint([tmp_path / "one.py"]) == first
    (tmp_path / "one.py").write_text("a = 2\n")
    assert hashing.code_fingerprint([tmp_path / "one.py"]) != first


def test_the_fingerprint_does_not_depend_on_the_place(tmp_path):
    for place, names in {"x": ("core", "plugin"), "y": ("plugin", "zcore")}.items():
        for name in names:
            (tmp_path / place / name).mkdir(parents=True)
            (tmp_path / place / name / "code.py").write_text(f"# {name.removeprefix('z')}\n")
    here = hashing.code_fingerprint([tmp_path / "x" / "core", tmp_path / "x" / "plugin"])
    there = hashing.code_fingerprint([tmp_path / "y" / "zcore", tmp_path / "y" / "plugin"])
    assert here == there


# ---------------------------------------------------------------- atomic files


def test_text_is_written_with_its_folders(tmp_path):
    file = tmp_path / "a" / "b" / "note.txt"
    files.write_text(file, "größer\n")
    assert file.read_text(encoding="utf-8") == "größer\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    files.write_text(file, "new")
    assert file.read_text() == "new"
    assert entries(file.parent) == ["note.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace", "chmod"])
def test_a_writer_that_fails_leaves_the_old_file(tmp_path, monkeypatch, failing):
    file = tmp_path / "result.json"
    files.write_json(file, {"old": 1})

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_json(file, {"new": 2})
    assert files.read_json(file) == {"old": 1}
    assert entries(tmp_path) == ["result.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_has_not_is_refused_before_anything_is_written(tmp_path, value):
    files.write_json(tmp_path / "result.json", {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        files.write_json(tmp_path / "result.json", {"fid": value})
    assert files.read_json(tmp_path / "result.json") == {"old": 1}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"[1, 2]", b"null", b"\xff\xfe{}", b"\x00" * 64])
def test_damaged_json_is_no_document(tmp_path, content):
    (tmp_path / "result.json").write_bytes(content)
    assert files.read_json(tmp_path / "result.json") is None


def test_json_that_is_not_there_is_no_document(tmp_path):
    assert files.read_json(tmp_path / "result.json") is None
    assert files.read_json(tmp_path) is None


def test_only_a_result_of_the_same_identity_is_finished(tmp_path):
    made = run_result()
    plan = SimpleNamespace(folder=tmp_path, reuses=True, result=RunResult, identity=SimpleNamespace(key=made.identity))
    assert lifecycle._finished(plan) is None
    files.write_json(tmp_path / "result.json", made.to_json())
    assert lifecycle._finished(plan) == made and lifecycle._finished(plan).cached
    plan.identity.key = "other"
    assert lifecycle._finished(plan) is None
    plan.identity.key = made.identity
    (tmp_path / "result.json").write_text((tmp_path / "result.json").read_text()[:200])
    assert lifecycle._finished(plan) is None


# ---------------------------------------------------------------- errors of the file system


def test_a_full_disk_is_an_error_a_person_can_act_on(tmp_path):
    with pytest.raises(DataError) as caught, files.writing(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "x.png"))
    assert caught.value.exit_code == 3
    assert f"Cannot write to {tmp_path / 'x.png'}: No space left on device" in str(caught.value)
    assert "choose another folder with --out" in str(caught.value)


def test_the_folder_is_named_where_the_error_names_no_file(tmp_path):
    with pytest.raises(DataError, match=f"Cannot write to {tmp_path}: strange"), files.writing(tmp_path):
        raise OSError("strange")


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(DataError, match=r"Cannot write to .*runs"), locks.try_lock(tmp_path / "runs" / "one"):
        raise AssertionError("not reached")


def test_other_errors_pass(tmp_path):
    with pytest.raises(KeyError), files.writing(tmp_path):
        raise KeyError("x")


# ---------------------------------------------------------------- locks

SECOND = """
import sys
from pathlib import Path
from augment.errors import DataError
from augment.results.run_result import RunResult
from augment.storage.locks import try_lock
try:
    with try_lock(Path(sys.argv[1])):
        print("held")
except DataError as error:
    print(error)
"""


def second_process(folder):
    command = [sys.executable, "-c", SECOND, str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_folder_is_held_by_one_process(tmp_path):
    folder = tmp_path / "run"
    with locks.try_lock(folder):
        message = second_process(folder)
        assert message.startswith(f"Another process is writing into {folder}.") and "--out" in message
    assert second_process(folder) == "held"


def test_a_folder_is_given_back_when_the_work_fails(tmp_path):
    with pytest.raises(KeyError), locks.try_lock(tmp_path):
        raise KeyError
    with locks.try_lock(tmp_path):
        pass


def test_two_holders_in_one_process(tmp_path):
    with locks.try_lock(tmp_path), pytest.raises(DataError, match="Another process"), locks.try_lock(tmp_path):
        raise AssertionError("not reached")


# ---------------------------------------------------------------- folders


def test_a_folder_is_placed_whole(tmp_path):
    def fill(folder):
        assert not (tmp_path / "cache" / "key").exists()
        (folder / "a.txt").write_text("a")

    files.replace_folder(tmp_path / "cache" / "key", fill)
    assert entries(tmp_path / "cache") == ["key"]
    assert entries(tmp_path / "cache" / "key") == ["a.txt"]
    assert stat.S_IMODE((tmp_path / "cache" / "key").stat().st_mode) == 0o755


def test_a_placed_folder_replaces_the_one_before(tmp_path):
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    files.replace_folder(folder, lambda new: (new / "new.txt").write_text("new"))
    assert entries(folder) == ["new.txt"] and entries(tmp_path) == ["key"]


def test_a_folder_that_cannot_be_filled_leaves_the_one_before(tmp_path):
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "old.txt").write_text("old")

    def fill(new):
        (new / "half.txt").write_text("half")
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        files.replace_folder(folder, fill)
    assert entries(folder) == ["old.txt"] and entries(tmp_path) == ["key"]


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("channels", [1, 3])
def test_class_folders_come_back_as_they_were(tmp_path, channels):
    images = torch.randint(0, 256, (24, channels, 9, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12).repeat(2)
    classes = tuple(f"kind {index}" for index in range(12))
    rows = tuple({"seed": 5, "index": index} for index in range(24))
    class_folders.save_class_folders(tmp_path / "out", images, labels, classes, rows)
    assert entries(tmp_path / "out") == [*(f"{index:02d}-kind_{index}" for index in range(12)), "metadata.jsonl"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(24))
    for line, image, label in zip(lines, images, labels.tolist(), strict=True):
        assert line["label"] == classes[label] and line["seed"] == 5
        assert line["file_name"].startswith(f"{label:02d}-")
        pixels = np.asarray(Image.open(tmp_path / "out" / line["file_name"]))
        pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
        assert np.array_equal(pixels, image.numpy())


def test_class_folders_are_a_data_set(tmp_path):
    images = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(3).repeat(10)
    class_folders.save_class_folders(tmp_path / "out", images, labels, ("b", "a", "10"))
    found = load_dataset(str(tmp_path / "out"))
    assert found.classes == ("0-b", "1-a", "2-10")
    together = torch.cat([found.train.images, found.test.images])
    assert sorted(row.numpy().tobytes() for row in together) == sorted(row.numpy().tobytes() for row in images)


def test_a_class_without_images_has_its_folder(tmp_path):
    class_folders.save_class_folders(
        tmp_path, torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([1]), ("a", "b")
    )
    assert entries(tmp_path / "0-a") == [] and entries(tmp_path / "1-b") == ["000000.png"]


def test_rows_that_are_too_few_are_refused(tmp_path):
    images, labels = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0])
    with pytest.raises(ValueError, match="2 images and 1 rows"):
        class_folders.save_class_folders(tmp_path, images, labels, ("a",), [{"seed": 1}])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match=r"Cannot write to .*out"):
        class_folders.save_class_folders(tmp_path / "out", [], [], ("a",))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("T-shirt/top", "T-shirt_top"),
        ("../../etc", "_.._etc"),
        ("..", "_"),
        ("", "_"),
        ("a\\b:c*", "a_b_c_"),
        ("Ankle boot", "Ankle_boot"),
        ("été", "été"),
    ],
)
def test_names_become_one_safe_path_component(name, expected):
    assert files.safe_name(name) == expected
    assert Path(expected).name == expected
