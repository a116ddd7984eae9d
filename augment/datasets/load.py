"""One entrance to all data sets: a folder of images, or a known name, searched from what a person points to on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from augment.datasets import download, named_files
from augment.datasets.catalogue import DESCRIPTIONS, FASHION_MNIST_PACKAGE, FASHION_MNIST_SYSTEM_FOLDER, IDX_SETS
from augment.datasets.image_set import SPLIT_RULE, ImageSet, LabelledImages, stratified_split
from augment.datasets.named_files import read_idx_set
from augment.datasets.search import Attempt, Log, Parts, Unusable, first_usable, obtain, skipped
from augment.errors import LARGEST_SIDE, SMALLEST_SIDE, ConfigError, UsageError, unknown_name
from augment.storage.locations import cache_folder, local_path

BLOCK = 1024
"""Images resized at a time."""


def _silent(line: str) -> None:
    """Drop a line of progress."""


def load_dataset(
    name: str | Path,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    strict: bool = False,
    offline: bool = False,
    log: Log = _silent,
) -> ImageSet:
    """Load a named set (:func:`~augment.datasets.known_datasets`) or a folder of images.

    Args:
        name: Of the set, or the folder's path.
        data_dir: Where to look first for a named set; never written to.
        image_size: Side in pixels (8..256) to which all images are resized to squares, antialiased.
        strict: Refuse a folder with broken images instead of skipping them.
        offline: Use no network.
        log: Takes lines of progress.

    Returns:
        The set, in memory.

    Raises:
        UsageError: For an unknown name.
        ConfigError: For a size out of range.
        DataError: For a folder that cannot be used.
        MissingDataError: When a named set is nowhere to be had.

    Example:
        >>> from augment import load_dataset
        >>> digits = load_dataset("digits")
        >>> digits.spec.shape, len(digits.train), len(digits.test)
        ((1, 8, 8), 1438, 359)
        >>> load_dataset("digits", image_size=16).spec.shape
        (1, 16, 16)
    """
    if image_size is not None and not SMALLEST_SIDE <= image_size <= LARGEST_SIDE:
        raise ConfigError(f"image_size is {image_size}; it must be {SMALLEST_SIDE} to {LARGEST_SIDE} pixels.")
    name = str(name)
    if name in DESCRIPTIONS:
        found = load_named(name, data_dir=_folder(data_dir), offline=offline, log=log)
        return found if image_size is None else resized(found, image_size)
    path = local_path(name) if name else Path()  # which is told below, with the known names
    if not name or not (os.path.exists(path) or _looks_like_path(name)):
        raise UsageError(f"{unknown_name('data set', name, DESCRIPTIONS)} A path to a folder of images works as well.")
    if data_dir is not None:
        raise UsageError(f"--data-dir is for named sets; {name!r} is a folder of images. Leave --data-dir out.")
    from augment.datasets.folder import load_folder

    return load_folder(path, image_size=image_size, strict=strict, log=log)


def _folder(data_dir: str | Path | None) -> Path | None:
    return None if data_dir is None else local_path(data_dir).absolute()


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~")) or os.sep in name or "/" in name


def resized(image_set: ImageSet, side: int) -> ImageSet:
    """The set with all images resized to ``side`` x ``side``; the note says from which size."""
    spec = image_set.spec
    if (spec.height, spec.width) == (side, side):
        return image_set
    note = f"Resized from {spec.width} x {spec.height} to {side} x {side} (bilinear, antialiased)."
    return ImageSet(
        image_set.name,
        LabelledImages(_resize(image_set.train.images, side), image_set.train.labels),
        LabelledImages(_resize(image_set.test.images, side), image_set.test.labels),
        image_set.classes,
        notes=(*image_set.notes, note),
    )


def _resize(images: Tensor, side: int) -> Tensor:
    """In blocks, so that no float copy of the whole set is ever made."""
    out = torch.empty(len(images), images.shape[1], side, side, dtype=torch.uint8)
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK].float()
        floats = torch.nn.functional.interpolate(block, (side, side), mode="bilinear", antialias=True)
        out[start : start + BLOCK] = floats.round_().clamp_(0, 255)
    return out


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
            download.fetch_debian_package(folder, log)

        yield Attempt(package, skipped if offline else lambda: obtain(cached, unpack, read))


def _vision_attempts(name: str, data_dir: Path | None, offline: bool, log: Log) -> Iterator[Attempt]:
    def read(folder: Path) -> Parts:
        return named_files.read_vision_set(name, folder)

    def read_or_unpack(folder: Path) -> Parts:
        """The archive in a read-only folder is unpacked into the cache."""
        archive = named_files.archive_in(name, folder)
        try:
            return read(folder)
        except Unusable:
            if archive is None:
                raise
        log(f"unpacking {archive} into {cached}")
        return obtain(cached, lambda new: named_files.unpack_archive(name, archive, new), read)

    def fetch(folder: Path) -> None:
        named_files.fetch_vision_set(name, folder, log)

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
