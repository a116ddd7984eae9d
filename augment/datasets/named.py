"""The search order of each named set, from what a person points to down to the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from augment.datasets import debian, download, vision
from augment.datasets.catalogue import (
    FASHION_MNIST_PACKAGE,
    FASHION_MNIST_SYSTEM_FOLDER,
    IDX_SETS,
)
from augment.datasets.idx import read_idx_set
from augment.datasets.image_set import SPLIT_RULE, ImageSet, LabelledImages, stratified_split
from augment.datasets.search import Attempt, Log, Parts, Unusable, first_usable, obtain, skipped
from augment.storage.locations import cache_folder


def load_named(name: str, *, data_dir: Path | None, offline: bool, log: Log) -> ImageSet:
    """Load a named set; raises MissingDataError that lists all places when none has it.

    The notes name damaged files, and a ``data_dir`` without the set, that were passed over on the way.
    """
    if name == "digits":
        return load_digits()
    order = _idx_attempts if name in IDX_SETS else _vision_attempts
    parts, passed_over = first_usable(name, order(name, data_dir, offline, log), log)
    return ImageSet(
        name, parts.train, parts.test, parts.classes, notes=tuple(f"Passed over: {place}" for place in passed_over)
    )


def _idx_attempts(name: str, data_dir: Path | None, offline: bool, log: Log) -> Iterator[Attempt]:
    def read(folder: Path) -> Parts:
        return read_idx_set(name, folder)

    def fetch(folder: Path) -> None:
        from torchvision import datasets

        source = getattr(datasets, IDX_SETS[name].torchvision_class)
        download.fetch_from_mirrors(source.mirrors, source.resources, folder, log)

    cached = cache_folder() / "datasets" / name
    if data_dir is not None:
        yield Attempt(f"--data-dir {data_dir}", lambda: read(data_dir), asked_for=True)
    yield Attempt(f"cache {cached}", lambda: read(cached))
    if name == "fashionmnist":
        yield Attempt(f"system folder {FASHION_MNIST_SYSTEM_FOLDER}", lambda: read(FASHION_MNIST_SYSTEM_FOLDER))
    mirrors = "torchvision's mirrors"
    yield Attempt(mirrors, skipped if offline else lambda: obtain(cached, fetch, read))
    if name == "fashionmnist":
        package = f"apt-get download {FASHION_MNIST_PACKAGE}"

        def unpack(folder: Path) -> None:
            debian.fetch_debian_package(folder, log)

        yield Attempt(package, skipped if offline else lambda: obtain(cached, unpack, read))


def _vision_attempts(name: str, data_dir: Path | None, offline: bool, log: Log) -> Iterator[Attempt]:
    def read(folder: Path) -> Parts:
        return vision.read_vision_set(name, folder)

    def read_or_unpack(folder: Path) -> Parts:
        """The archive in a read-only folder is unpacked into the cache."""
        archive = vision.archive_in(name, folder)
        try:
            return read(folder)
        except Unusable:
            if archive is None:
                raise
        log(f"unpacking {archive} into {cached}")
        return obtain(cached, lambda new: vision.unpack_archive(name, archive, new), read)

    def fetch(folder: Path) -> None:
        vision.fetch_vision_set(name, folder, log)

    cached = cache_folder() / "datasets" / name
    if data_dir is not None:
        yield Attempt(f"--data-dir {data_dir}", lambda: read_or_unpack(data_dir), asked_for=True)
    yield Attempt(f"cache {cached}", lambda: read(cached))
    yield Attempt("torchvision's source", skipped if offline else lambda: obtain(cached, fetch, read))


def load_digits() -> ImageSet:
    """scikit-learn's digits: 1,797 of 8 x 8, values 0..16 scaled to 0..255, with a fixed stratified split."""
    from sklearn.datasets import load_digits as load

    bunch = load()
    scaled = (torch.from_numpy(bunch.images) * (255 / 16)).round().to(torch.uint8)
    everything = LabelledImages(scaled.unsqueeze(1), torch.from_numpy(bunch.target).long())
    train, test = stratified_split(bunch.target, 10)
    return ImageSet(
        "digits",
        everything.subset(train),
        everything.subset(test),
        tuple("0123456789"),
        notes=(f"digits has no test part of its own: {SPLIT_RULE}.",),
    )
