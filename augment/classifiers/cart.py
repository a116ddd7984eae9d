"""CART, a single decision tree, on pixels, on principal components or on the features of a CNN.

L. Breiman, J. Friedman, R. Olshen, C. Stone: Classification and Regression Trees (1984), as scikit-learn builds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from augment.classifiers import CNN

Features = Literal["pixels", "pca", "cnn"]

FEATURES = ("pixels", "pca", "cnn")

COMPONENTS = 20
"""Principal components a tree sees. Fifty cost three times as much and made it slightly worse on Fashion-MNIST."""

PCA_IMAGES = 5000
"""Components are found on at most so many images, drawn by the seed: more changes nothing but time and memory."""

MIN_SAMPLES_LEAF = 5
"""A fully grown tree (1) was 0.5 to 3 points worse on every Fashion-MNIST set that was tried."""

CHUNK = 2048
"""Images flattened to float32 at a time."""

Encoder = Callable[[Tensor], NDArray[np.float32]]


class Cart:
    """A fitted tree and the features it sees; ``name`` says both, for example ``cart-pca``."""

    def __init__(self, name: str, encode: Encoder, tree: Any) -> None:
        self.name = name
        self._encode = encode
        self._tree = tree

    def predict(self, images: Tensor) -> Tensor:
        """Classes ``(N,)`` int64 of uint8 images ``(N, C, H, W)``."""
        return torch.from_numpy(self._tree.predict(self._encode(images)).astype(np.int64))


def fit_cart(
    images: Tensor,
    labels: Tensor,
    *,
    features: Features = "pca",
    seed: int,
    sampling: Literal["as_is", "balanced"] = "as_is",
    weights: Tensor | None = None,
    cnn: CNN | None = None,
) -> Cart:
    """Fit scikit-learn's DecisionTreeClassifier to uint8 ``images`` ``(N, C, H, W)`` and int64 ``labels`` ``(N,)``.

    features: ``pixels`` in [0, 1]; ``pca``, the first 20 principal components of the pixels of these images; ``cnn``,
    what ``cnn.features`` returns.  sampling: ``balanced`` weighs images so that all classes weigh the same, which for a
    tree is the same as oversampling.  weights: of each image besides, ``(N,)``.  cnn: a CNN trained on these images,
    for ``cnn`` features.

    Raises ConfigError for unknown features or sampling or a missing CNN, DataError without images.
    """
    from sklearn.tree import DecisionTreeClassifier

    if sampling not in ("as_is", "balanced"):
        raise ConfigError(unknown_name("sampling", sampling, ("as_is", "balanced")))
    if len(images) == 0 or len(images) != len(labels):
        raise DataError(
            f"{len(images)} images and {len(labels)} labels: a tree needs at least one image, one label each."
        )
    encode = _encoder(images, features, seed, cnn)
    tree = DecisionTreeClassifier(
        min_samples_leaf=MIN_SAMPLES_LEAF,
        class_weight="balanced" if sampling == "balanced" else None,
        random_state=seed % 2**32,
    )
    factors = None if weights is None else weights.cpu().numpy()
    return Cart(f"cart-{features}", encode, tree.fit(encode(images), labels.cpu().numpy(), sample_weight=factors))


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
    from sklearn.decomposition import PCA

    rng = torch.Generator().manual_seed(seed)
    drawn = images[torch.randperm(len(images), generator=rng)[:PCA_IMAGES]]
    check_components(drawn)
    chosen = _pixels(drawn)
    pca = PCA(min(COMPONENTS, *chosen.shape), random_state=seed % 2**32)
    pca.fit(chosen)
    return lambda images: np.concatenate([pca.transform(_pixels(part)) for part in images.split(CHUNK)])
