"""What is said of a person's own data before anything is trained: on planted faults, and not where there are none."""

import math

import numpy as np
import pytest
import torch

from augment.datasets import LabelledImages, load_dataset
from augment.evidence.data_checks import resolution_note, told_before_training
from augment.evidence.power import smallest_difference
from augment.seeds import numpy_rng

NAMES = ("ant", "bee", "cat")


def part(each, seed=0, side=24):
    """Smooth pictures that differ from each other, ``each`` of every class."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(each * len(NAMES), 1, 6, 6, generator=rng)
    images = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1).mul(255).to(torch.uint8)
    return LabelledImages(images, torch.arange(len(NAMES)).repeat_interleave(each))


def told(train, test):
    return list(told_before_training(train, test, NAMES))


def joined(data, images, labels):
    return LabelledImages(torch.cat([data.images, images]), torch.cat([data.labels, torch.tensor(labels)]))


def test_nothing_is_said_of_what_is_in_order():
    assert told(part(20), part(8, seed=1)) == []
    digits = load_dataset("digits")
    assert not list(told_before_training(digits.train, digits.test, digits.classes))


def test_what_the_test_part_can_show_is_told_with_what_would_show_more():
    assert resolution_note(400).startswith("With 400 test images, differences below about 4.4 points")
    assert "More seeds do not change that" in resolution_note(400)
    assert resolution_note(400, drawn_anew=True).endswith("More repetitions test more images.")


def test_classes_with_hardly_a_test_image_are_named_fewest_first():
    test = part(8, seed=1)
    few = test.subset([*range(8), 8, 9, 16])
    (note,) = told(part(20), few)
    assert note.startswith("Fewer than 5 test images: cat (1), bee (2).") and "--merge-classes" in note


def test_an_image_under_two_labels_is_counted_wherever_it_lies():
    train, test = part(20), part(8, seed=1)
    (note,) = told(joined(train, train.images[:2], [1, 1]), test)
    assert note.startswith("2 images are under two labels, pixel for pixel: ant and bee.")
    (note,) = told(train, joined(test, train.images[:1], [2]))  # one in training, one in the test part
    assert note.startswith("1 image is under two labels, pixel for pixel: ant and cat.")


def test_look_alikes_in_other_classes_and_on_both_sides_are_told_apart_from_copies():
    train, test = part(20), part(8, seed=1)
    brighter = (train.images[:1].float() * 1.1 + 4).clamp(0, 255).to(torch.uint8)
    (note,) = told(joined(train, brighter, [1]), test)
    assert note.startswith("2 images are much like one of another class")
    (note,) = told(train, joined(test, brighter, [0]))
    assert note.startswith("1 training image looks almost exactly like a test image")
    assert told(train, joined(test, train.images[:1], [0])) == []  # training leaves that one out


@pytest.mark.parametrize("images", [50, 400, 10_000])
def test_the_smallest_difference_is_found_four_times_out_of_five(images):
    """McNemar's normal test on drawn disagreements; a difference half as large is mostly missed."""
    assert smallest_difference(images) == pytest.approx(2.8015852 * math.sqrt(0.1 / images), rel=1e-6)
    rng, found = numpy_rng(0, "simulated test"), {}
    for share in (1.0, 0.5):
        effect = share * smallest_difference(images)
        better = rng.binomial(images, (0.1 + effect) / 2, 4000)
        worse = rng.binomial(images - better, min(1.0, max(0.0, (0.1 - effect) / 2) / (1 - (0.1 + effect) / 2)))
        found[share] = np.mean(better - worse > 1.96 * np.sqrt(np.maximum(better + worse, 1)))
    if images >= 400:  # with 50 the effect is larger than the share of images that differ
        assert 0.72 < found[1.0] < 0.9 and found[0.5] < 0.4
    assert smallest_difference(1) <= 1
