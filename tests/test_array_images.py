"""Arrays and tables become the images they stand for: every value at its place, and nothing guessed in silence."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler

from augment.estimators.images import ImageLayout, InvalidImages, as_array, guessed_shape


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


# ---------------------------------------------------------------- beyond [0, 1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("excess", [1e-7, 1e-4, 1.9e-3])
def test_what_rounding_takes_beyond_the_unit_range_is_black_or_white(images, dtype, excess):
    unit = (images / 255).astype(dtype)
    unit.flat[7], unit.flat[9] = 1 + excess, -excess
    for form in (unit, unit[:, 0], unit.reshape(40, 64)):
        layout = ImageLayout.learn(form)
        found = layout.images(form).numpy().reshape(-1)
        assert layout.column_range is None and (found[7], found[9]) == (255, 0)
        assert np.array_equal(np.delete(found, [7, 9]), np.delete(images.reshape(-1), [7, 9]))
    later = np.full((1, 1, 8, 8), 1 + excess, dtype)  # all of it
    assert (ImageLayout.learn(later).images(later) == 255).all()


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 1.3, r"from 0 to 1\.3\. Clip them, X\.clip\(0, 1\)"),
        (0, 1.003, r"from 0 to 1\.003\. "),
        (-0.02, 1, r"from -0\.02 to 1\. "),
        (0, 255, r"from 0 to 255\. .* scale them"),
        (0, np.inf, r"to inf\. Leave out images whose values are not finite"),
    ],
)
def test_what_is_further_out_is_refused_with_digits_and_a_remedy(images, low, high, words):
    unit = images / 255
    unit.flat[7], unit.flat[9] = high, low
    unit.flat[10], unit.flat[11] = 0, 1
    with pytest.raises(InvalidImages, match=words):
        ImageLayout.learn(unit).images(unit)


def test_a_table_of_small_values_is_scaled_and_not_black():
    table = np.linspace(-1e-3, 1e-3, 18).reshape(2, 9)
    layout = ImageLayout.learn(table)
    assert layout.column_range is not None and layout.images(table).max() == 255


# ---------------------------------------------------------------- channels last


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_channels_at_the_end_are_told(channels):
    for array in (np.zeros((5, 28, 28, channels), np.uint8), np.zeros((5, 8, 12, channels))):
        with pytest.raises(InvalidImages, match=r"channels first.*transpose\(0, 3, 1, 2\)") as caught:
            ImageLayout.learn(array)
        assert (", without alpha if that is" in str(caught.value)) == (channels in (2, 4))
    with pytest.raises(InvalidImages, match=r"is RGBA: X\[\.\.\., :3\]\.transpose"):
        ImageLayout.learn(np.zeros((5, 28, 28, 4)))


def test_any_number_of_channels_may_come_first():
    for channels in (1, 2, 3, 4, 5, 28):
        assert ImageLayout.learn(np.zeros((5, channels, 8, 12), np.uint8)).shape == (channels, 8, 12)


# ---------------------------------------------------------------- image_shape


@pytest.mark.parametrize(
    "shape",
    [[1, 8, 8], (8, 8), [8, 8], np.array([1, 8, 8]), (np.int64(1), np.uint8(8), 8), torch.Size([1, 8, 8])],
)
def test_a_shape_is_any_sequence_of_whole_numbers(shape):
    rows = np.zeros((4, 64), np.uint8)
    for array in (rows, rows.reshape(4, 1, 8, 8)):
        assert ImageLayout.learn(array, shape).shape == (1, 8, 8)


@pytest.mark.parametrize(
    "shape", [(64,), (1, 1, 8, 8), (), (1, 8.0, 8), (1, -8, -8), (0, 8, 8), ("1", "8", "8"), "188", 8]
)
def test_what_is_no_shape_is_told(shape):
    with pytest.raises(InvalidImages, match=r"image_shape is .*give \(C, H, W\)") as caught:
        ImageLayout.learn(np.zeros((4, 64), np.uint8), shape)
    assert repr(shape) in str(caught.value)


def test_a_shape_of_another_size_is_told():
    with pytest.raises(InvalidImages, match=r"rows of 64 values; images of \(3, 8, 8\), 192 values"):
        ImageLayout.learn(np.zeros((4, 64), np.uint8), [3, 8, 8])
