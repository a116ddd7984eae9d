"""imbalanced-learn sampler over any registered generator: images or tables in, the same and synthetic ones out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy, check_target_type
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from augment.arms.grammar import Usage
from augment.classifiers.cnn import default_updates
from augment.classifiers.strategy import Slot, with_options
from augment.compute.device import Compute, choose_device, choose_precision
from augment.datasets import LabelledImages
from augment.errors import UsageError
from augment.estimators.classes import Classes, check_labels
from augment.estimators.images import as_array
from augment.estimators.training import TrainsOnArrays
from augment.generator import ImageSpec
from augment.progress import choose_reporter
from augment.seeds import derived_seed
from augment.synthesis.acceptance import FilterSummary, filtered
from augment.synthesis.strategies import Partial
from augment.synthesis.synthesis import SyntheticSet, check_generator, synthesise
from augment.synthesis.teacher_filter import Teachers

LEARNING: tuple[Slot, ...] = ("share", "weight", "mix", "norm", "last")
"""Slots that say how a classifier learns."""

DEFAULT = with_options(Partial, "")
"""Fewer images than other samplers add: of what a class lacks, a generator knows little."""


class SyntheticSampler(TrainsOnArrays, BaseOverSampler):  # type: ignore[misc]
    """Over-sampling with a generator, as imbalanced-learn does it: ``fit_resample`` trains it and adds what it makes.

    How many images a class gets is said by ``strategy`` or by ``sampling_strategy``, and both together are an error.
    With either way ``strategy`` may also hold what images are made from and a filter, joined by ``+``:
    ``"partial-noise:strength=0.5+teacher"``. The teachers are trained anew by every fit; where they keep too few, a
    warning says so.

    ``X`` is images ``(N, C, H, W)`` or ``(N, H, W)``, uint8 in 0..255 or float in [0, 1], or a table ``(N, P)`` whose
    rows become images as :class:`augment.FeatureExtractor` describes; NumPy, PyTorch, lists, and data frames of pandas.
    The result has the same form, type and scale: first the rows of ``X``, unchanged, then synthetic ones, class by
    class. These have 256 levels: of 0..255, of [0, 1], or of their column's range.

    What was trained is kept in the cache: equal images, labels, options and seed train once. 5% of each class are held
    back to choose the best weights. Equal seeds give equal results on a CPU with the same thread count. The global
    random state is left alone.

    Args:
        model: A registered generator that follows classes; see ``augment models``.
        strategy: As ``--strategy``: ``balance``, ``partial:share=0.5,cap=5`` or ``ratio:ratio=1``; None is ``partial``,
            half of what a class lacks to the largest and at most 5 for each real image, as more do harm when the
            generator knew few.
        sampling_strategy: As of every over-sampler of imbalanced-learn: ``"minority"``, ``"not majority"``,
            ``"not minority"``, ``"all"``, the wanted ratio of two classes, a dict of classes and wanted totals, or a
            function of ``y`` that returns one. ``"auto"`` leaves it to ``strategy``; for classes of equal size, as
            other samplers make them, write ``sampling_strategy="not majority"`` or ``strategy="balance"``.
        generator: A saved generator's folder instead of ``model``, which is not trained; its classes are found by name,
            or are the numbers from 0.
        options: Of the model, as ``--set``.
        steps: Length of training, instead of the model's own.
        max_minutes: Length of training, instead of the model's own.
        image_shape: ``(C, H, W)`` of flattened images, or ``(H, W)`` of grey ones.
        random_state: Seed of training and of drawing; None makes both anew each time.
        device: ``auto``, or as in ``--device``.
        precision: ``auto``, or as in ``--precision``.
        verbose: Progress on stderr.

    Attributes:
        sampling_strategy_: Class -> images wanted.
        is_synthetic_: Bool, of the result's length.
        parent_indices_: Int64, of the result's length: the row of ``X`` that an image was made from, a real one's own,
            -1 of an image drawn from noise.
        filter_summary_: What the teachers refused, None without them.
        generator_: The trained generator.
        layout_: How rows become images.
        n_features_in_: Columns of a table; not for images.
        feature_names_in_: Names of the columns of a table that has them.

    Example:
        >>> import torch
        >>> from augment import SyntheticSampler, load_dataset
        >>> train = load_dataset("digits").train
        >>> few = torch.cat([(train.labels == label).nonzero()[:n, 0] for label, n in enumerate([30, 10])])
        >>> sampler = SyntheticSampler("vae", strategy="balance", steps=5)
        >>> images, labels = sampler.fit_resample(train.images[few], train.labels[few])
        >>> images.shape, labels.bincount().tolist(), int(sampler.is_synthetic_.sum())
        (torch.Size([60, 1, 8, 8]), [30, 30], 20)
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        strategy: str | None = None,
        sampling_strategy: str | float | Mapping[Any, int] | Callable[[Any], Mapping[Any, int]] = "auto",
        generator: str | Path | None = None,
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
        self.strategy = strategy
        self.sampling_strategy = sampling_strategy
        self.generator = generator
        self.options = options
        self.steps = steps
        self.max_minutes = max_minutes
        self.image_shape = image_shape
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Check the input and count what is wanted of each class, without training; ``fit_resample`` does it all.

        Args:
            X: Images, or a table of them.
            y: Classes ``(N,)``.

        Returns:
            The sampler itself.
        """
        self._validate_params()
        y = _off_torch(y)
        check_labels(y)
        check_classification_targets(y)
        _, checked, _ = self._check_X_y(X, y)
        self.sampling_strategy_ = self._wanted(self._usage(), checked)
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Train the generator and add what it makes.

        Args:
            X: Images, or a table of them.
            y: Classes ``(N,)``.

        Returns:
            ``X`` and ``y`` with the synthetic rows below.

        Raises:
            UsageError: For an unknown model or contradictory strategies.
            ConfigError: For values of options and for a model that does not follow classes.
            InvalidImages: A ValueError, for ``X``.
            ValueError: For ``y`` and ``sampling_strategy``; as all of these before anything is trained.
        """
        labels = _off_torch(y)
        check_labels(labels)
        rows, resampled = super().fit_resample(_off_torch(X), labels)
        return _below(X, rows), _below(y, resampled)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = False
        return tags

    def _check_X_y(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any], bool]:
        labels, one_versus_all = check_target_type(y, indicate_one_vs_all=True)
        array = self._array(X, reset=True)
        check_consistent_length(array, labels)
        return array, labels, one_versus_all

    def _fit_resample(self, X: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        usage = self._usage()
        self.sampling_strategy_ = self._wanted(usage, y)
        saved = self._saved()
        self.layout_ = self._layout(X, saved)
        spec = self._spec(y) if saved is None else saved.spec
        classes = Classes.find(y, spec)
        real = LabelledImages(self.layout_.images(X), classes.numbers(y))
        counts = classes.counts(self.sampling_strategy_, spec.num_classes)
        untrained = self._untrained(spec) if saved is None else saved
        check_generator(untrained, counts, real.counts(len(counts)), usage.source)
        seed = self._seed()
        self.generator_ = self._train(spec, real, kind="array", seed=seed) if saved is None else saved
        synthetic = self._synthesise(counts, real, usage, seed)
        if self.filter_summary_ is not None and self.filter_summary_.missing:
            warnings.warn(str(self.filter_summary_.shortfall(classes.labels(spec))), stacklevel=2)
        self.is_synthetic_ = np.arange(len(X) + len(synthetic.labels)) >= len(X)
        self.parent_indices_ = np.concatenate([np.arange(len(X)), synthetic.parents.numpy()])
        new_rows, new_labels = self.layout_.restored(synthetic.images, X), classes.of(synthetic.labels)
        return np.concatenate([X, new_rows]), np.concatenate([y, new_labels])

    def _usage(self) -> Usage:
        """The strategies, without those that a sampler cannot carry out."""
        usage = Usage() if self.strategy is None else Usage.parse(self.strategy)
        for strategy in filter(None, (getattr(usage, slot) for slot in LEARNING)):
            raise UsageError(
                f"Strategy {str(strategy)!r} says how a classifier learns from synthetic images; SyntheticSampler only "
                "makes them and trains no classifier. Leave it out here, or give it to `augment run`."
            )
        if usage.counts is not None and self.sampling_strategy != "auto":
            raise UsageError(
                f"strategy={self.strategy!r} and sampling_strategy={self.sampling_strategy!r} both say how many images "
                f"a class gets. Leave {str(usage.counts)!r} out, or sampling_strategy."
            )
        return usage

    def _wanted(self, usage: Usage, y: NDArray[Any]) -> dict[Any, int]:
        """Class -> synthetic images."""
        wanted: dict[Any, int] = check_sampling_strategy(self.sampling_strategy, y, self._sampling_type)
        if self.sampling_strategy != "auto":
            return wanted
        names, real = np.unique(y, return_counts=True)
        strategy = usage.counts or DEFAULT
        return dict(zip(names, strategy.counts(real.tolist()), strict=True))

    def _spec(self, y: NDArray[Any]) -> ImageSpec:
        names = tuple(map(str, np.unique(y)))
        return ImageSpec(*self.layout_.shape, num_classes=len(names), class_names=names)

    def _synthesise(self, counts: Sequence[int], real: LabelledImages, usage: Usage, seed: int) -> SyntheticSet:
        """The synthetic images, after the filter where there is one."""
        device = choose_device(self.device)
        compute = Compute(str(device), choose_precision(self.precision, device))
        rule = usage.filter

        def draw(wanted: Sequence[int], turn: int) -> SyntheticSet:
            reporter.stage(f"Draw {sum(wanted)} images")
            return synthesise(
                self.generator_.to(device),
                wanted,
                real=real,
                source=usage.source,
                seed=derived_seed(seed, "turn", turn),
                compute=compute,
                on_progress=reporter.advance,
            )

        self.filter_summary_: FilterSummary | None = None
        with torch.random.fork_rng(devices=[]), choose_reporter(quiet=not self.verbose) as reporter:
            if rule is None:
                return draw(counts, 0)
            reporter.stage("Train teachers")
            options: dict[str, Any] = {"seed": seed, "compute": compute}
            teachers = Teachers.fit(real, len(counts), rule, updates=default_updates(len(real)), **options)
            synthetic, self.filter_summary_ = filtered(draw, counts, teachers)
            return synthetic


def _off_torch(values: Any) -> Any:
    return as_array(values) if isinstance(values, Tensor) else values


def _below(given: Any, result: Any) -> Any:
    """``result`` as a tensor where ``given`` is one; its first rows are the given ones in any case."""
    if not isinstance(given, Tensor):
        return result
    return torch.cat([given, torch.as_tensor(result[len(given) :]).to(given)])
