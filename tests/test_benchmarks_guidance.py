"""The guidance benchmark asks the generator for CLIP's embeddings by a name that it has."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from augment import create, load_dataset
from augment.datasets import ImageSet

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def guidance(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("guidance", BENCHMARKS / "guidance.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_clip_accuracy_is_that_of_the_nearest_captions(guidance):
    digits = load_dataset("digits")
    part = digits.test.subset(range(40))
    generator = create("clip_guided", digits.spec, {"channels": (8, 16), "clip_width": 4}).eval()
    with torch.no_grad():
        cosine = generator.clip.image_embeddings(part.images.float() / 255) @ generator.clip.class_embeddings().T
    expected = (cosine.argmax(1) == part.labels).double().mean().item()
    found = guidance.clip_accuracy(generator, ImageSet("digits", digits.train, part, digits.classes))
    assert found == pytest.approx(expected)
