"""Folders of other tools' images: how classes are matched, what is converted, what is refused, and their guards."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from augment.datasets import ImageSet, LabelledImages, load_dataset
from augment.datasets.class_folders import save_class_folders
from augment.datasets.fake_images import load_fake_images
from augment.errors import DataError
from augment.generator import UNLABELLED
from augment.generators.scoring import score


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def real_set(*classes, channels=1, side=8):
    """Noise of these classes; only names and shape matter."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(10 * len(classes)) % len(classes)
    images = torch.randint(0, 256, (len(labels), channels, side, side), generator=rng).to(torch.uint8)
    part = LabelledImages(images, labels)
    return ImageSet("real", part, part, classes)


def write(folder, *values, size=(8, 8), mode="L", suffix="png"):
    """Images of one grey level each."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, value in enumerate(values):
        Image.new(mode, size, value).save(folder / f"{index}.{suffix}")


def read(folder, real, **how):
    return load_fake_images(folder, real, **{"image_size": None, "strict": False, **how})


def levels(found):
    """Label of each image by its grey level."""
    return dict(zip(found.images.images[:, 0, 0, 0].tolist(), found.images.labels.tolist(), strict=True))


# ---------------------------------------------------------------- classes


def test_classes_are_matched_by_name_not_by_place(tmp_path):
    real = real_set("cat", "dog", "T-shirt/top", "10")
    for name, value in (("dog", 1), ("Cat", 2), ("7-T-shirt_top", 3), ("0-10", 4)):
        write(tmp_path / name, value)
    assert levels(read(tmp_path, real)) == {1: 1, 2: 0, 3: 2, 4: 3}


def test_a_name_as_it_stands_goes_before_one_without_its_number(tmp_path):
    real = real_set("1-a", "2-a", "3")
    write(tmp_path / "2-a", 1)
    write(tmp_path / "3", 2)
    assert levels(read(tmp_path, real)) == {1: 1, 2: 2}
    write(tmp_path / "a", 3)  # either of two
    with pytest.raises(DataError, match="no class of real: 'a'"):
        read(tmp_path, real)


def test_what_augment_sample_writes_is_read_back(digits, tmp_path):
    part = digits.train.subset(range(40))
    save_class_folders(tmp_path / "x", part.images, part.labels, digits.classes)
    found = read(tmp_path / "x", digits)
    assert sorted(found.images.labels.tolist()) == sorted(part.labels.tolist())
    for label in range(10):
        wrote, came = (one.images[one.labels == label] for one in (part, found.images))
        assert torch.equal(wrote, came)
    assert found.test is digits.test and found.notes == ()


def test_classes_may_lack_and_only_the_others_are_compared(tmp_path):
    real = real_set("a", "b", "c")
    write(tmp_path / "c", 1, 2)
    write(tmp_path / "empty_of_images" / ".hidden", 3)
    with pytest.raises(DataError, match="'empty_of_images'"):
        read(tmp_path, real)
    (tmp_path / "empty_of_images").rename(tmp_path / "a")  # a class folder without images is a class that lacks
    found = read(tmp_path, real)
    assert set(found.images.labels.tolist()) == set(found.test.labels.tolist()) == {2}
    assert len(found.test) == 10
    assert found.notes == ("Compared with real images of 1 of 3 classes only: c.",)


def test_unknown_classes_are_named(tmp_path):
    for name in ("a", "bird", "fish"):
        write(tmp_path / name, 1)
    with pytest.raises(DataError, match=r"no class of real: 'bird', 'fish'. Its classes are a, b\. Rename"):
        read(tmp_path, real_set("a", "b"))


def test_parts_are_read_together(tmp_path):
    real = real_set("a", "b")
    write(tmp_path / "train" / "b", 1)
    write(tmp_path / "test" / "a", 2)
    assert levels(read(tmp_path, real)) == {1: 1, 2: 0}
    assert levels(read(tmp_path, real_set("test", "train"))) == {1: 1, 2: 0}  # now they are the classes


@pytest.mark.parametrize("inside", [".", "0-unlabelled"])
def test_images_without_classes_have_no_label(tmp_path, inside):
    write(tmp_path / inside, 1, 2, 3)
    found = read(tmp_path, real_set("a", "b"))
    assert found.images.labels.tolist() == [UNLABELLED] * 3
    assert set(found.test.labels.tolist()) == {UNLABELLED} and len(found.test) == 20
    assert "no classes" in found.notes[0]


def test_images_beside_folders_are_refused(tmp_path):
    write(tmp_path / "a", 1)
    write(tmp_path, 2)
    with pytest.raises(DataError, match="mixes 1 folders with 1 images"):
        read(tmp_path, real_set("a", "b"))


@pytest.mark.parametrize("there", [True, False])
def test_no_images_or_no_folder(tmp_path, there):
    (tmp_path / "x").mkdir() if there else None
    with pytest.raises(DataError, match="holds no images" if there else "is no folder"):
        read(tmp_path / "x", real_set("a", "b"))


# ---------------------------------------------------------------- sizes, channels, broken files


def test_another_size_is_refused_unless_both_are_resized(tmp_path):
    write(tmp_path / "a", 1, 2, size=(12, 10))
    with pytest.raises(DataError, match=r"12 x 10 pixels \(2 of 2\), real of 8 x 8.*--image-size 8"):
        read(tmp_path, real_set("a", "b"))
    assert read(tmp_path, real_set("a", "b"), image_size=8).images.images.shape == (2, 1, 8, 8)


def test_images_of_several_sizes_are_refused(tmp_path):
    write(tmp_path / "a", 1, 2)
    write(tmp_path / "b", 3, size=(9, 9))
    with pytest.raises(DataError, match=r"9 x 9 pixels \(1 of 3\)"):
        read(tmp_path, real_set("a", "b"))


def test_grey_images_saved_as_rgb_are_grey(tmp_path):
    write(tmp_path / "a", (7, 7, 7), (9, 9, 9), mode="RGB")
    write(tmp_path / "b", 5)
    found = read(tmp_path, real_set("a", "b"))
    assert levels(found) == {7: 0, 9: 0, 5: 1}
    assert found.notes == ("2 images saved as RGB were read as grey.",)


def test_colour_is_refused_where_the_real_images_are_grey(tmp_path):
    write(tmp_path / "a", (7, 7, 7), (9, 9, 8), mode="RGB")
    with pytest.raises(DataError, match=r"1 colour images of 2, and real is grey"):
        read(tmp_path, real_set("a", "b"))


def test_grey_images_get_the_channels_of_colour_ones(tmp_path):
    write(tmp_path / "a", 7)
    write(tmp_path / "b", (1, 2, 3), mode="RGB")
    found = read(tmp_path, real_set("a", "b", channels=3))
    assert found.images.images[:, :, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]
    assert found.notes == ("1 images in grey got three equal channels.",)


def test_broken_files_are_skipped_and_named_or_refused(tmp_path):
    write(tmp_path / "a", 1, 2)
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    real = real_set("a", "b")
    found = read(tmp_path, real)
    assert len(found.images) == 2
    assert "1 of 3 files" in found.notes[0] and "a/broken.png (not an image); skipped" in found.notes[0]
    with pytest.raises(DataError, match=r"broken.png.*leave --strict out"):
        read(tmp_path, real, strict=True)
    for index in range(2):
        (tmp_path / "a" / f"{index}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"3 of 3 files .* cannot be read"):
        read(tmp_path, real)


# ---------------------------------------------------------------- scores and guards


def noisy(part, rng):
    shaken = part.images.float() + 25 * torch.randn(part.images.shape, generator=rng)
    return LabelledImages(shaken.round().clamp(0, 255).to(torch.uint8), part.labels)


@pytest.fixture
def fakes(digits):
    """Training images with much noise: no copies, and of the right scale."""
    return noisy(digits.train.subset(range(150)), torch.Generator().manual_seed(2))


def scored(folder, images, classes, **how):
    save_class_folders(folder, images.images, images.labels, classes)
    notes = how.pop("notes", [])
    document = score("digits", folder, device="cpu", **how).to_json()
    notes.extend(document["notes"])
    return document["fidelity"], {guard["name"]: guard for guard in document["guards"]}


LEAKS, SCALE = "no test image in training", "train, synthetic and test images on one scale"


def test_both_guards_hold_for_honest_images(digits, fakes, tmp_path):
    fidelity, guards = scored(tmp_path, fakes, digits.classes)
    assert fidelity["n"] == 150 and fidelity["exact_copies"] == 0
    assert guards[LEAKS]["passed"] and guards[SCALE]["passed"]


def test_test_images_among_many_are_found_though_few_are_scored(digits, fakes, tmp_path):
    stolen = digits.test.subset(range(3))
    images = torch.cat([fakes.images, stolen.images])
    mixed = LabelledImages(images, torch.cat([fakes.labels, stolen.labels]))
    fidelity, guards = scored(tmp_path, mixed, digits.classes, n=20)
    assert fidelity["n"] == 20
    assert not guards[LEAKS]["passed"] and "3 of 153 are test images" in guards[LEAKS]["detail"]
    assert guards[SCALE]["passed"]


def test_images_on_another_scale_are_found(digits, fakes, tmp_path):
    _, guards = scored(tmp_path, LabelledImages(fakes.images // 2, fakes.labels), digits.classes)
    assert guards[LEAKS]["passed"]
    assert not guards[SCALE]["passed"] and "at half their brightness" in guards[SCALE]["detail"]


def test_two_classes_are_scored_against_those_two(digits, fakes, tmp_path):
    rows = torch.isin(fakes.labels, torch.tensor([3, 8])).nonzero().flatten()
    notes = []
    two, guards = scored(tmp_path / "two", fakes.subset(rows), digits.classes, notes=notes)
    assert notes == ["Compared with real images of 2 of 10 classes only: 3, 8."]
    assert two["n_reference"] == int(torch.isin(digits.test.labels, torch.tensor([3, 8])).sum()) // 2
    assert two["n"] == len(rows) and guards[SCALE]["passed"]


def test_a_flat_folder_is_scored(digits, fakes, tmp_path):
    for index, image in enumerate(fakes.images):
        Image.fromarray(np.asarray(image[0])).save(tmp_path / f"{index}.png")
    document = score("digits", tmp_path, device="cpu").to_json()
    assert document["fidelity"]["n"] == 150 and 0 <= document["fidelity"]["memorisation"] <= 1
    assert all(guard["passed"] for guard in document["guards"]) and "no classes" in document["notes"][0]


def test_both_sides_are_resized(tmp_path, monkeypatch):
    asked = []

    def stop(folder, real, *, image_size, strict):
        asked.append((real.spec.shape, image_size))
        raise DataError("enough")

    monkeypatch.setattr("augment.generators.scoring.load_fake_images", stop)
    with pytest.raises(DataError, match="enough"):
        score("digits", tmp_path, image_size=16)
    assert asked == [((1, 16, 16), 16)]


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_images_are_scored_as_far_as_they_allow(digits, fakes, tmp_path, count):
    few = fakes.subset(range(count))
    save_class_folders(tmp_path, few.images, few.labels, digits.classes)
    document = score("digits", tmp_path, device="cpu").to_json()
    assert document["fidelity"]["n"] == count and document["fidelity"]["fid"] is None
    assert f"{count} synthetic images, too few to tell" in document["guards"][1]["detail"]
    json.dumps(document, allow_nan=False)
