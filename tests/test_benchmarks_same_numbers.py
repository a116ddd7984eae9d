"""The comparison of two checkouts' results: what is equal, what is ignored, and that one bit anywhere is found."""

from __future__ import annotations

import json
import math
import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

ROOT = Path(__file__).parent.parent
NAMES = ("same_numbers", *(f"same_numbers_{part}" for part in ("checkout", "compare", "files", "steps")))


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


def result(**changes):
    document = {
        "schema": "s/1",
        "regime": {"size": 100},
        "arms": [{"arm": "real", "accuracy": 0.1 + 0.2, "ci95": None, "cached": False, "seconds": 1.5}],
        "environment": {"torch": "2", "threads": 1},
        "cost": {"seconds": 3.0},
        "folder": "runs/digits-high-vae-01234567ab",
        "identity": "00ff00ff00ff00ff",
        "note": "see runs/digits-high-vae-01234567ab",
        "empty": [],
    }
    return document | changes


@pytest.fixture
def left(tmp_path):
    """One side's results: a run folder, a sweep's records, exports, pictures, a model card, and what is left out."""
    folder = tmp_path / "left"
    run = folder / "runs" / "digits-high-vae-01234567ab"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps(result()))
    (run / "history.csv").write_text("step,seconds,loss\n1,0.5,0.25\n2,0.9,0.125\n")
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_file({"weight": weights, "bias": np.zeros(2)}, run / "model.safetensors", {"about": json.dumps({"key": "a"})})
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(run / "samples.png")
    lines = "# vae\n\n| seconds | 3.1 |\n| SHA-256 | `0011223344556677aabb` |\n| precision | 0.5 |\n"
    (run / "README.md").write_text(lines)
    (run / "rows.jsonl").write_text('{"file": "a.png", "distance": 0.5}\n')
    (run / "page.html").write_text("<p>left out</p>")
    (run / ".lock").write_text("")
    (folder / "logs").mkdir()
    (folder / "logs" / "worker-1.log").write_text("began at noon")
    np.savez(folder / "features.npz", features=np.ones((2, 3)), split=np.array(["a", "b"]), metadata='{"code": "x"}')
    (folder / "cells").mkdir()
    for key, size in (("a" * 16, 100), ("b" * 16, 200)):
        (folder / "cells" / f"{key}.json").write_text(json.dumps({"key": key, "size": size}))
    (folder / "other.bin").write_bytes(b"abc")
    return folder


@pytest.fixture
def right(left, tmp_path):
    return Path(shutil.copytree(left, tmp_path / "right"))


def run_of(side):
    (found,) = (side / "runs").iterdir()
    return found


def compared(left, right, *more, skip=()):
    from same_numbers_compare import compare
    from same_numbers_files import IGNORED

    return compare(left, right, IGNORED | set(more), skip=skip)


def only(left, right):
    """The one difference."""
    (found,) = compared(left, right).differences
    return found


def test_equal_results_are_equal_and_counted(left, right):
    found = compared(left, right)
    assert found.differences == []
    assert dict(found.files) == {
        **{"JSON documents": 4, "tables": 1, "tensor files": 1, "pictures": 1, "model cards": 1},
        **{"array files": 1, "other files": 1},
    }
    assert found.numbers["JSON documents"] == 5 and found.numbers["tensor files"] == 14 and found.left_out == 1
    assert found.numbers["tables"] == 5 and found.numbers["pictures"] == 12 and found.numbers["array files"] == 8


def test_times_paths_hashes_and_versions_may_differ(left, right):
    run = run_of(right)
    document = result(cost={"seconds": 9.0}, folder="elsewhere", identity="ff", environment={"torch": "3"})
    document["arms"][0]["seconds"] = 7.0
    document["note"] = "see runs/digits-high-vae-ffffffffff"
    (run / "result.json").write_text(json.dumps(document))
    (run / "history.csv").write_text("step,seconds,loss\n1,7.5,0.25\n2,9.9,0.125\n")
    (run / "README.md").write_text((run / "README.md").read_text().replace("3.1", "9.9").replace("0011", "ffff"))
    (run / "page.html").write_text("<p>another</p>")
    (right / "logs" / "worker-1.log").write_text("began at night")
    run.rename(run.with_name("digits-high-vae-ffffffffff"))
    for key, size in (("d" * 16, 100), ("c" * 16, 200)):  # in another order
        (right / "cells" / f"{key}.json").write_text(json.dumps({"key": key, "size": size}))
    for key in ("a" * 16, "b" * 16):
        (right / "cells" / f"{key}.json").unlink()
    assert compared(left, right).differences == []


def test_a_bit_of_a_float_in_a_document_is_found(left, right):
    document = result()
    document["arms"][0]["accuracy"] = math.nextafter(0.1 + 0.2, 1)
    (run_of(right) / "result.json").write_text(json.dumps(document))
    found = only(left, right)
    assert (found.file, found.place) == ("runs/digits-high-vae-*/result.json", "arms[0].accuracy")
    assert (found.a, found.b) == ("0.30000000000000004", "0.3000000000000001")


@pytest.mark.parametrize(
    "changes, place",
    [
        ({"new": 1}, "new"),
        ({"empty": None}, "empty"),
        ({"empty": [1]}, "empty"),
        ({"schema": "s/2"}, "schema"),
        ({"regime": {"size": 100.0}}, "regime.size"),
        ({"regime": {"size": True}}, "regime.size"),
        ({"regime": {"size": -0.0}}, "regime.size"),
    ],
)
def test_anything_new_or_of_another_type_in_a_document_is_found(left, right, changes, place):
    (run_of(right) / "result.json").write_text(json.dumps(result(**changes)))
    assert only(left, right).place.startswith(place)


def test_signs_of_zero_differ(left, right):
    for side, zero in ((left, 0.0), (right, -0.0)):
        (run_of(side) / "result.json").write_text(json.dumps(result(zero=zero)))
    assert (only(left, right).a, only(left, right).b) == ("0.0", "-0.0")


def test_a_key_can_be_ignored_by_name(left, right):
    document = result(schema="s/2")
    document["arms"][0]["cached"] = True
    (run_of(right) / "result.json").write_text(json.dumps(document))
    assert only(left, right).place == "schema"  # the first of the file
    assert compared(left, right, "schema", "cached").differences == []


def test_a_bit_of_a_tensor_is_found_with_its_place(left, right):
    file = run_of(right) / "model.safetensors"
    content = bytearray(file.read_bytes())
    at = content.rfind(np.float32(6).tobytes())
    content[at] ^= 1
    file.write_bytes(content)
    found = only(left, right)
    assert found.place == "weight[1, 2] and 0 more of 12"
    assert (found.a, found.b) == ("6.0", str(np.nextafter(np.float32(6), np.float32(7))))


def test_what_a_tensor_file_says_of_itself_is_compared_except_for_hashes(left, right):
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    tensors, file = {"weight": weights, "bias": np.zeros(2)}, run_of(right) / "model.safetensors"
    save_file(tensors, file, {"about": json.dumps({"key": "b"})})
    assert compared(left, right).differences == []
    save_file(tensors, file, {"about": json.dumps({"key": "b", "model": "vae"})})
    assert only(left, right).place == "metadata about.model"
    save_file({**tensors, "bias": np.zeros(2, np.float32)}, file, {"about": "{}"})
    assert only(left, right).place == "bias" and "float32" in only(left, right).b


@pytest.mark.parametrize("array", [np.full((2, 3), np.nextafter(1, 2)), np.ones((3, 2)), np.ones((2, 3), np.float32)])
def test_another_array_is_found(left, right, array):
    np.savez(right / "features.npz", features=array, split=np.array(["a", "b"]), metadata='{"code": "y"}')
    assert only(left, right).file == "features.npz" and only(left, right).place.startswith("features")


def test_a_pixel_is_found_and_how_a_picture_is_packed_is_not(left, right):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(pixels).save(run_of(right) / "samples.png", compress_level=0)
    assert compared(left, right).differences == []
    pixels[2, 1] ^= 1
    Image.fromarray(pixels).save(run_of(right) / "samples.png")
    found = only(left, right)
    assert (found.place, found.a, found.b) == ("pixel[2, 1] and 0 more of 12", "9", "8")


@pytest.mark.parametrize(
    "name, old, new, place",
    [
        ("history.csv", "0.125", "0.12500000000000003", "row 2, loss"),
        ("history.csv", "loss", "loses", "columns"),
        ("README.md", "0.5", "0.6", "line 4"),
        ("rows.jsonl", "0.5", "0.25", "[0].distance"),
    ],
)
def test_a_cell_a_line_and_a_row_are_found(left, right, name, old, new, place):
    file = run_of(right) / name
    file.write_text(file.read_text().replace(old, new))
    assert only(left, right).place == place


def test_files_that_are_missing_or_new_are_named(left, right):
    (run_of(right) / "history.csv").unlink()
    (right / "new.json").write_text("{}")
    (right / "cells" / f"{'c' * 16}.json").write_text(json.dumps({"size": 300}))
    found = {each.file: (each.a, each.b) for each in compared(left, right).differences}
    assert found == {
        "runs/digits-high-vae-*/history.csv": ("there", "missing"),
        "new.json": ("missing", "there"),
        "cells/*.json": ("there 2 times", "there 3 times"),
    }


def test_what_was_made_first_is_compared_first(left, right):
    from same_numbers_compare import compare

    (right / "other.bin").write_bytes(b"abd")
    (right / "features.npz").unlink()
    for order, first in (((), "features.npz"), (("runs", "other.bin"), "other.bin")):
        assert compare(left, right, order=order).differences[0].file == first


def test_a_long_text_is_shown_from_where_it_differs(left, right):
    for side, word in ((left, "one"), (right, "two")):
        (run_of(side) / "result.json").write_text(json.dumps(result(text=f"{'.' * 500} {word} and no more")))
    found = only(left, right)
    assert found.a.startswith("'...") and found.a.endswith(". one and no more'") and len(found.a) < 80
    assert found.b.endswith(". two and no more'")


@pytest.mark.parametrize("one, two", [("p = 0.12345678901", "p = 0.12345678902"), ("n = 1234567890", "n = 1234567891")])
def test_many_digits_in_text_are_a_number_and_no_hash(left, right, one, two):
    for side, text in ((left, one), (right, two)):
        (run_of(side) / "result.json").write_text(json.dumps(result(text=text)))
    assert only(left, right).place == "text"


def test_files_can_be_left_out_by_name(left, right):
    (run_of(right) / "history.csv").write_text("step,seconds,loss\n1,0.5,0.5\n")
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(run_of(right) / "samples.png")
    assert len(compared(left, right).differences) == 2
    found = compared(left, right, skip=["history.*", "samples.png"])
    assert found.differences == [] and found.left_out == 3


def test_a_file_of_another_kind_is_compared_byte_by_byte(left, right):
    (right / "other.bin").write_bytes(b"abd")
    assert only(left, right).place == "bytes[2] and 0 more of 3"


def test_a_unit_in_the_last_place_makes_the_command_fail(left, right, capsys, monkeypatch):
    """What is printed and the exit code, with checkouts that have been measured already."""
    import same_numbers

    for side in (left, right):
        (side.parent / f"sources of {side.name}").mkdir()
        (side.parent / f"sources of {side.name}" / "pyproject.toml").write_text(f"# {side.name}")
    monkeypatch.setattr(same_numbers, "measured", lambda side, *_, **__: {"A": left, "B": right}[side.label])
    monkeypatch.setattr(sys, "argv", ["x", *(str(side.parent / f"sources of {side.name}") for side in (left, right))])
    with pytest.raises(SystemExit) as ended:
        same_numbers.main()
    assert ended.value.code == 0 and "| in all | 10 |" in capsys.readouterr().out
    (run_of(right) / "history.csv").write_text("step,seconds,loss\n1,0.5,0.25\n2,0.9,0.126\n")
    with pytest.raises(SystemExit) as ended:
        same_numbers.main()
    assert ended.value.code == 1
    assert "history.csv, row 2, loss: 0.125 is now 0.126" in capsys.readouterr().out


def test_no_checkout_is_a_mistake_of_its_own(tmp_path, capsys, monkeypatch):
    import same_numbers

    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        same_numbers.main()
    assert ended.value.code == 2 and "has no pyproject.toml" in capsys.readouterr().err


def test_results_are_kept_by_what_decides_them(tmp_path, monkeypatch):
    import same_numbers_checkout

    def pretend(checkout, site, todo):
        (checkout.work / "steps" / "run.json").write_text(checkout.name)

    monkeypatch.setattr(same_numbers_checkout, "_installed", lambda checkout: (checkout.work, []))
    monkeypatch.setattr(same_numbers_checkout, "_launch", pretend)
    for name, text in (("one", "# 1"), ("same", "# 1"), ("other", "# 2")):
        (tmp_path / name / "augment").mkdir(parents=True)
        (tmp_path / name / "pyproject.toml").write_text(text)

    def results(name, **more):
        place = tmp_path / f"work of {name} {len(list(tmp_path.iterdir()))}"
        place.mkdir()
        checkout = same_numbers_checkout.copied("A", str(tmp_path / name), place)
        return same_numbers_checkout.measured(checkout, tmp_path / "kept", **more)

    (tmp_path / "kept").mkdir()
    first = results("one")
    assert results("same") == first and (first / "run.json").read_text() == str(tmp_path / "one")
    assert results("other") != first
    again = results("same", again=True)  # the same code twice is measured twice
    assert again != first and (again / "run.json").read_text() == str(tmp_path / "same")
    assert (first / "data" / "grey" / "train" / "kind 3" / "039.png").exists()


CLI = """
import importlib.util, json, os, sys
from pathlib import Path

def main():
    Path("runs").mkdir()
    Path("runs/result.json").write_text(json.dumps({"loss": LOSS, "folder": os.getcwd(), "words": sys.argv[1:]}))
    print(json.dumps({"other": importlib.util.find_spec("augment.evidence"), "threads": os.environ["OMP_NUM_THREADS"]}))
    sys.exit(CODE)
"""
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "augment-toolkit"
version = "9"
[tool.setuptools]
packages = ["augment"]
"""


def write_checkout(folder, loss, code=0):
    (folder / "augment").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "augment" / "__init__.py").write_text("")
    (folder / "augment" / "cli.py").write_text(CLI.replace("LOSS", repr(loss)).replace("CODE", str(code)))
    return str(folder)


def test_checkouts_are_carried_through_each_with_its_own_code_alone(tmp_path, capfd, monkeypatch):
    """Packages that are no more than a command, from their copies to the difference of one bit."""
    import same_numbers
    import same_numbers_checkout
    from same_numbers_steps import Step

    monkeypatch.setattr(same_numbers_checkout, "LIBRARIES", ())
    monkeypatch.setattr(same_numbers_checkout, "steps", lambda models: [Step("first", ("run", "../data/*/nothing"))])
    one, same = write_checkout(tmp_path / "one", 0.5), write_checkout(tmp_path / "same", 0.5)
    kept = ["--keep", str(tmp_path / "kept"), "--jobs", "1"]

    def ended(*words):
        monkeypatch.setattr(sys, "argv", ["x", *words, *kept])
        with pytest.raises(SystemExit) as end:
            same_numbers.main()
        return end.value.code, *capfd.readouterr()

    code, out, err = ended(one, same)
    assert code == 0 and "Equal" in out and "B 1/1 first" in err
    (folder,) = (tmp_path / "kept").glob("*-again")
    assert json.loads((folder / "steps" / "first" / "standard.json").read_text()) == {"other": None, "threads": "1"}
    code, out, err = ended(one, write_checkout(tmp_path / "bit", math.nextafter(0.5, 1)))
    assert code == 1 and "A: " in err and "was measured before" in err
    assert "first/runs/result.json, loss: 0.5 is now 0.5000000000000001" in out
    code, out, err = ended(one, write_checkout(tmp_path / "bad", 0.5, code=4))
    assert (code, out) == (2, "") and "augment run ../data/*/nothing ended with 4" in err
    assert sorted(path.name for path in (tmp_path / "kept").iterdir() if path.name.startswith("same-numbers")) == []


def test_every_generator_classifier_and_component_is_carried_out(augment):
    """A new one has to be put into the steps."""
    from same_numbers_steps import MODELS, steps

    models = {point.name for point in entry_points(group="augment.generators") if point.dist.name == "augment-toolkit"}
    assert models == set(MODELS)
    words = {word for step in steps(sorted(models)) for word in step.words}
    assert {f"run-{model}" for model in models} < {step.name for step in steps(sorted(models))}
    parts = {part for word in words for part in word.split("+")}
    listed = json.loads(augment("arms", "--json")[1])["components"]
    assert {row["name"] for row in listed} <= parts | {part.partition(":")[0] for part in parts}
    assert {"cnn", "cart-pixels", "cart-pca", "cart-cnn"} < words
