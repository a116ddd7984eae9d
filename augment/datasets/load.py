"""One entrance to all data sets: a known name, or a path to a folder of images."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from augment.datasets.catalogue import DESCRIPTIONS
from augment.datasets.image_set import LARGEST, SMALLEST, ImageSet, LabelledImages
from augment.datasets.search import Log
from augment.errors import ConfigError, UsageError, unknown_name
from augment.storage.locations import local_path

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
    """Load a named set (:func:`known_datasets`) or a folder of images.

    data_dir: where to look first for a named set; never written to.  image_size: side in pixels (8..256) to which all
    images are resized to squares, antialiased.  strict: refuse a folder with broken images instead of skipping them.
    offline: use no network.  log: takes lines of progress.

    Raises UsageError for an unknown name, ConfigError for a size out of range, DataError for a folder that cannot be
    used, MissingDataError when a named set is nowhere to be had.
    """
    if image_size is not None and not SMALLEST <= image_size <= LARGEST:
        raise ConfigError(f"image_size is {image_size}; it must be {SMALLEST} to {LARGEST} pixels.")
    name = str(name)
    if name in DESCRIPTIONS:
        from augment.datasets.named import load_named

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
