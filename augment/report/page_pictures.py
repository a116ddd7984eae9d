"""Images in the page: samples over their nearest training images, originals over their reconstructions, as PNG."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.report.chart import Sheet
from augment.report.sections import RECONSTRUCTIONS, SAMPLES
from augment.results.gallery import Gallery, Reconstructions, Samples

TILE = 44
"""Screen pixels that the longer side of an image takes, about: small images grow by whole factors."""

PER_STRIP = 8
"""Images side by side, as many as fit on a phone."""

THUMBNAIL = 32
"""Pixels of the longer side of a picture behind a point of a map, at most; larger images are reduced."""

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Strip:
    """One row of a gallery: a picture with two rows of images, and a note under each column.

    url: PNG as a data URL.  width, height: on the screen, in pixels.
    """

    title: str
    about: str
    url: str
    width: int
    height: int
    notes: tuple[str, ...] = ()


def galleries(
    where: str, folder: Path, facets: Mapping[str, str], class_counts: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """The galleries of a run folder for the template; none where it has no images, or damaged ones.

    where: names the experiment.  class_counts: real training images of each class, where that is known.
    """
    gallery = Gallery.load(folder)
    if gallery is None:
        return []
    found = []
    if gallery.samples is not None and len(gallery.samples.labels):
        strips = _sample_strips(gallery.samples, gallery.classes, class_counts)
        found.append(_gallery(SAMPLES, where, SAMPLE_WORDS, strips, facets))
    if gallery.reconstructions is not None and len(gallery.reconstructions.labels):
        strips = _reconstruction_strips(gallery.reconstructions, gallery.classes)
        found.append(_gallery(RECONSTRUCTIONS, where, RECONSTRUCTION_WORDS, strips, facets))
    return found


SAMPLE_WORDS = (
    "Of the first seed. Upper row: generated images as they were drawn, none picked by hand. Lower row: the training "
    "image nearest to each, with the root mean square difference per pixel under it (0 is a copy, 1 is black against "
    "white). A * marks a nearest image of another class."
)
RECONSTRUCTION_WORDS = (
    "Of the first seed. Upper row: images that were held back from the training, or test images where a generator was "
    "given. Lower row: what it makes of them."
)


def _gallery(
    section: str, where: str, caption: str, strips: Sequence[Strip], facets: Mapping[str, str]
) -> dict[str, Any]:
    return {"section": section, "title": where, "caption": caption, "strips": strips, "facets": facets}


def _sample_strips(samples: Samples, classes: Sequence[str], class_counts: Sequence[int]) -> list[Strip]:
    """A strip for each class that has samples."""
    strips = []
    for label in np.unique(samples.labels):
        rows = np.flatnonzero(samples.labels == label)[:PER_STRIP]
        name = classes[label]
        notes = [
            f"{_distance(float(samples.distances[row]))}{'' if samples.nearest_labels[row] == label else '*'}"
            for row in rows
        ]
        known = label < len(class_counts)
        title = f"{name} ({class_counts[label]:,} real images)" if known else name
        about = f"{len(rows)} samples of class {name}; under each the nearest training image. Distances: " + ", ".join(
            notes
        )
        strips.append(strip(title, about, samples.images[rows], samples.nearest[rows], notes))
    return strips


def _distance(value: float) -> str:
    """Only a copy reads 0."""
    return "0" if value == 0 else f"{value:.2f}" if value >= 0.005 else "<0.01"


def _reconstruction_strips(made: Reconstructions, classes: Sequence[str]) -> list[Strip]:
    strips = []
    for start in range(0, len(made.labels), PER_STRIP):
        part = slice(start, start + PER_STRIP)
        names = [classes[label] for label in made.labels[part]]
        shown = ", ".join(dict.fromkeys(names))
        about = f"{len(names)} images of the classes {shown}; under each its reconstruction"
        strips.append(strip(shown, about, made.originals[part], made.images[part]))
    return strips


def strip(title: str, about: str, upper: Images, lower: Images, notes: Sequence[str] = ()) -> Strip:
    """Two rows of images as one picture; ``upper`` and ``lower`` are uint8 ``(n, 1 or 3, H, W)`` alike in shape."""
    sheet = sheet_of(upper, lower)
    scale = max(1, round(TILE / max(upper.shape[2:])))
    return Strip(title, about, png_url(sheet), scale * sheet.shape[1], scale * sheet.shape[0], tuple(notes))


def sheet_of(upper: Images, lower: Images) -> Images:
    """RGBA ``(height, width, 4)``: the images in two rows with transparent gaps of :func:`gap` pixels between them."""
    n, _, height, width = upper.shape
    room = gap(height, width)
    sheet = np.zeros((2 * height + room, n * (width + room) - room, 4), dtype=np.uint8)
    for row, images in enumerate((upper, lower)):
        coloured = images[:, :3] if images.shape[1] >= 3 else images[:, :1].repeat(3, axis=1)
        for column, pixels in enumerate(coloured.transpose(0, 2, 3, 1)):
            top, left = row * (height + room), column * (width + room)
            sheet[top : top + height, left : left + width, :3] = pixels
            sheet[top : top + height, left : left + width, 3] = 255
    return sheet


def square_sheet(images: Images) -> Sheet:
    """Thumbnails of images, uint8 ``(n, 1 or 3, H, W)``, in one picture with about as many columns as rows."""
    from PIL import Image

    side = min(THUMBNAIL, max(images.shape[2:]))
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGBA", (columns * side, rows * side))
    coloured = images[:, :3] if images.shape[1] >= 3 else images[:, :1].repeat(3, axis=1)
    for index, pixels in enumerate(coloured.transpose(0, 2, 3, 1)):
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        picture.thumbnail((side, side))
        room = (side - picture.width) // 2, (side - picture.height) // 2
        sheet.paste(picture, (index % columns * side + room[0], index // columns * side + room[1]))
    return Sheet(png_url(np.asarray(sheet)), columns, rows)


def gap(height: int, width: int) -> int:
    """Pixels between two images of this size."""
    return max(1, round(max(height, width) / 12))


def png_url(sheet: Images) -> str:
    """A data URL of an RGBA picture; grey ones take half the bytes."""
    from PIL import Image

    picture = Image.fromarray(sheet)
    if (sheet[..., :1] == sheet[..., :3]).all():
        picture = picture.convert("LA")
    file = io.BytesIO()
    picture.save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
