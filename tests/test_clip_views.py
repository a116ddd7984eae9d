"""How the small CLIP learns where there is one class, as on images without labels: by contrast of two views of each."""

import math
import sys

import pytest
import torch
from torch.nn import functional as F

from augment import registry
from augment.datasets import load_dataset
from augment.generator import ImageSpec

pytestmark = pytest.mark.libraries

ONE = ImageSpec(1, 8, 8, 1)
SMALL = {"channels": (8, 16), "sampling_steps": 3, "clip_width": 2}


def clip():
    """A private module beside the plugins, without naming the package twice."""
    package = registry.get("clip_guided").__module__.rpartition(".")[0]
    return sys.modules[f"{package}._clip"]


def make(spec, **options):
    torch.manual_seed(0)
    return registry.create("clip_guided", spec, {**SMALL, **options}).eval()


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images():
    return torch.rand(4, *ONE.shape, generator=rng())


def test_the_contrast_of_views_is_that_of_simclr():
    z = F.normalize(torch.randn(6, 5, generator=rng()), dim=1)
    total = 0.0
    for i in range(6):
        others = [float(z[i] @ z[j]) / 0.2 for j in range(6) if j != i]
        total -= float(z[i] @ z[(i + 3) % 6]) / 0.2 - math.log(sum(map(math.exp, others)))
    assert float(clip().view_contrast(z)) == pytest.approx(total / 6, rel=1e-5)


def test_the_contrast_falls_where_views_agree_and_images_do_not():
    contrast, eye = clip().view_contrast, torch.eye(4)
    assert contrast(torch.cat([eye, eye])) < contrast(torch.cat([eye, eye.roll(1, 0)])) - 4
    same = torch.ones(8, 4) / 2
    assert float(contrast(same)) == pytest.approx(math.log(7), rel=1e-5)


def test_with_one_class_the_image_tower_learns_from_views_and_nothing_guides():
    generator = make(ONE, clip_scale=50.0).train()
    labels = torch.zeros(4, dtype=torch.int64)
    generator.loss_terms(images(), labels)["contrastive"].backward()
    towers = {name for name, p in generator.clip.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("towers.visual") for name in towers) and any(name.startswith("head") for name in towers)
    assert not [name for name in towers if name.startswith(("towers.transformer", "towers.token_embedding"))]
    plain = make(ONE, clip_scale=0.0)
    steered = make(ONE, clip_scale=50.0)
    assert torch.equal(*(each.sample(4, labels, rng=rng()) for each in (plain, steered)))
    assert not hasattr(make(ImageSpec(1, 8, 8, 2)).clip, "head")


def test_views_are_turned_and_zoomed_by_no_more_than_they_may():
    """The second moments of a bar tell its angle and size."""
    bar = torch.zeros(200, 1, 32, 32)
    bar[:, :, 6:26, 14:18] = 1
    torch.manual_seed(0)
    moved = clip()._moved(bar, 0.08, 0.15)[:, 0]
    mass = moved.sum((1, 2))
    y, x = (torch.arange(32.0).view(shape) for shape in ((1, 32, 1), (1, 1, 32)))
    dy, dx = (axis - ((axis * moved).sum((1, 2)) / mass).view(-1, 1, 1) for axis in (y, x))
    yy, xx, xy = ((a * b * moved).sum((1, 2)) / mass for a, b in ((dy, dy), (dx, dx), (dx, dy)))
    angles = 0.5 * torch.atan2(2 * xy, yy - xx) / math.pi
    assert 0.06 < angles.max() < 0.085 and -0.085 < angles.min() < -0.06
    sizes = (mass / 80).sqrt()
    assert 1.08 < sizes.max() < 1.22 and 0.83 < sizes.min() < 0.93


def test_features_of_digits_get_better_by_views_alone():
    """Prototypes of one digit per class find more of the others' classes after some updates than before."""
    data = load_dataset("digits")
    digits, labels = data.train.images.float() / 255, data.train.labels
    first = torch.stack([torch.where(labels == k)[0][0] for k in range(10)])
    torch.manual_seed(0)
    model = clip().SmallCLIP((("a digit",),), width=4)

    def found():
        with torch.no_grad():
            z = model.eval().image_embeddings(digits)
        z = F.normalize(z - z.mean(0), dim=1)
        return float(((z @ z[first].T).argmax(1) == labels).float().mean())

    before = found()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(60):
        rows = (torch.arange(32) + 32 * step) % len(digits)
        loss = model.train().contrastive_loss(digits[rows], 0 * rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found() > before + 0.1
