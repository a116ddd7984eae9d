"""Labelled images in memory, as uint8 tensors, with a hash that identifies them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.errors import DataError
from augment.generator import UNLABELLED, ImageSpec
from augment.storage.hashing import tensors_hash

SPLIT_SEED = 0
TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with labels, one for each.

    Attributes:
        images: ``(N, C, H, W)`` uint8.
        labels: ``(N,)`` int64. They count the classes from 0; an image whose class is not known has ``UNLABELLED``, -1.

    Raises:
        DataError: For anything else.

    Example:
        >>> import torch
        >>> from augment import LabelledImages
        >>> black = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
        >>> data = LabelledImages(black, torch.tensor([0, 1, 1]))
        >>> len(data), data.counts(3)
        (3, (1, 2, 0))
        >>> LabelledImages(black.float(), data.labels)
        Traceback (most recent call last):
        augment.errors.DataError: Images are uint8 (N, C, H, W); these are torch.float32 (3, 1, 8, 8).
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise DataError(f"Images are uint8 (N, C, H, W); these are {images.dtype} {tuple(images.shape)}.")
        if labels.dtype != torch.int64 or labels.dim() != 1:
            raise DataError(f"Labels are int64 (N,); these are {labels.dtype} {tuple(labels.shape)}.")
        if len(images) != len(labels):
            raise DataError(f"There are {len(images)} images and {len(labels)} labels; each image needs one label.")
        if len(labels) and int(labels.min()) < UNLABELLED:
            raise DataError(
                f"The label {int(labels.min())} is negative; labels count the classes from 0, and {UNLABELLED} marks "
                "an image without one."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self, num_classes: int) -> tuple[int, ...]:
        """Count the images of each class.

        Args:
            num_classes: Of the whole data set.

        Returns:
            A number for each class; classes without any count 0, images without a label nowhere.
        """
        return tuple(torch.bincount(self.labels[self.labels != UNLABELLED], minlength=num_classes).tolist())

    def subset(self, indices: Tensor | Sequence[int]) -> LabelledImages:
        """Choose images, in the order given, as a copy.

        Args:
            indices: Rows ``(n,)``.

        Returns:
            The n images with their labels.
        """
        rows = torch.as_tensor(indices, dtype=torch.int64)
        return LabelledImages(self.images[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set: training and test part, class names, and notes on what was done to get it.

    Attributes:
        name: As a person calls it.
        train: The training part.
        test: The test part.
        classes: Names, in the order of the labels.
        sha256: Covers shapes, pixels, labels and class names, not the name or the notes: the same images from another
            place are the same set. Computed where it is not given.
        notes: What was done to get it, a sentence each.
        own_test: The data bring a test part; where they do not, one was cut off by a fixed rule.

    Raises:
        DataError: When the parts do not fit each other or the classes, or when an image has no label.

    Example:
        >>> import torch
        >>> from augment import ImageSet, LabelledImages
        >>> images = torch.arange(0, 256, 64, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 8, 8)
        >>> part = LabelledImages(images, torch.tensor([0, 0, 1, 1]))
        >>> image_set = ImageSet("greys", train=part, test=part.subset([1, 2]), classes=("dark", "bright"))
        >>> image_set.spec.shape, image_set.spec.class_names, len(image_set.sha256)
        ((1, 8, 8), ('dark', 'bright'), 64)
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    classes: tuple[str, ...]
    sha256: str = ""
    notes: tuple[str, ...] = ()
    own_test: bool = True

    def __post_init__(self) -> None:
        train, test = self.train.images.shape[1:], self.test.images.shape[1:]
        if train != test:
            raise DataError(f"{self.name}: training images are {tuple(train)} (C, H, W), test images {tuple(test)}.")
        for part in (self.train, self.test):
            kind = "training" if part is self.train else "test"
            if not len(part):
                raise DataError(f"{self.name}: the {kind} part has no images.")
            if missing := int((part.labels == UNLABELLED).sum()):
                raise DataError(
                    f"{self.name}: {missing} images of the {kind} part have no label. Leave them out: labels are "
                    "withheld from a generator's training images, not from a data set."
                )
            if int(part.labels.max()) >= len(self.classes):
                raise DataError(f"{self.name}: label {int(part.labels.max())}, but only {len(self.classes)} classes.")
        if not self.sha256:
            object.__setattr__(self, "sha256", _content_hash(self.train, self.test, self.classes))

    @property
    def everything(self) -> LabelledImages:
        """Both parts as one, the training part first."""
        images = torch.cat([self.train.images, self.test.images])
        return LabelledImages(images, torch.cat([self.train.labels, self.test.labels]))

    @property
    def spec(self) -> ImageSpec:
        """Shape and classes, all that a generator may know of the set."""
        channels, height, width = self.train.images.shape[1:]
        return ImageSpec(channels, height, width, len(self.classes), self.classes)


def _content_hash(train: LabelledImages, test: LabelledImages, classes: Sequence[str]) -> str:
    parts = [tensor for part in (train, test) for tensor in (part.images, part.labels)]
    return tensors_hash(json.dumps(list(classes)), *parts)


def describe(image_set: ImageSet) -> dict[str, Any]:
    """What ``augment datasets inspect`` shows.

    Args:
        image_set: The data set.

    Returns:
        Shape, hash, images per class and part, notes; ready for JSON.

    Example:
        >>> from augment import load_dataset
        >>> from augment.datasets import describe
        >>> found = describe(load_dataset("digits"))
        >>> found["train"], found["test"], found["classes"][0]
        (1438, 359, {'class': '0', 'train': 142, 'test': 36})
    """
    spec = image_set.spec
    train, test = (part.counts(spec.num_classes) for part in (image_set.train, image_set.test))
    return {
        "name": image_set.name,
        "sha256": image_set.sha256,
        "channels": spec.channels,
        "height": spec.height,
        "width": spec.width,
        "train": len(image_set.train),
        "test": len(image_set.test),
        "classes": [
            {"class": name, "train": in_train, "test": in_test}
            for name, in_train, in_test in zip(image_set.classes, train, test, strict=True)
        ],
        "notes": list(image_set.notes),
    }


def stratified_split(labels: Sequence[int], num_classes: int) -> tuple[list[int], list[int]]:
    """Training and test indices, ascending: in each class a fixed draw of 20 % (rounded, at least one) is for testing.

    Every class needs two images. The same labels give the same split everywhere: RandomState's stream, unlike that of
    NumPy's newer generators or of torch, is frozen for good.
    """
    order = np.random.RandomState(SPLIT_SEED)
    array = np.asarray(labels)
    test: list[int] = []
    for label in range(num_classes):
        rows = order.permutation(np.flatnonzero(array == label))
        test.extend(rows[: max(1, round(TEST_SHARE * len(rows)))].tolist())
    chosen = set(test)
    return [row for row in range(len(array)) if row not in chosen], sorted(test)


SPLIT_RULE = "in each class a fixed random fifth is the test part (stratified 80/20, seed 0)"
