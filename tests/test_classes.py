"""Some classes of a data set, and several taken for one: by hand and through a command."""

import json

import pytest
import torch

from augment.datasets import ImageSet, LabelledImages
from augment.datasets.classes import with_classes
from augment.errors import ConfigError
from augment.studies.run.config import RunConfig

NAMES = ("ant", "bee", "cat", "dog")


def part(labels):
    labels = torch.tensor(labels)
    return LabelledImages((labels * 10).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous(), labels)


@pytest.fixture
def animals():
    return ImageSet("animals", part([0, 1, 2, 3, 0, 1, 2, 0]), part([3, 2, 1, 0]), NAMES, notes=("first",))


def levels(images):
    return images.images[:, 0, 0, 0].tolist()


def test_classes_are_taken_in_their_own_order(animals):
    found = with_classes(animals, ("dog", "ant"), {})
    assert found.classes == ("ant", "dog") and found.notes == ("first", "2 of 4 classes are taken: ant and dog.")
    assert (levels(found.train), found.train.labels.tolist()) == ([0, 30, 0, 0], [0, 1, 0, 0])
    assert (levels(found.test), found.test.labels.tolist()) == ([30, 0], [1, 0])
    assert found.sha256 not in ("", animals.sha256)


def test_joined_classes_stand_where_the_first_of_them_was(animals):
    found = with_classes(animals, (), {"insect": ("bee", "ant")})
    assert found.classes == ("insect", "cat", "dog") and found.notes[-1] == "Classes bee and ant are one, insect."
    assert (levels(found.train), found.train.labels.tolist()) == (
        [0, 10, 20, 30, 0, 10, 20, 0],
        [0, 0, 1, 2, 0, 0, 1, 0],
    )


def test_classes_are_joined_first_and_taken_by_their_new_names(animals):
    found = with_classes(animals, ("mammal", "ant"), {"mammal": ("cat", "dog")})
    assert found.classes == ("ant", "mammal") and found.train.counts(2) == (3, 3)


def test_all_classes_are_the_set_itself(animals):
    assert with_classes(animals, (), {}) is animals
    assert with_classes(animals, NAMES, {}).sha256 == animals.sha256


@pytest.mark.parametrize(
    ("classes", "merged", "words"),
    [
        (("cow",), {}, "Unknown class of animals 'cow'"),
        (("ants", "bee"), {}, "Did you mean 'ant'"),
        ((), {"insect": ("ant", "be")}, "Did you mean 'bee'"),
        ((), {"a": ("ant", "bee"), "b": ("bee", "cat")}, "'bee' is joined twice, in 'a' and in 'b'"),
        ((), {"dog": ("ant", "bee")}, "there is a class 'dog' already"),
        (("ant",), {}, "two classes or more"),
        ((), {"all": NAMES}, "two classes or more"),
    ],
)
def test_names_that_do_not_fit_are_refused(animals, classes, merged, words):
    with pytest.raises(ConfigError, match=words):
        with_classes(animals, classes, merged)


def test_numbers_are_names_as_json_and_yaml_read_them():
    config = RunConfig.parse(dataset="digits", model="vae", classes=[3, 5], merge_classes={"odd": 1, "x": [3, 5]})
    assert config.classes == ("3", "5") and config.merge_classes == {"odd": ("1",), "x": ("3", "5")}
    words = config.words()
    assert ["--classes", "3,5"] in words and ["--merge-classes", 'x=["3", "5"]'] in words


def test_a_run_takes_them(augment, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = "run --dataset digits --model vae --steps 2 --updates 2 --size 60 --arm real --arm vae --classes odd,2,4"
    code, out, err = augment(*asked.split(), "--merge-classes", "odd=1,3,5", "--json")
    document = json.loads(out)
    assert code == 0 and document["dataset"]["classes"] == ["odd", "2", "4"], err
    assert "Classes 1, 3 and 5 are one, odd." in document["dataset"]["notes"]
    assert sum(document["regime"]["class_counts"]) == 60 and len(document["regime"]["available"]) == 3
