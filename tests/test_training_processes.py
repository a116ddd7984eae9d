import multiprocessing
import os
import random
import signal
import socket
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from augment.datasets import LabelledImages
from augment.errors import Stopped
from augment.generator import GeneratorConfig, ImageSpec
from augment.testing.minimal import MinimalGenerator
from augment.training import checkpoint, fit, loop

pytestmark = pytest.mark.libraries

SPEC = ImageSpec(1, 8, 8, 3)


class Tiny(MinimalGenerator):
    name = "tiny"


def tiny(cls=Tiny):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(GeneratorConfig(batch_size=8, lr=0.01, ema_decay=0.9), SPEC)


def images(n, seed):
    pixels = torch.randint(0, 256, (n, *SPEC.shape), generator=torch.Generator().manual_seed(seed))
    return LabelledImages(pixels.to(torch.uint8), torch.arange(n) % 3)


def train(generator=None, **how):
    generator = tiny() if generator is None else generator
    how = {"seed": 3, "steps": 12, "device": "cpu", "precision": "fp32", **how}
    return generator, fit(generator, images(20, 0), images(12, 1), **how)


def same(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


CHILD = f"""
import importlib.util, os, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("cases", {__file__!r})
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
"""


@pytest.fixture(scope="module")
def forks():
    """Processes forked from one server that has done the slow imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "augment.datasets", "augment.training", "pytest"])
    return context


@pytest.fixture
def child(forks):
    started = []

    def start(body: str) -> multiprocessing.Process:
        started.append(forks.Process(target=exec, args=(CHILD + textwrap.dedent(body), {})))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()
        process.close()


SLOW = """
    from augment import errors
    cases.loop.CHECKPOINT_SECONDS = 0.0
    class Slow(cases.Tiny):
        def loss(self, images, labels):
            time.sleep(0.003)
            return super().loss(images, labels)
    try:
        cases.train(cases.tiny(Slow), folder=Path({folder!r}), steps=150)
    except errors.Stopped as error:
        sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_killed_training_resumes_exactly(number, code, tmp_path, child):
    process = child(SLOW.format(folder=str(tmp_path)))
    while process.is_alive() and not checkpoint.last_file(tmp_path).exists():
        time.sleep(0.01)
    time.sleep(random.Random().random() * 0.2)
    os.kill(process.pid, number)
    process.join(600)
    assert process.exitcode == code
    step = checkpoint.read(checkpoint.last_file(tmp_path)).document["state"]["step"]
    assert 0 < step < 150
    resumed, _ = train(folder=tmp_path, steps=150, resume=True)
    assert same(resumed, train(steps=150)[0])
    assert not list((tmp_path / "checkpoint").glob(".*"))


class Interrupted(Tiny):
    def loss(self, images, labels):
        signal.raise_signal(signal.SIGINT)
        return super().loss(images, labels)


def test_an_interrupted_training_resumes_exactly(tmp_path):
    with pytest.raises(Stopped, match="step 1 of 12.*--resume") as caught:
        train(tiny(Interrupted), folder=tmp_path)
    assert caught.value.exit_code == 130
    assert same(train(folder=tmp_path, resume=True)[0], train()[0])


def test_a_signal_without_a_folder_says_that_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(loop.Loop, "_observe", lambda self: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Stopped, match="Nothing was kept") as caught:
        train()
    assert caught.value.exit_code == 143 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_after_the_last_step_raises_at_once(tmp_path):
    generator = tiny()
    generator.after_training = lambda *args: signal.raise_signal(signal.SIGINT)
    with pytest.raises(Stopped, match="--resume") as caught:
        train(generator, folder=tmp_path)
    assert caught.value.exit_code == 130
    assert same(train(folder=tmp_path, resume=True)[0], train()[0])


class Quiet(Tiny):
    """Without noise, so that a batch may be cut into slices; with running statistics and a layer that is never used."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.unused = nn.Linear(2, 2)
        self.register_buffer("running", torch.zeros(4))

    def loss(self, images, labels):
        z = self.features(images)
        self.running.lerp_(z.detach().mean(0), 0.1)
        return (self.paint(z) - images).square().mean()


def train_quietly(folder: Path, start: int = 0):
    torch.manual_seed(start)
    config = GeneratorConfig(batch_size=7, lr=0.01, ema_decay=0.9, weight_decay=0.1)
    return train(Quiet(config, SPEC), folder=folder, steps=10)[0]


PAIR = """
    os.environ.update({launch!r})
    cases.train_quietly(Path({folder!r}), start={start}).save({out!r})
"""


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_two_processes_train_as_one_with_the_joint_batch(tmp_path, child):
    pair = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    folder, outs, processes = tmp_path / "pair", [tmp_path / "rank0", tmp_path / "rank1"], []
    for rank, out in enumerate(outs):
        launch = {**pair, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        processes.append(child(PAIR.format(launch=launch, folder=str(folder), out=str(out), start=rank)))
    alone = train_quietly(tmp_path / "alone").state_dict()
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    first, second = (load_file(out / "model.safetensors") for out in outs)
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], expected, rtol=1e-4, atol=1e-5)
    assert sorted(file.name for file in (folder / "checkpoint").iterdir()) == ["best.safetensors", "last.safetensors"]
