"""Fidelity of samples to real images: FID, KID, inception score, precision, recall, density and coverage.

Each score stands beside its floor: the same score of other real images, equally many, against a reference. A generator
cannot be expected below it (FID, KID) or above it (precision, recall, density, coverage). Those of FID and KID are the
mean over many halvings of the real images, with the range that 95% of them have.

The arithmetic is torch-fidelity's, on features extracted once; density and coverage, which it lacks, are here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from augment.errors import DataError
from augment.metrics.extractors import Extractor
from augment.metrics.floors import floor

KID_SUBSETS = 10
KID_SUBSET_SIZE = 1000
"""KID is the mean over 10 random subsets of 1000 images, or of half the smaller set where that is less."""

PRECISION_NEIGHBOURS = 3
"""k of precision and recall, as in Kynkäänniemi et al."""

DENSITY_NEIGHBOURS = 5
"""k of density and coverage, as in Naeem et al."""

FID_SAMPLES_PER_FEATURE = 2
"""Below twice as many images as features a covariance is (nearly) singular and FID measures n, not quality."""


@dataclass(frozen=True)
class Fidelity:
    """Scores of ``n`` samples against ``n_reference`` real images, with what they were measured by.

    extractor, extractor_sha256: name and weights of the network.  n: samples scored, and real images of the floors.
    fid: Fréchet distance (Heusel et al. 2017, arXiv:1706.08500), 0 is best; None with ``fid_reason`` where n is small.
    kid, kid_std: unbiased squared MMD with a cubic kernel (Bińkowski et al. 2018, arXiv:1801.01401), 0 is best and
    slightly below 0 is possible; deviation over subsets; None below 4 images.
    inception_score: by the extractor's own classes, 1 to their number (Salimans et al. 2016, arXiv:1606.03498).
    precision, recall: k = 3, in [0, 1] (Kynkäänniemi et al. 2019, arXiv:1904.06991); None for k images or fewer.
    density, coverage: k = 5, about 1 for real images (Naeem et al. 2020, arXiv:2002.09797); likewise.
    ``*_floor``: of the held-out real images; None where none were given.  ``*_floor_range``: over halvings of all real
    images, of which the floor is the mean (:mod:`~augment.metrics.floors`).
    """

    extractor: str
    extractor_sha256: str
    n: int
    n_reference: int
    fid: float | None
    fid_floor: float | None
    fid_reason: str | None
    kid: float | None
    kid_std: float | None
    kid_floor: float | None
    inception_score: float
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    precision_floor: float | None = None
    recall_floor: float | None = None
    density_floor: float | None = None
    coverage_floor: float | None = None
    fid_floor_range: tuple[float, float] | None = None
    kid_floor_range: tuple[float, float] | None = None

    @property
    def headline(self) -> str:
        """The score to quote first: ``fid``, or ``kid`` where there are too few images for FID."""
        return "kid" if self.fid is None else "fid"


def score_fidelity(
    real: Tensor,
    fake: Tensor,
    held_out: Tensor | None,
    extractor: Extractor,
    *,
    seed: int,
) -> Fidelity:
    """Score samples ``fake`` against the reference ``real``; all uint8 ``(N, C, H, W)`` of one shape.

    held_out: real images that are not in ``real``, for the floors. If they and the samples differ in number, the larger
    set is cut by a seeded draw, because FID and PRDC depend on n. The result depends on the arguments alone.

    Raises DataError for an empty set, another type than uint8 or images of different shapes.
    """
    _check(real=real, fake=fake, held_out=held_out)
    rng = torch.Generator().manual_seed(seed)
    n = len(fake) if held_out is None else min(len(fake), len(held_out))
    reference = _features(extractor, real)[0]
    samples, logits = _features(extractor, _drawn(fake, n, rng))
    fid, reason = _fid(reference, samples)
    kid, kid_std = _kid(reference, samples, seed)
    radii = neighbour_radii(reference) if len(reference) > DENSITY_NEIGHBOURS else None
    scores: dict[str, Any] = {**_neighbourhood_scores(reference, radii, samples)}
    floors: dict[str, Any] = {"fid_floor": None, "kid_floor": None}
    if held_out is not None:
        others = _features(extractor, _drawn(held_out, n, rng))[0]
        floors = _floors(torch.cat([reference, others]), len(real), seed)
        floors |= {f"{name}_floor": value for name, value in _neighbourhood_scores(reference, radii, others).items()}
    return Fidelity(
        extractor=extractor.name,
        extractor_sha256=extractor.sha256,
        n=n,
        n_reference=len(real),
        fid=fid,
        fid_reason=reason,
        kid=kid,
        kid_std=kid_std,
        inception_score=_inception_score(logits),
        **scores,
        **floors,
    )


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance of two Gaussians fitted to features ``(N, D)``; at least 0."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(features.double()) for features in (real, fake)]
    # equal sets give -1e-12 or so by rounding
    return max(0.0, float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]))


def kernel_distance(real: Tensor, fake: Tensor, *, seed: int) -> tuple[float, float]:
    """KID of features ``(N, D)`` and its standard deviation over random subsets; both sets need at least 4 rows."""
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    found = kid_features_to_metric(
        real.double(),
        fake.double(),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, min(len(real), len(fake)) // 2),
        rng_seed=seed % 2**32,
        verbose=False,
    )
    return float(found[KEY_METRIC_KID_MEAN]), float(found[KEY_METRIC_KID_STD])


def precision_recall(real: Tensor, fake: Tensor, *, neighbours: int = PRECISION_NEIGHBOURS) -> tuple[float, float]:
    """Share of samples inside the real manifold, and of real images inside the samples'; features ``(N, D)``."""
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    found = prc_features_to_metric(fake, real, prc_neighborhood=neighbours, verbose=False)
    return float(found[KEY_METRIC_PRECISION]), float(found[KEY_METRIC_RECALL])


def neighbour_radii(real: Tensor, *, neighbours: int = DENSITY_NEIGHBOURS) -> Tensor:
    """Distance of each row of features ``(N, D)`` to its k-th nearest other row, ``(N,)`` float64."""
    nearest = torch.cdist(real.double(), real.double()).topk(neighbours + 1, largest=False, sorted=False)
    return nearest.values.amax(dim=1)


def density_coverage(
    real: Tensor, radii: Tensor, fake: Tensor, *, neighbours: int = DENSITY_NEIGHBOURS
) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, arXiv:2002.09797) of features ``(N, D)``.

    Density: real neighbourhoods a sample lies in, over k, averaged; may exceed 1. Coverage: share of real images with a
    sample in their neighbourhood, in [0, 1]. ``radii``: of the neighbourhoods, from :func:`neighbour_radii`.
    """
    inside = torch.cdist(real.double(), fake.double()) <= radii[:, None]
    return inside.sum(dim=0).double().mean().item() / neighbours, inside.any(dim=1).double().mean().item()


def _floors(features: Tensor, reference: int, seed: int) -> dict[str, Any]:
    """FID and KID of halves of the real images, by the names of :class:`Fidelity`; None where they cannot be scored."""
    first, second = features[:reference], features[reference:]
    scored = {
        "fid": None if _fid(first, second)[0] is None else frechet_distance,
        "kid": None if _kid(first, second, seed)[0] is None else lambda a, b: kernel_distance(a, b, seed=seed)[0],
    }
    found: dict[str, Any] = {}
    for name, score in scored.items():
        known = None if score is None else floor(score, features, reference)
        found[f"{name}_floor"] = None if known is None else known.mean
        found[f"{name}_floor_range"] = None if known is None else (known.low, known.high)
    return found


def _fid(real: Tensor, fake: Tensor) -> tuple[float | None, str | None]:
    n, needed = min(len(real), len(fake)), FID_SAMPLES_PER_FEATURE * real.shape[1]
    if n < needed:
        return None, f"{n} images are too few for FID on {real.shape[1]} features (needs {needed}); KID is unbiased."
    return frechet_distance(real, fake), None


def _kid(real: Tensor, fake: Tensor, seed: int) -> tuple[float | None, float | None]:
    if min(len(real), len(fake)) < 4:
        return None, None
    return kernel_distance(real, fake, seed=seed)


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
