"""The corruptions: strength, range, and what each kind does to an image."""

import pytest
import torch

from augment import corruptions


def gradient_images():
    row = torch.linspace(0.1, 0.9, 16)
    return (row[:, None] * row[None]).expand(8, 2, 16, 16).clone()


def test_every_kind_is_there():
    kinds = {"gaussian", "salt_pepper", "speckle", "masking", "rotation", "brightness", "contrast", "blur"}
    assert set(corruptions.NOISES) == set(corruptions.STRENGTHS) == kinds


@pytest.mark.parametrize(
    "kind", ["gaussian", "salt_pepper", "speckle", "masking", "rotation", "brightness", "contrast", "blur"]
)
def test_noise_changes_each_image_in_its_own_way(kind):
    images = gradient_images()
    kept = images.clone()
    torch.manual_seed(0)
    noisy = corruptions.NOISES[kind](images, corruptions.STRENGTHS[kind])
    assert torch.equal(images, kept)
    assert noisy.shape == images.shape and noisy.dtype == torch.float32
    assert 0 <= noisy.min() and noisy.max() <= 1
    changes = (noisy - images).abs().mean((1, 2, 3))
    assert len(changes.unique()) >= 6
    torch.testing.assert_close(corruptions.NOISES[kind](images, 0.0), images, atol=1e-4, rtol=0)


def test_what_the_kinds_of_noise_do():
    images = gradient_images()
    torch.manual_seed(0)
    shift = (corruptions.brightness(images * 0.2 + 0.4, 0.2) - (images * 0.2 + 0.4)).flatten(1)
    assert float(shift.std(1).max()) < 1e-5
    torch.testing.assert_close(corruptions.contrast(images, 0.1).mean((1, 2, 3)), images.mean((1, 2, 3)))
    pepper = corruptions.salt_pepper(torch.full((200, 1, 16, 16), 0.5), 0.4)
    assert float((pepper != 0.5).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert set(pepper.unique().tolist()) == {0.0, 0.5, 1.0}
    sharp = (torch.arange(16) % 2).float().expand(8, 1, 16, 16)
    assert float(corruptions.blur(sharp, 1.0).var()) < float(sharp.var())
    hidden = corruptions.masking(torch.ones(50, 1, 16, 16), 0.5) == 0
    assert hidden.any(3).sum(2).max() <= 8
    rectangle = hidden.any(3, keepdim=True) & hidden.any(2, keepdim=True)
    assert torch.equal(hidden, rectangle) and hidden.any()


def test_noise_takes_autocast_as_it_comes():
    images = torch.rand(4, 1, 12, 12)
    for kind in corruptions.STRENGTHS:
        torch.manual_seed(0)
        expected = corruptions.corrupt(images, (kind,), corruptions.STRENGTHS)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            found = corruptions.corrupt(images, (kind,), corruptions.STRENGTHS)
        torch.testing.assert_close(found, expected, atol=0.03, rtol=0)  # a grid of positions may be rounded


def test_rotation_turns_about_the_centre(monkeypatch):
    image = torch.rand(1, 1, 9, 9)
    monkeypatch.setattr(corruptions, "_signed", lambda images: torch.ones(len(images), 1, 1, 1))
    turned = corruptions.rotation(image, 0.5)  # half of a half turn
    torch.testing.assert_close(turned[0, 0], torch.rot90(image[0, 0], dims=(0, 1)), atol=1e-5, rtol=0)


def test_several_kinds_are_drawn_per_image():
    torch.manual_seed(0)
    noisy = corruptions.corrupt(torch.full((400, 1, 8, 8), 0.5), ("masking", "brightness"), corruptions.STRENGTHS)
    constant = noisy.flatten(1).std(1) < 1e-6
    assert 0.3 < float(constant.float().mean()) < 0.8
