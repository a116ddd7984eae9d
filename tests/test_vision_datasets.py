"""CIFAR-10 and SVHN through torchvision, on tiny files in its layouts."""

import hashlib
import io
import pickle
import tarfile
import warnings

import numpy as np
import pytest

from augment.datasets import load_dataset
from augment.errors import MissingDataError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))


class OldDtype:
    """Unpickles with the remark that NumPy 2.4.0 makes on types pickled by NumPy of 2009."""

    def __reduce__(self):
        return warnings.warn, ("dtype(): align should be passed as Python or NumPy boolean", DeprecationWarning)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar" / CIFAR10.base_folder
    folder.mkdir(parents=True)

    def put(name, entry):
        (folder / name).write_bytes(pickle.dumps(entry))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(n):
        data = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
        return {"data": data, "labels": [i % 10 for i in range(n)], "old": OldDtype()}

    monkeypatch.setattr(CIFAR10, "train_list", [put("data_batch_1", batch(20)), put("data_batch_2", batch(10))])
    monkeypatch.setattr(CIFAR10, "test_list", [put("test_batch", batch(10))])
    meta, md5 = put("batches.meta", {"label_names": [f"thing {i}" for i in range(10)]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta, "key": "label_names", "md5": md5})
    return folder


@pytest.mark.parametrize("up", [0, 1])
def test_cifar_through_torchvision(cifar, up):
    found = load_dataset("cifar10", data_dir=cifar.parents[up - 1] if up else cifar, offline=True)
    assert found.train.images.shape == (30, 3, 32, 32) and len(found.test) == 10
    with pytest.warns(DeprecationWarning, match="align"):
        entry = pickle.loads((cifar / "test_batch").read_bytes())
    assert found.test.images[3].flatten().tolist() == entry["data"][3].tolist()
    assert found.classes[9] == "thing 9"


def test_cifar_archive_is_unpacked_into_the_cache(cifar, tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    data_dir = tmp_path / "downloads"
    data_dir.mkdir()
    archive = data_dir / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(cifar, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    load_dataset("cifar10", data_dir=data_dir, offline=True)
    assert list(data_dir.iterdir()) == [archive]
    assert len(load_dataset("cifar10", offline=True).train) == 30


def test_a_pickle_with_another_checksum_is_never_opened(cifar):
    (cifar / "data_batch_1").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(MissingDataError, match=r"data_batch_1 is corrupt \(MD5"):
        load_dataset("cifar10", data_dir=cifar, offline=True)


def test_svhn_through_torchvision(tmp_path, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    listed = dict(SVHN.split_list)
    for part, n in (("train", 12), ("test", 10)):
        buffer = io.BytesIO()
        pixels = np.full((32, 32, 3, n), 7, np.uint8)
        savemat(buffer, {"X": pixels, "y": np.array([[i % 10 + 1] for i in range(n)], np.uint8)})
        (tmp_path / listed[part][1]).write_bytes(buffer.getvalue())
        listed[part] = [*listed[part][:2], hashlib.md5(buffer.getvalue()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", listed)
    found = load_dataset("svhn", data_dir=tmp_path, offline=True)
    assert found.train.images.shape == (12, 3, 32, 32)
    assert found.test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
