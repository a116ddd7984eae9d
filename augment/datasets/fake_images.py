"""Images that any other tool made, read from a folder so that they can be scored against a data set's real ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment.datasets import ImageSet, LabelledImages
from augment.datasets.decode import Decoded, Pixels, change_notes, decode_all
from augment.datasets.scan import SUFFIXES, list_folder, natural_key
from augment.errors import LARGEST_SIDE, DataError
from augment.generator import UNLABELLED
from augment.storage.files import safe_name

PARTS = frozenset({"train", "test", "val", "valid", "validation"})
"""Folders that hold class folders; all of them are read."""

NO_CLASS = "unlabelled"
"""Folder in which ``augment sample`` puts the images of a generator without classes."""

NAMED = 5
"""Files or classes that a message names; it counts the others."""


@dataclass(frozen=True, eq=False)
class FakeImages:
    """Images with the labels of the real set, or all with ``UNLABELLED``.

    test: the real test images to compare with: of the same classes, without labels where ``images`` have none.
    notes: what was done to get both.
    """

    images: LabelledImages
    test: LabelledImages
    notes: tuple[str, ...] = ()


def load_fake_images(folder: Path, real: ImageSet, *, image_size: int | None, strict: bool) -> FakeImages:
    """Read a folder of class folders (in parts or not), or a flat folder of images, which then have no class.

    Class folders are matched by name with the classes of ``real``, whatever their order: ``zero``, ``0-zero`` as
    ``augment sample`` writes it, and other cases of letters are the same class; classes may be missing. With
    ``image_size`` images are resized to that square. Grey images get the real ones' channels, and colour ones that are
    grey in truth lose theirs. Raises DataError for unknown classes, other sizes, colours that the real images do not
    have, no readable image, and with ``strict`` for a broken one.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder. Pass a folder of images, or one that `augment train` saved.")
    files = _labelled_files(folder, real)
    decoded = decode_all([path for path, _ in files], image_size, LARGEST_SIDE, lambda done: None)
    notes = _broken_notes(folder, files, decoded, strict)
    _check_sizes(folder, decoded, real)
    rows = [(image.pixels, label) for image, (_, label) in zip(decoded, files, strict=True) if image.pixels is not None]
    images, more = _with_channels(folder, [pixels for pixels, _ in rows], real)
    labels = torch.tensor([label for _, label in rows])
    test, which = _comparable(labels, real)
    return FakeImages(LabelledImages(images, labels), test, (*notes, *change_notes(decoded), *more, *which))


def _comparable(labels: Tensor, real: ImageSet) -> tuple[LabelledImages, list[str]]:
    """The test images of the same classes, and what is left out."""
    test = real.test
    if bool((labels == UNLABELLED).all()):
        note = "The images to score have no classes; all are compared with all real ones."
        return LabelledImages(test.images, torch.full_like(test.labels, UNLABELLED)), [note]
    present = torch.isin(test.labels, labels)
    if bool(present.all()):
        return test, []
    names = [real.classes[int(label)] for label in labels.unique()]
    note = f"Compared with real images of {len(names)} of {len(real.classes)} classes only: {', '.join(names)}."
    return test.subset(present.nonzero().flatten()), [note]


def _labelled_files(folder: Path, real: ImageSet) -> list[tuple[Path, int]]:
    listing = list_folder(folder)
    if listing.folders and listing.images:
        raise DataError(
            f"{folder} mixes {len(listing.folders)} folders with {len(listing.images):,} images. Move the images into "
            "the folders of their classes, or all images into one folder without others."
        )
    parts = [path for path in listing.folders if path.name.lower() in PARTS and _label(path.name, real) is None]
    if parts and len(parts) == len(listing.folders):
        files = [file for part in parts for file in _labelled_files(part, real)]
    elif len(listing.folders) == 1 and _plain(listing.folders[0].name) == NO_CLASS:
        files = [(path, UNLABELLED) for path in _below(listing.folders[0])]
    else:
        files = [(path, UNLABELLED) for path in listing.images]
        for path, label in _class_folders(folder, listing.folders, real):
            files += [(file, label) for file in _below(path)]
    if not files:
        raise DataError(f"{folder} holds no images. Known formats: {', '.join(sorted(SUFFIXES))}.")
    return files


def _below(folder: Path) -> list[Path]:
    """Image files at any depth, hidden ones apart, naturally sorted."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    visible = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(visible, key=lambda path: natural_key(str(path)))


def _class_folders(folder: Path, folders: Iterable[Path], real: ImageSet) -> list[tuple[Path, int]]:
    """Each class folder with its label; raises DataError that names the folders that are no class."""
    labels = {path: _label(path.name, real) for path in folders}
    unknown = [repr(path.name) for path, label in labels.items() if label is None]
    if unknown:
        raise DataError(
            f"{folder} has folders that are no class of {real.name}: {_some(unknown)}. Its classes are "
            f"{_some(list(real.classes), 20)}. Rename the folders, or pass a folder of images without class folders."
        )
    return [(path, label) for path, label in labels.items() if label is not None]


def _label(name: str, real: ImageSet) -> int | None:
    """The class a folder is named after: by its very name, else but for case, numbering and unsafe letters."""
    if name in real.classes:
        return real.classes.index(name)
    matches = [label for label, known in enumerate(real.classes) if _names(known) & _names(name)]
    return matches[0] if len(matches) == 1 else None


def _names(name: str) -> set[str]:
    return {each.casefold() for each in (name, safe_name(name), _plain(name), safe_name(_plain(name)))}


def _plain(name: str) -> str:
    """Without the number that ``augment sample`` puts before a class."""
    return re.sub(r"^\d+-", "", name)


def _some(names: Sequence[str], limit: int = NAMED) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


def _broken_notes(
    folder: Path, files: Sequence[tuple[Path, int]], decoded: Sequence[Decoded], strict: bool
) -> list[str]:
    broken = [
        f"{path.relative_to(folder)} ({image.broken})"
        for (path, _), image in zip(files, decoded, strict=True)
        if image.broken
    ]
    if not broken:
        return []
    seen = f"{len(broken):,} of {len(decoded):,} files in {folder} cannot be read: {_some(broken)}"
    if strict or len(broken) == len(decoded):
        raise DataError(f"{seen}. Repair or remove them" + (", or leave --strict out to skip them." if strict else "."))
    return [f"{seen}; skipped."]


def _check_sizes(folder: Path, decoded: Sequence[Decoded], real: ImageSet) -> None:
    sizes = Counter(image.other_size for image in decoded if image.other_size is not None)
    sizes.update((image.pixels.shape[1], image.pixels.shape[0]) for image in decoded if image.pixels is not None)
    wanted = (real.spec.width, real.spec.height)
    if set(sizes) <= {wanted}:
        return
    (width, height), count = next(item for item in sizes.most_common() if item[0] != wanted)
    raise DataError(
        f"{folder} has images of {width} x {height} pixels ({count:,} of {sizes.total():,}), {real.name} of "
        f"{wanted[0]} x {wanted[1]}. Scores need equal sizes: pass --image-size {max(wanted)} to resize both."
    )


def _with_channels(folder: Path, pictures: Sequence[Pixels], real: ImageSet) -> tuple[Tensor, list[str]]:
    """``(N, C, H, W)`` with the real images' channels, and what was done for that."""
    channels, height, width = real.spec.shape
    images = np.empty((len(pictures), channels, height, width), np.uint8)
    changed = coloured = 0
    for target, pixels in zip(images, pictures, strict=True):
        changed += (pixels.ndim == 3) != (channels == 3)
        if channels == 1 and pixels.ndim == 3:
            coloured += not bool((pixels == pixels[..., :1]).all())
            target[0] = pixels[..., 0]
        else:
            target[:] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
    if coloured:
        raise DataError(
            f"{folder} has {coloured:,} colour images of {len(pictures):,}, and {real.name} is grey. Convert them to "
            "grey first, or score them against a set in colour."
        )
    if not changed:
        return torch.from_numpy(images), []
    how = "saved as RGB were read as grey" if channels == 1 else "in grey got three equal channels"
    return torch.from_numpy(images), [f"{changed:,} images {how}."]
