"""How many seeds, or test images, would find a difference, and how small one may be: the power of the paired test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from augment.evidence.statistics import MeanError, has_spread, mean_of, standard_error

FEWEST_FOR_SEEDS = 4
"""Of fewer differences the deviation is known to a factor of four, and the seeds needed to one of sixteen."""

PLACES = 64
"""Quantiles of the seeds' spread over which power is averaged."""

DISAGREEMENT = 0.1
"""Share of the test images on which two good arms disagree, where nothing is known of them yet."""

MOST_SEEDS = 1000
"""More seeds than anyone would run; :func:`seeds_needed` gives up there."""


def seeds_needed(
    differences: Sequence[float],
    effect: float | None = None,
    *,
    image_variance: float = 0.0,
    test_share: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> tuple[int, int] | None:
    """Paired seeds with which a two-sided t test at level ``alpha`` finds a mean of ``effect``: at least and at most.

    effect: in the unit of the differences, its sign is ignored; None is their mean.  image_variance: as in
    :func:`~augment.evidence.statistics.paired_interval`; more seeds do not lessen it.  test_share: as of
    :class:`~augment.evidence.statistics.Drawn`, where each seed has test images of its own.  power: chance of finding
    it, above ``alpha``. The range holds the spread's own uncertainty: that of a deviation at the ends of its 80%
    interval (chi-square).

    None below four differences, where that range says nothing; where they have no spread, where the effect is 0, and
    where its upper end is above 1000 or out of reach of any number of seeds.
    """
    if len(differences) < FEWEST_FOR_SEEDS or not has_spread(differences):
        return None
    size = abs(mean_of(differences) if effect is None else effect)
    low, high = (
        fewest_seeds(size, deviation, image_variance, test_share, power=power, alpha=alpha)
        for deviation in _deviations(differences)
    )
    return None if low is None or high is None else (low, high)


def images_needed(effect: float, image_variance: float, images: int, power: float = 0.8, alpha: float = 0.05) -> int:
    """Test images with which ``effect`` would be found by very many seeds; to two digits."""
    from scipy.special import ndtri

    needed = images * image_variance * (float(ndtri(1 - alpha / 2)) + float(ndtri(power))) ** 2 / effect**2
    digits = max(0, len(str(int(needed))) - 2)
    return int(math.ceil(needed / 10**digits) * 10**digits)


def smallest_difference(
    images: int, disagreement: float = DISAGREEMENT, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Difference of accuracy, in [0, 1], that a paired test on so many test images finds with this power.

    disagreement: share of the images on which the two differ; the variance of the difference is this over ``images``.
    """
    from scipy.special import ndtri

    return min(1.0, (float(ndtri(1 - alpha / 2)) + float(ndtri(power))) * math.sqrt(disagreement / images))


def _deviations(differences: Sequence[float]) -> tuple[float, float]:
    """Ends of the 80% interval of their standard deviation."""
    from scipy.special import chdtri

    freedom = len(differences) - 1
    squares = freedom * len(differences) * standard_error(differences) ** 2
    low, high = (math.sqrt(squares / float(chdtri(freedom, chance))) for chance in (0.1, 0.9))
    return low, high


def fewest_seeds(
    effect: float, deviation: float, image_variance: float, test_share: float = 0.0, *, power: float, alpha: float
) -> int | None:
    """Fewest paired seeds (at least 2) that find ``effect`` where the deviation is known; None above 1000.

    image_variance, test_share: as in :func:`seeds_needed`.  power: chance of finding it, above ``alpha``.
    """

    def enough(n: int) -> bool:
        return _power(n, effect, deviation, image_variance, test_share, alpha) >= power

    low, high = 1, 2
    while not enough(high):
        if high == MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _power(n: int, effect: float, deviation: float, image_variance: float, test_share: float, alpha: float) -> float:
    """Chance that the test of n differences finds a mean of ``effect``, with the right sign."""
    from scipy.special import chdtri, nctdtr, ndtr, stdtrit

    freedom = n - 1
    if image_variance:
        places = (np.arange(PLACES) + 0.5) / PLACES
        spreads = deviation**2 / n * chdtri(freedom, places) / freedom  # what the seeds' spread may look like
        needed = [MeanError(float(spread), image_variance, freedom).half_width(alpha / 2) for spread in spreads]
        error = math.sqrt(deviation**2 / n + image_variance)
        return float(np.mean(ndtr((effect - np.array(needed)) / error)))
    noncentrality = effect / (deviation * math.sqrt(1 / n + test_share))
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    missed = float(nctdtr(freedom, noncentrality, critical))
    if not math.isnan(missed):
        return 1 - missed
    from scipy.stats import nct  # slow, but knows the few arguments that nctdtr does not

    return float(nct.sf(critical, freedom, noncentrality))
