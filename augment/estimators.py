"""scikit-learn transformer over any registered generator: images or tables in, features out."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from augment import registry, trained
from augment.array_images import ImageLayout, InvalidImages, Shape, as_array
from augment.datasets import LabelledImages
from augment.device import choose_device, choose_precision
from augment.encoding import encode_set
from augment.errors import UsageError
from augment.features.plan import POOL_CLASS
from augment.generator import Generator, ImageSpec
from augment.locations import cache_folder
from augment.progress import reporter
from augment.regimes import draw_split
from augment.travelling import Travelling


class FeatureExtractor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features of a generator as a scikit-learn transformer: ``fit`` trains it without labels, ``transform`` encodes.

    model: a registered generator; see ``augment models``.  generator: a saved generator's folder instead, which ``fit``
    does not train.  t, layer, noise_draws: of the model's ``encode``, where it has them; None is its default.
    encode_options: further ones by name.  options: of the model, as ``--set``.  steps, max_minutes: length of training,
    instead of the model's own.  image_shape: ``(C, H, W)`` of flattened images.  random_state: seed of
    training; None trains anew each time.  device, precision: ``auto``, or as in ``--device`` and ``--precision``.
    verbose: progress on stderr.

    ``X`` is images ``(N, C, H, W)``, or ``(N, H, W)`` of grey ones, NumPy or PyTorch, uint8 in 0..255 or float in
    [0, 1]; or a table ``(N, P)``. Rows of a table are images too: of ``image_shape``; without it s x s pixels where P
    is s², 3 x s x s where it is 3s² (s at least 8), and else the values row by row in the smallest square that holds
    them, the rest black; below 8 x 8 pixels, the smallest that generators take, black is added at the right and below.
    A table of floats that leaves [0, 1] in ``fit`` is scaled, each column by its range there, and what lies outside is
    clipped, as by ``MinMaxScaler(clip=True)``; divide flattened images by their largest value yourself. All values are
    rounded to 256 levels.

    What was trained is kept in the cache: another ``fit`` with equal images, options and seed reuses it, so that a grid
    search over ``t`` and ``layer`` trains once per fold. 5% of the images are held back to choose the best weights.
    Equal seeds give equal features on a CPU with the same thread count. The global random state is left alone.

    Fitted attributes: ``generator_``, ``layout_`` (how input becomes images), and for tables ``n_features_in_`` and
    ``feature_names_in_`` as always.

    >>> FeatureExtractor("ddpm", t=50).fit(images).transform(images)  # doctest: +SKIP
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
        image_shape: Shape | None = None,
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
        """Train the generator on ``X``; ``y`` is accepted and ignored, as features must not know labels.

        Raises UsageError for an unknown model or an option of ``encode`` that it does not have, ConfigError for values
        of options, InvalidImages (a ValueError) for ``X``; all before anything is trained.
        """
        saved = self._saved()
        images = self._learn(X, saved)
        self._n_features_out = self._try_out(saved)
        self.generator_ = self._train(images) if saved is None else saved
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Features ``(N, D)`` float32 of ``X``, which has the form it had in ``fit``."""
        check_is_fitted(self, "generator_")
        return self._encoded(self.generator_, self.layout_.images(self._array(X, reset=False)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "generator_" in state:  # not every module can be pickled, and not every machine has this one's device
            state["generator_"] = Travelling(state["generator_"].cpu())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "generator_" in state:
            state = {**state, "generator_": state["generator_"].generator}
        super().__setstate__(state)

    # ---------------------------------------------------------------- the generator

    def _saved(self) -> Generator | None:
        """The generator in folder ``generator``, None where one is to be trained."""
        if self.generator is None:
            if self.model is None:
                known = ", ".join(registry.registered())
                raise UsageError(f"FeatureExtractor needs a model or a generator's folder. Models: {known}.")
            return None
        given = [name for name in ("options", "steps", "max_minutes") if getattr(self, name) is not None]
        if given:
            raise UsageError(f"{self.generator} is trained already; leave {', '.join(given)} out, or train a model.")
        with torch.random.fork_rng(devices=[]):
            saved = registry.load_generator(self.generator)
        if self.model not in (None, saved.name):
            raise UsageError(f"{self.generator} holds a {saved.name!r} generator, not {self.model!r}. Leave model out.")
        return saved

    def _try_out(self, saved: Generator | None) -> int:
        """Number of features; raises what is wrong with the options now rather than after the training."""
        generator = saved
        if generator is None:
            options = {**(self.options or {}), **({} if self.steps is None else {"steps": self.steps})}
            with torch.random.fork_rng(devices=[]):
                generator = registry.create(str(self.model), self._spec(), options)
        blank = torch.zeros(1, *self.layout_.shape, dtype=torch.uint8)
        return len(self._encoded(generator, blank)[0])

    def _encoded(self, generator: Generator, images: Tensor) -> NDArray[np.float32]:
        place = choose_device(self.device)
        named = {"t": self.t, "noise_draws": self.noise_draws}
        options = {**{name: value for name, value in named.items() if value is not None}, **(self.encode_options or {})}
        precision = choose_precision(self.precision, place)
        (features,) = encode_set(generator.to(place), images, layers=[self.layer], precision=precision, **options)
        return features.numpy()

    def _spec(self) -> ImageSpec:
        return ImageSpec(*self.layout_.shape, num_classes=1)

    def _train(self, images: Tensor) -> Generator:
        """The model trained on ``images`` as one class, or the one in the cache that was."""
        labels = torch.zeros(len(images), dtype=torch.int64)
        seed = self._seed()
        manifest = draw_split(
            labels,
            (len(images),),
            dataset="array",
            dataset_sha256=_sha256(images),
            regime=POOL_CLASS,
            imbalance_factor=None,
            seed=seed,
        )
        place = choose_device(self.device)
        recipe = trained.make_recipe(
            str(self.model),
            self.options or {},
            classes=(POOL_CLASS,),
            data_sha256=manifest.sha256,
            seed=seed,
            steps=self.steps,
            max_minutes=self.max_minutes,
            device=str(place),
            precision=choose_precision(self.precision, place),
        )
        train, validation = trained.generator_parts(manifest, LabelledImages(images, labels))
        with (
            _alone(recipe.key),
            tempfile.TemporaryDirectory() as folder,
            torch.random.fork_rng(devices=[]),
            reporter(quiet=not self.verbose) as report,
        ):
            report.stage(f"Train {self.model}")
            return trained.obtain(recipe, self._spec(), train, validation, Path(folder) / "generator", report).generator

    def _seed(self) -> int:
        rng = check_random_state(self.random_state)
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(rng.randint(np.iinfo(np.int32).max))

    # ---------------------------------------------------------------- its images

    def _learn(self, X: Any, saved: Generator | None) -> Tensor:
        """The images of ``X``, whose form is what :meth:`transform` will want."""
        array = self._array(X, reset=True)
        if array.ndim != 2:  # what an earlier fit to a table has left
            for name in {"n_features_in_", "feature_names_in_"} & set(vars(self)):
                delattr(self, name)
        shape = self.image_shape
        if shape is None and saved is not None and math.prod(array.shape[1:]) == math.prod(saved.spec.shape):
            shape = saved.spec.shape
        self.layout_ = ImageLayout.learn(array, shape)
        if saved is not None and self.layout_.shape != saved.spec.shape:
            raise InvalidImages(
                f"The images are {self.layout_.shape} (C, H, W); {self.generator} is for {saved.spec.shape}."
            )
        return self.layout_.images(array)

    def _array(self, X: Any, *, reset: bool) -> NDArray[Any]:
        """``X`` as an array; scikit-learn checks whatever is not images."""
        array = as_array(X)
        if getattr(array, "ndim", 2) in (3, 4):
            return np.asarray(array)
        checked: NDArray[Any] = validate_data(self, array, reset=reset)
        return checked


def _sha256(images: Tensor) -> str:
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    digest.update(images.numpy().data)
    return digest.hexdigest()


@contextmanager
def _alone(key: str) -> Iterator[None]:
    """Wait while another process trains the same generator: this one will find it in the cache."""
    from filelock import FileLock

    file = cache_folder() / "generators" / f".{key}.lock"
    lock = FileLock(file)
    with suppress(OSError):  # a cache that cannot be written has nothing to wait for
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
