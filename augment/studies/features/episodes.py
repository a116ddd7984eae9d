"""Which training images are labelled in a few-label study, and on which ones choices are made.

Exactly k images per class and episode, drawn without replacement; an episode's k = 4 contains its k = 2, so that a
curve over k shows labels and not luck. Images on which a layer or timestep is chosen are never among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from augment.errors import ConfigError, DataError
from augment.seeds import derived_seed, numpy_rng

DEFAULT_KS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
VALIDATION_PER_CLASS = 100
SEARCH_KS = 16
"""Labels per class that a candidate's probe is fitted on while layer and timestep are chosen."""
SEARCH_EPISODES = 3
RESERVED_SHARE = 0.5
"""Largest part of a class that the choice of a layer or timestep may take away from the episodes."""


@dataclass(frozen=True, eq=False)
class Episodes:
    """Labelled images of every episode and k: ``order`` ``(E, C, k_max)`` holds indices into the training images."""

    ks: tuple[int, ...]
    seeds: tuple[int, ...]
    order: Tensor

    def rows(self, k: int) -> Tensor:
        """Indices ``(E, C * k)`` of the labelled images, the first class's first."""
        return self.order[:, :, :k].flatten(1)

    def labels(self, k: int) -> Tensor:
        """Their classes ``(E, C * k)``."""
        episodes, classes, _ = self.order.shape
        return torch.arange(classes).repeat_interleave(k).expand(episodes, -1)

    def single(self, k: int, index: int) -> Episodes:
        """One episode at one k alone."""
        return Episodes((k,), (self.seeds[index],), self.order[index : index + 1, :, :k])

    @property
    def all_rows(self) -> Tensor:
        """Every image that is labelled in some episode, ascending."""
        rows: Tensor = self.order.unique()
        return rows


@dataclass(frozen=True, eq=False)
class SearchDraw:
    """Images for choosing a layer or timestep: episodes to fit probes on, and validation images to compare them by."""

    fit: Episodes
    validation: Tensor

    @property
    def all_rows(self) -> Tensor:
        """Every image that takes part, ascending."""
        rows: Tensor = torch.cat([self.fit.all_rows, self.validation]).unique()
        return rows


def draw_episodes(
    labels: Tensor, num_classes: int, ks: Sequence[int], episodes: int, *, seed: int, taken: Tensor | None = None
) -> Episodes:
    """Draw the labelled images of every episode among training images with ``labels`` ``(N,)``, without those taken.

    Raises ConfigError for k or episodes below 1, DataError when a class has fewer images than the largest k.
    """
    wanted = tuple(sorted(set(ks)))
    if not wanted or wanted[0] < 1 or episodes < 1:
        raise ConfigError(f"Labels per class are {list(ks)} and episodes {episodes}; both must be at least 1.")
    members = _members(labels, num_classes, taken)
    short = [f"class {label}: {len(rows)}" for label, rows in enumerate(members) if len(rows) < wanted[-1]]
    if short:
        raise DataError(
            f"k = {wanted[-1]} labels per class are more than some classes have to draw from ({', '.join(short)}). "
            f"Give a smaller --labels-per-class: up to {min(map(len, members))} is possible here."
        )
    seeds = tuple(seed + index for index in range(episodes))
    drawn = np.stack([_draw(members, wanted[-1], episode_seed) for episode_seed in seeds])
    return Episodes(wanted, seeds, torch.from_numpy(drawn))


def draw_search(labels: Tensor, num_classes: int, *, seed: int) -> SearchDraw:
    """Draw what a layer or timestep is chosen on: up to 100 validation and 16 labelled images of each class.

    Smaller classes give up to half of their images. Raises DataError when a class has fewer than four.
    """
    members = _members(labels, num_classes, None)
    spare = int(min(map(len, members)) * RESERVED_SHARE)
    if spare < 2:
        raise DataError("A class has fewer than 4 images, too few to choose on. Give --t and --layer by name.")
    fitted = min(SEARCH_KS, spare // 2)
    held = min(VALIDATION_PER_CLASS, spare - fitted)
    order = _draw(members, held, seed)
    validation = torch.from_numpy(order).flatten().sort().values
    fit = draw_episodes(
        labels, num_classes, (fitted,), SEARCH_EPISODES, seed=derived_seed(seed, "search"), taken=validation
    )
    return SearchDraw(fit, validation)


def default_ks(labels: Tensor, num_classes: int, *, taken: Tensor | None = None) -> tuple[int, ...]:
    """1, 2, 4 ... up to 512, as far as every class has images."""
    smallest = min(len(rows) for rows in _members(labels, num_classes, taken))
    return tuple(k for k in DEFAULT_KS if k <= smallest) or (1,)


def _members(labels: Tensor, num_classes: int, taken: Tensor | None) -> list[np.ndarray]:
    """Indices of each class's images that may be drawn."""
    free = np.ones(len(labels), dtype=bool)
    if taken is not None:
        free[taken.numpy()] = False
    array = labels.numpy()
    return [np.flatnonzero((array == label) & free) for label in range(num_classes)]


def _draw(members: Sequence[np.ndarray], k: int, seed: int) -> np.ndarray:
    """``k`` of each class in random order, ``(C, k)``; a smaller k gives the first of these."""
    shuffles = numpy_rng(seed, "labelled images")
    return np.stack([shuffles.permutation(rows)[:k] for rows in members])
