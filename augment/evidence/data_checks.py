"""What a person's own data cannot tell, or tell wrongly: said before anything is trained, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from augment.datasets import LabelledImages
from augment.evidence.guards import digests, near_copies, perceptual_hashes
from augment.evidence.power import DISAGREEMENT, smallest_difference

FEWEST_TESTED = 5
"""Test images of a class below which its recall says next to nothing: one image is 20 points or more."""

MOST_COMPARED = 20_000
"""Images among which look-alikes are sought; of more, as many are taken evenly. Time grows with the square."""

NAMED = 5
"""Classes that a message names; it counts the others."""


def told_before_training(train: LabelledImages, test: LabelledImages, classes: Sequence[str]) -> Iterator[str]:
    """What a person should know of images and labels before a study on them begins, a sentence or two each.

    Args:
        train: The training images that are used.
        test: The images that arms are scored on.
        classes: Names, in the order of the labels.
    """
    yield from _few_tested(test.counts(len(classes)), classes)
    yield from _two_labels(train, test, classes)
    yield from _on_both_sides(train, test)


def resolution_note(test_images: int, *, drawn_anew: bool = False) -> str:
    """The smallest difference of accuracy that so many test images can show, in a sentence or two.

    Args:
        test_images: That are scored on; the different ones of all repetitions where these have their own.
        drawn_anew: Does every repetition have its own?
    """
    points = 100 * smallest_difference(test_images)
    more = "More repetitions test more images." if drawn_anew else "More seeds do not change that; more test images do."
    return (
        f"With {test_images:,} test images, differences below about {points:.1f} points of accuracy cannot be told "
        f"from chance, where two arms disagree on {DISAGREEMENT:.0%} of them. {more}"
    )


def _few_tested(counts: Sequence[int], classes: Sequence[str]) -> Iterator[str]:
    few = [index for index in sorted(range(len(counts)), key=counts.__getitem__) if counts[index] < FEWEST_TESTED]
    if few:
        named = _named([f"{classes[index]} ({counts[index]})" for index in few])
        yield (
            f"Fewer than {FEWEST_TESTED} test images: {named}. What is said of these classes rests on hardly anything: "
            "add test images, or join them with --merge-classes."
        )


def _two_labels(train: LabelledImages, test: LabelledImages, classes: Sequence[str]) -> Iterator[str]:
    """Images that stand in two classes, pixel for pixel or by their looks, in both parts together."""
    images, labels = torch.cat([train.images, test.images]), torch.cat([train.labels, test.labels])
    seen: dict[bytes, set[int]] = {}
    for digest, label in zip(digests(images), labels.tolist(), strict=True):
        seen.setdefault(digest, set()).add(label)
    exact = [sorted(found) for found in seen.values() if len(found) > 1]
    if exact:
        named = _named(list(dict.fromkeys(" and ".join(classes[label] for label in found) for found in exact)))
        yield (
            f"{_images(len(exact))} under two labels, pixel for pixel: {named}. No classifier can be right on both; "
            "keep the right label."
        )
    alike = _alike_in_other_classes(images, labels) - sum(map(len, exact))
    if alike > 0:
        yield (
            f"{_images(alike)} much like one of another class (a copy that was resized, say, or two frames of one "
            "scene). Look whether their labels are right."
        )


def _alike_in_other_classes(images: Tensor, labels: Tensor) -> int:
    rows = _evenly(len(labels))
    hashes, own = perceptual_hashes(images[rows]), labels[rows]
    return sum(
        int(near_copies(hashes.rows(own == label), hashes.rows(own != label)).sum()) for label in own.unique().tolist()
    )


def _on_both_sides(train: LabelledImages, test: LabelledImages) -> Iterator[str]:
    ours, theirs = (part.images[_evenly(len(part))] for part in (train, test))
    known = set(digests(theirs))
    exact = torch.tensor([digest in known for digest in digests(ours)])  # those are left out, and told elsewhere
    copies = int((near_copies(perceptual_hashes(ours), perceptual_hashes(theirs)) & ~exact).sum())
    if copies:
        those = f"{copies:,} training images look" if copies > 1 else "1 training image looks"
        yield (
            f"{those} almost exactly like a test image: the same thing in two pictures makes the test easier than new "
            "images are. Give such pictures to one part."
        )


def _evenly(n: int) -> Tensor:
    return torch.linspace(0, max(0, n - 1), min(n, MOST_COMPARED)).long()


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count:,} images are"


def _named(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - NAMED:,} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more
