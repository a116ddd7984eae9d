"""Random streams: one way to derive them, and no two alike."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils import check_random_state

from augment.seeds import derived_seed, numpy_rng, random_state, torch_rng

ROOT = Path(__file__).parents[1]
SEEDED = ("manual_seed", "manual_seed_all", "default_rng", "RandomState", "SeedSequence", "check_random_state")
"""Calls by which a stream begins."""
OF_THEIR_OWN = {
    "augment/seeds.py": "the one way",
    "augment/training/isolation.py": "puts all global generators at the start of a stream",
    "augment/metrics/network.py": "the extractors that are shipped were made by it",
    "augment/datasets/image_set.py": "the split of data without parts is no draw of a study",
    "augment/estimators/training.py": "scikit-learn's parameter of that name",
}


def test_streams_do_not_meet():
    seeds = {derived_seed(seed, name, index) for seed in range(50) for name in ("chunk", "step") for index in range(50)}
    assert len(seeds) == 5000 and all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(0, "chunk", 1) == derived_seed(0, "chunk", 1) != derived_seed(1, "chunk", 0)
    assert derived_seed(7, "a") != derived_seed(7) != derived_seed(7, "a", "b")


def test_every_library_begins_where_the_stream_does():
    first, again = (torch.rand(3, generator=torch_rng(5, "here")) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, torch.rand(3, generator=torch_rng(5, "there")))
    assert np.array_equal(numpy_rng(5, "here").random(3), numpy_rng(5, "here").random(3))
    assert not np.array_equal(numpy_rng(5, "here").random(3), numpy_rng(6, "here").random(3))
    assert 0 <= random_state(5, "here") < 2**32 and check_random_state(random_state(5, "here"))


def beginnings(source):
    """Lines in which a stream begins otherwise than by ``augment.seeds``; what tests a plugin has seeds of its own."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            derived = node.args and isinstance(node.args[0], ast.Call) and "derived_seed" in ast.unparse(node.args[0])
            if name in SEEDED and not derived:
                yield ast.unparse(node)


def sums(source):
    """Seeds to which something is added, or that are multiplied."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
            text = ast.unparse(node)
            if any(ast.unparse(side).split(".")[-1] == "seed" for side in (node.left, node.right)):
                yield text


def test_the_readers_see_what_they_must():
    assert list(beginnings("torch.Generator().manual_seed(seed)")) == ["torch.Generator().manual_seed(seed)"]
    assert not list(beginnings("torch.manual_seed(derived_seed(seed, 'weights'))"))
    assert list(sums("draw(config.seed + 1)")) == ["config.seed + 1"]


@pytest.mark.parametrize("folder", ["augment", "plugins"])
def test_a_stream_begins_in_one_way(folder):
    files = {str(path.relative_to(ROOT)): path for path in (ROOT / folder).rglob("*.py")}
    found = {name for name, path in files.items() if list(beginnings(path.read_text()))}
    assert {name for name in found if not name.startswith("augment/testing/")} <= set(OF_THEIR_OWN)


def test_only_repetitions_are_counted_from_a_seed():
    """Repetition ``i`` has the seed ``config.seed + i``, and so has an episode; nothing else adds to a seed."""
    files = [*(ROOT / "augment").rglob("*.py"), *(ROOT / "plugins").glob("*.py")]
    found = {text for path in files for text in sums(path.read_text())}
    one = {"config.seed + index", "self.config.seed + index", "seed + index"}
    assert found == {*one, "config.seed + config.seeds", "plan.config.seed + plan.config.repetitions"}
