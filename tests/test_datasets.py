"""Named sets: what is looked for where, what is refused, and what is said when nothing helps."""

import gzip
import hashlib
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.datasets import catalogue, load_dataset, named_files
from augment.datasets import download as debian_module
from augment.datasets import download as download_module
from augment.datasets import load as named_module
from augment.datasets.search import Corrupt, Unusable
from augment.errors import MissingDataError
from augment.storage.locations import cache_folder

REAL_OPEN_URL = download_module.open_url
SHAPES = ((20, 6, 5), (20,), (10, 6, 5), (10,))


def as_idx(values):
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def tiny_content(seed):
    rng = np.random.default_rng(seed)
    return {
        stem: as_idx(rng.integers(0, 256 if len(shape) == 3 else 10, shape, dtype=np.uint8))
        for stem, shape in zip(catalogue.IDX_FILES, SHAPES, strict=True)
    }


def write_set(folder, content, *, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, data in content.items():
        file = folder / (f"{stem}.gz" if packed else stem)
        file.write_bytes(gzip.compress(data, 1) if packed else data)
    return folder


@pytest.fixture
def content(monkeypatch):
    """Content of a tiny fashionmnist and mnist, which the catalogue is made to expect."""
    contents = {name: tiny_content(seed) for seed, name in enumerate(("fashionmnist", "mnist"))}
    for name, files in contents.items():
        entry = catalogue.IDX_SETS[name]
        digests = {stem: hashlib.sha256(data).hexdigest() for stem, data in files.items()}
        monkeypatch.setitem(catalogue.IDX_SETS, name, catalogue.IdxSet(entry.torchvision_class, entry.classes, digests))
    monkeypatch.setattr(named_files, "IDX_SHAPES", SHAPES)
    return contents["fashionmnist"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """No cache, no system folder, no network, no apt: each call that would reach out is written down."""
    calls = []

    def open_url(url, **_):
        calls.append(url)
        raise Unusable(f"{url}: Name or service not known")

    def run_command(command, folder):
        calls.append(" ".join(command))
        raise Unusable(f"there is no {command[0]} on this machine")

    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(named_module, "FASHION_MNIST_SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(download_module, "open_url", open_url)
    monkeypatch.setattr(debian_module, "run_command", run_command)
    return calls


def test_idx_round_trip():
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    assert torch.equal(named_files.parse_idx(as_idx(values), Path("x")), torch.from_numpy(values))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\x08", b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", as_idx(np.zeros((2, 3), np.uint8))[:-1], b"\0\0\x08\x03\0\0"],
    ids=["empty", "header only", "floats", "one byte short", "sizes cut"],
)
def test_idx_refuses_other_bytes_and_names_the_file(data):
    with pytest.raises(Corrupt, match="some-file is corrupt"):
        named_files.parse_idx(data, Path("some-file"))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inner", ["", "FashionMNIST/raw", "FashionMNIST", "raw", "fashionmnist"])
def test_data_dir_of_every_layout_is_read_and_left_as_it_was(content, world, tmp_path, inner, packed):
    data_dir = tmp_path / "data"
    write_set(data_dir / inner, content, packed=packed)
    before = sorted(data_dir.rglob("*"))
    (data_dir / inner).chmod(0o555)
    try:
        found = load_dataset("fashionmnist", data_dir=data_dir)
    finally:
        (data_dir / inner).chmod(0o755)
    assert sorted(data_dir.rglob("*")) == before
    assert not world and not cache_folder().exists()
    assert found.train.images.shape == (20, 1, 6, 5) and found.test.labels.dtype == torch.int64
    expected = np.frombuffer(content["train-images-idx3-ubyte"][16:], np.uint8)
    assert found.train.images.numpy().tobytes() == expected.tobytes()
    assert found.notes == () and found.classes[0] == "T-shirt/top"


def test_search_order(content, world, tmp_path, monkeypatch):
    """Each place is used only when those before it have nothing; then it is taken away, and the next one serves."""
    told = []
    places = [tmp_path / "data", cache_folder() / "datasets" / "fashionmnist", tmp_path / "system"]
    for place in places:
        write_set(place, content)
    for place in places:
        load_dataset("fashionmnist", data_dir=tmp_path / "data", log=told.append)
        assert str(place) in told[-1] and not world
        for file in place.iterdir():
            file.unlink()
    with pytest.raises(MissingDataError):
        load_dataset("fashionmnist")
    assert [call.split("/")[0] for call in world] == ["http:", next(c for c in world if c.startswith("apt-get"))]


def fake_apt(content, calls, *, has_lists=True):
    def run(command, folder):
        calls.append(" ".join(command))
        assert "sudo" not in command
        if "download" in command:
            if not has_lists and not any("Dir::State::Lists" in part for part in command):
                raise Unusable("apt-get: Unable to locate package dataset-fashion-mnist")
            (folder / "dataset-fashion-mnist_1_all.deb").write_bytes(b"")
        if command[0] == "dpkg-deb":
            write_set(folder / "tree/usr/share/datasets/fashion-mnist", content)

    return run


@pytest.mark.parametrize("has_lists", [True, False])
def test_debian_package_ends_in_the_cache(content, world, monkeypatch, has_lists):
    monkeypatch.setattr(debian_module, "run_command", fake_apt(content, world, has_lists=has_lists))
    first = load_dataset("fashionmnist")
    assert any(" update" in call for call in world) is not has_lists
    cached = cache_folder() / "datasets" / "fashionmnist"
    assert sorted(f.name for f in cached.iterdir()) == sorted(f"{stem}.gz" for stem in catalogue.IDX_FILES)
    assert [f.name for f in cached.parent.iterdir() if f.is_dir()] == [".locks", "fashionmnist"]
    world.clear()
    assert load_dataset("fashionmnist", offline=True).sha256 == first.sha256
    assert not world


def test_a_package_with_other_content_never_reaches_the_cache(world, content, monkeypatch):
    other = {**content, "t10k-labels-idx1-ubyte": as_idx(np.zeros(10, np.uint8))}
    monkeypatch.setattr(debian_module, "run_command", fake_apt(other, world))
    with pytest.raises(MissingDataError, match=r"t10k-labels-idx1-ubyte\.gz is corrupt \(sha256"):
        load_dataset("fashionmnist")
    assert not (cache_folder() / "datasets" / "fashionmnist").exists()
    assert [f.name for f in (cache_folder() / "datasets").iterdir()] == [".locks"]


def test_mirror_is_used(content, world, tmp_path, monkeypatch):
    from torchvision.datasets import FashionMNIST

    mirror = write_set(tmp_path / "mirror", content)
    resources = [(f.name, hashlib.md5(f.read_bytes()).hexdigest()) for f in sorted(mirror.iterdir())]
    monkeypatch.setattr(FashionMNIST, "mirrors", ["file:///nonexistent/", f"{mirror.as_uri()}/"])
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    monkeypatch.setattr(download_module, "open_url", REAL_OPEN_URL)
    found = load_dataset("fashionmnist")
    assert not world and load_dataset("fashionmnist", offline=True).sha256 == found.sha256


def test_a_damaged_transfer_is_refused(tmp_path):
    (tmp_path / "there").write_bytes(b"x" * 1000)
    with pytest.raises(Unusable, match="the transfer is damaged"):
        download_module.fetch_file((tmp_path / "there").as_uri(), tmp_path / "here", "0" * 32, print)


def test_a_silent_network_is_given_up(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(download_module.urllib.request, "urlopen", lambda *_, **__: release.wait(20))
    try:
        with pytest.raises(Unusable, match="no answer within 0 s"):
            download_module.open_url("http://example.invalid/x", within=0.01)
    finally:
        release.set()


def test_missing_everywhere_lists_every_place(world, tmp_path):
    with pytest.raises(MissingDataError) as caught:
        load_dataset("fashionmnist", data_dir=tmp_path / "nowhere")
    message = str(caught.value)
    for part in (
        f"--data-dir {tmp_path / 'nowhere'}: no such folder",
        f"cache {cache_folder() / 'datasets' / 'fashionmnist'}: no such folder",
        f"system folder {tmp_path / 'system'}: no such folder",
        "Name or service not known",
        "apt-get download dataset-fashion-mnist: there is no apt-get on this machine",
        "`--dataset digits` needs no network",
    ):
        assert part in message
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["fashionmnist", "mnist", "kmnist", "cifar10", "cifar100", "svhn"])
def test_offline_reaches_nowhere_and_says_so(world, name):
    with pytest.raises(MissingDataError, match="not tried, because of --offline") as caught:
        load_dataset(name, offline=True)
    assert not world and "digits" in str(caught.value)
    assert str(caught.value).count("--offline") == (2 if name == "fashionmnist" else 1)


def test_unwritable_cache_is_named(content, world, tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file, not a folder")
    with pytest.raises(MissingDataError, match="cannot be written .*set AUGMENT_HOME"):
        load_dataset("fashionmnist")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "not gzip"])
def test_corrupt_file_in_data_dir_is_named(content, world, tmp_path, damage):
    folder = write_set(tmp_path / "data", content)
    file = folder / "train-labels-idx1-ubyte.gz"
    whole = file.read_bytes()
    labels = bytearray(content["train-labels-idx1-ubyte"])
    labels[-1] ^= 1
    file.write_bytes(
        {"truncated": whole[:-9], "flipped": gzip.compress(bytes(labels)), "empty": b"", "not gzip": b"x" * 50}[damage]
    )
    with pytest.raises(MissingDataError, match=r"data/train-labels-idx1-ubyte\.gz is corrupt"):
        load_dataset("fashionmnist", data_dir=folder, offline=True)


def test_corrupt_data_dir_is_noted_when_another_place_serves(content, world, tmp_path):
    folder = write_set(tmp_path / "data", content)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    write_set(tmp_path / "system", content)
    told = []
    found = load_dataset("fashionmnist", data_dir=folder, log=told.append)
    assert len(found.notes) == 1 and "t10k-images-idx3-ubyte.gz is corrupt" in found.notes[0]
    assert "looking further" in told[0]


def test_corrupt_cache_is_replaced(content, world, monkeypatch):
    cached = write_set(cache_folder() / "datasets" / "fashionmnist", content)
    (cached / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    monkeypatch.setattr(debian_module, "run_command", fake_apt(content, world))
    assert load_dataset("fashionmnist").notes
    assert load_dataset("fashionmnist", offline=True).notes == ()


def test_missing_file_is_named(content, world, tmp_path):
    folder = write_set(tmp_path / "data", content)
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(MissingDataError, match=r"lacks t10k-images-idx3-ubyte\(\.gz\)"):
        load_dataset("fashionmnist", data_dir=folder, offline=True)


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_files_of_another_set_are_refused(content, world, tmp_path, name):
    folder = write_set(tmp_path / "data", content)
    with pytest.raises(MissingDataError, match="belongs to 'fashionmnist'"):
        load_dataset(name, data_dir=folder, offline=True)


def test_catalogue_knows_the_real_shapes():
    assert catalogue.IDX_SHAPES == ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
    for name in ("fashionmnist", "mnist"):
        assert set(catalogue.IDX_SETS[name].digests) == set(catalogue.IDX_FILES)
