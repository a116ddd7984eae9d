"""Galleries, predictions and embeddings: what is kept comes back, and what is damaged counts as not there."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from augment.datasets import LabelledImages
from augment.results.embeddings import Embedding, Embeddings
from augment.results.gallery import Gallery, Reconstructions, Samples
from augment.results.gallery_choice import (
    first_of_each,
    of_each,
    reduced,
    restored_beside_originals,
    samples_beside_nearest,
)
from augment.results.predictions import Predictions

CLASSES = ("cat", "d/o|g")


def pixels(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def labelled(labels, seed=0):
    return LabelledImages(pixels(len(labels), 3, 4, 5, seed=seed), torch.tensor(labels))


def gallery():
    samples = samples_beside_nearest(labelled([0, 1, 1]), labelled([1, 0, 0, 1], seed=1), 2)
    made = restored_beside_originals(labelled([1, 0], seed=2), torch.rand(2, 3, 4, 5), 2)
    return Gallery("model", CLASSES, samples, made)


def same(one, other):
    return one.dtype == other.dtype and np.array_equal(one, other)


# ---------------------------------------------------------------- kept and read


def test_a_gallery_comes_back_as_it_was(tmp_path):
    kept = gallery()
    kept.save(tmp_path)
    found = Gallery.load(tmp_path)
    assert (found.model, found.classes) == ("model", CLASSES)
    for part in ("samples", "reconstructions"):
        assert all(same(value, vars(getattr(found, part))[name]) for name, value in vars(getattr(kept, part)).items())


def test_the_file_has_the_names_that_others_read(tmp_path):
    gallery().save(tmp_path)
    with safe_open(tmp_path / "gallery.safetensors", "numpy") as file:
        found = {name: (str(file.get_tensor(name).dtype), file.get_tensor(name).shape) for name in file.keys()}
        assert json.loads(file.metadata()["classes"]) == list(CLASSES) and file.metadata()["model"] == "model"
    assert found == {
        "samples": ("uint8", (3, 3, 4, 5)),
        "sample_labels": ("int64", (3,)),
        "nearest": ("uint8", (3, 3, 4, 5)),
        "nearest_labels": ("int64", (3,)),
        "distances": ("float32", (3,)),
        "originals": ("uint8", (2, 3, 4, 5)),
        "reconstructions": ("uint8", (2, 3, 4, 5)),
        "original_labels": ("int64", (2,)),
    }


@pytest.mark.parametrize("part", ["samples", "reconstructions"])
def test_a_part_that_is_not_there_is_none(tmp_path, part):
    whole = gallery()
    Gallery("model", CLASSES, **{part: getattr(whole, part)}).save(tmp_path)
    found = Gallery.load(tmp_path)
    other = {"samples": "reconstructions", "reconstructions": "samples"}[part]
    assert getattr(found, part) is not None and getattr(found, other) is None


def spoil(array, how):
    if how == "one row less":
        return array[:-1]
    if how == "another shape":
        return array[:, :, :-1]
    return array + 2  # a class that there is not


@pytest.mark.parametrize(
    "name, how",
    [
        *((name, "missing") for name in ("sample_labels", "nearest", "distances", "reconstructions")),
        *((name, "one row less") for name in ("samples", "nearest_labels", "distances", "original_labels")),
        *((name, "another shape") for name in ("nearest", "originals")),
        *((name, "no such class") for name in ("sample_labels", "nearest_labels", "original_labels")),
    ],
)
def test_columns_that_do_not_fit_count_as_no_gallery(tmp_path, name, how):
    gallery().save(tmp_path)
    file = tmp_path / "gallery.safetensors"
    with safe_open(file, "numpy") as content:
        arrays = {key: content.get_tensor(key) for key in content.keys()}
        metadata = content.metadata()
    changed = {} if how == "missing" else {name: spoil(arrays[name], how)}
    save_file({**{key: value for key, value in arrays.items() if key != name}, **changed}, file, metadata)
    assert Gallery.load(tmp_path) is None


def save_all(folder):
    gallery().save(folder)
    Predictions({0: np.zeros(3, np.int32)}, {(0, "cnn", "real"): np.ones((1, 3), np.int32)}).save(folder)
    points = np.zeros((2, 3), np.float32)
    maps = (Embedding("PCA, 3-D", "pca", ("a", "b", "c"), points),)
    Embeddings(CLASSES, np.array([0, 1]), maps, pixels(2, 1, 4, 4).numpy()).save(folder)


@pytest.mark.parametrize("kind", [Gallery, Predictions, Embeddings])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "no metadata", "a folder"])
def test_a_missing_or_damaged_file_is_none(tmp_path, kind, damage):
    save_all(tmp_path)
    assert kind.load(tmp_path) is not None
    file = tmp_path / f"{kind.__name__.lower()}.safetensors"
    content = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    elif damage == "no metadata":
        save_file({"samples": np.zeros(1)}, file)
    elif damage != "missing":
        file.write_bytes({"empty": b"", "cut": content[:-3], "text": b"{}" * 40}[damage])
    assert kind.load(tmp_path) is None


def test_predictions_are_found_by_repetition_classifier_and_arm(tmp_path):
    truths = {index: np.arange(4, dtype=np.int32) + index for index in range(2)}
    keys = [(0, "cnn", "real"), (1, "cnn", "real"), (1, "cart-pca", "vae+rand/augment"), (0, "cnn", "truth")]
    predicted = {key: np.full((2, 4), number, dtype=np.int32) for number, key in enumerate(keys)}
    predicted[1, "cnn", "real"] = np.array([[1, 2, 0, 0], [1, 0, 0, 4]], np.int32)  # of 1, 2, 3, 4
    Predictions(truths, predicted).save(tmp_path)
    with safe_open(tmp_path / "predictions.safetensors", "numpy") as file:
        assert {"truth/0", "truth/1", "0/cnn/real", "0/cnn/truth"} <= set(file.keys())
    found = Predictions.load(tmp_path)
    assert set(found.predicted) == set(keys)
    assert all(same(found.predicted[key], value) for key, value in predicted.items())
    assert found.right(1, "cnn", "real").tolist() == [1, 0.5, 0, 0.5]
    assert same(found.truth(1), truths[1])
    assert found.right(2, "cnn", "real") is None and found.truth(2) is None


@pytest.mark.parametrize("key", ["1/cnn/real", "0/cnn", "first/cnn/real", "noise"])
def test_predictions_without_a_truth_or_a_name_are_not_read(tmp_path, key):
    save_file({"truth/0": np.zeros(3, np.int32), key: np.zeros((1, 3), np.int32)}, tmp_path / "predictions.safetensors")
    assert Predictions.load(tmp_path) is None


def test_embeddings_come_back_with_their_names(tmp_path):
    rng = np.random.default_rng(0)
    maps = tuple(
        Embedding(f"map {size}", "pca", axes, rng.normal(size=(4, size)).astype(np.float32))
        for size, axes in ((2, ("x", "y")), (3, ()))
    )
    images = pixels(4, 3, 4, 5).numpy()
    Embeddings(CLASSES, np.array([0, 1, 1, 0]), maps, images).save(tmp_path)
    found = Embeddings.load(tmp_path)
    assert same(found.images, images) and found.classes == CLASSES and found.labels.tolist() == [0, 1, 1, 0]
    for one, other in zip(found.maps, maps, strict=True):
        assert (one.title, one.method, one.axes) == (other.title, other.method, other.axes)
        assert one.dimensions == other.dimensions and same(one.points, other.points)


def test_a_map_of_other_images_counts_as_no_embeddings(tmp_path):
    maps = (Embedding("m", "pca", (), np.zeros((3, 2), np.float32)),)
    Embeddings(CLASSES, np.array([0, 1]), maps, pixels(2, 1, 4, 4).numpy()).save(tmp_path)
    assert Embeddings.load(tmp_path) is None
    maps = (Embedding("m", "pca", (), np.zeros((2, 2), np.float32)),)
    Embeddings(CLASSES, np.array([0, 1]), maps, pixels(3, 1, 4, 4).numpy()).save(tmp_path)
    assert Embeddings.load(tmp_path) is None


def test_reading_needs_no_torch(tmp_path):
    save_all(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from augment.results.gallery import Gallery; from augment.results.predictions import Predictions\n"
        "from augment.results.embeddings import Embeddings\n"
        "found = [kind.load(Path(sys.argv[1])) for kind in (Gallery, Predictions, Embeddings)]\n"
        "sys.exit('torch' in sys.modules or None in found)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


# ---------------------------------------------------------------- what is shown


def test_the_first_of_each_class_are_shown_as_they_were_drawn():
    labels = torch.tensor([2, 0, 2, 1, 0, 2, 0, 0])
    assert first_of_each(labels, 2, 4).tolist() == [1, 4, 3, 0, 2]
    drawn = LabelledImages(pixels(40, 1, 2, 2), torch.arange(40) % 2)
    shown = samples_beside_nearest(drawn, labelled_like(drawn), 2)
    assert same(shown.images, drawn.images[[*range(0, 16, 2), *range(1, 17, 2)]].numpy())
    assert shown.labels.tolist() == [0] * 8 + [1] * 8


def labelled_like(drawn):
    return LabelledImages(drawn.images.flip(0), drawn.labels.flip(0))


def test_fewer_are_shown_where_classes_are_many():
    assert [of_each(8, classes) for classes in (2, 64, 65, 512, 1000)] == [8, 8, 7, 1, 1]


def test_each_sample_stands_beside_the_training_image_nearest_in_pixels():
    drawn, train = labelled([0, 1, 1, 0, 1]), labelled([0, 1, 0, 0, 1, 1, 0], seed=1)
    drawn.images[2] = train.images[4]  # a copy
    shown = samples_beside_nearest(drawn, train, 2)
    order = [0, 3, 1, 2, 4]
    difference = (drawn.images[order][:, None].double() - train.images[None].double()) / 255
    distance = difference.square().mean(dim=(2, 3, 4)).sqrt().numpy()
    assert np.allclose(shown.distances, distance.min(axis=1), atol=1e-7) and shown.distances.dtype == np.float32
    assert same(shown.nearest, train.images[distance.argmin(axis=1)].numpy())
    assert same(shown.nearest_labels, train.labels[distance.argmin(axis=1)].numpy())
    assert shown.distances[3] == 0 and same(shown.images[3], shown.nearest[3])


def test_reconstructions_stand_beside_their_own_originals():
    originals = labelled([1, 0, 1, 1, 0, 0])
    restored = 1 - originals.images[:5].float() / 255  # of the first five only
    made = restored_beside_originals(originals, restored, 2)
    assert made.labels.tolist() == [0, 0, 1, 1]
    assert same(made.originals, originals.images[[1, 4, 0, 2]].numpy())
    assert same(made.images, 255 - made.originals)


def test_large_images_are_reduced_to_the_means_of_their_areas_and_small_ones_are_kept():
    blocks = pixels(2, 3, 64, 32)
    large = blocks.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    assert same(reduced(large), blocks.numpy())
    assert same(reduced(blocks), blocks.numpy())
    assert reduced(pixels(1, 1, 3, 200)).shape == (1, 1, 1, 64)
    halves = torch.tensor([0, 255, 0, 255], dtype=torch.uint8).repeat(1, 1, 4, 32)
    assert set(reduced(halves).ravel().tolist()) == {128}


def test_distances_are_taken_before_images_are_reduced():
    train = torch.zeros(1, 1, 128, 128, dtype=torch.uint8)
    board = (torch.arange(128)[:, None] + torch.arange(128)) % 2 * 255  # its areas are all grey
    drawn = LabelledImages(board.to(torch.uint8)[None, None], torch.tensor([0]))
    shown = samples_beside_nearest(drawn, LabelledImages(train, torch.tensor([0])), 1)
    assert shown.distances[0] == pytest.approx(0.5**0.5) and set(shown.images.ravel().tolist()) == {128}


def test_parts_are_plain_arrays():
    whole = gallery()
    assert isinstance(whole.samples, Samples) and isinstance(whole.reconstructions, Reconstructions)
    assert {type(value) for part in (whole.samples, whole.reconstructions) for value in vars(part).values()} == {
        np.ndarray
    }
