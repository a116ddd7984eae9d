"""What a score is for real images: its floor, over many halvings of them, because one is a draw of luck."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from augment.seeds import torch_rng

HALVINGS, FEW_HALVINGS = 20, 5
"""Of the real images; the second where there are more than :data:`MANY_FEATURES`, of which one FID takes 10 seconds."""

MANY_FEATURES = 512


@dataclass(frozen=True)
class Floor:
    """Mean of a score over halvings of real images, and the bounds that hold 95% of them.

    A score between the bounds is what other real images have, too: it does not tell samples from them.
    """

    mean: float
    low: float
    high: float


def floor(score: Callable[[Tensor, Tensor], float], features: Tensor, reference: int) -> Floor:
    """The floor of ``score`` of two sets of features: ``(N, D)`` of real images, ``reference`` of them in the first."""
    several = HALVINGS if features.shape[1] <= MANY_FEATURES else FEW_HALVINGS
    found = [score(features[first], features[second]) for first, second in halvings(len(features), reference, several)]
    values = torch.tensor(found, dtype=torch.float64)
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Floor(float(values.mean()), low, high)


def halvings(count: int, reference: int, several: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the two parts of each halving of ``count``, ``reference`` of them in the first; always the same ones.

    Classes fall to either part by chance, as they do for samples and the images that these are compared with. Halves
    with equal classes are nearer to each other than two samples can be expected to be: their KID is below 0 on average,
    and other real images look as if they were none.
    """
    shuffles = torch_rng(0, "halvings")
    for _ in range(several):
        order = torch.randperm(count, generator=shuffles)
        yield order[:reference], order[reference:]
