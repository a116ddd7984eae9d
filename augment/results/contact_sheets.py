"""Contact sheets: rows of images with their names in the margin, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from augment.errors import DataError, UsageError

TILE = 56
"""Pixels that the longer side of an image is scaled to, about, when no scale is given."""

MANY_ROWS = 20
"""Sheets with more rows than this use half-size tiles."""

GAP = 4
MARGIN = 14
FONT_SIZE = 15
LABEL_WIDTH = 240
INK = (32, 32, 32)


def require_picture(file: Path) -> None:
    """Raise UsageError where the ending of ``file`` is none that a sheet can be written in."""
    known = Image.registered_extensions()
    if file.suffix.lower() not in known or known[file.suffix.lower()] not in Image.SAVE:
        raise UsageError(f"{file}: {file.suffix or 'no ending'} is no picture's ending. Write .png, .jpg or .webp.")


def class_grid(
    images: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    *,
    per_class: int = 10,
    scale: float | None = None,
) -> Image.Image:
    """A sheet with one labelled row per class, of its first ``per_class`` images.

    images: ``(N, C, H, W)`` uint8, C 1 or 3.  labels: ``(N,)`` int64.  scale: sheet pixels per image pixel; None picks
    one that makes the images easy to see. Raises DataError for images of another kind.
    """
    rows = [images[torch.nonzero(labels == label).flatten()[:per_class]] for label in range(len(classes))]
    return _sheet(rows, classes, scale)


def image_rows(rows: Sequence[Tensor], titles: Sequence[str], *, scale: float | None = None) -> Image.Image:
    """A sheet with one titled row per tensor ``(N, C, H, W)`` uint8, as originals above their reconstructions.

    Raises DataError for images of another kind, or when rows and titles do not match.
    """
    if len(rows) != len(titles):
        raise DataError(f"There are {len(rows)} rows of images and {len(titles)} titles; each row needs one title.")
    return _sheet(rows, titles, scale)


def _sheet(rows: Sequence[Tensor], titles: Sequence[str], scale: float | None) -> Image.Image:
    for row in rows:
        if row.dtype != torch.uint8 or row.dim() != 4 or row.shape[1] not in (1, 3):
            raise DataError(f"A sheet takes uint8 (N, 1 or 3, H, W) images, not {row.dtype} {tuple(row.shape)}.")
    if not rows:
        raise DataError("A sheet needs at least one row of images.")
    scale = scale or _natural_scale(rows)
    height, width = (max(1, round(max(row.shape[axis] for row in rows) * scale)) for axis in (2, 3))
    font = ImageFont.load_default(min(FONT_SIZE, max(9, height - 2)))
    names = [_fitted(title, font) for title in titles]
    left = MARGIN + round(max(font.getlength(name) for name in names)) + MARGIN
    columns = max(len(row) for row in rows)
    size = (left + columns * (width + GAP) - GAP + MARGIN, 2 * MARGIN + len(rows) * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        top = MARGIN + index * (height + GAP)
        pen.text((left - MARGIN, top + height / 2), name, fill=INK, font=font, anchor="rm")
        for column, image in enumerate(row):
            sheet.paste(_tile(image, scale), (left + column * (width + GAP), top))
    return sheet


def _natural_scale(rows: Sequence[Tensor]) -> float:
    """Whole multiples for small images, so that each pixel is a clean square; larger images shrink to the tile."""
    side = max(max(row.shape[2:]) for row in rows)
    tile = TILE if len(rows) <= MANY_ROWS else TILE // 2
    return float(max(1, round(tile / side))) if side <= 2 * tile else 2 * tile / side


def _fitted(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The title, shortened at its end when the margin cannot hold it."""
    if font.getlength(title) <= LABEL_WIDTH:
        return title
    while title and font.getlength(title + "...") > LABEL_WIDTH:
        title = title[:-1]
    return title.rstrip() + "..."


def _tile(image: Tensor, scale: float) -> Image.Image:
    array = image.cpu().permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).convert("RGB")
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)
