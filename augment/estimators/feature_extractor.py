"""scikit-learn transformer over any registered generator: images or tables in, features out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from augment.compute.device import Compute, choose_device, choose_precision
from augment.compute.encoding import encode_set
from augment.datasets import LabelledImages
from augment.estimators.training import TrainsOnArrays
from augment.generator import Generator, ImageSpec
from augment.studies.features.plan import POOL_CLASS


class FeatureExtractor(TrainsOnArrays, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features of a generator as a scikit-learn transformer: ``fit`` trains it without labels, ``transform`` encodes.

    ``X`` is images ``(N, C, H, W)``, or ``(N, H, W)`` of grey ones, NumPy or PyTorch, uint8 in 0..255 or float in
    [0, 1] up to rounding; or a table ``(N, P)``. Rows of a table are images too: of ``image_shape``; without it s x s
    pixels where P is s², 3 x s x s where it is 3s² (s at least 8), and else the values row by row in the smallest
    square that holds them, the rest black; below 8 x 8 pixels, the smallest that generators take, black is added at the
    right and below.
    A table of floats that leaves [0, 1] in ``fit`` is scaled, each column by its range there, and what lies outside is
    clipped, as by ``MinMaxScaler(clip=True)``; divide flattened images by their largest value yourself. All values are
    rounded to 256 levels.

    What was trained is kept in the cache: another ``fit`` with equal images, options and seed reuses it, so that a grid
    search over ``t`` and ``layer`` trains once per fold. 5% of the images are held back to choose the best weights.
    Equal seeds give equal features on a CPU with the same thread count. The global random state is left alone.

    Args:
        model: A registered generator; see ``augment models``.
        generator: A saved generator's folder instead, which ``fit`` does not train.
        t: Timestep of the model's ``encode``, where it has that option; None is its default.
        layer: Layer of the model's ``encode``, where it has that option; None is its default.
        noise_draws: Of the model's ``encode``, where it has that option; None is its default.
        encode_options: Further options of ``encode`` by name.
        options: Of the model, as ``--set``.
        steps: Length of training, instead of the model's own.
        max_minutes: Length of training, instead of the model's own.
        image_shape: ``(C, H, W)`` of flattened images, or ``(H, W)`` of grey ones.
        random_state: Seed of training; None trains anew each time.
        device: ``auto``, or as in ``--device``.
        precision: ``auto``, or as in ``--precision``.
        verbose: Progress on stderr.

    Attributes:
        generator_: The trained generator.
        layout_: How input becomes images.
        n_features_in_: Columns of a table, as always; not for images.
        feature_names_in_: Names of the columns of a table that has them, as always.

    Example:
        >>> from augment import FeatureExtractor, load_dataset
        >>> images = load_dataset("digits").train.images[:60]
        >>> extractor = FeatureExtractor("ae", options={"latent_dim": 16}, steps=5)
        >>> extractor.fit(images).transform(images).shape
        (60, 16)
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        generator: str | Path | None = None,
        t: int | None = None,
        layer: str | None = None,
        noise_draws: int | None = None,
        encode_options: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        steps: int | None = None,
        max_minutes: float | None = None,
        image_shape: Sequence[int] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.generator = generator
        self.t = t
        self.layer = layer
        self.noise_draws = noise_draws
        self.encode_options = encode_options
        self.options = options
        self.steps = steps
        self.max_minutes = max_minutes
        self.image_shape = image_shape
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the generator.

        Args:
            X: Images, or a table of them.
            y: Accepted and ignored, as features must not know labels.

        Returns:
            The extractor itself.

        Raises:
            UsageError: For an unknown model or an option of ``encode`` that it does not have.
            ConfigError: For values of options.
            InvalidImages: A ValueError, for ``X``; as all of these before anything is trained.
        """
        saved = self._saved()
        array = self._array(X, reset=True)
        self.layout_ = self._layout(array, saved)
        images = self.layout_.images(array)
        spec = ImageSpec(*self.layout_.shape, num_classes=1)
        self._n_features_out = self._try_out(saved or self._untrained(spec))
        if saved is None:
            one_class = LabelledImages(images, torch.zeros(len(images), dtype=torch.int64))
            self.generator_ = self._train(spec, one_class, kind=POOL_CLASS, seed=self._seed())
        else:
            self.generator_ = saved
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode images.

        Args:
            X: Of the form that it had in ``fit``.

        Returns:
            Features ``(N, D)`` float32.
        """
        check_is_fitted(self, "generator_")
        return self._encoded(self.generator_, self.layout_.images(self._array(X, reset=False)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags

    def _try_out(self, generator: Generator) -> int:
        """Number of features; raises what is wrong with the options now rather than after the training."""
        blank = torch.zeros(1, *self.layout_.shape, dtype=torch.uint8)
        return len(self._encoded(generator, blank)[0])

    def _encoded(self, generator: Generator, images: Tensor) -> NDArray[np.float32]:
        device = choose_device(self.device)
        settings = {"t": self.t, "noise_draws": self.noise_draws}
        options = {
            **{name: value for name, value in settings.items() if value is not None},
            **(self.encode_options or {}),
        }
        compute = Compute(str(device), choose_precision(self.precision, device))
        (features,) = encode_set(generator.to(device), images, layers=[self.layer], compute=compute, **options)
        return features.numpy()
