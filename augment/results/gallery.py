"""The images a run leaves for whoever looks at it: samples beside their nearest training images, reconstructions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from augment.storage import files
from augment.storage.files import TensorFile

FILE = "gallery.safetensors"

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Samples:
    """Generated images, the first of each class as they were drawn, with what they may have been copied from.

    images, nearest: uint8 ``(n, C, H, W)``; ``nearest`` are the training images nearest in pixels.  labels,
    nearest_labels: classes ``(n,)``; a sample's is the one that was asked for.  distances: root mean square difference
    per pixel, ``(n,)`` float32 in [0, 1], 0 for a copy; taken at full size, as images may be kept smaller.
    """

    images: Images
    labels: Labels
    nearest: Images
    nearest_labels: Labels
    distances: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """Images the model was not trained on, and what it makes of them: uint8 ``(m, C, H, W)``, labels ``(m,)``."""

    originals: Images
    images: Images
    labels: Labels


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images by one model. A part is None where the model has nothing of the kind.

    Labels are indices into ``classes``.
    """

    model: str
    classes: tuple[str, ...]
    samples: Samples | None = None
    reconstructions: Reconstructions | None = None

    def save(self, folder: Path) -> None:
        """Write :data:`FILE` into ``folder``, atomically; raises OSError where that is impossible."""
        metadata = {"model": self.model, "classes": json.dumps(self.classes)}
        arrays: dict[str, NDArray[Any]] = {}
        if self.samples is not None:
            drawn = self.samples
            arrays |= {"samples": drawn.images, "sample_labels": drawn.labels, "distances": drawn.distances}
            arrays |= {"nearest": drawn.nearest, "nearest_labels": drawn.nearest_labels}
        if self.reconstructions is not None:
            restored = self.reconstructions
            arrays |= {
                "originals": restored.originals,
                "reconstructions": restored.images,
                "original_labels": restored.labels,
            }
        files.write_tensors(folder / FILE, TensorFile(arrays, metadata))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What :meth:`save` wrote into ``folder``; None where nothing is there, or something is wrong with it."""
        content = files.read_tensors(folder / FILE)
        if content is None:
            return None
        try:
            return cls._of(content)
        except (KeyError, ValueError, TypeError):
            return None

    @classmethod
    def _of(cls, content: TensorFile) -> Self:
        """Raises KeyError, ValueError or TypeError where parts are missing or do not fit together."""
        arrays, classes = content.arrays, tuple(json.loads(content.metadata["classes"]))
        samples = reconstructions = None
        if "samples" in arrays:
            columns = ("samples", "sample_labels", "nearest", "nearest_labels", "distances")
            samples = Samples(*_checked(arrays, columns, len(classes)))
        if "originals" in arrays:
            reconstructions = Reconstructions(
                *_checked(arrays, ("originals", "reconstructions", "original_labels"), len(classes))
            )
        return cls(content.metadata["model"], classes, samples, reconstructions)


def _checked(arrays: Mapping[str, NDArray[Any]], names: Sequence[str], num_classes: int) -> list[NDArray[Any]]:
    """The columns of one part, a row per image; KeyError or ValueError where they do not fit together."""
    columns = [arrays[name] for name in names]
    for column in columns:
        if len(column) != len(columns[0]):
            raise ValueError("columns of unequal length")
        if column.dtype == np.uint8 and (column.ndim != 4 or column.shape != columns[0].shape):
            raise ValueError("images of unequal shape")
        if column.dtype == np.int64 and len(column) and not 0 <= column.min() <= column.max() < num_classes:
            raise ValueError("labels without a class")
    return columns
