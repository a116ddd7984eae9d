"""Paired comparisons of arms: intervals, exact tests and Holm's correction.

Arms of one seed share subset and test images, so differences are paired. Over seeds they are judged by the paired t
test, with the exact signed-rank and sign-flip tests beside it; these assume no bell shape, but with n seeds no p of
theirs is below 2 / 2^n, which is above 0.05 for 5 seeds or fewer. On a single seed only the test images can be
compared: McNemar's exact test.

Where all seeds are scored on the same test images, what these have in common from seed to seed does not show in the
spread over seeds: the test images are a sample, too. Its variance, :func:`image_variance`, is part of the mean's,
:class:`MeanError`.

Seeds that all differ by the same amount show no spread, and no honest interval follows from them: ``ci95`` is then
None, and p is McNemar's over the test images, or that of the sign flips where the test images are not given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from augment.errors import DataError
from augment.seeds import numpy_rng

EXACT_UP_TO = 16
"""So many differences have their sign patterns tried one and all; of more, some patterns are drawn."""

DRAWN_PATTERNS = 2**14
"""P is then known to about 0.003 where it is near 0.05."""

SMALLEST_P, HALVINGS = 1e-300, 60
"""Where the search for a p begins, and its steps: to 15 digits."""

SMALLEST_SHARE = 1e-9
"""A share of test images below this is what rounding leaves of none."""

ROUNDING = 1e-12
"""A standard error below this is what rounding leaves of equal differences."""


@dataclass(frozen=True)
class Comparison:
    """Difference in accuracy, arm minus reference, in percentage points.

    Attributes:
        classifier: Its name.
        arm: Its name.
        against: Name of the reference.
        delta: The difference, mean over seeds.
        ci95: Bounds of the 95% interval over seeds, None with one seed or without spread between seeds.
        p: Two-sided, of ``test``.
        n: Seeds.
        test: Its name.
        p_holm: P corrected for all arms of the classifier, None until :func:`corrected`.
        p_wilcoxon: Exact two-sided p over seeds, None with one seed; it knows nothing of the test images' being a
            sample.
        p_permutation: Exact two-sided p over seeds, None with one seed; it knows nothing of the test images' being a
            sample.
        standard_error: Of ``delta``, None as the interval.
        freedom: Degrees of freedom of ``standard_error``, None as the interval.
        image_variance: The part of the squared standard error that the test images have, 0 where that is not known.
        test_images: Their number, 0 where that is not known.
        deltas: The difference of each seed.
        overlap: As in :class:`Drawn`.
        again: The difference on the only seed when both are trained once more, with another seed of the classifier;
            None where they were not.

    Example:
        >>> from augment.evidence.statistics import compare
        >>> found = compare("cnn", "vae", "oversample", [0.81, 0.82, 0.86], [0.80, 0.80, 0.80])
        >>> found.n, round(found.delta, 3), found.p_permutation, found.p_holm
        (3, 3.0, 0.25, None)
    """

    classifier: str
    arm: str
    against: str
    delta: float
    ci95: tuple[float, float] | None
    p: float
    n: int
    test: str
    p_holm: float | None = None
    p_wilcoxon: float | None = None
    p_permutation: float | None = None
    standard_error: float | None = None
    freedom: float | None = None
    image_variance: float = 0.0
    test_images: int = 0
    deltas: tuple[float, ...] = ()
    overlap: float | None = None
    again: float | None = None

    @property
    def test_share(self) -> float:
        """As of :class:`Drawn`: what more seeds do not lessen where each has test images of its own, else 0."""
        if self.standard_error is None or self.image_variance or len(self.deltas) < 2:
            return 0.0
        variance = float(np.var(self.deltas, ddof=1))
        share = self.standard_error**2 / variance - 1 / len(self.deltas)
        return share if share > SMALLEST_SHARE else 0.0

    def interval(self, below: float, above: float) -> tuple[float, float] | None:
        """Bounds that miss the true difference with given chances.

        Args:
            below: Chance that it lies below.
            above: Chance that it lies above.

        Returns:
            The bounds; None as ``ci95``.
        """
        if self.standard_error is None or self.freedom is None:
            return None
        error = MeanError(self.standard_error**2 - self.image_variance, self.image_variance, self.freedom)
        return self.delta - error.half_width(below), self.delta + error.half_width(above)


Correct = Sequence[Sequence[float]] | NDArray[np.bool_] | NDArray[np.float64]
"""On which test images a classifier is right, ``(J, n)``: one row per seed, the share of its trainings in [0, 1]."""


@dataclass(frozen=True)
class Drawn:
    """How the images of several seeds were drawn, on which depends what their spread says.

    Attributes:
        same_images: All are scored on the same test images.
        test_share: Where they are not, test images for each image of the pool that is not one: n_test / n_train where
            all others are trained on.
        overlap: Mean share of its training images that a seed has in common with another, in [0, 1]; None where that is
            not known.

    Example:
        >>> from augment.evidence.statistics import Drawn, compare
        >>> drawn = Drawn(same_images=False, test_share=0.25)
        >>> compare("cnn", "vae", "oversample", [0.81, 0.82, 0.86], [0.80, 0.80, 0.80], drawn=drawn).test
        'corrected resampled t over seeds'
    """

    same_images: bool = True
    test_share: float = 0.0
    overlap: float | None = None


ONE_POOL = Drawn()
"""Seeds with one test part, and nothing known of their training images."""


def mcnemar(first_correct: Sequence[bool], second_correct: Sequence[bool]) -> float:
    """McNemar's exact test (1947): do two classifiers err equally often on the same images?

    Args:
        first_correct: On which images the first is right, ``(n,)``.
        second_correct: On which images the second is right, ``(n,)``.

    Returns:
        Two-sided p.

    Example:
        >>> from augment.evidence.statistics import mcnemar
        >>> round(mcnemar([True] * 10, [True] * 5 + [False] * 5), 4)  # five disagreements, all one way
        0.0625
    """
    from scipy.stats import binomtest

    first, second = np.asarray(first_correct, bool), np.asarray(second_correct, bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    disagreements = only_first + only_second
    return 1.0 if disagreements == 0 else float(binomtest(only_first, disagreements).pvalue)


def mcnemar_over_seeds(first_correct: Correct, second_correct: Correct) -> float:
    """McNemar's exact p with one row of test images per seed; an image goes to whoever is right on it more often.

    Every image counts once however many seeds there are: classifiers of different seeds err on the same images, so
    adding up their counts would multiply the evidence. With one seed it is :func:`mcnemar`.

    Args:
        first_correct: On which images the first is right, ``(J, n)``, the share of its trainings in [0, 1].
        second_correct: The same of the second.

    Returns:
        Two-sided p.

    Raises:
        DataError: For different numbers of seeds.

    Example:
        >>> from augment.evidence.statistics import mcnemar_over_seeds
        >>> first, second = [1] * 10, [1] * 5 + [0] * 5
        >>> round(mcnemar_over_seeds([first, first, first], [second, second, second]), 4)
        0.0625
    """
    margins = _margins(first_correct, second_correct).sum(0)
    return mcnemar(margins > 0, margins < 0)


def _margins(first_correct: Correct, second_correct: Correct) -> NDArray[np.float64]:
    """1 where only the first is right, -1 where only the second is, ``(J, n)``."""
    first, second = (np.asarray(rows, dtype=float) for rows in (first_correct, second_correct))
    if len(first) != len(second):
        raise DataError(f"{len(first)} seeds against {len(second)}; pass the same seeds of both arms.")
    difference: NDArray[np.float64] = first - second
    return difference


def image_variance(first_correct: Correct, second_correct: Correct) -> float:
    """Squared standard error, in points², that a mean over seeds has because the test images are a sample.

    It is the mean covariance, over test images, of the differences of two seeds: what an image does to both is there
    again however many seeds are added.

    Args:
        first_correct: On which images the first is right, ``(J, n)``, the share of its trainings in [0, 1].
        second_correct: The same of the second.

    Returns:
        An estimate below 0 counts as 0, as does that of a single seed.

    Raises:
        DataError: For different numbers of seeds.

    Example:
        >>> from augment.evidence.statistics import image_variance
        >>> first, second = [1, 1, 1, 1], [0, 1, 1, 1]
        >>> image_variance([first, first], [second, second]), image_variance([first], [second])
        (625.0, 0.0)
    """
    margins = _margins(first_correct, second_correct)
    seeds, images = margins.shape
    if seeds < 2 or images < 2:
        return 0.0
    centred = margins - margins.mean(1, keepdims=True)
    of_sum, of_each = (centred.sum(0) ** 2).sum(), (centred**2).sum()
    covariance = (of_sum - of_each) / (seeds * (seeds - 1) * (images - 1))
    return float(100**2 * max(0.0, covariance) / images)


def class_image_variances(
    first_correct: Correct, second_correct: Correct, truth: Sequence[int], num_classes: int
) -> list[float]:
    """Compute :func:`image_variance` of each class's recall.

    Args:
        first_correct: On which images the first is right, ``(J, n)``, the share of its trainings in [0, 1].
        second_correct: The same of the second.
        truth: Classes of the images, ``(n,)``.
        num_classes: K.

    Returns:
        ``(K,)``, in points².

    Raises:
        DataError: For different numbers of seeds.

    Example:
        >>> from augment.evidence.statistics import class_image_variances
        >>> first, second = [[1, 1, 1, 1, 1, 1]] * 2, [[0, 1, 1, 1, 1, 1]] * 2
        >>> class_image_variances(first, second, truth=[0, 0, 0, 0, 1, 1], num_classes=2)
        [625.0, 0.0]
    """
    first, second, classes = (np.asarray(rows) for rows in (first_correct, second_correct, truth))
    chosen = [classes == label for label in range(num_classes)]
    return [image_variance(first[:, rows], second[:, rows]) for rows in chosen]


@dataclass(frozen=True)
class MeanError:
    """How far the mean of paired differences may be from the truth, in points².

    Bounds combine the two (Graybill and Wang 1980; MOVER, Zou and Donner 2008): the square of their distance from the
    mean is the sum of the squares that each part alone would give, by quantiles of Student's t and of the normal
    distribution. Each alone is exact, and together they hold at least what they promise and little more. Quantiles of t
    for the whole hold far too much where seeds are few, with Satterthwaite's degrees of freedom too little.

    Attributes:
        seeds: Variance by the spread of the seeds, known by ``freedom`` degrees of freedom.
        images: Variance that the test images have, known well because they are many.
        freedom: Of ``seeds``.

    Example:
        >>> from augment.evidence.statistics import MeanError
        >>> error = MeanError(seeds=0.09, images=0.16, freedom=4)
        >>> error.standard_error, round(error.half_width(0.025), 2)
        (0.5, 1.14)
    """

    seeds: float
    images: float
    freedom: float

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return math.sqrt(self.seeds + self.images)

    def half_width(self, chance: float) -> float:
        """Distance from the mean that the truth exceeds on one side.

        Args:
            chance: With which it does.

        Returns:
            In points.
        """
        from scipy.special import ndtri, stdtrit  # the same as scipy.stats, without what that checks at each call

        return math.sqrt(
            float(stdtrit(self.freedom, chance)) ** 2 * self.seeds + float(ndtri(chance)) ** 2 * self.images
        )

    def p(self, mean: float) -> float:
        """Two-sided p of a true mean of 0: the level whose interval just ends there.

        Args:
            mean: That was found, in points.

        Returns:
            In [0, 1].
        """
        from scipy.special import stdtr

        if self.images == 0:
            return float(2 * stdtr(self.freedom, -abs(mean) / math.sqrt(self.seeds)))
        low, high = math.log(SMALLEST_P), math.log(0.5)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.half_width(math.exp(middle)) < abs(mean) else (middle, high)
        return 2 * math.exp(high) if mean else 1.0


def mean_error(differences: Sequence[float], image_variance: float = 0.0, test_share: float = 0.0) -> MeanError:
    """How far the mean of differences that are not all equal may be from the truth.

    Args:
        differences: One per seed, in points.
        image_variance: That the test images have, in points².
        test_share: As in :class:`Drawn`.

    Returns:
        Both variances.

    Example:
        >>> from augment.evidence.statistics import mean_error
        >>> error = mean_error([1.0, 3.0], image_variance=3.0)
        >>> round(error.seeds, 6), error.images, error.freedom, round(error.standard_error, 6)
        (1.0, 3.0, 1.0, 2.0)
    """
    n = len(differences)
    return MeanError((1 + n * test_share) * standard_error(differences) ** 2, image_variance, float(n - 1))


def paired_interval(
    differences: Sequence[float], image_variance: float = 0.0, test_share: float = 0.0
) -> tuple[float, float, float]:
    """95% interval of the mean of paired differences and the two-sided p of mean zero.

    By Student's t, with what :func:`mean_error` adds to it. Equal differences give an interval of width zero, from
    which nothing follows: p is then that of the sign flips, 2 / 2^n (1 where all are 0). :func:`mean_with_interval`
    leaves such intervals out.

    Args:
        differences: One per seed, at least two.
        image_variance: That the test images have, in points².
        test_share: As in :class:`Drawn`.

    Returns:
        ``(low, high, p)``.

    Example:
        >>> from augment.evidence.statistics import paired_interval
        >>> [round(value, 3) for value in paired_interval([1.0, 2.0, 3.0])]
        [-0.484, 4.484, 0.074]
    """
    mean = mean_of(differences)
    if not has_spread(differences):
        return mean, mean, permutation(differences)
    error = mean_error(differences, image_variance, test_share)
    half = error.half_width(0.025)
    return mean - half, mean + half, error.p(mean)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% t interval of the mean.

    Args:
        values: At least two.

    Returns:
        Its bounds.

    Example:
        >>> from augment.evidence.statistics import t_interval
        >>> [round(bound, 3) for bound in t_interval([1.0, 2.0, 3.0])]
        [-0.484, 4.484]
    """
    low, high, _ = paired_interval(values)
    return low, high


def mean_with_interval(
    differences: Sequence[float], image_variance: float = 0.0
) -> tuple[float, tuple[float, float] | None]:
    """The mean of paired differences and its 95% t interval.

    Args:
        differences: One per seed, at least one.
        image_variance: That the test images have, in points².

    Returns:
        The mean, and the bounds; None for one difference, or where all are equal.

    Example:
        >>> from augment.evidence.statistics import mean_with_interval
        >>> mean_with_interval([2.0]), mean_with_interval([2.0, 2.0, 2.0])
        ((2.0, None), (2.0, None))
    """
    if not has_spread(differences):
        return mean_of(differences), None
    low, high, _ = paired_interval(differences, image_variance)
    return mean_of(differences), (low, high)


def permutation(differences: Sequence[float]) -> float:
    """Sign-flip test (Fisher 1935): how often is a mean as far from 0 if signs are chance?

    Exact up to 16 differences; beyond, from 2^14 drawn sign patterns, the same at every call.

    Args:
        differences: One per seed.

    Returns:
        Two-sided p; 1 for no difference.

    Example:
        >>> from augment.evidence.statistics import permutation
        >>> permutation([1.0, 2.0, 3.0]), permutation([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        (0.25, 0.03125)
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n <= EXACT_UP_TO:
        # flipping all signs changes no absolute value: the first sign can stay
        bits = np.arange(2 ** max(n - 1, 0))[:, None] >> np.arange(n) & 1
        drawn = 0
    else:
        bits = numpy_rng(0, "signs").integers(0, 2, size=(DRAWN_PATTERNS, n))
        drawn = 1  # the observed pattern is one of those possible (Phipson and Smyth 2010, arXiv:1603.05766)
    sums = np.abs((1 - 2 * bits) @ values)
    extreme = int((sums >= abs(values.sum()) - 1e-9 * np.abs(values).sum()).sum())
    return (extreme + drawn) / (len(sums) + drawn)


def wilcoxon(differences: Sequence[float]) -> float:
    """Wilcoxon's signed-rank test (1945), exact also with ties; differences of 0 are left out.

    It is the sign-flip test on signed ranks, so exact up to 16 differences; see :func:`permutation`.

    Args:
        differences: One per seed.

    Returns:
        Two-sided p.

    Example:
        >>> from augment.evidence.statistics import wilcoxon
        >>> wilcoxon([0.5, 2.0, 0.0, 9.0])
        0.25
    """
    nonzero = [value for value in differences if value != 0]
    _, inverse, ties = np.unique(np.abs(nonzero), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[inverse]  # of equal ones, the mean of their ranks
    return permutation([math.copysign(rank, value) for rank, value in zip(ranks, nonzero, strict=True)])


def holm(ps: Sequence[float]) -> list[float]:
    """P values corrected for testing several (Holm 1979): at 0.05, one false alarm in 20 sets.

    Args:
        ps: One per test.

    Returns:
        The corrected ones, in the order given.

    Example:
        >>> from augment.evidence.statistics import holm
        >>> holm([0.25, 0.5, 0.125])
        [0.5, 0.5, 0.375]
    """
    adjusted, so_far = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        so_far = max(so_far, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = so_far
    return adjusted


def compare(
    classifier: str,
    arm: str,
    against: str,
    accuracies: Sequence[float],
    reference: Sequence[float],
    correct: Correct | None = None,
    reference_correct: Correct | None = None,
    *,
    drawn: Drawn = ONE_POOL,
    again: float | None = None,
) -> Comparison:
    """Compare two arms by their accuracies.

    Where each seed has test images of its own, the seeds share images all the same, and the t test is the corrected one
    of Nadeau and Bengio (2003, Machine Learning 52): the variance of the mean is (1 / J + test_share) times that of the
    differences. The other tests know no such correction, and are left out.

    Args:
        classifier: Its name.
        arm: Its name.
        against: Name of the reference.
        accuracies: Of the arm in [0, 1], one per seed.
        reference: Of the reference, one per seed in the same order.
        correct: For each seed, which test images the arm got right. With one seed it is needed, with more it tells what
            the test images' being a sample adds, and is used where all seeds differ by the same amount.
        reference_correct: The same of the reference.
        drawn: How the seeds' images were drawn.
        again: See :class:`Comparison`.

    Returns:
        The difference with its interval and p values.

    Raises:
        DataError: Without ``correct`` on one seed.
        ValueError: For numbers of seeds that differ.

    Example:
        >>> from augment.evidence.statistics import compare
        >>> found = compare("cnn", "vae", "oversample", [0.81, 0.82, 0.86], [0.80, 0.80, 0.80])
        >>> found.test, round(found.delta, 3), [round(bound, 2) for bound in found.ci95]
        ('paired t over seeds', 3.0, [-3.57, 9.57])
    """
    deltas = tuple(100 * (a - b) for a, b in zip(accuracies, reference, strict=True))
    n, several = len(deltas), len(deltas) > 1
    extra, images, share = 0.0, 0, 0.0 if drawn.same_images else drawn.test_share
    if drawn.same_images and several and correct is not None and reference_correct is not None:
        extra, images = image_variance(correct, reference_correct), len(correct[0])
    error, interval = None, None
    if has_spread(deltas):
        error = mean_error(deltas, extra, share)
        low, high, p = paired_interval(deltas, extra, share)
        interval = (low, high)
    if error is None:
        p, test = _without_spread(deltas, correct, reference_correct)
    else:
        test = "paired t over seeds" if drawn.same_images else "corrected resampled t over seeds"
    return Comparison(
        classifier,
        arm,
        against,
        delta=mean_of(deltas),
        ci95=interval,
        p=p,
        n=n,
        test=test,
        p_wilcoxon=wilcoxon(deltas) if several and drawn.same_images else None,
        p_permutation=permutation(deltas) if several and drawn.same_images else None,
        standard_error=None if error is None else error.standard_error,
        freedom=None if error is None else error.freedom,
        image_variance=extra,
        test_images=images,
        deltas=deltas,
        overlap=drawn.overlap if several else None,
        again=again,
    )


def mean_overlap(drawn: Sequence[Set[int]]) -> float | None:
    """Mean share of its training images that a seed has in common with another.

    Args:
        drawn: Training images of each seed, all of one size.

    Returns:
        In [0, 1]; None for one seed.

    Example:
        >>> from augment.evidence.statistics import mean_overlap
        >>> mean_overlap([{1, 2, 3, 4}, {3, 4, 5, 6}]), mean_overlap([{1, 2}])
        (0.5, None)
    """
    pairs = [len(a & b) / max(1, len(a)) for number, a in enumerate(drawn) for b in drawn[:number]]
    return math.fsum(pairs) / len(pairs) if pairs else None


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p of comparisons for all arms of their classifier.

    Args:
        comparisons: Of one classifier or several.

    Returns:
        The same in the order given, each with ``p_holm`` over all of its classifier.

    Example:
        >>> from augment.evidence.statistics import compare, corrected
        >>> base = [0.80, 0.80, 0.80]
        >>> found = [compare("cnn", arm, "real", [0.81, 0.82, 0.86], base) for arm in ("vae", "cgan")]
        >>> [round(one.p_holm / one.p, 6) for one in corrected(found)]
        [2.0, 2.0]
    """
    adjusted = list(comparisons)
    for classifier in {comparison.classifier for comparison in comparisons}:
        rows = [row for row, comparison in enumerate(comparisons) if comparison.classifier == classifier]
        for row, p in zip(rows, holm([comparisons[row].p for row in rows]), strict=True):
            adjusted[row] = replace(comparisons[row], p_holm=p)
    return adjusted


def signed(points: float) -> str:
    """Write points with one decimal and a sign; what rounds to zero has none.

    Args:
        points: Of percent.

    Returns:
        Such as ``+1.2``, with a true minus sign.

    Example:
        >>> from augment.evidence.statistics import signed
        >>> signed(1.24), signed(-3.0), signed(-0.04)
        ('+1.2', '−3.0', '0.0')
    """
    text = f"{abs(points):.1f}"
    return text if float(text) == 0 else f"{'+' if points > 0 else '−'}{text}"


def _without_spread(
    deltas: Sequence[float],
    correct: Correct | None,
    reference_correct: Correct | None,
) -> tuple[float, str]:
    """P and the name of the test where there is one seed, or equal differences."""
    if correct is not None and reference_correct is not None:
        p = mcnemar_over_seeds(correct, reference_correct)
        return p, "McNemar" if len(deltas) == 1 else "McNemar over seeds"
    if len(deltas) == 1:
        raise DataError("One seed is compared by the correctness of each test image; pass it for both arms.")
    return permutation(deltas), "sign flips over seeds"


def has_spread(values: Sequence[float]) -> bool:
    """Do values differ from each other, so that their spread can be judged?

    Args:
        values: One per seed.

    Returns:
        False for a single one, and where they differ by no more than rounding.

    Example:
        >>> from augment.evidence.statistics import has_spread
        >>> has_spread([1.0, 1.5]), has_spread([1.0, 1.0]), has_spread([1.0])
        (True, False, False)
    """
    return len(values) > 1 and standard_error(values) >= ROUNDING


def mean_of(values: Sequence[float]) -> float:
    """Arithmetic mean, rounded once.

    Args:
        values: At least one.

    Returns:
        Their mean.

    Example:
        >>> from augment.evidence.statistics import mean_of
        >>> mean_of([0.1] * 10)
        0.1
    """
    return math.fsum(values) / len(values)


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean.

    Args:
        values: At least two.

    Returns:
        In their unit.

    Example:
        >>> from augment.evidence.statistics import standard_error
        >>> standard_error([1.0, 3.0])
        1.0
    """
    mean, n = mean_of(values), len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
