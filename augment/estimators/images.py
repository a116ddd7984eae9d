"""Arrays of images, and tables, as the uint8 images ``(N, C, H, W)`` that generators are trained on."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.errors import SMALLEST_SIDE, DataError

Shape = tuple[int, int, int]

HALF_A_LEVEL = 0.5 / 255
"""How far rounding may take floats out of [0, 1]: as far as they still round to the level of 0 or of 1."""

ALPHA = {2: "grey and alpha", 4: "RGBA"}
"""What as many channels usually are."""

OVERSHOOT = 1.0
"""How far values of a table that was in [0, 1] may leave it later, and be clipped; beyond, their unit is another."""


class InvalidImages(DataError, ValueError):
    """Input that is not images; a ValueError too, as scikit-learn expects."""


@dataclass(frozen=True, eq=False)
class ImageLayout:
    """How input becomes images, as learnt from a first input.

    shape: ``(C, H, W)``.  columns: of a table, None where images came as such.  column_range: minimum and width of each
    column, ``(columns,)`` both, of a table that left [0, 1], else None; the width of a column without variety is 0.
    """

    shape: Shape
    columns: int | None = None
    column_range: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    @classmethod
    def learn(cls, array: NDArray[Any], shape: Sequence[int] | None = None) -> ImageLayout:
        """The layout of images ``(N, C, H, W)`` or ``(N, H, W)``, or of a table ``(N, P)``, N at least 1.

        shape: of the images, as :func:`as_shape` takes it; None takes it from the array, or guesses it from P. Raises
        InvalidImages where it does not fit.
        """
        declared = None if shape is None else as_shape(shape)
        actual = _of_images(array) if array.ndim > 2 else declared or guessed_shape(array.shape[1])
        if declared is not None and (actual != declared or (array.ndim == 2 and math.prod(declared) != array.shape[1])):
            have = f"rows of {array.shape[1]} values" if array.ndim == 2 else f"images of {actual} (C, H, W)"
            raise InvalidImages(f"These are {have}; images of {declared}, {math.prod(declared)} values, are wanted.")
        if array.ndim > 2:
            return cls(actual)
        first, last = float(array.min()), float(array.max())
        # beside their own range, so that a table of values near 0 is not one of black images
        if array.dtype == np.uint8 or _in_unit_range(first, last, tolerance=HALF_A_LEVEL * (last - first)):
            return cls(actual, array.shape[1])
        low = array.min(0).astype(np.float64)
        return cls(actual, array.shape[1], (low, array.max(0) - low))

    def images(self, array: NDArray[Any]) -> Tensor:
        """uint8 ``(N, C, H, W)`` of an array in the form that was learnt; raises InvalidImages for another."""
        if array.ndim == 2:
            return torch.from_numpy(np.require(self._filled(array), requirements=["C", "W"]))
        shape = _of_images(array)
        if shape != self.shape or self.column_range is not None:
            scaled = "" if self.column_range is None else "rows of a table, whose columns are scaled, and not for "
            raise InvalidImages(f"These are images of {shape} (C, H, W); this is for {scaled}images of {self.shape}.")
        return torch.from_numpy(np.require(_bytes(array).reshape(-1, *self.shape), requirements=["C", "W"]))

    def restored(self, images: Tensor, like: NDArray[Any]) -> NDArray[Any]:
        """Images uint8 ``(n, C, H, W)`` in form, type and scale of ``like``, an array as :meth:`images` takes it."""
        pixels = images.numpy()
        if like.ndim == 2 and like.shape[1] != math.prod(self.shape):
            side = _side(like.shape[1])
            pixels = pixels[:, 0, :side, :side].reshape(-1, side * side)[:, : like.shape[1]]
        pixels = pixels.reshape(len(pixels), *like.shape[1:])
        if like.dtype == np.uint8 and self.column_range is None:
            return pixels
        values = pixels / np.float64(255)
        if self.column_range is not None:
            low, width = self.column_range
            values = low + values * width
        return (values if like.dtype.kind == "f" else np.rint(values)).astype(like.dtype)

    def _filled(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Rows as images, in the upper left corner where they have fewer values."""
        columns = rows.shape[1]
        if columns != (self.columns or math.prod(self.shape)):
            raise InvalidImages(f"These are rows of {columns} values; images of {self.shape} are wanted.")
        values = self._unit(rows)
        if columns == math.prod(self.shape):
            return values.reshape(-1, *self.shape)
        side = _side(columns)
        square = np.zeros((len(rows), side * side), np.uint8)
        square[:, :columns] = values
        images = np.zeros((len(rows), *self.shape), np.uint8)
        images[:, 0, :side, :side] = square.reshape(-1, side, side)
        return images

    def _unit(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        if self.column_range is not None:
            low, width = self.column_range
            rows = (rows - low) / np.where(width > 0, width, 1.0)
        elif rows.dtype == np.uint8:
            return rows
        elif rows.min() < -OVERSHOOT or rows.max() > 1 + OVERSHOOT:
            raise InvalidImages(
                f"The values in fit were uint8, or in [0, 1]; these go from {rows.min():g} to {rows.max():g}. "
                "Scale both alike, or neither: fit then takes each column's range."
            )
        return _levels(np.clip(rows, 0, 1))


def as_array(values: Any) -> Any:
    """Tensors and lists as NumPy arrays; anything else (a data frame, a sparse matrix) as it is."""
    if isinstance(values, Tensor):
        values = values.float() if values.is_floating_point() else values
        return values.detach().cpu().numpy()
    return np.asarray(values) if isinstance(values, list | tuple) else values


def as_shape(given: Sequence[int]) -> Shape:
    """``(C, H, W)`` of three whole numbers in any sequence or array, or of two, ``(H, W)`` of grey images.

    Raises InvalidImages for anything else.
    """
    try:
        sides = tuple(operator.index(side) for side in given)
    except TypeError:
        sides = ()
    if len(sides) not in (2, 3) or min(sides) < 1:
        raise InvalidImages(
            f"image_shape is {given!r}; give (C, H, W), channels, height and width of an image: three whole numbers "
            "from 1, as in (3, 32, 32), or (H, W) of grey images."
        )
    channels, height, width = sides if len(sides) == 3 else (1, *sides)
    return channels, height, width


def guessed_shape(columns: int) -> Shape:
    """A shape that holds ``columns`` values: colour where that fits exactly, else grey; square, at least 8 x 8."""
    side = math.isqrt(columns // 3)
    if side >= SMALLEST_SIDE and 3 * side**2 == columns:
        return 3, side, side
    side = max(SMALLEST_SIDE, _side(columns))
    return 1, side, side


def _side(columns: int) -> int:
    """Side of the smallest square that holds ``columns`` values."""
    return math.isqrt(columns - 1) + 1


def _of_images(array: NDArray[Any]) -> Shape:
    """``(C, H, W)`` of ``(N, C, H, W)`` or ``(N, H, W)``; InvalidImages for none, or with the channels at the end."""
    shape = array.shape if array.ndim == 4 else (array.shape[0], 1, *array.shape[1:])
    if array.ndim not in (3, 4) or not array.size:
        raise InvalidImages(f"Images are (N, C, H, W) or (N, H, W), at least one; these are {array.shape}.")
    if shape[3] < min(shape[1], SMALLEST_SIDE):  # no generator takes images as narrow as that
        alpha = ALPHA.get(shape[3])
        chosen, why = ("", "") if alpha is None else (f"[..., :{shape[3] - 1}]", f", without alpha if that is {alpha}")
        raise InvalidImages(
            f"Images are (N, C, H, W); these are {shape}, as with channels last. Put channels first{why}: "
            f"X{chosen}.transpose(0, 3, 1, 2)."
        )
    return shape[1], shape[2], shape[3]


def _in_unit_range(low: float, high: float, tolerance: float = HALF_A_LEVEL) -> bool:
    return low >= -tolerance and high <= 1 + tolerance


def _bytes(images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InvalidImages(f"Images are uint8 in 0..255 or float in [0, 1]; these are {images.dtype}. Convert them.")
    low, high = float(images.min()), float(images.max())
    if not _in_unit_range(low, high):  # nor are NaN
        remedy = (
            "Clip them, X.clip(0, 1), where a resize went beyond; scale them where their range is another, or make "
            "0..255 uint8."
        )
        raise InvalidImages(
            f"Images of floats lie in [0, 1]; these go from {low:.6g} to {high:.6g}. "
            f"{remedy if math.isfinite(low + high) else 'Leave out images whose values are not finite.'}"
        )
    return _levels(np.clip(images, 0, 1))


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(values.astype(np.float32) * np.float32(255)).astype(np.uint8)
    return levels
