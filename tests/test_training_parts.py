import math

import pytest
import torch
from torch import nn

from augment.datasets import LabelledImages
from augment.errors import ConfigError
from augment.training.batches import Batches, per_class_sample
from augment.training.processes import Processes
from augment.training.updates import WeightAverage, learning_rate_factor

ALONE = Processes(0, 1, torch.device("cpu"))


def images(*counts):
    labels = torch.cat([torch.full((n,), label) for label, n in enumerate(counts)])
    pixels = torch.randint(0, 256, (len(labels), 1, 8, 8), generator=torch.Generator().manual_seed(0))
    return LabelledImages(pixels.to(torch.uint8), labels)


DATA = images(9, 5, 6)


def test_average_follows_its_definition():
    module = nn.BatchNorm1d(2)
    module.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    average, expected = WeightAverage(module, 0.5), torch.ones(2)
    for step in range(6):
        with torch.no_grad():
            module.weight += 1.0
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module.weight.detach()
        average.update(step)
    torch.testing.assert_close(average.tensors["weight"], expected)
    assert "mask" not in average.tensors and "num_batches_tracked" not in average.tensors
    with average.applied():
        torch.testing.assert_close(module.weight.detach(), expected)
    assert module.weight.detach().tolist() == [7.0, 7.0]
    module.running_mean = torch.full((2,), math.nan)
    average.replace_non_finite_buffers()
    assert module.running_mean.tolist() == [0.0, 0.0]


def test_learning_rate_rises_then_decays():
    factor = [learning_rate_factor(step / 100, warmup=0.1, first=0.01) for step in range(100)]
    assert factor[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factor[10] == 1.0 and factor[55] == pytest.approx(0.5) and 0 < factor[99] < 0.01
    assert learning_rate_factor(0, warmup=0, first=0.1) == 1.0
    assert learning_rate_factor(1, warmup=1, first=0.1) == 1.0


def batches(data, **how):
    return Batches(data, **{"batch_size": 4, "seed": 1, "class_balanced": False, "processes": ALONE, **how})


def test_every_image_is_seen_equally_often():
    seen = torch.cat([batches(images(6, 3, 1)).indices(step) for step in range(25)])
    assert torch.bincount(seen).tolist() == [10] * 10
    assert not torch.equal(seen[:10], seen[10:20])
    assert torch.equal(batches(images(6, 3, 1)).indices(7), seen[28:32])
    assert len(batches(images(1, 0, 0)).indices(5)) == 4


def test_balanced_batches_draw_classes_uniformly():
    data = images(90, 9, 0, 1)
    draw = batches(data, batch_size=600, class_balanced=True)
    seen = torch.cat([draw.indices(step) for step in range(10)])
    shares = torch.bincount(data.labels[seen], minlength=4) / len(seen)
    torch.testing.assert_close(shares, torch.tensor([1, 1, 0, 1]) / 3, atol=0.03, rtol=0)
    within = torch.bincount(seen, minlength=100)[:90] / (len(seen) / 3)
    assert within.min() > 0.002 and within.max() < 0.03


def test_slices_of_two_processes_make_the_joint_batch():
    joint = batches(DATA, batch_size=5)(2)[0]
    slices = [batches(DATA, batch_size=5, processes=Processes(rank, 2, torch.device("cpu"))) for rank in (0, 1)]
    assert torch.equal(torch.cat([each(2)[0] for each in slices]), joint)
    assert [each.share for each in slices] == [6 / 5, 4 / 5]
    with pytest.raises(ConfigError, match="batch_size"):
        batches(DATA, batch_size=1, processes=Processes(0, 2, torch.device("cpu")))


def test_sample_for_the_prior_is_limited_per_class():
    labels = torch.tensor([0] * 50 + [2] * 3 + [1] * 20)
    chosen = per_class_sample(labels, per_class=10, total=1000, seed=0)
    assert torch.bincount(labels[chosen]).tolist() == [10, 10, 3]
    assert torch.bincount(labels[per_class_sample(labels, per_class=10, total=6, seed=0)]).tolist() == [2, 2, 2]
