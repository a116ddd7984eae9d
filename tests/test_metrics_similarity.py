"""SSIM, reduced MS-SSIM, PSNR and diversity against closed forms and pytorch-msssim's full-size MS-SSIM."""

import pytest
import torch

from augment.errors import DataError
from augment.metrics.similarity import ms_ssim_levels, ms_ssim_reduced, psnr, ssim, ssim_diversity

pytestmark = pytest.mark.libraries


def pictures(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(1, 2, 2), (1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 30), (1, 64, 64)])
def test_a_picture_is_like_itself_and_less_like_another(size):
    a, b = pictures(5, *size), pictures(5, *size, seed=1)
    for similarity in (ssim, ms_ssim_reduced):
        assert torch.allclose(similarity(a, a), torch.ones(5), atol=1e-5)
        assert similarity(a, b).shape == (5,)
        assert similarity(a, b).mean() < 0.9
        assert torch.allclose(similarity(a, b), similarity(b, a), atol=1e-6)


def test_ssim_of_constant_pictures_is_the_luminance_term():
    a, b = torch.full((1, 1, 28, 28), 0.2), torch.full((1, 1, 28, 28), 0.6)
    constant = 0.01**2
    expected = (2 * 0.2 * 0.6 + constant) / (0.2**2 + 0.6**2 + constant)
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-3)


def test_ssim_is_of_each_picture_alone():
    a, b = pictures(6, 3, 16, 16), pictures(6, 3, 16, 16, seed=1)
    assert torch.allclose(ssim(a, b)[2:3], ssim(a[2:3], b[2:3]), atol=1e-6)
    assert torch.allclose(ms_ssim_reduced(a, b)[2:3], ms_ssim_reduced(a[2:3], b[2:3]), atol=1e-6)


@pytest.mark.parametrize(("side", "levels"), [(8, 1), (20, 1), (21, 2), (28, 2), (32, 2), (64, 3), (160, 4), (161, 5)])
def test_levels_grow_with_the_size(side, levels):
    assert ms_ssim_levels(side, side + 5) == levels


@pytest.mark.parametrize("shape", [(2, 1, 161, 170), (2, 3, 176, 161)])
def test_five_levels_are_the_published_measure(shape):
    from pytorch_msssim import ms_ssim

    a = pictures(*shape)
    b = (a + 0.3 * pictures(*shape, seed=1)).clamp(0, 1)
    expected = ms_ssim(a, b, data_range=1.0, size_average=False)
    assert torch.allclose(ms_ssim_reduced(a, b), expected, atol=1e-4)


def test_one_level_is_ssim():
    a, b = pictures(4, 1, 16, 16), pictures(4, 1, 16, 16, seed=1) * 0.1 + pictures(4, 1, 16, 16) * 0.9
    assert torch.allclose(ms_ssim_reduced(a, b), ssim(a, b), atol=1e-6)


def test_psnr_of_known_noise():
    a = torch.full((3, 1, 8, 8), 0.5)
    noise = torch.tensor([0.1, 0.01, 0.0]).view(3, 1, 1, 1)
    assert psnr(a, a + noise).tolist() == pytest.approx([20, 40, 100], abs=1e-3)


def test_diversity_falls_with_collapse_and_rises_with_nothing_shared():
    labels = torch.arange(60) % 3
    varied = (pictures(60, 1, 16, 16) * 255).to(torch.uint8)
    collapsed = varied[:3].repeat(20, 1, 1, 1)  # one picture per class
    assert ssim_diversity(collapsed, labels) == pytest.approx(1, abs=1e-5)
    assert ssim_diversity(varied, labels) < 0.2
    assert ssim_diversity(varied, labels, seed=1) == ssim_diversity(varied, labels, seed=1)
    assert ssim_diversity(varied, labels, seed=1) != ssim_diversity(varied, labels, seed=2)


def test_diversity_weighs_classes_alike_and_skips_single_pictures():
    varied = (pictures(50, 1, 16, 16) * 255).to(torch.uint8)
    images = torch.cat([varied[:40], varied[40:41].repeat(2, 1, 1, 1), varied[42:43]])
    labels = torch.tensor([0] * 40 + [1] * 2 + [2])
    noisy = ssim_diversity(varied[:40], labels[:40])
    assert ssim_diversity(images, labels) == pytest.approx((1 + noisy) / 2, abs=0.02)
    assert ssim_diversity(varied[:5], torch.arange(5)) is None


def test_what_cannot_be_compared_is_refused():
    a = pictures(2, 1, 8, 8)
    for other in (a[:1], a[..., :4], (a * 255).to(torch.uint8)):
        for measure in (ssim, ms_ssim_reduced, psnr):
            with pytest.raises(DataError, match="Images to compare"):
                measure(a, other)
