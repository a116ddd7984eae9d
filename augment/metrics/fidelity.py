"""What scores of samples are computed from: FID, KID, inception score, precision, recall, density and coverage.

Each score stands beside its floor: the same score of other real images, equally many, against a reference. A generator
cannot be expected below it (FID, KID) or above it (precision, recall, density, coverage). Those of FID and KID are the
mean over many halvings of the real images, with the range that 95% of them have.

The arithmetic is torch-fidelity's, on features extracted once; density and coverage, which it lacks, are here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from augment.errors import DataError
from augment.metrics.extractor import Extractor
from augment.metrics.memorisation import Memorisation, memorisation
from augment.metrics.scores import Score
from augment.metrics.similarity import ms_ssim_reduced, psnr, ssim, ssim_diversity
from augment.seeds import random_state, torch_rng

HALVINGS, FEW_HALVINGS = 20, 5
"""Of the real images; the second where there are more than :data:`MANY_FEATURES`, of which one FID takes 10 seconds."""

MANY_FEATURES = 512


@dataclass(frozen=True)
class Floor:
    """Mean of a score over halvings of real images, and the bounds that hold 95% of them.

    A score between the bounds is what other real images have, too: it does not tell samples from them.

    Attributes:
        mean: Over the halvings.
        low: 2.5% of them are below.
        high: 2.5% of them are above.

    Example:
        >>> from augment.metrics.fidelity import Floor
        >>> floor = Floor(mean=4.1, low=3.8, high=4.6)
        >>> floor.low <= 4.5 <= floor.high
        True
    """

    mean: float
    low: float
    high: float


def floor(score: Callable[[Tensor, Tensor], float], features: Tensor, reference: int) -> Floor:
    """The floor of a score of two sets of features.

    Args:
        score: Of two sets ``(N, D)``, the reference first.
        features: Of real images, ``(N, D)``.
        reference: How many of them are in the first set of each halving.

    Returns:
        Mean and bounds over 20 halvings, or over 5 where D is above 512.

    Example:
        >>> import torch
        >>> from augment.metrics.fidelity import floor
        >>> floor(lambda first, second: float(len(second)), torch.zeros(10, 2), reference=6)
        Floor(mean=4.0, low=4.0, high=4.0)
    """
    several = HALVINGS if features.shape[1] <= MANY_FEATURES else FEW_HALVINGS
    scores = [score(features[first], features[second]) for first, second in halvings(len(features), reference, several)]
    values = torch.tensor(scores, dtype=torch.float64)
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Floor(float(values.mean()), low, high)


def halvings(count: int, reference: int, several: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the two parts of each halving; always the same ones.

    Classes fall to either part by chance, as they do for samples and the images that these are compared with. Halves
    with equal classes are nearer to each other than two samples can be expected to be: their KID is below 0 on average,
    and other real images look as if they were none.

    Args:
        count: Rows in all.
        reference: How many of them are in the first part.
        several: Number of halvings.

    Yields:
        Int64 ``(reference,)`` and ``(count - reference,)``.

    Example:
        >>> from augment.metrics.fidelity import halvings
        >>> [(len(first), len(second)) for first, second in halvings(10, reference=6, several=2)]
        [(6, 4), (6, 4)]
    """
    shuffles = torch_rng(0, "halvings")
    for _ in range(several):
        order = torch.randperm(count, generator=shuffles)
        yield order[:reference], order[reference:]


KID_SUBSETS = 10
KID_SUBSET_SIZE = 1000
"""KID is the mean over 10 random subsets of 1000 images, or of half the smaller set where that is less."""

PRECISION_NEIGHBOURS = 3
"""k of precision and recall, as in Kynkäänniemi et al."""

DENSITY_NEIGHBOURS = 5
"""k of density and coverage, as in Naeem et al."""

FID_SAMPLES_PER_FEATURE = 2
"""Below twice as many images as features a covariance is (nearly) singular and FID measures n, not quality."""

FEWEST_FOR_KID = 4


@dataclass(frozen=True, eq=False)
class SampleImages:
    """Samples and the real images that they are scored against: what each score of a set is computed from.

    Every score depends on these alone. If the held-out images and the samples differ in number, the larger set is cut
    by a seeded draw, because FID and PRDC depend on n.

    Attributes:
        real: The reference, uint8 ``(N, C, H, W)``.
        fake: Samples, uint8 ``(N, C, H, W)`` of the same shape.
        held_out: Real images that are not in ``real``, for the floors; None leaves these out.
        extractor: Turns images into features.
        seed: Of all draws.
        fake_labels: Int64 ``(N,)``, for what looks at classes.
        held_out_labels: Int64 ``(N,)``, for what looks at classes.
        train: All that the generator was trained on, for memorisation.
        restored: Reconstructions of the first of ``held_out``, float32 in [0, 1].

    Raises:
        DataError: For an empty set, another type or images of different shapes.

    Example:
        >>> from augment import load_dataset
        >>> from augment.metrics.extractors import load_extractor
        >>> from augment.metrics.fidelity import SampleImages
        >>> images = load_dataset("digits").train.images
        >>> real, fake, held_out = images[:40], images[40:80], images[80:110]
        >>> sample = SampleImages(real, fake, held_out, load_extractor("digits", 1), seed=0)
        >>> sample.n, sample.samples.shape, sample.fid().reason
        (30, torch.Size([30, 64]), '30 images are too few for FID on 64 features (needs 128); KID is unbiased.')
    """

    real: Tensor
    fake: Tensor
    held_out: Tensor | None
    extractor: Extractor
    seed: int
    fake_labels: Tensor | None = None
    held_out_labels: Tensor | None = None
    train: Tensor | None = None
    restored: Tensor | None = None

    def __post_init__(self) -> None:
        _check(real=self.real, fake=self.fake, held_out=self.held_out)

    @property
    def n(self) -> int:
        """Samples that scores by features are of, and real images of their floors."""
        return len(self.fake) if self.held_out is None else min(len(self.fake), len(self.held_out))

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor | None]:
        """As many samples as held-out images."""
        drawn = torch_rng(self.seed, "images to score")
        fake = _drawn(self.fake, self.n, drawn)
        return fake, None if self.held_out is None else _drawn(self.held_out, self.n, drawn)

    @cached_property
    def reference(self) -> Tensor:
        """Features of ``real``, ``(N, D)``."""
        return _features(self.extractor, self.real)[0]

    @cached_property
    def _samples(self) -> tuple[Tensor, Tensor]:
        return _features(self.extractor, self._drawn[0])

    @property
    def samples(self) -> Tensor:
        """Features of the samples, ``(n, D)``."""
        return self._samples[0]

    @cached_property
    def others(self) -> Tensor | None:
        """Features of the held-out images, ``(n, D)``."""
        held_out = self._drawn[1]
        return None if held_out is None else _features(self.extractor, held_out)[0]

    def fid(self) -> Score:
        """Fréchet distance (Heusel et al. 2017, arXiv:1706.08500), 0 is best; no value where n is small."""
        n, needed = min(len(self.reference), len(self.samples)), FID_SAMPLES_PER_FEATURE * self.reference.shape[1]
        if n < needed:
            few = f"{n} images are too few for FID on {self.reference.shape[1]} features (needs {needed})"
            return Score(reason=f"{few}; KID is unbiased.")
        return self._beside_floor(frechet_distance(self.reference, self.samples), frechet_distance)

    def kid(self) -> Score:
        """Unbiased squared MMD with a cubic kernel (Bińkowski et al. 2018, arXiv:1801.01401).

        0 is best and slightly below 0 is possible; no value below 4 images.
        """
        if min(len(self.reference), len(self.samples)) < FEWEST_FOR_KID:
            return Score()
        value, std = kernel_distance(self.reference, self.samples, seed=self.seed)
        return self._beside_floor(value, lambda a, b: kernel_distance(a, b, seed=self.seed)[0], std)

    def _beside_floor(
        self, value: float, distance: Callable[[Tensor, Tensor], float], std: float | None = None
    ) -> Score:
        if self.others is None:
            return Score(value, std=std)
        real_floor = floor(distance, torch.cat([self.reference, self.others]), len(self.real))
        return Score(value, real_floor.mean, (real_floor.low, real_floor.high), std)

    def inception_score(self) -> Score:
        """By the extractor's own classes, 1 to their number (Salimans et al. 2016, arXiv:1606.03498)."""
        return Score(_inception_score(self._samples[1]))

    @cached_property
    def _radii(self) -> Tensor | None:
        return neighbour_radii(self.reference) if len(self.reference) > DENSITY_NEIGHBOURS else None

    @cached_property
    def _neighbourhoods(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Of the samples, and of the held-out images."""
        own = _neighbourhood_scores(self.reference, self._radii, self.samples)
        return own, {} if self.others is None else _neighbourhood_scores(self.reference, self._radii, self.others)

    def neighbourhood(self, name: str) -> Score:
        """``precision``, ``recall``: k = 3, in [0, 1] (Kynkäänniemi et al. 2019, arXiv:1904.06991).

        ``density``, ``coverage``: k = 5, about 1 for real images (Naeem et al. 2020, arXiv:2002.09797). No value for k
        images or fewer.
        """
        own, others = self._neighbourhoods
        return Score(own[name], others.get(name))

    def diversity(self) -> Score | None:
        """SSIM of pairs of samples of one class, and of held-out images."""
        if self.fake_labels is None or self.held_out is None or self.held_out_labels is None:
            return None
        return Score(
            ssim_diversity(self.fake, self.fake_labels, seed=self.seed),
            ssim_diversity(self.held_out, self.held_out_labels, seed=self.seed),
        )

    @cached_property
    def memorisation(self) -> Memorisation | None:
        """How near samples are to training images, class by class where labels are known.

        So another mixture of classes does not look like copying.
        """
        if self.train is None or self.held_out is None:
            return None
        labels = {"held_out_labels": self.held_out_labels, "fake_labels": self.fake_labels}
        return memorisation(self.train, self.held_out, self.fake, **labels)

    def memorised(self) -> Score | None:
        """:attr:`Memorisation.share`."""
        return None if self.memorisation is None else Score(self.memorisation.share)

    def exact_copies(self) -> Score | None:
        """:attr:`Memorisation.exact_copies`."""
        return None if self.memorisation is None else Score(self.memorisation.exact_copies)

    def near_copies(self) -> Score | None:
        """Share of :attr:`Memorisation.near_copies`."""
        result = self.memorisation
        return None if result is None else Score(result.near_copies / result.n, result.near_copies_held_out)

    def restored_ssim(self) -> Score | None:
        """Mean SSIM of reconstructions."""
        return self._restored(ssim)

    def restored_ms_ssim(self) -> Score | None:
        """Mean MS-SSIM of reconstructions, over as many scales as their size allows."""
        return self._restored(ms_ssim_reduced)

    def restored_psnr(self) -> Score | None:
        """Mean PSNR of reconstructions, in dB."""
        return self._restored(psnr)

    def _restored(self, measure: Callable[[Tensor, Tensor], Tensor]) -> Score | None:
        if self.restored is None or self.held_out is None:
            return None
        return Score(float(measure(self.restored, self.held_out[: len(self.restored)].float() / 255).mean()))


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance of two Gaussians fitted to features.

    Args:
        real: ``(N, D)``.
        fake: ``(M, D)``.

    Returns:
        At least 0.

    Example:
        >>> import torch
        >>> from augment.metrics.fidelity import frechet_distance
        >>> features = torch.eye(4)
        >>> round(frechet_distance(features, features + 1), 3)  # the means are 2 apart
        4.0
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(features.double()) for features in (real, fake)]
    # equal sets give -1e-12 or so by rounding
    return max(0.0, float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]))


def kernel_distance(real: Tensor, fake: Tensor, *, seed: int) -> tuple[float, float]:
    """KID of features, and its standard deviation over random subsets.

    Args:
        real: ``(N, D)``, at least 4 rows.
        fake: ``(M, D)``, at least 4 rows.
        seed: Of the subsets.

    Returns:
        The mean over subsets, and the standard deviation.

    Example:
        >>> import torch
        >>> from augment.metrics.fidelity import kernel_distance
        >>> features = torch.eye(8)
        >>> near, far = (kernel_distance(features, features + shift, seed=0)[0] for shift in (0.0, 2.0))
        >>> near < far
        True
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    metrics = kid_features_to_metric(
        real.double(),
        fake.double(),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, min(len(real), len(fake)) // 2),
        rng_seed=random_state(seed, "kid"),
        verbose=False,
    )
    return float(metrics[KEY_METRIC_KID_MEAN]), float(metrics[KEY_METRIC_KID_STD])


def precision_recall(real: Tensor, fake: Tensor, *, neighbours: int = PRECISION_NEIGHBOURS) -> tuple[float, float]:
    """Share of samples inside the real manifold, and of real images inside the samples'.

    Args:
        real: Features ``(N, D)``.
        fake: Features ``(M, D)``.
        neighbours: k, whose distance is the radius of a neighbourhood.

    Returns:
        Precision and recall, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.metrics.fidelity import precision_recall
        >>> real = torch.arange(8.0)[:, None]
        >>> precision_recall(real, real), precision_recall(real, real + 100)
        ((1.0, 1.0), (0.0, 0.0))
    """
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    metrics = prc_features_to_metric(fake, real, prc_neighborhood=neighbours, verbose=False)
    return float(metrics[KEY_METRIC_PRECISION]), float(metrics[KEY_METRIC_RECALL])


def neighbour_radii(real: Tensor, *, neighbours: int = DENSITY_NEIGHBOURS) -> Tensor:
    """Distance of each row to its k-th nearest other row.

    Args:
        real: Features ``(N, D)``.
        neighbours: k, below N.

    Returns:
        ``(N,)`` float64.

    Example:
        >>> import torch
        >>> from augment.metrics.fidelity import neighbour_radii
        >>> neighbour_radii(torch.tensor([[0.0], [1.0], [3.0]]), neighbours=1).tolist()
        [1.0, 1.0, 2.0]
    """
    nearest = torch.cdist(real.double(), real.double()).topk(neighbours + 1, largest=False, sorted=False)
    return nearest.values.amax(dim=1)


def density_coverage(
    real: Tensor, radii: Tensor, fake: Tensor, *, neighbours: int = DENSITY_NEIGHBOURS
) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, arXiv:2002.09797) of features.

    Args:
        real: Features ``(N, D)``.
        radii: Of the neighbourhoods of ``real``, ``(N,)``, from :func:`neighbour_radii`.
        fake: Features ``(M, D)``.
        neighbours: k of ``radii``.

    Returns:
        Density: real neighbourhoods a sample lies in, over k, averaged; may exceed 1. Coverage: share of real images
        with a sample in their neighbourhood, in [0, 1].

    Example:
        >>> import torch
        >>> from augment.metrics.fidelity import density_coverage, neighbour_radii
        >>> real, fake = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.5], [3.0]])
        >>> density_coverage(real, neighbour_radii(real, neighbours=1), fake, neighbours=1)
        (1.5, 1.0)
    """
    inside = torch.cdist(real.double(), fake.double()) <= radii[:, None]
    return inside.sum(dim=0).double().mean().item() / neighbours, inside.any(dim=1).double().mean().item()


def _neighbourhood_scores(real: Tensor, radii: Tensor | None, fake: Tensor) -> dict[str, float | None]:
    """Precision, recall, density and coverage by name; None where a set is smaller than its neighbourhoods."""
    scores: dict[str, float | None] = dict.fromkeys(("precision", "recall", "density", "coverage"))
    if min(len(real), len(fake)) > PRECISION_NEIGHBOURS:
        scores["precision"], scores["recall"] = precision_recall(real, fake)
    if radii is not None:
        scores["density"], scores["coverage"] = density_coverage(real, radii, fake)
    return scores


def _inception_score(logits: Tensor) -> float:
    """``exp`` of the mean divergence of p(class | image) from its mean over all samples (one split)."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    # clamped: a class that no sample has at all would be 0 * log 0
    shifted = (logits - logits.amax(dim=1, keepdim=True)).clamp(min=-100)
    return float(isc_features_to_metric(shifted, splits=1, shuffle=False)[KEY_METRIC_ISC_MEAN])


def _features(extractor: Extractor, images: Tensor) -> tuple[Tensor, Tensor]:
    features, logits = extractor.extract(images)
    if not math.isfinite(features.sum().item() + logits.sum().item()):
        raise DataError(f"Extractor {extractor.name!r} gives non-finite features. Remove its file from the cache.")
    return features, logits


def _drawn(images: Tensor, n: int, rng: torch.Generator) -> Tensor:
    return images if n == len(images) else images[torch.randperm(len(images), generator=rng)[:n]]


def _check(*, real: Tensor, fake: Tensor, held_out: Tensor | None) -> None:
    for name, images in {"real": real, "fake": fake, "held_out": held_out}.items():
        if images is None:
            continue
        if images.dtype != torch.uint8 or images.dim() != 4 or len(images) == 0:
            kind = str(images.dtype).removeprefix("torch.")
            raise DataError(f"{name} must be uint8 images (N, C, H, W) with N > 0; got {kind} {tuple(images.shape)}.")
        if images.shape[1:] != real.shape[1:]:
            raise DataError(
                f"{name} has images of {tuple(images.shape[1:])}, real of {tuple(real.shape[1:])}; they must agree. "
                "Score images of one size and number of channels."
            )
