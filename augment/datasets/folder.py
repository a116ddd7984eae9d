"""Any folder of images as a data set: ``train/`` and ``test/`` with class folders, or class folders that are split."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from augment.datasets.catalogue import DESCRIPTIONS
from augment.datasets.decode import Decoded, change_notes, decode_all
from augment.datasets.image_set import (
    SPLIT_RULE,
    ImageSet,
    LabelledImages,
    stratified_split,
)
from augment.datasets.scan import Files, find_files
from augment.datasets.search import Log
from augment.errors import LARGEST_SIDE, SMALLEST_SIDE, DataError

COMMON_LIMIT = 64
"""The largest side that all generators take; what is proposed for larger images."""

NAMED = 5
"""Broken files that a message names; it counts the others."""

PROGRESS_EVERY = 3.0


def load_folder(folder: Path, *, image_size: int | None, strict: bool, log: Log) -> ImageSet:
    """Load a folder of images.

    Broken files are skipped and named in the notes, with ``strict`` they are refused. Raises DataError for a folder
    without labels or with one class, a class without images, parts with different classes, or images of different
    sizes when there is no ``image_size``.
    """
    files = find_files(folder)
    decoded = decode_all(files.paths, image_size, LARGEST_SIDE, _progress(folder, len(files.paths), log))
    notes = [*files.notes, *_broken_notes(folder, files, decoded, strict), *change_notes(decoded)]
    _check_sizes(folder, decoded)
    rows = [row for row, image in enumerate(decoded) if image.pixels is not None]
    _check_classes(folder, files, rows)
    if not files.has_test:
        notes.insert(0, f"There is no test/: {SPLIT_RULE}.")
    parts = _parts(files, rows)
    channels = 3 if any(image.pixels is not None and image.pixels.ndim == 3 for image in decoded) else 1
    train, test = (
        LabelledImages(_pack(decoded, part, channels), torch.tensor([files.labels[row] for row in part]))
        for part in parts
    )
    return ImageSet(_name(folder), train, test, files.classes, notes=tuple(notes), own_test=files.has_test)


def _parts(files: Files, rows: Sequence[int]) -> tuple[list[int], list[int]]:
    """Rows of the training and of the test part."""
    if files.has_test:
        return [row for row in rows if files.parts[row] == 0], [row for row in rows if files.parts[row] == 1]
    train, test = stratified_split([files.labels[row] for row in rows], len(files.classes))
    return [rows[row] for row in train], [rows[row] for row in test]


def _pack(decoded: list[Decoded], rows: Sequence[int], channels: int) -> Tensor:
    """One uint8 tensor ``(N, C, H, W)``; grey images among coloured ones get three equal channels."""
    height, width = next(image.pixels.shape[:2] for image in decoded if image.pixels is not None)
    packed = torch.empty(len(rows), channels, height, width, dtype=torch.uint8)
    images = packed.numpy()
    for target, row in zip(images, rows, strict=True):
        pixels = decoded[row].pixels
        if pixels is not None:
            target[:] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
    return packed


def _progress(folder: Path, total: int, log: Log) -> Callable[[int], None]:
    """Tells how many files are done, every few seconds."""
    last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_EVERY:
            last = time.monotonic()
            log(f"{folder}: {done:,} of {total:,} images read")

    return tell


def _broken_notes(folder: Path, files: Files, decoded: Sequence[Decoded], strict: bool) -> list[str]:
    broken = [(path, image.broken) for path, image in zip(files.paths, decoded, strict=True) if image.broken]
    if not broken:
        return []
    named = ", ".join(f"{path.relative_to(folder)} ({reason})" for path, reason in broken[:NAMED])
    named += f" and {len(broken) - NAMED:,} more" if len(broken) > NAMED else ""
    count = f"{len(broken):,} of {len(decoded):,} files {'is' if len(broken) == 1 else 'are'} broken"
    if strict:
        raise DataError(f"{folder}: {count}: {named}. Repair or remove them, or leave --strict out to skip them.")
    return [f"{count} and skipped: {named}."]


def _check_sizes(folder: Path, decoded: Sequence[Decoded]) -> None:
    sizes = Counter(image.other_size for image in decoded if image.other_size is not None)
    if not sizes:
        return
    for image in decoded:
        if image.pixels is not None:
            sizes[(image.pixels.shape[1], image.pixels.shape[0])] += 1
    (width, height), count = sizes.most_common(1)[0]
    side = max(SMALLEST_SIDE, min(COMMON_LIMIT, max(width, height)))
    if len(sizes) > 1:
        share = f"{count:,} of {sizes.total():,}"
        problem = f"images of {len(sizes):,} sizes; the commonest is {width} x {height} ({share})"
    else:
        problem = f"images of {width} x {height} pixels; unresized they may have {LARGEST_SIDE} at most"
    raise DataError(f"{folder} holds {problem}. Pass --image-size {side} to resize all to {side} x {side}.")


def _check_classes(folder: Path, files: Files, rows: Sequence[int]) -> None:
    """Each class needs a readable image per part, or two where the folder is to be split."""
    needed = 1 if files.has_test else 2
    counts = Counter((files.parts[row], files.labels[row]) for row in rows)
    for part in range(2 if files.has_test else 1):
        few = [name for label, name in enumerate(files.classes) if counts[part, label] < needed]
        if few:
            where = f" in {('train', 'the test part')[part]}" if files.has_test else ""
            raise DataError(
                f"{folder}: too few readable images{where} of {', '.join(few[:NAMED])}: each class needs {needed} or "
                "more. Add images (or repair them: run with --strict to see which are broken), or remove the class."
            )


def _name(folder: Path) -> str:
    """The folder's name; never that of a named set, for which other weights and results would be taken."""
    name = folder.resolve().name or "images"
    return f"{name}-folder" if name in DESCRIPTIONS else name
