"""The named sets: what they are, and the checksums that tell a good file from a bad one; and the regimes' names.

Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DESCRIPTIONS = {
    "fashionmnist": "10 kinds of clothing, grey 28 x 28, 60,000 + 10,000 (Xiao et al. 2017, arXiv 1708.07747)",
    "mnist": "handwritten digits, grey 28 x 28, 60,000 + 10,000 (LeCun et al. 1998)",
    "kmnist": "10 cursive Japanese characters, grey 28 x 28, 60,000 + 10,000 (Clanuwat et al. 2018, arXiv 1812.01718)",
    "cifar10": "10 kinds of things, RGB 32 x 32, 50,000 + 10,000 (Krizhevsky 2009)",
    "cifar100": "100 kinds of things, RGB 32 x 32, 50,000 + 10,000 (Krizhevsky 2009)",
    "svhn": "house number digits, RGB 32 x 32, 73,257 + 26,032 (Netzer et al. 2011)",
    "digits": "handwritten digits, grey 8 x 8, 1,797 images, comes with scikit-learn and needs no network",
}


NATURAL, LONG_TAIL, EXPLICIT = "natural", "high", "explicit"

REGIMES = (NATURAL, "balanced", "semi", LONG_TAIL, EXPLICIT, "seed-high", "gamo")
"""How many images of each class are drawn: every one, or a smaller ``size`` in the proportions there are (natural), as
many of each class (balanced), two classes at a sixth of the others (semi), a long tail (high), counts that are given
(explicit), and two published ones."""


def default_regime(dataset: str) -> str:
    """The regime where none is given: named sets are cut to a long tail, a person's own images taken as they are."""
    return LONG_TAIL if dataset in DESCRIPTIONS else NATURAL


def known_datasets() -> dict[str, str]:
    """The named sets. A path to a folder of images is accepted as well.

    Returns:
        Name -> one line of description.

    Example:
        >>> from augment.datasets import known_datasets
        >>> known_datasets()["digits"]
        'handwritten digits, grey 8 x 8, 1,797 images, comes with scikit-learn and needs no network'
    """
    return dict(DESCRIPTIONS)


@dataclass(frozen=True)
class IdxSet:
    """A set in the four-file layout of MNIST.

    digests: file name without ``.gz`` -> SHA-256 of its unpacked content (a repacked archive stays valid); empty when
    the publisher gives none, and then the shape, the counts and gzip's own checksum are what is verified.
    """

    torchvision_class: str
    classes: tuple[str, ...]
    digests: dict[str, str]


IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
IDX_SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))


def _by_file(*digests: str) -> dict[str, str]:
    return dict(zip(IDX_FILES, digests, strict=True))


IDX_SETS = {
    "fashionmnist": IdxSet(
        "FashionMNIST",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        _by_file(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    "mnist": IdxSet(
        "MNIST",
        tuple("0123456789"),
        _by_file(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "kmnist": IdxSet("KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"), {}),
}

FASHION_MNIST_SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts the files."""

FASHION_MNIST_PACKAGE = "dataset-fashion-mnist"
