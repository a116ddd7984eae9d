"""Nearest neighbours against scikit-learn; planted copies, near copies and skewed classes."""

import pytest
import torch

from augment.errors import DataError
from augment.metrics import memorisation as module
from augment.metrics.memorisation import memorisation, nearest

pytestmark = pytest.mark.libraries


def images(n, *, seed, high=256, shape=(1, 8, 8)):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, high, (n, *shape), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7)])
def test_nearest_agrees_with_exact_distances(shape, monkeypatch):
    monkeypatch.setattr(module, "GALLERY_CHUNK", 64)  # several chunks of each
    monkeypatch.setattr(module, "QUERY_CHUNK", 32)
    queries, gallery = images(100, seed=0, shape=shape), images(300, seed=1, shape=shape)
    index, distance = nearest(queries, gallery)
    squares = (queries.flatten(1).long()[:, None] - gallery.flatten(1).long()).square().sum(2)  # whole numbers: exact
    expected = squares.min(1).values
    assert squares[torch.arange(100), index].tolist() == expected.tolist()
    scaled = (expected.double() / queries[0].numel()).sqrt() / 255
    assert distance.tolist() == pytest.approx(scaled.tolist(), rel=1e-5)
    assert (index.dtype, distance.dtype) == (torch.int64, torch.float32)


def test_distances_are_exact_where_fp32_products_round():
    base = torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)
    gallery = base.repeat(5, 1, 1, 1)
    for row in range(5):
        gallery[row, 0, 0, : 5 - row] -= 1  # the last differs from the query by one level of one pixel
    index, distance = nearest(base, gallery)
    assert index.item() == 4
    assert distance.item() == pytest.approx(1 / 255 / (3 * 64 * 64) ** 0.5, rel=1e-6)


def test_the_largest_distance_is_one_and_equal_images_have_the_lowest_index():
    black = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert nearest(black, black + 255) == (0, 1.0)
    assert nearest(black, black.repeat(4, 1, 1, 1)) == (0, 0.0)


def test_unseen_images_score_one_half():
    found = memorisation(images(300, seed=0), images(400, seed=1), images(500, seed=2))
    assert found.share == pytest.approx(0.5, abs=0.06)
    assert abs(found.z) < 3
    assert (found.exact_copies, found.near_copies, found.near_copies_held_out) == (0, 0, 0.0)
    assert (found.n, found.n_held_out) == (500, 400)


def test_planted_copies_are_found():
    train, held_out, fake = images(300, seed=0), images(200, seed=1), images(100, seed=2)
    fake[:30] = train[40:70]
    fake[30:50] = train[100:120]
    fake[30:50, 0, 0, 0] ^= 8  # one pixel changed a little
    found = memorisation(train, held_out, fake)
    assert (found.exact_copies, found.near_copies) == (30, 50)
    assert found.share == pytest.approx(0.5 * 1 + 0.5 * 0.5, abs=0.05)
    assert found.z > 3
    assert nearest(fake, train)[0][:50].tolist() == [*range(40, 70), *range(100, 120)]


def test_samples_far_from_the_training_images_score_below_one_half():
    found = memorisation(images(200, seed=0, high=64), images(200, seed=1, high=64), images(200, seed=2))
    assert found.share == 0
    assert found.z < -3


def test_skewed_classes_need_labels():
    """Dark images lie closer together than bright ones: a skew alone must not look like memorisation."""
    train = torch.cat([images(200, seed=0, high=40), images(200, seed=1)])
    held_out = torch.cat([images(20, seed=2, high=40), images(180, seed=3)])
    fake = torch.cat([images(180, seed=4, high=40), images(20, seed=5)])
    labels, fake_labels = torch.tensor([0] * 20 + [1] * 180), torch.tensor([0] * 180 + [1] * 20)
    assert memorisation(train, held_out, fake).share > 0.8
    found = memorisation(train, held_out, fake, held_out_labels=labels, fake_labels=fake_labels)
    assert found.share == pytest.approx(0.5, abs=0.1)
    assert abs(found.z) < 3


def test_a_class_without_held_out_images_is_left_out_of_the_share():
    train, held_out, fake = images(100, seed=0), images(50, seed=1), images(60, seed=2)
    fake[:20] = train[:20]
    labels = torch.tensor([1] * 20 + [0] * 40)
    found = memorisation(train, held_out, fake, held_out_labels=torch.zeros(50, dtype=torch.int64), fake_labels=labels)
    alone = memorisation(train, held_out, fake[20:])
    assert found.share == pytest.approx(alone.share)
    assert found.exact_copies == 20


def test_one_training_image_is_enough():
    train = images(1, seed=0)
    found = memorisation(train, images(5, seed=1), torch.cat([train, images(3, seed=2)]))
    assert (found.exact_copies, found.near_copies) == (1, 1)


def test_bad_sets_are_refused():
    a = images(4, seed=0)
    with pytest.raises(DataError, match="uint8"):
        nearest(a.float(), a)
    with pytest.raises(DataError, match="one shape"):
        nearest(a, a[..., :4])
    with pytest.raises(DataError, match="at least one"):
        nearest(a, a[:0])
    with pytest.raises(DataError, match="got 0 and 4"):
        memorisation(a, a, a[:0])
    with pytest.raises(DataError, match="both"):
        memorisation(a, a, a, fake_labels=torch.zeros(4, dtype=torch.int64))
    with pytest.raises(DataError, match="one label per image"):
        memorisation(a, a, a, fake_labels=torch.zeros(3).long(), held_out_labels=torch.zeros(4).long())
