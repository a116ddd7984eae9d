"""The IDX files of MNIST and its relatives, packed or not, read without writing anything (LeCun, Cortes, Burges 1998).

torchvision unpacks next to the archive, which a read-only folder does not allow.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from augment.datasets.catalogue import IDX_FILES, IDX_SETS, IDX_SHAPES
from augment.datasets.image_set import LabelledImages
from augment.datasets.search import Corrupt, Parts, Unusable

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
