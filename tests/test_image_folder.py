"""Any folder of images: its layouts, and every way in which a folder can be wrong."""

import numpy as np
import pytest
from PIL import Image

from augment.datasets import load_dataset
from augment.datasets.scan import natural_key
from augment.errors import DataError, UsageError

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


def test_one_folder_is_split_and_says_so(folder):
    found = load(folder)
    assert found.name == "pets" and found.classes == ("cat", "dog")
    assert found.train.counts(2) == (4, 4) and found.test.counts(2) == (1, 1)
    assert "no test/" in found.notes[0] and "80/20" in found.notes[0]
    assert load(folder).sha256 == found.sha256


def test_train_and_test_folders(tmp_path):
    fill(tmp_path / "train", ["a", "b"], n=3)
    fill(tmp_path / "test", ["a", "b"], n=2)
    found = load(tmp_path)
    assert found.train.counts(2) == (3, 3) and found.test.counts(2) == (2, 2) and found.notes == ()
    expected = np.asarray(Image.open(tmp_path / "train" / "b" / "1.png"))
    assert np.array_equal(found.train.images[4, 0].numpy(), expected)


def test_validation_folder_is_named_as_not_used(tmp_path):
    for part in ("train", "val", "test"):
        fill(tmp_path / part, ["a", "b"], n=2)
    found = load(tmp_path)
    assert len(found.train) == len(found.test) == 4 and found.notes == ("Not used: val/.",)


def test_validation_folder_serves_where_there_is_no_test(tmp_path):
    fill(tmp_path / "train", ["a", "b"], n=3)
    fill(tmp_path / "valid", ["a", "b"], n=2)
    found = load(tmp_path)
    assert len(found.test) == 4 and "valid/ is the test part" in found.notes[0]


def test_lone_train_folder_is_split(tmp_path):
    fill(tmp_path / "train", ["a", "b"])
    assert load(tmp_path).test.counts(2) == (1, 1)


def test_classes_in_natural_order(tmp_path):
    names = ["10", "9", "1", "2"]
    assert load(fill(tmp_path, names, n=2)).classes == ("1", "2", "9", "10")
    assert sorted(["a10", "B2", "a9", "b1", "a"], key=natural_key) == ["a", "a9", "a10", "b1", "B2"]


def test_files_in_natural_order(tmp_path):
    for part, n in (("train", 12), ("test", 1)):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(n):
                picture(value=index).save(tmp_path / part / name / f"{index}.png")
    assert load(tmp_path).train.images[:12, 0, 0, 0].tolist() == list(range(12))


def test_nested_and_hidden_and_other_files(folder):
    (folder / "cat" / "more").mkdir()
    picture().save(folder / "cat" / "more" / "9.PNG")
    (folder / "cat" / "._0.png").write_bytes(b"resource fork")
    (folder / ".git").mkdir()
    (folder / "dog" / "labels.txt").write_text("x")
    found = load(folder)
    assert sum(found.train.counts(2)) + sum(found.test.counts(2)) == 11
    assert any("labels.txt" in note for note in found.notes)


def test_links_are_followed_but_never_in_a_loop(folder, tmp_path):
    (folder / "cat" / "loop").symlink_to(folder / "cat")
    (folder / "cat" / "up").symlink_to(folder)
    elsewhere = fill(tmp_path / "elsewhere", ["bird"])
    (folder / "bird").symlink_to(elsewhere / "bird")
    (folder / "dog" / "dangling.png").symlink_to(tmp_path / "nothing")
    found = load(folder)
    assert found.classes == ("bird", "cat", "dog")
    assert [a + b for a, b in zip(found.train.counts(3), found.test.counts(3), strict=True)][0] == 5
    assert not any(note.startswith("1 of") for note in found.notes)


def test_hash_follows_the_content(folder):
    before = load(folder).sha256
    picture().save(folder / "cat" / "0.png")
    changed = load(folder).sha256
    (folder / "cat").rename(folder / "lynx")
    assert len({before, changed, load(folder).sha256}) == 3


def test_a_folder_does_not_take_the_name_of_a_named_set(tmp_path):
    assert load(fill(tmp_path / "mnist", ["0", "1"])).name == "mnist-folder"


def test_path_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nothing")


def test_path_that_is_a_file(tmp_path):
    (tmp_path / "pets.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="is a file, not a folder.*Unpack"):
        load(tmp_path / "pets.zip")


def test_empty_folder(tmp_path):
    with pytest.raises(DataError, match="holds no images and no class folders"):
        load(tmp_path)


def test_labels_missing(tmp_path):
    picture().save(tmp_path / "0.png")
    with pytest.raises(DataError, match="1 images but no class folders, so they have no labels"):
        load(tmp_path)


def test_labels_missing_in_train(tmp_path):
    fill(tmp_path / "test", ["a", "b"])
    (tmp_path / "train").mkdir()
    picture().save(tmp_path / "train" / "0.png")
    with pytest.raises(DataError, match="train holds 1 images but no class folders"):
        load(tmp_path)


def test_mixed_folder(folder):
    picture().save(folder / "stray.png")
    with pytest.raises(DataError, match=r"mixes 2 class folders with 1 images.*stray\.png"):
        load(folder)


def test_single_class(tmp_path):
    with pytest.raises(DataError, match="one class only, 'cat'"):
        load(fill(tmp_path, ["cat"]))


def test_class_without_images(folder):
    (folder / "bird").mkdir()
    with pytest.raises(DataError, match="bird holds no images"):
        load(folder)


def test_class_with_one_image_cannot_be_split(folder):
    (folder / "bird").mkdir()
    picture().save(folder / "bird" / "0.png")
    with pytest.raises(DataError, match="too few readable images of bird: each class needs 2"):
        load(folder)


def test_test_without_train(tmp_path):
    fill(tmp_path / "test", ["a", "b"])
    with pytest.raises(DataError, match="test/ but no train/"):
        load(tmp_path)


def test_parts_with_different_classes(tmp_path):
    fill(tmp_path / "train", ["a", "b", "c"], n=1)
    fill(tmp_path / "test", ["a", "b", "d"], n=1)
    with pytest.raises(DataError, match=r"only in train/: c; only in test/: d"):
        load(tmp_path)


def test_sizes_differ(folder):
    for index in range(3):
        picture(size=(12, 10)).save(folder / "cat" / f"{index}.png")
    with pytest.raises(DataError, match=r"2 sizes; the commonest is 8 x 8 \(7 of 10\)\. Pass --image-size 8"):
        load(folder)
    assert load(folder, image_size=8).spec.shape == (1, 8, 8)


def test_sizes_too_large(tmp_path):
    fill(tmp_path, ["a", "b"], n=2, size=(300, 200))
    with pytest.raises(DataError, match=r"images of 300 x 200 pixels.*Pass --image-size 64"):
        load(tmp_path)


def test_images_that_are_not_square_are_kept(tmp_path):
    assert load(fill(tmp_path, ["a", "b"], size=(12, 10))).spec.shape == (1, 10, 12)


def test_data_dir_does_not_go_with_a_folder(folder):
    with pytest.raises(UsageError, match="--data-dir is for named sets"):
        load(folder, data_dir=folder)


def test_folder_without_permission(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("augment.datasets.scan.os.scandir", refuse)
    with pytest.raises(DataError, match=r"pets cannot be read \(Permission denied\)"):
        load(folder)
