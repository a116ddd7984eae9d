"""Labelled images: named sets and any folder of images.

Public names are resolved on first use, so that listing the known sets does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from augment.datasets.catalogue import known_datasets

if TYPE_CHECKING:
    from augment.datasets.image_set import ImageSet, LabelledImages, describe
    from augment.datasets.load import load_dataset

__all__ = ["ImageSet", "LabelledImages", "describe", "known_datasets", "load_dataset"]

_HOMES = {"ImageSet": "image_set", "LabelledImages": "image_set", "describe": "image_set", "load_dataset": "load"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'augment.datasets' has no attribute {name!r}")
    return getattr(importlib.import_module(f"augment.datasets.{_HOMES[name]}"), name)
