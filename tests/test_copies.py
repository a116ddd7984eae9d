"""Copies of real images: in exact numbers, evenly, shifted and transformed where that is asked for."""

import pytest
import torch

from augment.classifiers.transforms import TRANSFORMS
from augment.datasets import LabelledImages, load_dataset
from augment.errors import UsageError
from augment.synthesis.copies import duplicates, transformed_copies


@pytest.fixture(scope="module")
def real():
    data = load_dataset("digits").train
    return data.subset(torch.cat([(data.labels == label).nonzero()[: 3 + label, 0] for label in range(4)]))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_image_is_copied_evenly_and_changed(real, transform):
    counts = (7, 0, 12, 600)
    found = transformed_copies(real, counts, transform, seed=3)
    assert found.counts(4) == counts
    assert torch.equal(real.labels[found.parents], found.labels)
    times = found.parents.bincount(minlength=len(real))
    for label, count in enumerate(counts):
        own = times[real.labels == label]
        assert int(own.sum()) == count and int(own.max() - own.min()) <= 1
    kept = (found.images == real.images[found.parents]).flatten(1).all(1).float().mean()
    assert kept < 0.3  # a policy may draw no change at all, and so may a shift
    assert {row["source"] for row in found.rows} == {f"copies:{transform}"}
    assert [row["parent"] for row in found.rows] == found.parents.tolist()


def test_copies_repeat_with_their_seed_and_differ_without(real):
    first, again, other = (transformed_copies(real, (5, 5, 5, 5), "randaugment", seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images) and not torch.equal(first.images, other.images)


def test_copies_start_from_the_images_of_duplicates(real):
    plain, changed = duplicates(real, (4, 4, 4, 4), 5), transformed_copies(real, (4, 4, 4, 4), "erasing", 5)
    assert torch.equal(plain.parents, changed.parents)
    assert torch.equal(plain.images, real.images[plain.parents])


def test_nothing_is_copied_of_a_class_without_images(real):
    only = LabelledImages(real.images[:3], real.labels[:3])
    assert transformed_copies(only, (2, 5, 0, 0), "erasing", 0).counts(4) == (2, 0, 0, 0)
    with pytest.raises(UsageError, match="Did you mean 'randaugment'"):
        transformed_copies(only, (2, 0, 0, 0), "randaugmint", 0)
