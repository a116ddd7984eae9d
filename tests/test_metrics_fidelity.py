"""Fidelity against closed forms and independent libraries."""

import contextlib
import io

import numpy as np
import pytest
import torch
from torch import nn

from augment.errors import DataError
from augment.metrics.extractor import Extractor
from augment.metrics.extractors import load_extractor
from augment.metrics.fidelity import (
    HALVINGS,
    SampleImages,
    density_coverage,
    floor,
    frechet_distance,
    halvings,
    kernel_distance,
    neighbour_radii,
    precision_recall,
)
from augment.metrics.registration import register
from augment.metrics.scores import compute_scores

pytestmark = pytest.mark.libraries


def normal(n, d, *, seed, mean=0.0, scale=1.0):
    return mean + scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Pixels(nn.Module):
    """The first ``dim`` pixels as features, and as logits."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, images):
        pixels = images.float().flatten(1)[:, : self.dim] / 255
        return pixels, pixels


def pixel_extractor(dim=8):
    return Extractor("pixels", "0" * 64, dim, 1, Pixels(dim))


def noise_images(n, *, seed, low=0, high=256):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (n, 1, 8, 8), generator=rng, dtype=torch.uint8)


def scored(real, fake, held_out, extractor, *, seed):
    return compute_scores(SampleImages(real, fake, held_out, extractor, seed))


def whitened(features, mean, root):
    """Features with exactly this mean and the covariance root @ root.T."""
    centred = features - features.mean(dim=0)
    factor = torch.linalg.cholesky(torch.cov(centred.T))
    return torch.linalg.solve_triangular(factor, centred.T, upper=False).T @ root.T + mean


def test_fid_of_two_gaussians_is_the_closed_form():
    scales = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    shift = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    a = whitened(normal(500, 4, seed=0), torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64))
    b = whitened(normal(400, 4, seed=1), shift, torch.diag(scales))
    expected = shift.square().sum() + (scales - 1).square().sum()  # commuting covariances
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)


def test_fid_agrees_with_the_matrix_square_root_of_scipy():
    from scipy.linalg import sqrtm

    a, b = normal(300, 6, seed=0) @ normal(6, 6, seed=1), normal(200, 6, seed=2, mean=0.3) @ normal(6, 6, seed=3)
    mean = a.mean(dim=0) - b.mean(dim=0)
    first, second = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    expected = mean.dot(mean).item() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a) >= 0


def test_kid_of_one_distribution_is_zero_on_average_at_every_size():
    for n in (10, 40, 400):
        found = [kernel_distance(normal(n, 5, seed=i), normal(n, 5, seed=1000 + i), seed=i)[0] for i in range(60)]
        error = np.std(found) / np.sqrt(len(found))
        assert abs(np.mean(found)) < 3 * error  # a biased estimate would be 1/n above
        assert min(found) < 0


def test_kid_is_the_mean_discrepancy_of_the_cubic_kernel():
    a, b = normal(60, 3, seed=0), normal(60, 3, seed=1, mean=1.0)
    kernel = lambda x, y: (x @ y.T / 3 + 1) ** 3  # noqa: E731
    m = len(a)
    within = sum((kernel(x, x).sum() - kernel(x, x).trace()) / (m * (m - 1)) for x in (a, b))
    exact = (within - 2 * kernel(a, b).mean()).item()
    mean, deviation = kernel_distance(a, b, seed=0)
    assert mean == pytest.approx(exact, abs=2 * deviation)
    assert deviation > 0


@pytest.mark.parametrize("neighbours", [3, 5])
def test_precision_recall_density_coverage_agree_with_prdc(neighbours):
    from prdc import compute_prdc

    real, fake = normal(120, 4, seed=0).float(), normal(90, 4, seed=1, mean=0.7, scale=0.8).float()
    with contextlib.redirect_stdout(io.StringIO()):
        expected = compute_prdc(real.numpy(), fake.numpy(), neighbours)
    assert precision_recall(real, fake, neighbours=neighbours) == pytest.approx(
        (expected["precision"], expected["recall"])
    )
    found = density_coverage(real, neighbour_radii(real, neighbours=neighbours), fake, neighbours=neighbours)
    assert found == pytest.approx((expected["density"], expected["coverage"]))


def test_samples_like_the_real_images_reach_the_floor_and_others_do_not():
    real, held_out = noise_images(400, seed=0), noise_images(200, seed=1)
    good = scored(real, noise_images(200, seed=2), held_out, pixel_extractor(), seed=0)
    bad = scored(real, noise_images(200, seed=2, low=100), held_out, pixel_extractor(), seed=0)
    assert good["fid"].value < 3 * good["fid"].floor
    assert bad["fid"].value > 10 * bad["fid"].floor
    assert bad["kid"].value - bad["kid"].floor > 10 * abs(good["kid"].value - good["kid"].floor)
    assert bad["recall"].value < good["recall"].value
    assert good["coverage"].value == pytest.approx(good["coverage"].floor, abs=0.1)
    assert (good.n, good.n_reference) == (200, 400)
    assert (good.extractor, good.extractor_sha256) == ("pixels", "0" * 64)


def test_halvings_are_partitions_and_differ():
    found = list(halvings(93, 31, 20))
    for first, second in found:
        assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(93)) and len(first) == 31
    assert len({tuple(first.sort().values.tolist()) for first, _ in found}) == 20


def test_a_floor_is_the_mean_and_the_range_of_its_score_over_halvings():
    features = normal(90, 3, seed=0)
    scores = [kernel_distance(features[a], features[b], seed=2)[0] for a, b in halvings(90, 40, HALVINGS)]
    found = floor(lambda a, b: kernel_distance(a, b, seed=2)[0], features, 40)
    assert found.mean == pytest.approx(np.mean(scores))
    assert (found.low, found.high) == pytest.approx(np.quantile(scores, [0.025, 0.975]))


def test_few_real_images_have_a_wide_range_that_holds_more_of_their_kind():
    """One halving of so few says next to nothing: KID x 1000 of real images was called 54.6 where it is 3 ± 46."""
    inside = 0
    for seed in range(20):
        sets = [noise_images(90, seed=10 * seed + index) for index in range(3)]
        found = scored(*sets, pixel_extractor(), seed=seed)
        low, high = found["kid"].floor_range
        assert low < found["kid"].floor < high
        inside += low <= found["kid"].value <= high
    assert inside >= 16


def test_a_score_repeats_and_leaves_the_random_state_alone():
    sets = noise_images(150, seed=0), noise_images(120, seed=1), noise_images(90, seed=2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = scored(*sets, pixel_extractor(), seed=3)
    assert first == scored(*sets, pixel_extractor(), seed=3)
    assert first.n == 90  # the samples are cut to the floor's number
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 15])
def test_few_images_give_kid_or_nothing_but_never_nan(n):
    score = scored(noise_images(n, seed=0), noise_images(n, seed=1), noise_images(n, seed=2), pixel_extractor(), seed=0)
    assert score["fid"].value is None and score["fid"].floor is None
    assert f"{n} images are too few" in score["fid"].reason
    assert (score["kid"].value is None) == (n < 4)
    numbers = [value for value in score.to_json().values() if isinstance(value, float)]
    assert numbers and np.isfinite(numbers).all()


def test_inception_score_counts_the_classes_in_use():
    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    images.view(40, -1)[torch.arange(40), torch.arange(40) % 4] = 255

    class Certain(Pixels):
        def forward(self, images):
            pixels, _ = super().forward(images)
            return pixels, pixels * 1e6

    extractor = Extractor("certain", "0" * 64, 8, 1, Certain(8))
    score = scored(images, images, None, extractor, seed=0)
    assert score["is"].value == pytest.approx(4)
    assert score["fid"].floor is None and score["precision"].floor is None


def test_wrong_sets_are_refused_by_name():
    good = noise_images(10, seed=0)
    for bad, message in (
        (good.float(), "fake must be uint8"),
        (good[:0], "fake must be uint8"),
        (good[..., :4], "fake has images of"),
    ):
        with pytest.raises(DataError, match=message):
            scored(good, bad, None, pixel_extractor(), seed=0)


class Planes(torch.utils.data.Dataset):
    """Grey images as torch-fidelity reads files: RGB."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index].expand(3, -1, -1)


def test_torch_fidelity_finds_the_extractor_by_name_and_agrees():
    from torch_fidelity import calculate_metrics

    extractor = load_extractor("digits", 1)
    real, fake = noise_images(200, seed=0), noise_images(200, seed=1, low=90)
    name = register(extractor)
    assert name == register(extractor) == f"augment-digits-{extractor.sha256[:8]}"
    found = calculate_metrics(
        input1=Planes(fake),
        input2=Planes(real),
        feature_extractor=name,
        fid=True,
        isc=True,
        prc=True,
        isc_splits=1,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    score = scored(real, fake, None, extractor, seed=0)
    assert found["frechet_inception_distance"] == pytest.approx(score["fid"].value, rel=1e-3)
    assert found["inception_score_mean"] == pytest.approx(score["is"].value, rel=1e-5)
    assert (found["precision"], found["recall"]) == pytest.approx(
        (score["precision"].value, score["recall"].value), abs=0.01
    )


def test_the_registered_grey_extractor_refuses_colour():
    from torch_fidelity.utils import create_feature_extractor

    colour = torch.arange(3 * 64, dtype=torch.uint8).view(1, 3, 8, 8)
    network = create_feature_extractor(register(load_extractor("digits", 1)), ["features"], cuda=False, verbose=False)
    with pytest.raises(DataError, match="grey"):
        network(colour)
