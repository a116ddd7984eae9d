"""Processes that want the same at once: one makes it, the others wait and read; a holder that dies lets go."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import filelock
import pytest
import torch

from augment.arms import Arm, Budget, evaluation
from augment.compute.workers import Workers
from augment.datasets import LabelledImages, load_dataset
from augment.errors import Stopped
from augment.generator import GeneratorConfig, ImageSpec
from augment.progress import Reporter
from augment.storage import files, locks
from augment.studies.features import source as feature_cache
from augment.synthesis import synthesis as synthetic_cache
from augment.synthesis.synthesis import SyntheticSet
from augment.testing.minimal import MinimalGenerator
from augment.training import trained

WAIT = 600


class Notes(Reporter):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def until(there, what):
    deadline = time.monotonic() + WAIT
    while not there():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def slowly(folder, make):
    """``make``, begun with a line in the log and ended when another process has found that it must wait."""

    def made(*arguments, **options):
        with (folder / "log").open("a") as file:
            file.write(f"{os.getpid()}\n")
        until((folder / "waits").exists, "the other process never came")
        return make(*arguments, **options)

    return made


def images(n=12):
    pixels = torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    return LabelledImages(pixels.to(torch.uint8), torch.arange(n) % 3)


def synthetic_of(folder, report):
    def draw():
        own = torch.full((3, 1, 8, 8), os.getpid() % 251, dtype=torch.uint8)  # tells who made it
        rows = tuple({"index": index} for index in range(3))
        return SyntheticSet(own, torch.arange(3), rows, torch.full((3,), -1)), None

    return synthetic_cache.kept_or_drawn({"seed": 1}, slowly(folder, draw), reuse=True, reporter=report)[0].images


def features_of(folder, report):
    feature_cache.encode_set = slowly(folder, feature_cache.encode_set)
    torch.manual_seed(0)
    generator = MinimalGenerator(GeneratorConfig(), ImageSpec(1, 8, 8, 3)).eval()
    return feature_cache.FeatureCache(folder / "features", report).encode(generator, images().images)[0]


def generator_of(folder, report):
    trained.fit_into = slowly(folder, trained.fit_into)
    how = {"classes": ("a", "b", "c"), "data_sha256": "", "seed": 0, "steps": 3, "max_minutes": None}
    recipe = trained.make_recipe("ae", {}, **how, device="cpu", precision="fp32")
    own = folder / f"run-{os.getpid()}"
    found = trained.obtain(recipe, ImageSpec(1, 8, 8, 3), images(), None, own, report)
    assert {file.name for file in own.iterdir()} >= {"training.json", "model.safetensors", "history.csv"}
    return torch.cat([tensor.flatten() for tensor in found.generator.state_dict().values()])


def arm_of(folder, report):
    evaluation.evaluate = slowly(folder, evaluation.evaluate)
    data, budget, workers = load_dataset("digits"), Budget(2, 0, "cpu", "fp32"), Workers(0)
    arm = Arm("plain", data.train.subset(range(60)))
    pending = evaluation.begin(arm, ("cart-pca", "cart-pixels"), data, budget, workers, reuse=True)
    assert pending.job is not None  # nothing was kept when this process looked
    results = evaluation.collect([pending], data, workers)
    return torch.tensor([result.predictions for result in results])


def ask(kind, folder, number):
    """What a process of its own does; its answer is a file."""
    torch.set_num_threads(1)
    os.environ["AUGMENT_HOME"] = str(folder / "home")
    free = locks._free

    def seen(lock):
        got = free(lock)
        if not got:
            (folder / "waits").touch()
        return got

    locks._free = seen
    report = Notes()
    answer = globals()[f"{kind}_of"](folder, report)
    torch.save((answer, report.texts), folder / f"answer-{number}")


CHILD = f"""
import importlib.util, os, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("cases", {__file__!r})
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
"""


@pytest.fixture(scope="module")
def forks():
    """Processes forked from one server that has done the slow imports and holds no file of ours."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "augment.arms.evaluation", "augment.training", "sklearn.tree"])
    return context


@pytest.fixture
def child(forks):
    started = []

    def start(body):
        started.append(forks.Process(target=exec, args=(CHILD + body, {})))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()
        process.close()


@pytest.mark.parametrize("kind", ["synthetic", "features", "generator", "arm"])
def test_two_processes_that_want_the_same_make_it_once(kind, tmp_path, child):
    first = child(f"cases.ask({kind!r}, Path({str(tmp_path)!r}), 1)")
    until(lambda: (tmp_path / "log").exists() or first.exitcode, "the first process never began")
    second = child(f"cases.ask({kind!r}, Path({str(tmp_path)!r}), 2)")
    for process in (first, second):
        process.join(WAIT)
        assert process.exitcode == 0
    assert (tmp_path / "log").read_text().split() == [str(first.pid)]
    (made, silent), (read, notes) = (torch.load(tmp_path / f"answer-{number}") for number in (1, 2))
    assert torch.equal(made, read) and len(made)
    assert not any("waiting" in text.lower() for text in silent)
    assert kind == "arm" or "waiting for another process" in notes[0].lower()  # an arm waits in a worker, in silence


HOLD = """
from augment.storage import locks
with locks.lock(Path({path!r})):
    Path({path!r}).with_name("held").touch()
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, child):
    process = child(HOLD.format(path=str(tmp_path / "key")))
    until((tmp_path / "held").exists, "nobody holds the key")
    return process


def test_a_holder_that_is_killed_lets_go(tmp_path, holder):
    waited = []

    def kill():
        waited.append(1)
        os.kill(holder.pid, signal.SIGKILL)

    with locks.lock(tmp_path / "key", kill):
        holder.join(WAIT)
        assert holder.exitcode == -signal.SIGKILL
    with locks.lock(tmp_path / "key", kill):  # the file that is left does not matter
        assert (tmp_path / ".locks" / "key.lock").stat().st_size == 0
    assert waited == [1]


def test_other_keys_do_not_wait(tmp_path, holder):
    with locks.lock(tmp_path / "another", lambda: pytest.fail("it waits")):
        assert holder.is_alive()


def test_a_signal_ends_the_wait(tmp_path, holder):
    def stop(number, frame):
        raise Stopped("stopped", number)

    before = signal.signal(signal.SIGTERM, stop)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    try:
        with pytest.raises(Stopped), locks.lock(tmp_path / "key", timer.start):
            pytest.fail("it was not held")
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)
    assert holder.is_alive()


def test_threads_take_turns(tmp_path):
    inside, most = [], []

    def work():
        with locks.lock(tmp_path / "key"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_in_the_file_system_all_go_on(error, tmp_path, monkeypatch):
    def flock(*arguments):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("fcntl.flock", flock)
    entered = []
    with locks.lock(tmp_path / "key"), locks.lock(tmp_path / "key"):
        entered.append(1)
    assert entered == [1]
    assert issubclass(filelock.Timeout, OSError)  # one that were raised here would be taken for such a file system


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(tmp_path):
    (tmp_path / "file").touch()
    with locks.lock(tmp_path / "file" / "key"):
        pass


WRITERS = """
from augment.storage import files
def fill(folder, mark):
    for name in "abc":
        (folder / name).write_text(mark)
for turn in range(150):
    files.replace_folder(Path({folder!r}), lambda new: fill(new, f"{{os.getpid()}} {{turn}}"))
"""


def test_two_writers_of_one_folder_leave_one_whole_folder(tmp_path, child):
    folder = tmp_path / "key"
    writers = [child(WRITERS.format(folder=str(folder))) for _ in range(2)]
    for writer in writers:
        writer.join(WAIT)
        assert writer.exitcode == 0
    contents = {file.read_text() for file in folder.iterdir()}
    assert {file.name for file in folder.iterdir()} == set("abc")
    assert contents in ({f"{writers[0].pid} 149"}, {f"{writers[1].pid} 149"})
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_folder_that_is_replaced_keeps_its_files_for_those_who_read_them(tmp_path, monkeypatch):
    folder, seen = tmp_path / "key", []
    files.replace_folder(folder, lambda new: (new / "a").write_text("old"))
    rename = os.rename

    def watched(source, target):
        if Path(source) == folder:
            seen.append((folder / "a").read_text())
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    files.replace_folder(folder, lambda new: (new / "a").write_text("new"))
    assert seen == ["old"] and (folder / "a").read_text() == "new"


def test_a_place_that_cannot_be_taken_is_said(tmp_path):
    (tmp_path / "key").write_text("a file")
    with pytest.raises(OSError):
        files.replace_folder(tmp_path / "key", lambda new: None)
    assert (tmp_path / "key").read_text() == "a file"
