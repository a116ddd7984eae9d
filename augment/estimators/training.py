"""Generators trained on arrays, through the cache: what the estimators for scikit-learn and imbalanced-learn share."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from augment import registry
from augment.compute.device import choose_device, choose_precision
from augment.compute.workers import PicklableGenerator
from augment.datasets import LabelledImages
from augment.datasets.regimes import draw_split
from augment.errors import ImageSizeError, UsageError
from augment.estimators.images import ImageLayout, InvalidImages, as_array
from augment.generator import Generator, ImageSpec
from augment.progress import choose_reporter
from augment.storage.hashing import tensors_hash
from augment.training import trained


class TrainsOnArrays:
    """Mixin of estimators that train a generator on ``X``, or are given a saved one; it stands before BaseEstimator.

    The annotated names are parameters of the estimator's constructor, ``generator_`` and ``layout_`` what it fits.
    """

    model: str | None
    generator: str | Path | None
    options: Mapping[str, Any] | None
    steps: int | None
    max_minutes: float | None
    image_shape: Sequence[int] | None
    random_state: int | np.random.RandomState | None
    device: str
    precision: str
    verbose: bool
    generator_: Generator
    layout_: ImageLayout

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__().copy()  # type: ignore[attr-defined]
        if "generator_" in state:  # not every module can be pickled, and not every machine has this one's device
            state["generator_"] = PicklableGenerator(state["generator_"].cpu())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "generator_" in state:
            state = {**state, "generator_": state["generator_"].generator}
        super().__setstate__(state)  # type: ignore[misc]

    # ---------------------------------------------------------------- the generator

    def _saved(self) -> Generator | None:
        """The generator in folder ``generator``, None where one is to be trained."""
        if self.generator is None:
            if self.model is None:
                known = ", ".join(registry.registered())
                raise UsageError(f"{type(self).__name__} needs a model or a generator's folder. Models: {known}.")
            return None
        given = [name for name in ("options", "steps", "max_minutes") if getattr(self, name) not in (None, {})]
        if given:
            raise UsageError(f"{self.generator} is trained already; leave {', '.join(given)} out, or train a model.")
        with torch.random.fork_rng(devices=[]):
            saved = registry.load_generator(self.generator)
        if self.model not in (None, saved.name):
            raise UsageError(f"{self.generator} holds a {saved.name!r} generator, not {self.model!r}. Leave model out.")
        return saved

    def _untrained(self, spec: ImageSpec) -> Generator:
        """The model before its training, on which mistakes show at once."""
        options = {**(self.options or {}), **({} if self.steps is None else {"steps": self.steps})}
        with torch.random.fork_rng(devices=[]):
            try:
                return registry.create(str(self.model), spec, options)
            except ImageSizeError as error:  # its remedy is a command's
                side = error.side
                raise InvalidImages(f"{error.problem} Resize the images to {side} x {side} pixels.") from None

    def _train(self, spec: ImageSpec, images: LabelledImages, *, kind: str, seed: int) -> Generator:
        """The model trained on ``images``, or the one in the cache that was; ``kind`` says what the labels are."""
        manifest = draw_split(
            images.labels,
            images.counts(spec.num_classes),
            dataset="array",
            dataset_sha256=tensors_hash(images.images, images.labels),
            regime=kind,
            imbalance_factor=None,
            seed=seed,
        )
        device = choose_device(self.device)
        recipe = trained.make_recipe(
            str(self.model),
            self.options or {},
            classes=spec.class_names or (kind,),
            data_sha256=manifest.sha256,
            seed=seed,
            steps=self.steps,
            max_minutes=self.max_minutes,
            device=str(device),
            precision=choose_precision(self.precision, device),
        )
        train, validation = trained.generator_parts(manifest, images)
        with (
            tempfile.TemporaryDirectory() as folder,
            torch.random.fork_rng(devices=[]),
            choose_reporter(quiet=not self.verbose) as reporter,
        ):
            reporter.stage(f"Train {self.model}")
            return trained.obtain(recipe, spec, train, validation, Path(folder) / "generator", reporter).generator

    def _seed(self) -> int:
        from sklearn.utils import check_random_state

        rng = check_random_state(self.random_state)
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(rng.randint(np.iinfo(np.int32).max))

    # ---------------------------------------------------------------- its images

    def _array(self, X: Any, *, reset: bool) -> NDArray[Any]:
        """``X`` as an array; scikit-learn checks whatever is not images."""
        from sklearn.utils.validation import validate_data

        array = as_array(X)
        if getattr(array, "ndim", 2) not in (3, 4):
            checked: NDArray[Any] = validate_data(self, array, reset=reset)
            return checked
        if reset:  # what an earlier fit to a table has left
            for name in {"n_features_in_", "feature_names_in_"} & set(vars(self)):
                delattr(self, name)
        return np.asarray(array)

    def _layout(self, array: NDArray[Any], saved: Generator | None) -> ImageLayout:
        """How ``array`` becomes images, which must be of the saved generator's shape."""
        shape: Sequence[int] | None = self.image_shape
        if shape is None and saved is not None and math.prod(array.shape[1:]) == math.prod(saved.spec.shape):
            shape = saved.spec.shape
        layout = ImageLayout.learn(array, shape)
        if saved is not None and layout.shape != saved.spec.shape:
            raise InvalidImages(f"The images are {layout.shape} (C, H, W); {self.generator} is for {saved.spec.shape}.")
        return layout
