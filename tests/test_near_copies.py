"""Perceptual near copies: what counts as one, what does not, on the embedded digits and on pictures made here."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from augment.datasets import load_dataset
from augment.errors import DataError
from augment.evidence import guards as module
from augment.evidence.guards import near_copies, perceptual_hashes


def as_uint8(images):
    return images.round().clamp(0, 255).to(torch.uint8)


def scenes(count, side, channels=1, seed=0):
    """Smooth pictures with structure at every size, as photographs have it."""
    rng = torch.Generator().manual_seed(seed)
    layers = [
        interpolate(torch.rand(count, channels, n, n, generator=rng), (side, side), mode="bicubic") / n**0.5
        for n in (3, 6, 12)
    ]
    images = sum(layers)
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return as_uint8(25 + 205 * (images - low) / (high - low))


def encoded_as_jpeg(images):
    def again(image):
        buffer = io.BytesIO()
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "JPEG", quality=75)
        return torch.from_numpy(np.array(Image.open(buffer))).view(*pixels.shape).permute(2, 0, 1)

    return torch.stack([again(image) for image in images])


def resized(images, side):
    there = interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return as_uint8(interpolate(there, images.shape[2:], mode="bilinear", antialias=True))


COPIES = {
    "the same": lambda images: images,
    "brighter": lambda images: as_uint8(images.float() + 20),
    "brighter by a factor": lambda images: as_uint8(1.15 * images.float()),
    "less contrast": lambda images: as_uint8(128 + 0.7 * (images.float() - 128)),
    "noisy": lambda images: as_uint8(
        images.float() + 6 * torch.randn(images.shape, generator=torch.Generator().manual_seed(3))
    ),
    "as JPEG": encoded_as_jpeg,
    "smaller and back": lambda images: resized(images, images.shape[2] * 5 // 7),
    "larger and back": lambda images: resized(images, images.shape[2] * 2),
}
OTHERS = {
    "mirrored": lambda images: images.flip(-1),
    "inverted": lambda images: 255 - images,
    "another seed's": lambda images: scenes(len(images), images.shape[2], images.shape[1], seed=1),
    "noise": lambda images: torch.randint(
        0, 256, images.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(4)
    ),
}


def found(images, gallery):
    return near_copies(perceptual_hashes(images), perceptual_hashes(gallery))


@pytest.mark.parametrize("shape", [(1, 28), (3, 32), (1, 64)])
@pytest.mark.parametrize("change", COPIES)
def test_changed_copies_are_found(change, shape):
    gallery = scenes(60, shape[1], shape[0])
    copies = COPIES[change](gallery[:40])
    assert change == "the same" or not torch.equal(copies, gallery[:40])
    assert found(copies, gallery).float().mean() >= 0.95


@pytest.mark.parametrize("change", OTHERS)
def test_other_pictures_are_not(change):
    gallery = scenes(60, 28)
    assert not found(OTHERS[change](gallery), gallery).any()


def test_each_query_is_judged_for_itself():
    gallery = scenes(20, 28)
    mixed = torch.cat([OTHERS["noise"](gallery[:3]), COPIES["brighter"](gallery[15:17]), gallery[4:5].flip(-1)])
    assert found(mixed, gallery).tolist() == [False] * 3 + [True] * 2 + [False]


def test_real_pictures_of_a_class_do_not_collide():
    """The digits' training and test part, 1,438 and 359 pictures of 8 x 8, have no image in common."""
    digits = load_dataset("digits")
    test = digits.test.images
    assert found(digits.train.images, test).double().mean() < 0.001
    assert found(COPIES["brighter"](test), test).double().mean() > 0.98
    assert found(COPIES["less contrast"](test), test).double().mean() > 0.98
    assert found(COPIES["noisy"](test), test).double().mean() > 0.98


def test_the_check_spares_what_the_hash_alone_would_take(monkeypatch):
    gallery = scenes(30, 28)
    vignette = 60 * torch.linspace(-1, 1, 28).view(1, 1, 28, 1)  # one strong wave more: few bits, another picture
    darkened = as_uint8(0.5 * gallery.float() + 64 + vignette)
    assert not found(darkened, gallery).any()
    monkeypatch.setattr(module, "LEAST_CORRELATION", -1.0)
    assert found(darkened, gallery).float().mean() > 0.5


def test_flat_images_are_no_copies_of_one_another():
    flat = torch.full((2, 1, 28, 28), 7, dtype=torch.uint8)
    flat[1] = 200
    assert not found(flat, flat).any()


def test_chunks_do_not_matter(monkeypatch):
    gallery = scenes(50, 28)
    queries = torch.cat([COPIES["brighter"](gallery[::3]), OTHERS["another seed's"](gallery)])
    whole = found(queries, gallery)
    monkeypatch.setattr(module, "QUERY_CHUNK", 7)
    monkeypatch.setattr(module, "GALLERY_CHUNK", 11)
    assert torch.equal(found(queries, gallery), whole)
    assert whole.sum() == 17


def test_sides_of_any_length_and_no_images_at_all():
    wide = scenes(10, 48)[:, :, :9, :]
    assert found(COPIES["brighter"](wide), wide).all()
    assert found(wide[:0], wide).shape == (0,)
    assert not found(wide, wide[:0]).any()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="uint8 images .* got torch.float32"):
        perceptual_hashes(torch.rand(2, 1, 8, 8))
    with pytest.raises(DataError, match=r"one shape; got \(1, 8, 8\) and \(1, 9, 9\)"):
        found(scenes(2, 8), scenes(2, 9))
