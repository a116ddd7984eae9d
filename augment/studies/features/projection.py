"""Features as points in two or three dimensions: PCA, t-SNE and UMAP."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augment.errors import ConfigError, DataError, UsageError, unknown_name
from augment.seeds import numpy_rng, random_state

METHODS = ("pca", "tsne", "umap")
TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}

FEWEST_POINTS = 5
"""Points that t-SNE and UMAP need: with fewer there are no neighbourhoods to keep."""

PCA_FIRST = 50
"""Principal components that t-SNE sees at most; the rest is mostly noise, and distances cost time."""

PERPLEXITY = 30.0
NEIGHBOURS = 15

Points = NDArray[np.float32]


def check_method(method: str) -> None:
    """Raises ConfigError for an unknown method, UsageError for ``umap`` where its package is not installed."""
    if method not in METHODS:
        raise ConfigError(unknown_name("projection", method, METHODS))
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise UsageError(_without_umap("its package is not installed"))


def check_points(method: str, count: int, of: str = "") -> None:
    """Raises DataError for fewer points than the method needs; ``of`` begins the message."""
    if method != "pca" and count < FEWEST_POINTS:
        raise DataError(
            f"{of}{count} points are too few for {TITLES[method]}, which needs {FEWEST_POINTS}. Use more images, or "
            "pca."
        )


def project(features: Tensor, method: str, dimensions: int, *, seed: int) -> Points:
    """Place every row of ``features`` ``(N, D)`` in ``dimensions`` (2 or 3); ``(N, dimensions)`` float32.

    method: ``pca``; ``tsne`` (van der Maaten and Hinton 2008) on the first 50 principal components, started from the
    first of them, with perplexity 30 or a third of the points where these are few; ``umap`` (McInnes et al. 2018,
    arXiv:1802.03426) with 15 neighbours. The result depends on the arguments alone; it uses as many threads as torch.
    Features that are all equal give points at the origin.

    Raises ConfigError or UsageError as :func:`check_method`, and DataError for features that are not finite, or fewer
    than five rows for t-SNE and UMAP.
    """
    check_method(method)
    if dimensions not in (2, 3):
        raise ConfigError(f"dimensions is {dimensions}; a map has 2 or 3.")
    x = _checked(features, method)
    if len(x) == 0 or bool((x == x[0]).all()):  # scikit-learn's t-SNE divides by the spread, and crashes without one
        return np.zeros((len(x), dimensions), dtype=np.float32)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(torch.get_num_threads()):
        points = {"pca": _pca, "tsne": _tsne, "umap": _umap}[method](x, dimensions, random_state(seed, "projection"))
    return np.ascontiguousarray(points, dtype=np.float32)


def axis_names(method: str, features: Tensor, points: Points) -> tuple[str, ...]:
    """Axes of a map as ``PCA 1 (12% of variance)``; empty for t-SNE and UMAP, whose axes mean nothing."""
    if method != "pca":
        return ()
    total = float(features.double().var(dim=0, correction=0).sum())
    shares = points.astype(np.float64).var(axis=0) / total if total > 0 else np.zeros(points.shape[1])
    return tuple(f"PCA {index} ({100 * share:.0f}% of variance)" for index, share in enumerate(shares, start=1))


def _checked(features: Tensor, method: str) -> Points:
    if features.ndim != 2 or features.shape[1] < 1:
        raise DataError(f"Features are {tuple(features.shape)}; a map needs (N, D), one row for each image.")
    if not bool(torch.isfinite(features).all()):
        raise DataError("Features are not finite, so there is no map of them: the generator's training has diverged.")
    check_points(method, len(features))
    return np.asarray(features.detach().cpu().numpy(), dtype=np.float32)


def _pca(x: Points, dimensions: int, seed: int) -> Points:
    from sklearn.decomposition import PCA

    found = PCA(min(dimensions, *x.shape), random_state=seed).fit_transform(x)
    return np.pad(found, ((0, 0), (0, dimensions - found.shape[1])))  # one latent, or two images, have fewer axes


def _tsne(x: Points, dimensions: int, seed: int) -> Points:
    from sklearn.manifold import TSNE

    reduced = _pca(x, max(dimensions, min(PCA_FIRST, *x.shape)), seed)
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    start = reduced[:, :dimensions] / reduced[:, 0].std() * 1e-4
    tsne = TSNE(
        dimensions,
        perplexity=perplexity,
        init=start,
        random_state=seed,
        n_jobs=torch.get_num_threads(),
    )
    return np.asarray(tsne.fit_transform(reduced / reduced.std()))


def _umap(x: Points, dimensions: int, seed: int) -> Points:
    umap = _import_umap()
    start = _pca(x, dimensions, seed)
    noise = numpy_rng(seed, "start of umap").normal(scale=1e-4 * start.std(), size=start.shape)
    model = umap.UMAP(
        n_neighbors=min(NEIGHBOURS, len(x) - 1),
        n_components=dimensions,
        init=(start + noise).astype(np.float32),  # umap-learn's own start fails on few or disconnected points
        random_state=seed,
        n_jobs=1,  # what a seed needs
    )
    return np.asarray(model.fit_transform(x / x.std()))


def _import_umap() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        try:
            import umap
        except ImportError as error:  # installed, but without something that it needs
            raise UsageError(_without_umap(f"it cannot be imported: {error}")) from None
    return umap


def _without_umap(reason: str) -> str:
    return (
        f'UMAP cannot be drawn: {reason}. Install it with pip install "augment-toolkit[umap]", '
        "or use pca and tsne, which work now."
    )
