"""Contact sheets: what is drawn where."""

import numpy as np
import pytest
import torch

from augment.errors import DataError
from augment.results.contact_sheets import GAP, MARGIN, class_grid, image_rows


def flat(values, side=4, channels=1):
    images = torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return images.expand(-1, channels, side, side).contiguous()


def tiles(sheet, rows, columns, side):
    """Each tile's pixels, found from the right edge, where the margin's width is known."""
    pixels = np.asarray(sheet)
    step = side + GAP
    left = pixels.shape[1] - MARGIN - columns * step + GAP
    return [[pixels[MARGIN + r * step :, left + c * step :][:side, :side] for c in range(columns)] for r in range(rows)]


def test_each_class_has_its_row_with_its_first_images_in_order():
    images = flat([10, 20, 30, 40, 50])
    sheet = class_grid(images, torch.tensor([1, 0, 1, 1, 0]), ["zero", "one"], per_class=2, scale=3)
    shown = tiles(sheet, 2, 2, 12)
    assert [[np.unique(tile).tolist() for tile in row] for row in shown] == [[[20], [50]], [[10], [30]]]


def test_gaps_are_white_and_labels_are_ink():
    sheet = np.asarray(class_grid(flat([0] * 4), torch.tensor([0, 0, 1, 1]), ["zero", "one"], per_class=2, scale=10))
    assert (sheet[MARGIN + 40 : MARGIN + 40 + GAP] == 255).all()
    margin = sheet[:, : sheet.shape[1] - MARGIN - 2 * 40 - GAP]
    assert margin.min() < 100
    assert (margin[:, :4] == 255).all() and (margin[:, -4:] == 255).all()


def test_small_images_grow_by_whole_multiples_without_blur():
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sheet = class_grid(images, torch.tensor([0, 0, 1, 1]), ["a", "b"], per_class=2)
    tile = tiles(sheet, 2, 2, 56)[1][0]
    assert np.array_equal(tile[::7, ::7], images[2].permute(1, 2, 0).numpy())


def test_large_images_shrink():
    assert class_grid(flat([0, 0], side=256), torch.tensor([0, 1]), ["a", "b"]).width < 300


def test_a_class_without_images_keeps_its_row():
    empty = class_grid(flat([5]), torch.tensor([0]), ["a", "b", "c"], scale=2)
    assert empty.height == 2 * MARGIN + 3 * (8 + GAP) - GAP


def test_long_names_are_shortened():
    assert class_grid(flat([5, 6]), torch.tensor([0, 1]), ["a" * 300, "b"], scale=2).width < 400


def test_rows_of_originals_and_reconstructions():
    sheet = image_rows([flat([10, 20]), flat([30, 40])], ["original", "reconstruction"], scale=2)
    assert [[np.unique(t).tolist() for t in row] for row in tiles(sheet, 2, 2, 8)] == [[[10], [20]], [[30], [40]]]


@pytest.mark.parametrize("images", [flat([1]).float(), flat([1])[0], flat([1], channels=2)])
def test_other_tensors_are_refused(images):
    with pytest.raises(DataError, match="uint8"):
        image_rows([images], ["x"])


def test_rows_and_titles_must_match():
    with pytest.raises(DataError, match="1 rows of images and 2 titles"):
        image_rows([flat([1])], ["x", "y"])
    with pytest.raises(DataError, match="at least one row"):
        image_rows([], [])
