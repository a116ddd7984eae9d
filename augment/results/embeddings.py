"""Features of images as points in two or three dimensions, as a feature study leaves them for whoever draws them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from augment.storage import files
from augment.storage.files import TensorFile

FILE = "embeddings.safetensors"


@dataclass(frozen=True, eq=False)
class Embedding:
    """One map: ``points`` are ``(n, dimensions)`` float32, with 2 or 3 dimensions.

    title: as ``t-SNE, 2-D``.  method: how it was made, as ``tsne``.  axes: a name for each
    dimension, or none where axes mean nothing.
    """

    title: str
    method: str
    axes: tuple[str, ...]
    points: NDArray[np.float32]

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return int(self.points.shape[1])


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Maps of the same images.

    labels: their classes ``(n,)``, indices into ``classes``.  images: the images themselves, uint8 ``(n, C, H, W)``.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    maps: tuple[Embedding, ...]
    images: NDArray[np.uint8]

    def save(self, folder: Path) -> None:
        """Write :data:`FILE` into ``folder``, atomically; raises OSError where that is impossible."""
        arrays: dict[str, NDArray[Any]] = {"labels": self.labels, "images": self.images}
        rows = []
        for index, each in enumerate(self.maps):
            arrays[f"{index}/points"] = each.points
            heading = {"title": each.title, "method": each.method}
            rows.append({**heading, "dimensions": each.dimensions, "axes": list(each.axes)})
        metadata = {"maps": json.dumps(rows), "classes": json.dumps(self.classes)}
        files.write_tensors(folder / FILE, TensorFile(arrays, metadata))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What :meth:`save` wrote into ``folder``; None where nothing is there, or something is wrong with it."""
        content = files.read_tensors(folder / FILE)
        if content is None:
            return None
        try:
            return cls._of(content)
        except (KeyError, ValueError, TypeError, IndexError):
            return None

    @classmethod
    def _of(cls, content: TensorFile) -> Self:
        """Raises KeyError, ValueError, TypeError or IndexError where parts are missing or do not fit together."""
        labels, classes = content.arrays["labels"], tuple(json.loads(content.metadata["classes"]))
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
            raise ValueError("labels without a class")
        maps = []
        images = content.arrays["images"]
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(labels):
            raise ValueError("pictures of other images")
        if not all(np.isfinite(array).all() for array in content.arrays.values()):
            raise ValueError("points that are not finite")
        for index, row in enumerate(json.loads(content.metadata["maps"])):
            points = content.arrays[f"{index}/points"]
            if points.shape != (len(labels), row["dimensions"]):
                raise ValueError("a map of other images")
            maps.append(Embedding(row["title"], row["method"], tuple(row["axes"]), points))
        return cls(classes, labels, tuple(maps), images)
