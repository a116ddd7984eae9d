"""Exported features come back equal, are read without us and without pickle, and are written whole or not at all."""

import csv
import gzip
import json
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open

from augment.errors import DataError, UsageError
from augment.studies.features.export import COLUMNS, SUFFIXES, export_features, suffix_of

CLASSES = ("plain", 'with "quotes"', "comma, and\nline", "=1+1", "+x", "-x", "@x", "ünï")
METADATA = {"model": "toy", "t": 50, "layer": None, "steps": [1, 2]}


def rows(n=40, width=5):
    rng = torch.Generator().manual_seed(0)
    scale = torch.logspace(-37, 37, width)  # from nearly the smallest floats to nearly the largest
    features = torch.randn(n, width, generator=rng) * scale
    features[0] = torch.tensor([1 / 3, 1e-45, -0.0, 16777217.0, 3.4028235e38])  # subnormal, -0, largest
    labels = torch.randint(len(CLASSES), (n,), generator=rng)
    return features, labels, ["train"] * (n - 7) + ["test"] * 7


def write(path, **changes):
    features, labels, split = rows()
    given = {"features": features, "labels": labels, "split": split, "classes": CLASSES, "metadata": METADATA}
    given |= changes
    export_features(path, **given)
    return given


def read(path):
    """Features, labels, split, and the names and where they come from, as another program reads them."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays}
        about = {"classes": found["classes"].tolist(), "metadata": json.loads(str(found["metadata"]))}
        return found["features"], found["labels"], found["split"].tolist(), about
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            about = json.loads(file.metadata()["table"])
            names = about.pop("split_names")
            split = [names[index] for index in file.get_tensor("split")]
            return file.get_tensor("features"), file.get_tensor("labels"), split, about
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    header, *lines = csv.reader(text.splitlines(keepends=True))
    features = np.array([line[3:] for line in lines], np.float32).reshape(len(lines), len(header) - 3)
    labels = np.array([line[1] for line in lines], np.int64)
    return features, labels, [line[0] for line in lines], json.loads(path.with_name(f"{path.name}.json").read_text())


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_comes_back_equal(tmp_path, suffix):
    path = tmp_path / "new" / "folder" / f"x{suffix}"
    given = write(path)
    features, labels, split, about = read(path)
    assert features.dtype == np.float32 and labels.dtype == np.int64
    assert np.array_equal(features.view(np.int32), given["features"].numpy().view(np.int32))  # signs of zero included
    assert labels.tolist() == given["labels"].tolist() and split == given["split"]
    assert about == {"classes": list(CLASSES), "metadata": METADATA}
    beside = [f"x{suffix}.json"] if "csv" in suffix else []
    assert files(path.parent) == sorted([path.name, *beside])
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_rows_and_no_finite_values(tmp_path, suffix):
    empty = {"features": torch.empty(0, 3), "labels": torch.empty(0, dtype=torch.int64), "split": []}
    write(tmp_path / f"empty{suffix}", **empty)
    features, _, split, about = read(tmp_path / f"empty{suffix}")
    assert features.shape == (0, 3) and split == [] and about["classes"] == list(CLASSES)
    odd = torch.tensor([[float("nan"), float("inf"), -float("inf")]])
    write(tmp_path / f"odd{suffix}", features=odd, labels=torch.tensor([3]), split=["test"])
    assert np.array_equal(read(tmp_path / f"odd{suffix}")[0], odd.numpy(), equal_nan=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_types_are_converted(tmp_path, suffix):
    """Half floats, views and int32 labels are common; rows keep their order."""
    features, labels, split = rows()
    view = features.clamp(-100, 100).half().t().contiguous().t()
    write(tmp_path / f"x{suffix}", features=view.requires_grad_(), labels=labels.int())
    found, classes, _, _ = read(tmp_path / f"x{suffix}")
    assert np.array_equal(found, view.detach().float().numpy()) and classes.tolist() == labels.tolist()


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for suffix in (".csv", ".csv.gz", ".safetensors"):
        write(tmp_path / f"x{suffix}")
        first = (tmp_path / f"x{suffix}").read_bytes()
        write(tmp_path / f"x{suffix}")
        assert (tmp_path / f"x{suffix}").read_bytes() == first


# ---------------------------------------------------------------- read by other programs


def test_npz_needs_no_pickle(tmp_path):
    given = write(tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["classes", "features", "labels", "metadata", "split"]
        assert [arrays[name].dtype.kind for name in sorted(arrays)] == ["U", "f", "i", "U", "U"]
        assert json.loads(str(arrays["metadata"])) == METADATA
        assert arrays["split"].tolist() == given["split"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_is_plain(tmp_path, suffix):
    given = write(tmp_path / f"x{suffix}")
    content = (tmp_path / f"x{suffix}").read_bytes()
    text = (gzip.decompress(content) if suffix.endswith("gz") else content).decode()
    assert text.startswith("split,label,class,f0,f1,f2,f3,f4\n")
    table = list(csv.DictReader(text.splitlines(keepends=True)))
    assert len(table) == 40 and tuple(table[0])[:3] == COLUMNS
    for row, split, label, values in zip(
        table, given["split"], given["labels"].tolist(), given["features"].tolist(), strict=True
    ):
        assert (row["split"], row["label"], row["class"]) == (split, str(label), CLASSES[label])
        assert [np.float32(row[f"f{index}"]) for index in range(5)] == values
    named = {line.split(",", 3)[2] for line in text.splitlines() if '"=1' in line}
    assert named <= {'"=1+1"'}


def test_safetensors_has_names_in_its_metadata(tmp_path):
    given = write(tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "np") as file:
        assert sorted(file.keys()) == ["features", "labels", "split"]
        texts, split = json.loads(file.metadata()["table"]), file.get_tensor("split")
    assert texts["classes"] == list(CLASSES) and texts["metadata"] == METADATA
    assert split.dtype == np.uint8 and [texts["split_names"][index] for index in split] == given["split"]


# ---------------------------------------------------------------- what is refused


def test_suffixes():
    assert [suffix_of(f"a.b/x{suffix.upper()}") for suffix in SUFFIXES] == list(SUFFIXES)


@pytest.mark.parametrize("name", ["x.parquet", "x", "x.gz", "x.npz.bak", ".npz", "npz", ""])
def test_an_unknown_suffix_is_refused_with_the_known(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.npz, \.csv \(or \.csv\.gz\) or \.safetensors"):
        write(tmp_path / name if name else "")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": torch.zeros(40)}, r"\(N, D\)"),
        ({"features": torch.zeros(39, 5)}, "39 labels"),
        ({"labels": torch.zeros(39, dtype=torch.int64)}, "39 and 40"),
        ({"labels": torch.zeros(40, 1, dtype=torch.int64)}, "40 labels"),
        ({"labels": torch.full((40,), 8)}, "from 8 to 8"),
        ({"labels": torch.full((40,), -1)}, "from -1"),
        ({"split": ["train"] * 39}, "40 and 39"),
        ({"split": ["train"] * 39 + ["val"]}, "'val'"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        write(tmp_path / "x.csv", **changes)
    assert files(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_there_stays_where_writing_fails(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"x{suffix}"
    path.write_text("before")
    with pytest.raises(ValueError, match="JSON"):
        write(path, metadata={"loss": float("nan")})
    assert files(tmp_path) == [path.name] and path.read_text() == "before"

    def full(*names):  # in the last step of writing
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match="No space left"):
        write(path)
    assert files(tmp_path) == [path.name] and path.read_text() == "before"


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write to"):
        write(tmp_path / "file" / "x.npz")
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(DataError, match="Cannot write to"):
        write(tmp_path / "x.npz")
    assert files(tmp_path) == ["file", "x.npz"]
