"""Images in exact numbers, the same whoever draws which chunk."""

import pytest
import torch

from augment.compute import workers
from augment.compute.device import Compute
from augment.compute.sampling import as_uint8, sample_images
from augment.compute.workers import Workers
from augment.errors import PluginError
from augment.generator import SAMPLE_CHUNK, GeneratorConfig, ImageSpec, draw
from augment.registry import create
from augment.testing import MinimalGenerator

LABELS = torch.arange(2 * SAMPLE_CHUNK + 5) % 3


def generator(cls=MinimalGenerator):
    torch.manual_seed(0)
    return cls(GeneratorConfig(), ImageSpec(1, 4, 4, 3)).eval()


@pytest.fixture(scope="module")
def expected():
    return as_uint8(torch.cat(list(draw(generator(), LABELS, 7))))


@pytest.mark.parametrize("count", [0, 2])
def test_workers_draw_the_same_images(expected, count):
    workers = Workers(count)
    seen = []
    try:
        images = sample_images(
            generator(), LABELS, seed=7, compute=Compute(workers=workers), on_progress=lambda *place: seen.append(place)
        )
    finally:
        workers.close()
    assert torch.equal(images, expected)
    assert seen == [(min((k + 1) * SAMPLE_CHUNK, len(LABELS)), len(LABELS)) for k in range(3)]


def test_a_parametrised_network_travels_to_the_workers():
    torch.manual_seed(0)
    gan = create("cgan", ImageSpec(1, 8, 8, 3), {"width": 4, "latent_dim": 8, "embedding_dim": 4}).eval()
    workers = Workers(1)
    try:
        images = sample_images(gan, LABELS, seed=7, compute=Compute(workers=workers))
    finally:
        workers.close()
    assert torch.equal(images, sample_images(gan, LABELS, seed=7))


@pytest.mark.parametrize("worth, started", [(1e9, 0), (-1.0, 2)])
def test_processes_are_started_where_drawing_is_slow(expected, monkeypatch, worth, started):
    asked = []
    original = workers.side_by_side

    def watched(jobs, device):
        asked.append(jobs)
        return original(0, device)

    monkeypatch.setattr(workers, "side_by_side", watched)
    monkeypatch.setattr(workers, "WORTH_WORKERS", worth)
    assert torch.equal(sample_images(generator(), LABELS, seed=7), expected)
    assert asked == [started]


def test_no_label_no_image():
    assert sample_images(generator(), LABELS[:0], seed=7).shape == (0, 1, 4, 4)
    assert sample_images(generator(), LABELS[:0], seed=7, compute=Compute(workers=Workers(0))).shape == (0, 1, 4, 4)


def test_precision_reaches_the_generator():
    class Asking(MinimalGenerator):
        def sample(self, n, labels=None, *, rng=None):
            shade = 1.0 if torch.is_autocast_enabled("cpu") else 0.0
            return torch.full((n, *self.spec.shape), shade)

    for precision, value in (("fp32", 0), ("bf16", 255)):
        assert sample_images(
            generator(Asking), LABELS[:3], seed=7, compute=Compute(precision=precision)
        ).unique().tolist() == [value]


def test_a_worker_reports_what_a_plugin_did_wrong():
    class Broken(MinimalGenerator):
        def sample(self, n, labels=None, *, rng=None):
            return torch.zeros(n, 1, 2, 2)

    with pytest.raises(PluginError, match="instead of"):
        sample_images(generator(Broken), LABELS, seed=7, compute=Compute(workers=Workers(0)))
