"""Arrays and tables become the images they stand for: every value at its place, and nothing guessed in silence."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler

from augment.arrays.images import ImageLayout, InvalidImages, as_array, guessed_shape


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)


def test_all_forms_of_the_same_images_are_equal(images):
    read_only = images.copy()
    read_only.flags.writeable = False
    forms = [
        images,
        read_only,
        images[:, 0],
        list(images),
        np.asfortranarray(images),
        images / 255,
        (images / 255).astype(np.float32),
        torch.from_numpy(images),
        (torch.from_numpy(images) / 255).requires_grad_(),
        (torch.from_numpy(images) / 255).double(),
        images.reshape(40, 64),
        images.reshape(40, 64) / 255,
        torch.from_numpy(images).reshape(40, 64),
    ]
    for form in forms:
        array = as_array(form)
        assert np.array_equal(ImageLayout.learn(array).images(array).numpy(), images)
    assert as_array(torch.full((2, 8, 8), 0.5, dtype=torch.bfloat16)).mean() == 0.5  # a type that NumPy has not


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        *((1, (1, 8, 8)), (5, (1, 8, 8)), (27, (1, 8, 8)), (49, (1, 8, 8)), (64, (1, 8, 8)), (65, (1, 9, 9))),
        *((81, (1, 9, 9)), (82, (1, 10, 10)), (192, (3, 8, 8)), (784, (1, 28, 28)), (3072, (3, 32, 32))),
    ],
)
def test_guessed_shapes(columns, shape):
    assert guessed_shape(columns) == shape
    rows = np.arange(1, 2 * columns + 1).reshape(2, columns).astype(np.uint8) | 1
    images = ImageLayout.learn(rows).images(rows).numpy()
    assert images.shape == (2, *shape) and images.dtype == np.uint8
    assert [image[image > 0].tolist() for image in images] == rows.tolist()  # all values, in order; the rest is black


def test_few_columns_keep_their_square():
    rows = np.arange(1, 10, dtype=np.uint8)[None]
    image = ImageLayout.learn(rows).images(rows)[0, 0]
    assert image[:3, :3].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]] and image.sum() == 45


def test_tables_are_scaled_as_by_minmaxscaler():
    rng = np.random.default_rng(0)
    table, later = rng.normal(size=(200, 9)) * 10, rng.normal(size=(50, 9)) * 30
    table[:, 4] = 7.0  # a constant column
    later[:, 4] = 7.0
    expected = MinMaxScaler(clip=True).fit(table).transform(later)
    for dtype in (np.float64, np.float32):
        layout = ImageLayout.learn(table.astype(dtype))
        found = layout.images(later.astype(dtype)).numpy()[:, 0, :3, :3].reshape(50, 9)
        assert np.abs(found / 255 - expected).max() <= 0.5 / 255 + 1e-5
    whole = np.rint(table)  # whole numbers are values, too, whatever their type
    forms = [ImageLayout.learn(whole.astype(dtype)).images(whole.astype(dtype)) for dtype in (np.int32, np.float64)]
    assert torch.equal(*forms)


def test_tables_in_the_unit_range_are_kept_and_clipped():
    table = np.array([[0.0, 0.5, 1.0], [0.2, 0.2, 0.2]])
    layout = ImageLayout.learn(table)
    assert layout.column_range is None
    later = np.array([[1.4, -0.3, 0.2]])
    assert layout.images(later)[0, 0, :2, :2].tolist() == [[255, 0], [51, 0]]
    with pytest.raises(InvalidImages, match="from 0 to 255"):
        layout.images(np.array([[0.0, 0.5, 255.0]]))
