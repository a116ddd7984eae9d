"""The files of the named sets, read once every one has passed its checksum.

The IDX files of MNIST and its relatives, packed or not, are read without writing anything (LeCun, Cortes, Burges 1998):
torchvision unpacks next to the archive, which a read-only folder does not allow. CIFAR-10, CIFAR-100 and SVHN are read
through torchvision's classes; CIFAR's files are pickles, and none is opened whose MD5 is not the one torchvision
publishes.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.datasets.catalogue import IDX_FILES, IDX_SETS, IDX_SHAPES
from augment.datasets.download import fetch_file
from augment.datasets.image_set import LabelledImages
from augment.datasets.search import Corrupt, Log, Parts, Unusable

UNSIGNED_BYTE = 0x08


def unpacked(file: Path) -> bytes:
    """Content of ``file``, decompressed when its name ends in ``.gz``; raises Corrupt when it cannot be."""
    content = file.read_bytes()
    if file.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise Corrupt(f"{file} is corrupt ({error or 'truncated'}); delete it or copy it again") from None


def parse_idx(content: bytes, file: Path) -> Tensor:
    """The uint8 tensor in an IDX file: two zero bytes, type, number of axes, big-endian sizes, then the values.

    ``file`` only names it in the error: Corrupt when the header or the length is not that of such a file.
    """
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTE)):
        raise Corrupt(f"{file} is corrupt (not an IDX file of bytes); delete it or copy it again")
    axes = content[3]
    start = 4 + 4 * axes
    shape = struct.unpack(f">{axes}I", content[4:start]) if len(content) >= start else ()
    if len(content) - start != math.prod(shape):
        raise Corrupt(
            f"{file} is corrupt ({len(content):,} bytes, not {start + math.prod(shape):,}); delete it or copy it again"
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)


def _check_digest(name: str, stem: str, file: Path, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    owners = {known: set_name for set_name, entry in IDX_SETS.items() for known in entry.digests.values()}
    if owners.get(digest, name) != name:
        raise Unusable(f"{file} belongs to {owners[digest]!r}")
    expected = IDX_SETS[name].digests.get(stem, digest)
    if digest != expected:
        raise Corrupt(
            f"{file} is corrupt (sha256 of its content is {digest[:12]}..., not {expected[:12]}...); "
            "delete it or copy it again"
        )


def _read(name: str, stem: str, file: Path, shape: tuple[int, ...]) -> Tensor:
    content = unpacked(file)
    _check_digest(name, stem, file, content)
    values = parse_idx(content, file)
    if tuple(values.shape) != shape:
        raise Corrupt(f"{file} is corrupt (shape {tuple(values.shape)}, not {shape}); delete it or copy it again")
    return values


def _candidates(name: str, folder: Path) -> Iterator[Path]:
    """The folder itself, and where torchvision's layouts keep the files below or beside it."""
    inside = IDX_SETS[name].torchvision_class
    for path in (folder, folder / inside, folder / inside / "raw", folder / "raw", folder / name):
        if path.is_dir():
            yield path


def _locate(name: str, folder: Path) -> list[Path]:
    """The four files, unpacked ones before packed ones; raises Unusable that names what is missing."""
    if not folder.exists():
        raise Unusable("no such folder")
    for path in _candidates(name, folder):
        found = [next((f for f in (path / stem, path / f"{stem}.gz") if f.is_file()), None) for stem in IDX_FILES]
        if any(found):
            missing = [f"{stem}(.gz)" for stem, file in zip(IDX_FILES, found, strict=True) if file is None]
            if missing:
                raise Unusable(f"{path} lacks {', '.join(missing)}")
            return [file for file in found if file is not None]
    inside = IDX_SETS[name].torchvision_class
    raise Unusable(f"neither {inside}/raw/ nor {IDX_FILES[0]}(.gz) in it")


def read_idx_set(name: str, folder: Path) -> Parts:
    """Read ``fashionmnist``, ``mnist`` or ``kmnist`` from a folder of any of the usual layouts.

    Raises Unusable when files are missing or belong to another set, Corrupt when one fails its checksum or shape.
    """
    files = _locate(name, folder)
    with ThreadPoolExecutor(4) as pool:  # decompression and hashing release the interpreter's lock
        read = pool.map(lambda item: _read(name, *item), zip(IDX_FILES, files, IDX_SHAPES, strict=True))
        train_images, train_labels, test_images, test_labels = read
    classes = IDX_SETS[name].classes
    for file, labels in ((files[1], train_labels), (files[3], test_labels)):
        if int(labels.max()) >= len(classes):
            raise Corrupt(f"{file} is corrupt (label {int(labels.max())}); delete it or copy it again")
    return Parts(
        LabelledImages(train_images.unsqueeze(1), train_labels.long()),
        LabelledImages(test_images.unsqueeze(1), test_labels.long()),
        classes,
    )


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


def _vision_folder(name: str, folder: Path) -> Path:
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
    root = _vision_folder(name, folder)
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
