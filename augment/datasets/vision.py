"""CIFAR-10, CIFAR-100 and SVHN through torchvision's classes, once every file has passed its checksum.

CIFAR's files are pickles: none is opened whose MD5 is not the one torchvision publishes.
"""

from __future__ import annotations

import hashlib
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.datasets.download import fetch_file
from augment.datasets.image_set import LabelledImages
from augment.datasets.search import Corrupt, Log, Parts, Unusable

VISION_CLASSES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "svhn": "SVHN"}


def vision_class(name: str) -> Any:
    """The class of a named set in torchvision."""
    from torchvision import datasets

    return getattr(datasets, VISION_CLASSES[name])


def _files(name: str) -> list[tuple[str, str]]:
    """Path below torchvision's root and MD5 of each file of the set."""
    cls = vision_class(name)
    if name == "svhn":
        return [(cls.split_list[part][1], cls.split_list[part][2]) for part in ("train", "test")]
    listed = [*cls.train_list, *cls.test_list, (cls.meta["filename"], cls.meta["md5"])]
    return [(f"{cls.base_folder}/{file}", md5) for file, md5 in listed]


def _roots(name: str, folder: Path) -> Iterator[Path]:
    """Folders that may be torchvision's ``root``: this one, one below it, or its parent when this is the inner one."""
    yield from (folder, folder / VISION_CLASSES[name], folder / name)
    if name != "svhn" and folder.name == vision_class(name).base_folder:
        yield folder.parent


def _check_md5(file: Path, md5: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise Corrupt(f"{file} is corrupt (MD5 {found}, not {md5}); delete it or copy it again")


def _locate(name: str, folder: Path) -> Path:
    """The root that torchvision wants, with all files present and sound; raises Unusable or Corrupt."""
    if not folder.exists():
        raise Unusable("no such folder")
    files = _files(name)
    for root in _roots(name, folder):
        missing = [path for path, _ in files if not (root / path).is_file()]
        if len(missing) == len(files):
            continue
        if missing:
            raise Unusable(f"{root} lacks {', '.join(missing)}")
        for path, md5 in files:
            _check_md5(root / path, md5)
        return root
    raise Unusable(f"no {files[0][0]} in it")


def _part(dataset: Any) -> LabelledImages:
    data = torch.from_numpy(dataset.data)
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    images: Tensor = data if data.shape[1] == 3 else data.permute(0, 3, 1, 2)  # SVHN comes as NCHW, CIFAR as NHWC
    return LabelledImages(images.contiguous(), torch.as_tensor(labels, dtype=torch.int64))


def read_vision_set(name: str, folder: Path) -> Parts:
    """Read ``cifar10``, ``cifar100`` or ``svhn``; raises Unusable when files are missing, Corrupt for a damaged one."""
    root = _locate(name, folder)
    cls = vision_class(name)
    if name == "svhn":
        train, test = cls(root, split="train"), cls(root, split="test")
        return Parts(_part(train), _part(test), tuple("0123456789"))
    with warnings.catch_warnings():
        # NumPy 2.4.0 remarks on how NumPy of 2009 pickled its types; nobody can change those files.
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
        train, test = cls(root, train=True), cls(root, train=False)
    return Parts(_part(train), _part(test), tuple(train.classes))


def archive_in(name: str, folder: Path) -> Path | None:
    """The publisher's archive, as it was downloaded, when it lies in ``folder``."""
    if name == "svhn":
        return None
    found = (root / vision_class(name).filename for root in (folder, folder / VISION_CLASSES[name], folder / name))
    return next((file for file in found if file.is_file()), None)


def unpack_archive(name: str, archive: Path, folder: Path) -> None:
    """Unpack CIFAR's archive into ``folder``; raises Corrupt when it fails its checksum."""
    _check_md5(archive, vision_class(name).tgz_md5)
    with tarfile.open(archive) as tar:
        # Debian 12's Python 3.11.2 may lack the filter; the checksum has vouched for the archive.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        tar.extractall(folder)


def fetch_vision_set(name: str, folder: Path, log: Log) -> None:
    """Fetch the set from where torchvision does, into ``folder``; raises Unusable with the reason."""
    cls = vision_class(name)
    if name == "svhn":
        for part in ("train", "test"):
            url, file, md5 = cls.split_list[part]
            log(f"fetching {url}")
            fetch_file(url, folder / file, md5, log)
        return
    log(f"fetching {cls.url}")
    archive = folder / cls.filename
    fetch_file(cls.url, archive, cls.tgz_md5, log)
    unpack_archive(name, archive, folder)
    archive.unlink()
