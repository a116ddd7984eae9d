"""The classes of an estimator's ``y``, of any type, as the numbers a generator knows them by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.errors import ConfigError
from augment.generator import ImageSpec


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of ``y``, ascending, and the generator's number of each, int64 ``(C,)``."""

    names: NDArray[Any]
    places: NDArray[np.int64]

    @classmethod
    def find(cls, y: NDArray[Any], spec: ImageSpec) -> Classes:
        """By the generator's names of classes, else by number; raises ConfigError for a class it does not have."""
        names = np.unique(y)
        written = [str(name) for name in names]
        if set(written) <= set(spec.class_names):
            return cls(names, np.array([spec.class_names.index(name) for name in written], np.int64))
        if names.dtype.kind in "iufb" and np.isin(names, np.arange(spec.num_classes)).all():
            return cls(names, names.astype(np.int64))
        known = ", ".join(spec.class_names) or f"the numbers from 0 to {spec.num_classes - 1}"
        raise ConfigError(f"The classes of y are {', '.join(written)}; the generator's are {known}. Name them alike.")

    def numbers(self, y: NDArray[Any]) -> Tensor:
        """The generator's label of each row, int64 ``(N,)``."""
        return torch.from_numpy(self.places[np.searchsorted(self.names, y)])

    def of(self, labels: Tensor) -> NDArray[Any]:
        """The classes of the generator's labels, ``(n,)`` with the type of ``y``."""
        chosen: NDArray[Any] = self.names[(labels.numpy()[:, None] == self.places).argmax(1)]
        return chosen

    def labels(self, spec: ImageSpec) -> list[str]:
        """A name for each of the generator's classes: as ``y`` has it, else the generator's own, else the number."""
        known = dict(zip(self.places.tolist(), map(str, self.names), strict=True))
        own = spec.class_names or tuple(map(str, range(spec.num_classes)))
        return [known.get(number, name) for number, name in enumerate(own)]

    def counts(self, wanted: Mapping[Any, int], num_classes: int) -> list[int]:
        """Images of each of the generator's classes; those that ``y`` does not have get none."""
        counts = [0] * num_classes
        for name, place in zip(self.names, self.places, strict=True):
            counts[place] = int(wanted.get(name, 0))
        return counts
