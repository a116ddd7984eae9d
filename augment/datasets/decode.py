"""Image files to uint8 arrays: grey stays grey, colour becomes RGB, and what had to be changed is counted."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]
"""``(H, W)`` for a grey image, ``(H, W, 3)`` for RGB."""

MAX_PIXELS = 64_000_000
"""A picture with more is refused: it takes 200 MB to decode, or it is a decompression bomb."""

EXIF_ORIENTATION = 0x0112
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
BLOCK = 64
THREADS = min(8, os.cpu_count() or 1)


class Broken(Exception):
    """A file that cannot be used as an image; the message is the reason."""


@dataclass(frozen=True)
class Decoded:
    """One file: its pixels, or its size ``(width, height)`` when that is not the wanted one, or why it is broken."""

    pixels: Pixels | None = None
    other_size: tuple[int, int] | None = None
    broken: str = ""
    changes: tuple[str, ...] = field(default=())


def open_picture(file: Path) -> Image.Image:
    """Open a file and read its header; raises Broken when it is empty, no image, or too large."""
    try:
        picture = Image.open(file)
    except UnidentifiedImageError:
        raise Broken("empty file" if file.stat().st_size == 0 else "not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Broken(f"more than {MAX_PIXELS / 1e6:.0f} million pixels") from None
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width} x {picture.height}"
        picture.close()
        raise Broken(f"{size} is more than {MAX_PIXELS / 1e6:.0f} million pixels")
    return picture


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 (upright) when there is none; does not decode the pixels."""
    if picture.format != "TIFF" and "exif" not in picture.info:  # for a PNG, getexif would read the whole file
        return 1
    return int(picture.getexif().get(EXIF_ORIENTATION, 1))


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """``(width, height)`` after EXIF orientation."""
    turned = _orientation(picture) in (5, 6, 7, 8)
    return (picture.height, picture.width) if turned else (picture.width, picture.height)


def _scale_16_bit(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise Broken("values beyond 16 bits; convert it to 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _grey_or_rgb(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """The picture in mode L or RGB, and what was done for that."""
    changes = []
    grey = picture.mode in GREY_MODES
    if picture.mode.startswith("I"):
        picture = _scale_16_bit(picture)
        changes.append("scaled from 16 to 8 bits")
    elif picture.mode == "F":
        raise Broken("floating-point pixels; convert it to 8 or 16 bits")
    elif picture.mode in ("CMYK", "P"):
        changes.append(f"converted from {'CMYK' if picture.mode == 'CMYK' else 'a palette'} to RGB")
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", alpha.size, "white"), alpha)
        changes.append("with transparency laid over white")
    return picture.convert("L" if grey else "RGB"), changes


def decode(file: Path, side: int | None, wanted: tuple[int, int] | None) -> Decoded:
    """Decode one file.

    side: resize to a square of that side, antialiased.  wanted: without ``side``, only an image of this size
    ``(width, height)`` is decoded; of others the size is told.
    """
    try:
        with open_picture(file) as picture:
            if side is None and upright_size(picture) != wanted:
                return Decoded(other_size=upright_size(picture))
            return _decode(picture, side)
    except Broken as error:
        return Decoded(broken=str(error))
    except Exception as error:  # Pillow's decoders raise every kind of exception on damaged files
        return Decoded(broken=str(error).split("\n")[0] or type(error).__name__)


def _decode(picture: Image.Image, side: int | None) -> Decoded:
    changes = []
    if getattr(picture, "is_animated", False) and picture.format != "MPO":  # MPO: a camera's JPEG with a preview
        changes.append("with several frames, of which the first was used")
        picture.seek(0)
    tiles = getattr(picture, "tile", ())
    if picture.mode in ("RGB", "RGBA") and any("16" in str(tile[-1]) for tile in tiles):
        changes.append("scaled from 16 to 8 bits")  # by Pillow itself, which keeps the high byte
    if side is not None:
        picture.draft(None, (2 * side, 2 * side))  # a JPEG photo is decoded at the scale that is needed
    upright = picture if _orientation(picture) == 1 else ImageOps.exif_transpose(picture)
    plain, more = _grey_or_rgb(upright)
    if side is not None and plain.size != (side, side):
        plain = plain.resize((side, side), Image.Resampling.BILINEAR)
    return Decoded(pixels=np.asarray(plain), changes=(*changes, *more))


@contextmanager
def _bombs_refused() -> Iterator[None]:
    """Pillow's size warning becomes an error, its remarks on odd files stay silent: those files are named by us."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode_all(files: Sequence[Path], side: int | None, largest: int, tell: Callable[[int], None]) -> list[Decoded]:
    """Decode all files in threads; ``tell`` takes the number done so far.

    Without ``side`` the images must have one size: that of the first readable file decides what is decoded, and nothing
    is when it exceeds ``largest``.
    """
    with _bombs_refused(), ThreadPoolExecutor(THREADS) as pool:
        wanted = None if side is not None else _first_size(files)
        if wanted is not None and max(wanted) > largest:
            wanted = None
        blocks = [files[start : start + BLOCK] for start in range(0, len(files), BLOCK)]
        decoded: list[Decoded] = []
        for block in pool.map(lambda block: [decode(file, side, wanted) for file in block], blocks):
            decoded.extend(block)
            tell(len(decoded))
    return decoded


def _first_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Size of the first file that can be decoded to its end."""
    for file in files:
        with suppress(Exception):  # whatever is wrong with it, decode() says it
            with open_picture(file) as picture:
                picture.load()
                return upright_size(picture)
    return None


def change_notes(decoded: Sequence[Decoded]) -> list[str]:
    """One line per kind of change, with its count."""
    counts = Counter(change for image in decoded for change in image.changes)
    return [f"{count:,} image{'s' if count > 1 else ''} {change}." for change, count in sorted(counts.items())]
