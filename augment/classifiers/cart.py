"""CART, a single decision tree, on pixels, on principal components or on the features of a CNN.

L. Breiman, J. Friedman, R. Olshen, C. Stone: Classification and Regression Trees (1984), as scikit-learn builds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.errors import ConfigError, DataError, unknown_name
from augment.seeds import numpy_rng, random_state, torch_rng

if TYPE_CHECKING:
    from augment.classifiers.cnn import CNN

Features = Literal["pixels", "pca", "cnn"]

FEATURES = ("pixels", "pca", "cnn")

COMPONENTS = 20
"""Principal components a tree sees. Fifty cost three times as much and made it slightly worse on Fashion-MNIST, on its
official test images."""

PCA_IMAGES = 5000
"""Components are found on at most so many images, drawn by the seed: more changes nothing but time and memory."""

LEAVES = (1, 5, 20, 50)
"""Fewest images of a leaf, of which a tree chooses: what added images are worth to it depends on that size."""

FOLDS = 3
"""Parts of the real images by which the size of leaves is chosen."""

CHUNK = 2048
"""Images flattened to float32 at a time."""

Encoder = Callable[[Tensor], NDArray[np.float32]]


class Cart:
    """A fitted tree and the features it sees.

    Args:
        name: Says both, for example ``cart-pca``.
        encode: Turns uint8 images ``(N, C, H, W)`` into what the tree sees, ``(N, D)`` float32.
        tree: Fitted, of scikit-learn.
        leaf: Fewest training images of a leaf.

    Example:
        >>> from augment import load_dataset
        >>> from augment.classifiers import fit_cart
        >>> digits = load_dataset("digits")
        >>> cart = fit_cart(digits.train.images, digits.train.labels, features="pixels", seed=0, leaf=5)
        >>> cart.name, cart.leaf, cart.encode(digits.test.images).shape
        ('cart-pixels', 5, (359, 64))
    """

    def __init__(self, name: str, encode: Encoder, tree: Any, leaf: int) -> None:
        self.name = name
        self.leaf = leaf
        self.encode = encode
        self._tree = tree

    def predict(self, images: Tensor) -> Tensor:
        """Classes ``(N,)`` int64 of uint8 images ``(N, C, H, W)``."""
        return torch.from_numpy(self._tree.predict(self.encode(images)).astype(np.int64))


def fit_cart(
    images: Tensor,
    labels: Tensor,
    *,
    features: Features = "pca",
    seed: int,
    sampling: Literal["as_is", "balanced"] = "as_is",
    weights: Tensor | None = None,
    nearest: Tensor | None = None,
    leaf: int | None = None,
    cnn: CNN | None = None,
) -> Cart:
    """Fit scikit-learn's DecisionTreeClassifier to images.

    Args:
        images: ``(N, C, H, W)`` uint8.
        labels: ``(N,)`` int64.
        features: ``pixels`` in [0, 1]; ``pca``, the first 20 principal components of the pixels of these images;
            ``cnn``, what ``cnn.features`` returns.
        seed: Of the tree, of the images that components are found on, and of the parts of the cross-validation.
        sampling: ``balanced`` weighs images so that all classes weigh the same, which for a tree is the same as
            oversampling; ``as_is`` does not.
        weights: Of each image besides, ``(N,)``.
        nearest: For every added image the real one that it is a copy of, or is most like; ``(N - real,)`` indices into
            the real ones, which come first.
        leaf: Fewest images of a leaf; None chooses one of :data:`~augment.classifiers.cart.LEAVES` by cross-validation
            inside these images.
        cnn: A CNN trained on these images, for ``cnn`` features.

    Returns:
        The fitted tree.

    Raises:
        ConfigError: For unknown features or sampling or a missing CNN.
        DataError: Without images.

    Example:
        >>> from augment import load_dataset
        >>> from augment.classifiers import fit_cart
        >>> digits = load_dataset("digits")
        >>> cart = fit_cart(digits.train.images, digits.train.labels, seed=0, leaf=20)
        >>> cart.name, cart.predict(digits.test.images).shape
        ('cart-pca', torch.Size([359]))
    """
    if sampling not in ("as_is", "balanced"):
        raise ConfigError(unknown_name("sampling", sampling, ("as_is", "balanced")))
    if len(images) == 0 or len(images) != len(labels):
        raise DataError(
            f"{len(images)} images and {len(labels)} labels: a tree needs at least one image, one label each."
        )
    encode = _encoder(images, features, seed, cnn)
    training = _Training(
        points=encode(images),
        labels=labels.cpu().numpy(),
        weights=np.ones(len(labels)) if weights is None else weights.cpu().double().numpy(),
        balanced=sampling == "balanced",
        seed=seed,
    )
    if leaf is None:
        leaf = _chosen_leaf(training, np.zeros(0, np.int64) if nearest is None else nearest.cpu().numpy())
    return Cart(f"cart-{features}", encode, training.tree(leaf), leaf)


@dataclass(frozen=True)
class _Training:
    """What a tree is fitted to: points ``(N, D)``, classes ``(N,)`` and weights ``(N,)``."""

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    balanced: bool
    seed: int

    def tree(self, leaf: int, rows: NDArray[np.bool_] | None = None) -> Any:
        """Fitted to all, or to ``rows`` ``(N,)``."""
        from sklearn.tree import DecisionTreeClassifier

        tree = DecisionTreeClassifier(
            min_samples_leaf=leaf,
            class_weight="balanced" if self.balanced else None,
            random_state=random_state(self.seed, "tree"),
        )
        chosen = slice(None) if rows is None else rows
        return tree.fit(self.points[chosen], self.labels[chosen], sample_weight=self.weights[chosen])


def _chosen_leaf(training: _Training, nearest: NDArray[np.int64]) -> int:
    """The leaf with the highest mean recall of real images, each judged by a tree that has not seen it.

    Nor has that tree seen an added image that is most like it: a copy across the two sides would praise leaves of one
    image. The smaller of equal ones; the middle ones of :data:`LEAVES` where no class has two images.
    """
    real = training.labels[: len(training.labels) - len(nearest)]
    fold = _folds(real, training.seed)
    of_each = np.concatenate([fold, fold[nearest]])
    if len(np.unique(fold)) < 2:
        return LEAVES[1]

    def recall(leaf: int) -> float:
        right = np.zeros(len(real))
        for held in np.unique(fold):
            test = np.flatnonzero(fold == held)
            tree = training.tree(leaf, of_each != held)
            right[test] = tree.predict(training.points[test]) == real[test]
        return float(np.mean([right[real == label].mean() for label in np.unique(real)]))

    return max(LEAVES, key=recall)


def _folds(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A fold for every image ``(N,)``, every class spread over all as evenly as it goes."""
    shuffles = numpy_rng(seed, "folds of a tree")
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = shuffles.permutation(np.flatnonzero(labels == label))
        fold[members] = (np.arange(len(members)) + shuffles.integers(FOLDS)) % FOLDS
    return fold


def check_components(images: Tensor, of: str = "") -> None:
    """Raise DataError for images that are all equal, or only one; ``of`` begins the message."""
    if bool((images == images[:1]).all()):
        raise DataError(
            f"{of}All training images are equal: they have no principal components. Check the images, or choose "
            "another classifier than cart-pca."
        )


def _encoder(images: Tensor, features: str, seed: int, cnn: CNN | None) -> Encoder:
    if features == "pixels":
        return _pixels
    if features == "pca":
        return _principal_components(images, seed)
    if features != "cnn":
        raise ConfigError(unknown_name("CART features", features, FEATURES))
    if cnn is None:
        raise ConfigError("CART on CNN features needs a trained CNN: pass cnn=fit_cnn(...), or features='pca'.")
    return lambda images: cnn.features(images).numpy()


def _pixels(images: Tensor) -> NDArray[np.float32]:
    return images.cpu().flatten(1).numpy().astype(np.float32) / np.float32(255)


def _principal_components(images: Tensor, seed: int) -> Encoder:
    """On one thread: with two the last digits are others, and a tree may split elsewhere.

    Which process of a run fits a tree, and on how many threads, is left to chance.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    order = torch.randperm(len(images), generator=torch_rng(seed, "images of the components"))
    drawn = images[order[:PCA_IMAGES]]
    check_components(drawn)
    chosen = _pixels(drawn)
    pca = PCA(min(COMPONENTS, *chosen.shape), random_state=random_state(seed, "components"))
    with threadpool_limits(1, user_api="blas"):
        pca.fit(chosen)

    def encode(images: Tensor) -> NDArray[np.float32]:
        with threadpool_limits(1, user_api="blas"):
            return np.concatenate([pca.transform(_pixels(part)) for part in images.split(CHUNK)])

    return encode
