"""The classes of an estimator's ``y``, of any type, as the numbers a generator knows them by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.errors import ConfigError, DataError
from augment.generator import ImageSpec

WHOLE = re.compile(r"-?\d+\.0+")
"""Text of a whole number with a decimal point."""

NAMED = 3
"""Rows that a message names; it counts the others."""


class InvalidLabels(DataError, ValueError):
    """Labels that are missing or of several kinds; a ValueError too, as scikit-learn expects."""


def check_labels(y: Any) -> None:
    """Raise InvalidLabels where a row of ``y`` has no label (None, NaN, NA), or text stands beside numbers.

    y: as scikit-learn takes it, of any type. Without this, text beside NaN is a TypeError about ``<``, and in a list
    NaN becomes the class "nan".
    """
    values = np.asarray(y, dtype=object if isinstance(y, list | tuple) else None)
    if not values.ndim or not values.size or values.dtype.kind not in "fcOT":
        return
    if values.dtype.kind in "fc" and not np.isnan(values).any():
        return
    labels = values.astype(object).reshape(len(values), -1)
    rows = [row for row, own in enumerate(labels) if any(map(_is_missing, own))]
    if rows:
        more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
        raise InvalidLabels(
            f"y has a missing label (None, NaN or NA) in row {', '.join(map(str, rows[:NAMED]))}{more}, counted from "
            f"0, of {len(labels):,}. Give it one, or leave the row out of X and y."
        )
    texts = sum(isinstance(label, str) for label in labels.flat)
    if 0 < texts < labels.size and not isinstance(y, list | tuple):
        raise InvalidLabels(f"{texts:,} of the {labels.size:,} labels in y are text, the others not. Make all text.")


def _is_missing(value: Any) -> bool:
    """None, or unlike itself as NaN and NaT are; pandas' NA does not even say whether it is."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        return True
    except ValueError:  # an array in place of a label: scikit-learn's to refuse
        return False


def written(label: Any) -> str:
    """The name of a label: its text, and for a whole number the same whatever its type, "1" for 1, 1.0 and True."""
    whole = isinstance(label, bool | np.bool_ | float | np.floating) and float(label).is_integer()
    return str(int(label)) if whole else str(label)


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of ``y``, ascending, and the generator's number of each, int64 ``(C,)``."""

    names: NDArray[Any]
    places: NDArray[np.int64]

    @classmethod
    def find(cls, y: NDArray[Any], spec: ImageSpec) -> Classes:
        """By the generator's names of classes, else by number.

        Whole numbers have one name whatever their type (:func:`written`). Raises ConfigError for a class that the
        generator does not have, and where numbers are to be taken that are names of other classes.
        """
        names = np.unique(y)
        numbers = _numbered(spec.class_names)
        by_name = [numbers.get(str(name), numbers.get(written(name))) for name in names]
        if None not in by_name and len(set(by_name)) == len(by_name):
            return cls(names, np.array(by_name, np.int64))
        shown, own = ", ".join(map(written, names)), ", ".join(spec.class_names)
        if names.dtype.kind in "iufb" and np.isin(names, np.arange(spec.num_classes)).all():
            places = names.astype(np.int64)
            if any(number not in (None, place) for number, place in zip(by_name, places.tolist(), strict=True)):
                raise ConfigError(
                    f"The classes of y, {shown}, are numbers of the generator's classes from 0, and some are names of "
                    f"other ones of them ({own}). Give labels that are all names of its classes."
                )
            return cls(names, places)
        own = own or f"the numbers from 0 to {spec.num_classes - 1}"
        raise ConfigError(f"The classes of y are {shown}; the generator's are {own}. Name them alike.")

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
        for name, index in zip(self.names, self.places, strict=True):
            counts[index] = int(wanted.get(name, 0))
        return counts


def _numbered(class_names: Sequence[str]) -> dict[str, int]:
    """Number of each class by its name, and by "2" of one that is called "2.0" where no other is called so."""
    numbers = {name: number for number, name in enumerate(class_names)}
    for name, number in list(numbers.items()):
        if WHOLE.fullmatch(name):
            numbers.setdefault(name.partition(".")[0], number)
    return numbers
