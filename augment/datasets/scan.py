"""Finding labelled image files below a folder: which layout it has, which classes, in which order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.errors import DataError
from augment.storage.locations import require_text

SUFFIXES = frozenset(".png .jpg .jpeg .jfif .bmp .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .tga .avif .jp2".split())
VALIDATION = ("val", "valid", "validation")
LAYOUTS = "Use FOLDER/train/CLASS/*.png with FOLDER/test/CLASS/*.png, or FOLDER/CLASS/*.png."


@dataclass(frozen=True)
class Files:
    """Image files with their class index; ``part`` 0 is train, 1 is test; without ``has_test`` all are part 0."""

    classes: tuple[str, ...]
    paths: list[Path]
    labels: list[int]
    parts: list[int]
    has_test: bool
    notes: list[str]


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which 10 follows 9 and case does not matter first."""
    pieces = re.split(r"(\d+)", name.casefold())
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces if piece], name


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


@dataclass(frozen=True)
class FolderListing:
    """What lies directly in a folder, hidden things apart, naturally sorted."""

    folders: list[Path]
    images: list[Path]
    others: list[Path]


def list_folder(folder: Path) -> FolderListing:
    """Sort a folder's entries; links are followed. Raises DataError when it cannot be read."""
    folders: list[Path] = []
    images: list[Path] = []
    others: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: natural_key(e.name))
            for entry in visible:
                require_text(folder / entry.name)
                kind = folders if entry.is_dir() else images if entry.is_file() and _is_image(entry.name) else others
                kind.append(folder / entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}). Check its permissions.") from None
    return FolderListing(folders, images, others)


def _images_below(folder: Path, above: frozenset[str], others: list[Path]) -> Iterator[Path]:
    """Images of a class folder and the folders in it; a link back to a folder that we are in is not followed."""
    real = os.path.realpath(folder)
    if real in above:
        return
    listing = list_folder(folder)
    others.extend(listing.others)
    yield from listing.images
    for inner in listing.folders:
        yield from _images_below(inner, above | {real}, others)


def _class_folders(folder: Path) -> list[Path]:
    """The class folders; raises DataError for a folder that is empty, has no classes, only one, or is mixed."""
    listing = list_folder(folder)
    if not listing.folders and not listing.images:
        raise DataError(f"{folder} holds no images and no class folders. {LAYOUTS}")
    if not listing.folders:
        raise DataError(
            f"{folder} holds {len(listing.images):,} images but no class folders, so they have no labels. "
            f"Move the images of each class into a folder named after it. {LAYOUTS}"
        )
    if listing.images:
        raise DataError(
            f"{folder} mixes {len(listing.folders)} class folders with {len(listing.images):,} images that have no "
            f"label ({listing.images[0].name}, ...). Move those into class folders or elsewhere."
        )
    if len(listing.folders) == 1:
        raise DataError(
            f"{folder} has one class only, {listing.folders[0].name!r}; a classifier needs at least two. {LAYOUTS}"
        )
    return listing.folders


def _layout(folder: Path) -> tuple[list[Path], list[str]]:
    """The folder of each part (one, or train and test) and what to say about it."""
    inside = {path.name.lower(): path for path in list_folder(folder).folders}
    train = inside.get("train")
    validation = next((inside[name] for name in VALIDATION if name in inside), None)
    if train is None and "test" in inside and len(inside) <= 2:
        raise DataError(f"{folder} has test/ but no train/. {LAYOUTS}")
    if train is None:
        return [folder], []
    if "test" in inside:
        unused = [path.name for name, path in inside.items() if name not in ("train", "test")]
        return [train, inside["test"]], [f"Not used: {', '.join(f'{name}/' for name in unused)}."] if unused else []
    if validation is not None:
        return [train, validation], [f"There is no test/; {validation.name}/ is the test part."]
    return ([train], []) if len(inside) == 1 else ([folder], [])


def _agreed(parts: Sequence[Path], classes: Sequence[Sequence[Path]]) -> tuple[str, ...]:
    """Class names, the same in all parts; raises DataError that names the difference."""
    names = [[path.name for path in part] for part in classes]
    first = set(names[0])
    for part, others in zip(parts[1:], names[1:], strict=True):
        only_first, only_other = sorted(first - set(others)), sorted(set(others) - first)
        if only_first or only_other:
            raise DataError(
                f"{parts[0]} and {part} have different classes: "
                f"only in {parts[0].name}/: {_some(only_first)}; only in {part.name}/: {_some(only_other)}. "
                "Give both the same class folders."
            )
    return tuple(names[0])


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit]) or "none"
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def find_files(folder: Path) -> Files:
    """All labelled image files of a folder; raises DataError that says what is wrong with it and what to do."""
    if not os.path.exists(folder):
        raise DataError(f"{folder} does not exist. Pass the path of a folder of images, or a known data set's name.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder of images. Unpack it first if it is an archive. {LAYOUTS}")
    parts, notes = _layout(folder)
    class_folders = [_class_folders(part) for part in parts]
    classes = _agreed(parts, class_folders)
    paths: list[Path] = []
    labels: list[int] = []
    in_part: list[int] = []
    others: list[Path] = []
    for part, folders in enumerate(class_folders):
        for label, path in enumerate(folders):
            found = list(_images_below(path, frozenset(), others))
            if not found:
                raise DataError(f"The class folder {path} holds no images. Add images to it, or remove it.")
            paths += found
            labels += [label] * len(found)
            in_part += [part] * len(found)
    if others:
        notes.append(f"{len(others):,} files that are no images were left out: {_some([o.name for o in others], 3)}.")
    return Files(classes, paths, labels, in_part, len(parts) > 1, notes)
