"""The references beside which the flow's bits per dimension stand: distributions over values, with known entropies."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[1] / "benchmarks" / "bits_per_dimension.py"
    spec = importlib.util.spec_from_file_location("bits_per_dimension", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_histogram_of_a_constant_and_of_noise(bench):
    zeros = torch.zeros(256 * 3, 1, 2, 2, dtype=torch.uint8)
    assert bench.histogram_bits(zeros, zeros[:5]) == pytest.approx(-math.log2((768 + 1) / (768 + 256)))
    every = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 1, 2, 2)
    assert bench.histogram_bits(every, every) == pytest.approx(8)


@pytest.mark.parametrize("logistic", [False, True])
def test_continuous_references_are_distributions_over_values(bench, logistic):
    rng = torch.Generator().manual_seed(0)
    train = (torch.randn(4000, 1, 1, 1, generator=rng) * 20 + 120).round().to(torch.uint8)
    every = torch.arange(256, dtype=torch.uint8)[:, None, None, None]
    total = sum(2 ** -bench.continuous_bits(train, value[None], logistic=logistic) for value in every)
    assert total == pytest.approx(1)
    entropy = math.log2(20 * math.sqrt(2 * math.pi * math.e))  # bits of a Gaussian in cells of width 1
    assert bench.continuous_bits(train, train, logistic=logistic) == pytest.approx(
        entropy, abs=0.15 if logistic else 0.03
    )
