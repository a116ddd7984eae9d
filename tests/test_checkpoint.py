import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from augment.datasets import LabelledImages
from augment.errors import DataError
from augment.generator import GeneratorConfig, ImageSpec
from augment.testing.minimal import MinimalGenerator
from augment.training import checkpoint, fit

SPEC = ImageSpec(1, 8, 8, 3)


class Minimal(MinimalGenerator):
    name = "minimal"


class Other(MinimalGenerator):
    name = "other"


def made(cls=Minimal, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(GeneratorConfig.parse({"batch_size": 8, "lr": 0.01, **options}), SPEC)


def images(n, seed):
    pixels = torch.randint(0, 256, (n, *SPEC.shape), generator=torch.Generator().manual_seed(seed))
    return LabelledImages(pixels.to(torch.uint8), torch.arange(n) % 3)


DATA, HELD_OUT = images(20, 0), images(12, 1)


def train(generator=None, data=DATA, validation=HELD_OUT, **how):
    generator = made() if generator is None else generator
    result = fit(generator, data, validation, **{"seed": 3, "steps": 12, "device": "cpu", "precision": "fp32", **how})
    return generator, result


def same(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def damage(file: Path, kind: str) -> None:
    data = file.read_bytes()
    if kind == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "pickle":
        torch.save({"weights": torch.ones(2)}, file)
    elif kind == "bit flipped":
        file.write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    elif kind == "foreign":
        save_file({"weights": torch.ones(2)}, file)
    elif kind == "other format":
        checkpoint.FORMAT += 1
        checkpoint.write(file, {}, {})
        checkpoint.FORMAT -= 1


@pytest.mark.parametrize("kind", ["truncated", "empty", "pickle", "bit flipped", "foreign", "other format"])
def test_damaged_checkpoints_are_refused(kind, tmp_path):
    train(folder=tmp_path, stop_at=6)
    damage(checkpoint.last_file(tmp_path), kind)
    with pytest.raises(DataError, match="Delete it") as caught:
        train(folder=tmp_path, resume=True)
    assert str(checkpoint.last_file(tmp_path)) in str(caught.value)
    train(folder=tmp_path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"generator": made(Other)}, "generator is .*other"),
        ({"generator": made(lr=0.02)}, "lr is 0.01, here 0.02"),
        ({"seed": 4}, "seed is 3, here 4"),
        ({"steps": 13}, "steps is 12, here 13"),
        ({"data": images(20, 2)}, "training images"),
        ({"validation": None}, "validation images"),
    ],
)
def test_checkpoints_of_another_training_are_refused(how, message, tmp_path):
    train(folder=tmp_path, stop_at=2)
    with pytest.raises(DataError, match=message):
        train(folder=tmp_path, resume=True, **how)


def test_a_checkpoint_of_an_older_plugin_is_refused(tmp_path):
    train(folder=tmp_path, stop_at=2)
    generator = made()
    generator.extra = nn.Linear(2, 2)
    with pytest.raises(DataError, match="does not fit this version of 'minimal'"):
        train(generator, folder=tmp_path, resume=True)


def test_resume_with_nothing_there_starts_afresh_and_no_resume_forgets(tmp_path):
    fresh, _ = train(folder=tmp_path, resume=True)
    assert same(fresh, train(folder=tmp_path, stop_at=12)[0])
    again, result = train(folder=tmp_path, resume=True)
    assert same(fresh, again) and result.steps == 12


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write"):
        train(folder=tmp_path / "file" / "run")


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    train(folder=tmp_path, stop_at=6)
    before = checkpoint.last_file(tmp_path).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        train(folder=tmp_path, resume=True)
    assert checkpoint.last_file(tmp_path).read_bytes() == before
    assert sorted(file.name for file in (tmp_path / "checkpoint").iterdir()) == ["best.safetensors", "last.safetensors"]


def test_checkpoints_hold_no_pickles(tmp_path):
    train(folder=tmp_path)
    for file in (tmp_path / "checkpoint").iterdir():
        assert checkpoint.read(file).document["identity"]["generator"] == "minimal"
        header = int.from_bytes(file.read_bytes()[:8], "little")
        assert json.loads(file.read_bytes()[8 : 8 + header])["__metadata__"].keys() == {"augment"}


def test_tied_weights_survive_a_checkpoint(tmp_path):
    def tied():
        generator = made()
        generator.twin = generator.up
        return generator

    whole, _ = train(tied())
    train(tied(), folder=tmp_path, stop_at=5)
    assert same(whole, train(tied(), folder=tmp_path, resume=True)[0])
