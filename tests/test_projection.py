"""Features as points: closed forms, neighbourhoods that stay, and inputs at the edge."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from augment.errors import ConfigError, DataError, UsageError
from augment.studies.features.projection import METHODS, axis_names, check_method, project

pytestmark = pytest.mark.libraries


def blobs(n=60, dim=8, classes=3, seed=0):
    """Well separated clusters, far from the origin."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    return torch.randn(n, dim, generator=rng) + 8 * torch.randn(classes, dim, generator=rng)[labels] + 5, labels


def own_neighbours(points, labels):
    """Share of points whose nearest other point has their label."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(len(points))
    return (labels.numpy()[distances.argmin(axis=1)] == labels.numpy()).mean()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_pca_is_the_singular_value_decomposition_up_to_sign(dimensions):
    features, _ = blobs()
    centred = features.double().numpy() - features.double().numpy().mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (left * values)[:, :dimensions]
    points = project(features, "pca", dimensions, seed=0)
    assert points.dtype == np.float32
    for axis in range(dimensions):
        sign = np.sign(points[0, axis] * expected[0, axis])
        np.testing.assert_allclose(points[:, axis], sign * expected[:, axis], atol=1e-3)


def test_axis_names_carry_the_share_of_the_variance():
    corners = torch.tensor([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]])  # variances 9 and 1
    points = project(corners, "pca", 2, seed=0)
    assert axis_names("pca", corners, points) == ("PCA 1 (90% of variance)", "PCA 2 (10% of variance)")
    assert axis_names("tsne", corners, points) == ()
    same = torch.ones(4, 3)
    assert axis_names("pca", same, project(same, "pca", 2, seed=0))[0] == "PCA 1 (0% of variance)"


@pytest.mark.parametrize("dimensions", [2, 3])
def test_tsne_keeps_neighbourhoods_and_is_repeatable(dimensions):
    features, labels = blobs(240)
    points = project(features, "tsne", dimensions, seed=3)
    assert points.shape == (240, dimensions)
    assert own_neighbours(points, labels) > 0.95  # 0.988 to 1 over six seeds and two instruction sets
    assert np.array_equal(points, project(features, "tsne", dimensions, seed=3))


@pytest.mark.parametrize("count", [5, 6])
def test_tsne_of_fewer_points_than_its_perplexity(count):
    points = project(blobs(count)[0], "tsne", 2, seed=0)
    assert np.isfinite(points).all() and len(np.unique(points, axis=0)) == count


@pytest.mark.parametrize("method", METHODS)
def test_equal_features_are_one_point_and_not_a_crash(method):
    if method == "umap" and importlib.util.find_spec("umap") is None:
        pytest.skip("umap-learn is not installed")
    assert (project(torch.full((30, 4), 0.3), method, 3, seed=0) == np.zeros((30, 3))).all()


def test_fewer_axes_than_dimensions_leave_the_others_at_zero():
    line = torch.tensor([[0.0], [1.0], [5.0]])
    points = project(line, "pca", 3, seed=0)
    np.testing.assert_allclose(np.abs(points[:, 0]), [2.0, 1.0, 3.0], atol=1e-5)
    assert (points[:, 1:] == 0).all()
    assert project(blobs(2)[0], "pca", 3, seed=0).shape == (2, 3)
    assert (project(blobs(1)[0], "pca", 2, seed=0) == 0).all()
    assert np.isfinite(project(torch.arange(9.0).reshape(9, 1), "tsne", 3, seed=0)).all()


def test_projections_leave_threads_and_random_numbers_alone():
    from threadpoolctl import threadpool_info

    before = [pool["num_threads"] for pool in threadpool_info()]
    np.random.seed(5)
    torch.manual_seed(5)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    project(blobs(20)[0], "tsne", 2, seed=0)
    assert (np.random.get_state()[1] == state[0]).all() and torch.equal(torch.get_rng_state(), state[1])
    assert [pool["num_threads"] for pool in threadpool_info()][: len(before)] == before


@pytest.mark.parametrize(
    ("features", "method", "dimensions", "error", "words"),
    [
        (torch.ones(9, 2), "pcaa", 2, ConfigError, "Did you mean 'pca'"),
        (torch.ones(9, 2), "pca", 4, ConfigError, "dimensions is 4"),
        (torch.ones(9, 2, 2), "pca", 2, DataError, "one row for each image"),
        (torch.tensor([[1.0], [float("nan")]]), "pca", 2, DataError, "not finite"),
        (torch.rand(4, 2), "tsne", 2, DataError, "4 points are too few for t-SNE, which needs 5"),
    ],
)
def test_what_cannot_be_projected_is_refused(features, method, dimensions, error, words):
    with pytest.raises(error, match=words):
        project(features, method, dimensions, seed=0)


def test_umap_that_is_missing_or_broken_names_the_extra_and_what_works(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for call in (lambda: check_method("umap"), lambda: project(torch.rand(9, 2), "umap", 2, seed=0)):
        with pytest.raises(UsageError, match=r'pip install "augment-toolkit\[umap\]".*pca and tsne'):
            call()
    check_method("tsne")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "found")
    monkeypatch.setitem(sys.modules, "umap", None)  # import raises ImportError
    with pytest.raises(UsageError, match="cannot be imported"):
        project(torch.rand(9, 2), "umap", 2, seed=0)


UMAP = """
import numpy as np, torch
from augment.studies.features.projection import project
rng = torch.Generator().manual_seed(0)
features = torch.randn(10, 3, generator=rng)
features[5:] += 30
first, second = (project(features, "umap", 2, seed=1) for _ in range(2))
between = np.linalg.norm(first[:5, None] - first[None, 5:], axis=2).min()
within = max(np.linalg.norm(part[:, None] - part[None], axis=2).max() for part in (first[:5], first[5:]))
assert np.array_equal(first, second) and between > within, (between, within)
"""


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
def test_umap_is_seeded_silent_and_keeps_clusters_apart():
    """In a process of its own, where numba interprets: compiling takes longer than all other tests here."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UMAP], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
