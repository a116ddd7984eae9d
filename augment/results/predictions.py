"""What every classifier of a run said of every image it was scored on: kept, so that runs can be compared in pairs.

And where a run keeps what belongs to one repetition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from augment.storage import files
from augment.storage.files import TensorFile

MANIFEST = "manifest.json"
"""The split of a repetition."""


def repetition_folder(run: Path, index: int) -> Path:
    """That of a repetition, counted from 0; the first has no folder of its own."""
    return run if index == 0 else run / f"seed-{index}"


FILE = "predictions.safetensors"
TRUTH = "truth"

Classes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted classes by repetition, classifier and arm, and the true ones; rows are in the order of the test part.

    truths: ``(n,)`` of each repetition, which differ in what is scored on unless that is the test part.  predicted:
    ``(trainings, n)`` for each ``(repetition, classifier, arm)``.
    """

    truths: Mapping[int, Classes]
    predicted: Mapping[tuple[int, str, str], Classes]

    def truth(self, repetition: int) -> Classes | None:
        """True classes ``(n,)`` of a repetition, counted from 0; None where it is not known."""
        return self.truths.get(repetition)

    def right(self, repetition: int, classifier: str, arm: str) -> NDArray[np.float64] | None:
        """Share of the trainings that are right on each image, ``(n,)``; None where that is not known."""
        predicted, truth = self.predicted.get((repetition, classifier, arm)), self.truth(repetition)
        return None if predicted is None or truth is None else (predicted == truth).mean(0)

    def save(self, folder: Path) -> None:
        """Write :data:`FILE` into ``folder``, atomically; raises OSError where that is impossible."""
        arrays: dict[str, NDArray[Any]] = {f"{TRUTH}/{index}": truth for index, truth in self.truths.items()}
        for (index, classifier, arm), predicted in self.predicted.items():
            arrays[f"{index}/{classifier}/{arm}"] = predicted
        files.write_tensors(folder / FILE, TensorFile(arrays, {}))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What :meth:`save` wrote into ``folder``; None where nothing is there, or something is wrong with it."""
        content = files.read_tensors(folder / FILE)
        if content is None:
            return None
        truths: dict[int, Classes] = {}
        predicted: dict[tuple[int, str, str], Classes] = {}
        try:
            for key, array in content.arrays.items():
                first, rest = key.split("/", 1)
                if first == TRUTH:
                    truths[int(rest)] = array
                else:
                    classifier, arm = rest.split("/", 1)
                    predicted[int(first), classifier, arm] = array
        except ValueError:
            return None
        paired = all(
            array.ndim == 2 and key[0] in truths and len(truths[key[0]]) == array.shape[1]
            for key, array in predicted.items()
        )
        return cls(truths, predicted) if paired else None
