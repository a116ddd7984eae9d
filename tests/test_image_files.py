"""Image files: formats that need care, and broken files."""

import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from augment.datasets import load_dataset
from augment.errors import DataError

RNG = np.random.default_rng(0)


def picture(mode="L", size=(8, 8), value=None):
    """A picture of random or of equal pixels."""
    shape = (*size[::-1], len(mode))
    pixels = RNG.integers(0, 256, shape) if value is None else np.broadcast_to(np.array(value), shape)
    return Image.merge(mode, [Image.fromarray(band) for band in np.moveaxis(pixels, 2, 0).astype(np.uint8)])


def fill(folder, classes, n=5, suffix=".png", **options):
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in range(n):
            picture(**options).save(folder / name / f"{index}{suffix}")
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "pets", ["cat", "dog"])


def load(folder, **options):
    return load_dataset(str(folder), **options)


def first_image(folder, **options):
    """The image ``cat/0.*`` as loaded: the folder gets a test part, so that the order is known."""
    if not (folder / "train").exists():
        inner = [path for path in folder.iterdir() if path.is_dir()]
        (folder / "train").mkdir()
        for path in inner:
            path.rename(folder / "train" / path.name)
        fill(folder / "test", [path.name for path in inner], n=1, size=options.pop("test_size", (8, 8)))
    found = load(folder, **options)
    return found.train.images[0], found


def test_grey_stays_grey_and_rgb_stays_rgb(tmp_path):
    assert load(fill(tmp_path / "grey", ["a", "b"])).spec.channels == 1
    found = load(fill(tmp_path / "rgb", ["a", "b"], mode="RGB"))
    assert found.spec.channels == 3 and found.spec.num_classes == 2


def test_one_coloured_image_makes_the_set_rgb(folder):
    picture("RGB").save(folder / "dog" / "0.png")
    cat, found = first_image(folder)
    assert found.spec.channels == 3 and torch.equal(cat[0], cat[2])


def test_resize_is_square_and_antialiased(tmp_path):
    stripes = np.zeros((64, 96), np.uint8)
    stripes[:, ::2] = 255
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(5):
            Image.fromarray(stripes).save(tmp_path / name / f"{index}.png")
    image, found = first_image(tmp_path, image_size=16, test_size=(64, 64))
    assert found.spec.shape == (1, 16, 16)
    assert 115 < int(image.min()) and int(image.max()) < 140


def test_large_jpegs_shrink_to_what_they_show(tmp_path):
    fill(tmp_path, ["cat", "dog"], suffix=".jpg", mode="RGB", size=(400, 300), value=(200, 100, 50))
    image, _ = first_image(tmp_path, image_size=8)
    assert (image.float().mean((1, 2)) - torch.tensor([200.0, 100.0, 50.0])).abs().max() < 3


def test_cmyk(folder):
    picture("CMYK", value=(0, 255, 255, 0)).save(folder / "cat" / "0.jpg", quality=95)
    os.remove(folder / "cat" / "0.png")
    image, found = first_image(folder)
    assert image[0].min() > 240 and image[1].max() < 15
    assert "1 image converted from CMYK to RGB." in found.notes


def test_palette(folder):
    picture("RGB", value=(10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "cat" / "0.png")
    image, found = first_image(folder)
    assert image[:, 0, 0].tolist() == [10, 200, 30]
    assert any("palette" in note for note in found.notes)


def test_transparency_lies_over_white(folder):
    picture("RGBA", value=(255, 0, 0, 0)).save(folder / "cat" / "0.png")
    image, found = first_image(folder)
    assert image.min() == 255 and any("over white" in note for note in found.notes)


def test_grey_with_transparency_stays_grey(folder):
    picture("L", value=0).convert("LA").save(folder / "cat" / "0.png")
    image, found = first_image(folder)
    assert found.spec.channels == 1 and image.max() == 0


def test_16_bit_grey_is_scaled(folder):
    Image.fromarray(np.full((8, 8), 65535 // 2, np.uint16)).save(folder / "cat" / "0.png")
    image, found = first_image(folder)
    assert image.unique().tolist() == [127]
    assert "1 image scaled from 16 to 8 bits." in found.notes


def png_16_bit_rgb(value):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + struct.pack(">3H", *value) * 8) * 8
    header = struct.pack(">2I5B", 8, 8, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bit_rgb_is_scaled_and_noted(folder):
    (folder / "cat" / "0.png").write_bytes(png_16_bit_rgb((65535, 32896, 0)))
    image, found = first_image(folder)
    assert image[:, 0, 0].tolist() == [255, 128, 0]
    assert any("16 to 8 bits" in note for note in found.notes)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animated_image_gives_its_first_frame(folder, suffix):
    os.remove(folder / "cat" / "0.png")
    frames = [picture("RGB", value=(value,) * 3) for value in (40, 250)]
    frames[0].save(
        folder / "cat" / f"0{suffix}",
        save_all=True,
        append_images=frames[1:],
        **({"lossless": True} if suffix == ".webp" else {}),
    )
    image, found = first_image(folder)
    assert image.unique().tolist() == [40]
    assert any("the first was used" in note for note in found.notes)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_is_honoured(folder, suffix):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:, :4] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: the bright left half comes up
    os.remove(folder / "cat" / "0.png")
    Image.fromarray(pixels).save(folder / "cat" / f"0{suffix}", exif=exif)
    image, _ = first_image(folder)
    assert image[0, :3].min() > 200 and image[0, 5:].max() < 50


def break_file(path, how):
    good = path.read_bytes()
    if how == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif how == "zero-byte":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not an image")
    elif how == "flipped":
        path.write_bytes(good[:40] + bytes(255 - b for b in good[40:60]) + good[60:])
    elif how == "huge":
        Image.new("1", (9000, 9000)).save(path)
    elif how == "bomb":
        Image.new("1", (14000, 14000)).save(path)
    elif how == "float":
        Image.fromarray(np.zeros((8, 8), np.float32)).save(path, format="TIFF")


REASONS = {
    "truncated": "truncated|broken|Truncated",
    "zero-byte": "empty file",
    "text": "not an image",
    "flipped": r"0\.png \(.+\)",
    "huge": "9000 x 9000 is more than 64 million pixels|more than 64 million pixels",
    "bomb": "more than 64 million pixels",
    "float": "floating-point",
}


@pytest.mark.parametrize("image_size", [None, 8])
@pytest.mark.parametrize("how", REASONS)
def test_broken_file_is_named_and_skipped_or_refused(folder, how, image_size):
    break_file(folder / "cat" / "0.png", how)
    found = load(folder, image_size=image_size)
    assert len(found.train) + len(found.test) == 9
    notes = [note for note in found.notes if note.startswith("1 of 10 files is broken and skipped: cat/0.png (")]
    assert len(notes) == 1
    with pytest.raises(DataError, match=REASONS[how]) as caught:
        load(folder, image_size=image_size, strict=True)
    assert "cat/0.png" in str(caught.value) and "--strict" in str(caught.value) and caught.value.exit_code == 3


def test_many_broken_files_are_counted_and_the_first_named(tmp_path):
    fill(tmp_path, ["a", "b"], n=10)
    for index in range(7):
        (tmp_path / "a" / f"{index}.png").write_bytes(b"")
    note = next(note for note in load(tmp_path).notes if "broken" in note)
    assert note.startswith("7 of 20 files are broken") and note.endswith("and 2 more.") and "a/4.png" in note


def test_class_left_without_images_by_broken_files(folder):
    for file in (folder / "cat").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="too few readable images of cat"):
        load(folder)
