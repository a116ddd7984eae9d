"""A small version of the simulation of verdicts: what is said of equal arms, and of better ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def simulation():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("verdict_errors", FOLDER / "verdict_errors.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("verdict_errors", None)


def test_equal_arms_are_seldom_said_to_differ(simulation):
    row = simulation.measure(simulation.Setting(seeds=5, arms=1, rivals=3, images=300), studies=300)
    assert row.helps <= 0.05 and row.hurts <= 0.065  # 2.5% at most in truth, and four standard errors
    assert row.hurt_before > row.hurts + 0.05  # the rule before is the one that errs
    assert row.first_covers > 0.93


def test_one_run_says_nothing_and_a_large_gain_is_found(simulation):
    alone = simulation.measure(simulation.Setting(seeds=1, arms=2, rivals=3, images=300, gain=8.0), studies=40)
    assert (alone.helps, alone.hurts, alone.first_covers) == (0.0, 0.0, None)
    found = simulation.measure(simulation.Setting(seeds=5, arms=2, rivals=3, images=2000, gain=8.0), studies=40)
    assert found.helps > 0.9 and found.hurts == 0.0


def test_the_page_has_a_row_for_each_setting(simulation):
    settings = [each for each in simulation.settings(1.0) if each.images == 359][:3]
    text = simulation.table([simulation.measure(each, 4) for each in settings], 4)
    assert len(text.strip().splitlines()) == 2 + len(settings) + 2 and "| 359 | 1 | 0% | 1 against 1 | 0 |" in text


def test_overlapping_subsets_and_test_images_of_their_own_are_simulated_too(simulation):
    own = simulation.measure(simulation.Setting(5, 1, 2, 100, overlap=0.8, pool=500), studies=200)
    assert own.helps <= 0.06 and own.hurts <= 0.06 and own.first_covers > 0.9
    folds = simulation.Setting(5, 1, 2, 100, overlap=0.75, pool=500, folds=True)
    tested = simulation._test_images(folds, simulation.np.random.default_rng(0))
    assert sorted(tested.ravel().tolist()) == list(range(500))
    each = simulation.measure(folds, studies=200)
    assert each.helps <= 0.06 and each.hurts <= 0.06 and each.first_covers > 0.9
    trained = simulation.study(simulation.Setting(3, 1, 1, 400), simulation.np.random.default_rng(0))
    assert all(arm.first.shape == arm.second.shape == (3, 400) for arm in trained)
    assert all((arm.first != arm.second).any() for arm in trained)  # luck of its own in each training
