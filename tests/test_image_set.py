"""Images in memory: digits, resizing, the fixed split, hashes, and names that are not known."""

import pytest
import torch

from augment.datasets import ImageSet, LabelledImages, describe, known_datasets, load_dataset
from augment.datasets.image_set import stratified_split
from augment.errors import ConfigError, DataError, UsageError
from augment.storage.locations import cache_folder


def test_digits():
    digits = load_dataset("digits")
    assert digits.spec.shape == (1, 8, 8) and digits.spec.num_classes == 10
    assert len(digits.train) + len(digits.test) == 1797
    assert int(digits.train.images.max()) == 255 and int(digits.train.images.min()) == 0
    for in_train, in_test in zip(digits.train.counts(10), digits.test.counts(10), strict=True):
        assert abs(in_test / (in_train + in_test) - 0.2) < 0.01
    assert "80/20" in digits.notes[0]
    assert digits.sha256 == "709c5ccf542625e12135353317ca68ee6cbb2e19dc3ab1a17a254cef234a81fa"


def test_stratified_split_is_a_partition_with_every_class_on_both_sides():
    labels = [0] * 2 + [1] * 7 + [2] * 50
    train, test = stratified_split(labels, 3)
    assert sorted(train + test) == list(range(59))
    assert [[labels[row] for row in part].count(c) for part in (train, test) for c in range(3)] == [1, 6, 40, 1, 1, 10]
    assert stratified_split(labels, 3) == (train, test)


def test_image_size_resizes_named_sets():
    small, large = load_dataset("digits"), load_dataset("digits", image_size=16)
    assert large.spec.shape == (1, 16, 16) and large.sha256 != small.sha256
    assert "8 x 8 to 16 x 16" in large.notes[-1]
    means = [part.train.images.float().mean().item() for part in (small, large)]
    assert means[0] == pytest.approx(means[1], rel=0.03)
    assert load_dataset("digits", image_size=8).sha256 == small.sha256


@pytest.mark.parametrize("size", [0, 7, 257, -1])
def test_image_size_out_of_range(size):
    with pytest.raises(ConfigError, match=rf"image_size is {size}; it must be 8 to 256"):
        load_dataset("digits", image_size=size)


@pytest.mark.parametrize(("name", "near"), [("fashonmnist", "fashionmnist"), ("CIFAR10", "cifar10"), ("", "Known:")])
def test_unknown_name(name, near):
    with pytest.raises(UsageError, match=near) as caught:
        load_dataset(name)
    assert "folder" in str(caught.value) and caught.value.exit_code == 2


def test_known_datasets_are_all_loadable_names():
    assert list(known_datasets()) == ["fashionmnist", "mnist", "kmnist", "cifar10", "cifar100", "svhn", "digits"]


def u8(n=4):
    return torch.arange(n * 12, dtype=torch.uint8).reshape(n, 3, 2, 2)


@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [
        (u8().float(), torch.zeros(4).long(), "uint8"),
        (u8()[0], torch.zeros(4).long(), "uint8"),
        (u8(), torch.zeros(4), "int64"),
        (u8(), torch.zeros(3).long(), "4 images and 3 labels"),
        (u8(), torch.tensor([0, 1, -2, 0]), "-2 is negative"),
    ],
)
def test_labelled_images_refuse(images, labels, problem):
    with pytest.raises(DataError, match=problem):
        LabelledImages(images, labels)


def test_labelled_images_count_and_subset():
    part = LabelledImages(u8(), torch.tensor([2, 0, 2, 1]))
    assert len(part) == 4 and part.counts(4) == (1, 1, 2, 0)
    assert torch.equal(part.subset([2, 0]).images, u8()[[2, 0]])
    assert part.subset(torch.tensor([3])).labels.tolist() == [1]


def test_hash_covers_pixels_labels_and_classes_and_not_the_name():
    def build(name="a", pixel=0, labels=(0, 1, 0, 1), classes=("x", "y")):
        images = u8()
        images[0, 0, 0, 0] = pixel
        part = LabelledImages(images, torch.tensor(labels))
        return ImageSet(name, part, part, tuple(classes)).sha256

    assert build() == build(name="b")
    assert len({build(), build(pixel=1), build(labels=(1, 0, 0, 1)), build(classes=("x", "z"))}) == 4


def test_image_set_refuses_parts_that_do_not_fit():
    part = LabelledImages(u8(), torch.tensor([0, 1, 0, 1]))
    wide = LabelledImages(torch.zeros(1, 3, 2, 3, dtype=torch.uint8), torch.tensor([0]))
    with pytest.raises(DataError, match="test images"):
        ImageSet("x", part, wide, ("a", "b"))
    with pytest.raises(DataError, match="only 1 classes"):
        ImageSet("x", part, part, ("a",))
    with pytest.raises(DataError, match="test part has no images"):
        ImageSet("x", part, part.subset([]), ("a", "b"))


def test_describe():
    document = describe(load_dataset("digits"))
    assert document["classes"][3] == {"class": "3", "train": 146, "test": 37}
    assert (document["channels"], document["height"], document["width"]) == (1, 8, 8)
    assert document["train"] == 1438 and document["notes"]


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("AUGMENT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "augment"
