"""One training in several processes from the command line: as ``accelerate launch`` and torchrun start it."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from augment import progress
from augment.cli.launch import refuse_to_repeat
from augment.errors import UsageError
from augment.training import checkpoint

pytestmark = pytest.mark.libraries

PLUGIN = '''
import os, signal  # ACME_END: how the second process ends at its fourth step
from augment.errors import DataError
from augment.generator import GeneratorConfig
from augment.testing import MinimalGenerator

class Config(GeneratorConfig):
    """Options of the test."""
    batch_size: int = 16
    lr: float = 0.01

class Quiet(MinimalGenerator):
    """Without noise, so that a batch may be cut into slices."""
    Config = Config
    steps_begun = 0

    def training_step(self, images, labels, optimizers):
        self.steps_begun += 1
        end = os.environ.get("ACME_END") if self.steps_begun == 4 and os.environ.get("RANK") == "1" else None
        if end == "error":
            raise DataError("The second process has had enough.")
        if end:
            os.kill(os.getpid(), getattr(signal, end))
        return super().training_step(images, labels, optimizers)

    def loss(self, images, labels):
        z = self.features(images)
        mse = (self.paint(z) - images).square().mean()
        return {"loss": mse + (z - self.classes(labels)).square().mean(), "mse": mse}
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with an installed plugin, as pip leaves one."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "acme_quiet.py").write_text(PLUGIN)
    described = folder / "acme_quiet-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-quiet\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[augment.generators]\nquiet = acme_quiet:Quiet\n")
    return folder


TRAIN = ["train", "--dataset", "digits", "--model", "quiet", "--device", "cpu", "--precision", "fp32", "--size", "200"]
TRAIN += ["--regime", "balanced"]

CHILD = """
import os, sys
os.environ.update({environment!r})
for descriptor, name in ((1, "out"), (2, "err")):
    os.dup2(os.open({log!r} + name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
sys.path.insert(0, {site!r})
sys.argv = ["augment", *{arguments!r}]
import torch
torch.set_num_threads(1)
from augment.cli import main
main()
"""


class Pair:
    """Two processes of one launch, and what they wrote to stdout and stderr."""

    def __init__(self, forks, folder, site, port, arguments, end):
        self.folder, self.processes = folder, []
        shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1", "ACME_END": end}
        shared["AUGMENT_HOME"] = os.environ["AUGMENT_HOME"]
        for rank in ("0", "1"):
            environment = {**shared, "RANK": rank, "LOCAL_RANK": rank}
            how = {"environment": environment, "log": str(folder / rank), "site": str(site), "arguments": arguments}
            self.processes.append(forks.Process(target=exec, args=(CHILD.format(**how), {})))
            self.processes[-1].start()

    def end(self):
        """Exit codes, all of stdout, all of stderr."""
        for process in self.processes:
            process.join(600)
        out, err = ("".join((self.folder / f"{rank}{kind}").read_text() for rank in "01") for kind in ("out", "err"))
        return [process.exitcode for process in self.processes], out, err


@pytest.fixture(scope="module")
def forks():
    """Processes forked from one server that has done the slow imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "torch._dynamo",
            "augment.studies.train",
            "augment.training.trained",
            "augment.training",
            "augment.cli",
            "pytest",
        ]
    )
    return context


@pytest.fixture
def pair(forks, tmp_path, site):
    """Starts the command line in two processes, beside a store like that of torchrun."""
    started = []

    def start(*arguments, end=""):
        store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        started.append((store, Pair(forks, tmp_path, site, store.port, [str(one) for one in arguments], end)))
        return started[-1][1]

    yield start
    for _, both in started:
        for process in both.processes:
            process.kill()
            process.join()


@pytest.fixture(scope="module")
def alone(forks, site, tmp_path_factory):
    """The weights of one process with the joint batch."""
    folder = tmp_path_factory.mktemp("alone")
    how = {"environment": {"AUGMENT_HOME": str(folder / "home")}, "log": str(folder / "log-"), "site": str(site)}
    arguments = [*TRAIN, "--steps", "12", "--out", str(folder / "model"), "--quiet"]
    process = forks.Process(target=exec, args=(CHILD.format(**how, arguments=arguments), {}))
    process.start()
    process.join(600)
    assert process.exitcode == 0, (folder / "log-err").read_text()
    return load_file(folder / "model" / "model.safetensors")


def assert_close(folder, expected):
    found = load_file(folder / "model.safetensors")
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_accelerate_launch_trains_in_two_processes_as_in_one(tmp_path, site, alone):
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
    launcher += ["--num_processes", "2", "--main_process_port", str(free_port())]
    command = [*launcher, "-m", "augment", *TRAIN, "--steps", "12", "--out", "model", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)  # of one process: two documents are no JSON
    assert document["steps"] == 12 and document["stopped"] == "finished"
    assert_close(tmp_path / "model", alone)
    assert not list((tmp_path / "model").rglob(".*.safetensors*"))


def test_progress_and_result_are_told_once(tmp_path, pair, alone):
    codes, out, err = pair(*TRAIN, "--steps", 12, "--out", tmp_path / "model").end()
    assert codes == [0, 0], err
    assert out.count("12 steps in") == 1 and err.count("Train quiet") == 1
    assert (tmp_path / "1out").read_text() == (tmp_path / "1err").read_text() == ""
    assert_close(tmp_path / "model", alone)


def test_one_that_fails_names_itself_and_ends_all(tmp_path, pair):
    both = pair(*TRAIN, "--steps", 12, "--out", tmp_path / "model", end="error")
    codes, out, err = both.end()
    assert codes == [1, 3] and out == ""
    assert "Error in process 1: The second process has had enough." in err and err.count("Error") == 2
    assert "Error: Another process of this training has ended" in err
    assert not (tmp_path / "model" / "training.json").exists()


def test_one_that_is_killed_is_missed(tmp_path, pair):
    codes, _, err = pair(*TRAIN, "--steps", 12, "--out", tmp_path / "model", end="SIGKILL").end()
    assert codes == [1, -signal.SIGKILL]
    assert err.count("Error:") == 1 and "Another process of this training has ended" in err and "--resume" in err


def test_a_signal_to_one_stops_both_and_both_go_on(tmp_path, pair, alone):
    how = [*TRAIN, "--steps", 12, "--out", tmp_path / "model"]
    codes, _, err = pair(*how, end="SIGTERM").end()
    assert codes == [143, 143]
    assert err.count("Error: SIGTERM: training stopped after step 4 of 12") == err.count("Error:") == 1
    assert checkpoint.read(checkpoint.last_file(tmp_path / "model")).document["state"]["step"] == 4
    codes, _, err = pair(*how, "--resume").end()
    assert codes == [0, 0], err
    assert_close(tmp_path / "model", alone)


def test_a_folder_with_a_generator_is_refused_once(tmp_path, pair):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "training.json").write_text("{}")
    codes, out, err = pair(*TRAIN, "--steps", 12, "--out", tmp_path / "model").end()
    assert codes[0] == 3 and codes[1] != 0 and out == ""
    assert err.count("Error:") == 1 and "is a finished generator" in err


def test_other_commands_are_refused_once(pair):
    codes, out, err = pair("run", "--dataset", "digits", "--model", "quiet").end()
    assert codes == [2, 2] and out == ""
    assert err.count("Error:") == 1 and "2 processes were started" in err and "augment sweep --workers" in err


LAUNCHERS = [
    ({}, 1, 0),
    ({"WORLD_SIZE": "1", "RANK": "0"}, 1, 0),
    ({"WORLD_SIZE": "4", "RANK": "3"}, 4, 3),
    ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, 2, 1),
    ({"WORLD_SIZE": "", "PMI_SIZE": "3", "PMI_RANK": "2"}, 3, 2),
    ({"WORLD_SIZE": "many"}, 1, 0),
]


@pytest.mark.parametrize(("variables", "count", "index"), LAUNCHERS)
def test_launchers_are_known_by_their_variables(variables, count, index, monkeypatch):
    for name in (*progress.COUNTS, *progress.INDICES):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (progress.process_count(), progress.process_index()) == (count, index)
    assert progress.is_main_process() is (index == 0)
    refuse_to_repeat("train")
    if count > 1:
        with pytest.raises(UsageError, match=f"augment features .* {count} processes"):
            refuse_to_repeat("features")
    else:
        refuse_to_repeat("features")


def test_a_rank_without_a_launch_is_none(monkeypatch):
    """Some clusters set it in every shell; such a process speaks."""
    for name in (*progress.COUNTS, *progress.INDICES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "1")
    assert progress.process_index() == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert progress.process_index() == 1
