"""Workers side by side on one machine: their talk, their deaths, their ends, and how the machine is divided."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from augment.errors import ConfigError
from augment.studies.sweep import local
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.executor import CellProgress
from augment.studies.sweep.folder import SweepFolder
from augment.studies.sweep.local import LocalExecutor

FAKE = """
import json, os, signal, sys, threading, time
folder = sys.argv[1]

def send(message):
    print(json.dumps(message), flush=True)

def end(cell, **more):
    send({"outcome": {"key": cell["key"], "status": "finished", "folder": "f", "identity": "i", **more}})

for line in sys.stdin:
    request = json.loads(line)
    cell, attempt = request["cell"], request["attempt"]
    what = cell["settings"]["what"]
    send({"doing": {"key": cell["key"], "stage": what, "worker": str(os.getpid())}})
    if what == "die" or (what == "die once" and attempt == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        sys.stderr.write("last words")
        sys.stderr.flush()
        sys.stdout.write('{"half a li')
        sys.stdout.flush()
        os._exit(3)
    if what == "sleep":
        time.sleep(600)
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        send({"doing": {"key": cell["key"], "stage": "deaf", "worker": ""}})
        time.sleep(600)
    if what == "finish and die":
        end(cell)
        os.kill(os.getpid(), signal.SIGKILL)
    end(cell, attempt=attempt, worker=str(os.getpid()), error=os.environ.get(cell["settings"].get("tell", ""), None))
"""
"""A worker without PyTorch that does what its cell says."""


def cell(what, key="k", **more):
    return Cell(key, "run", {"what": what, **more}, {"model": "m", "seed": 0})


@pytest.fixture
def executor(tmp_path):
    """Starts executors of fake workers and closes them."""
    made = []

    def start(**more):
        settings = {"workers": 1, "threads": 1, **more}
        made.append(LocalExecutor(SweepFolder(str(tmp_path / "s")), ("-c", FAKE), **settings))
        return made[-1]

    yield start
    for one in made:
        one.close()


def until(executor, wanted):
    """Everything that happens until ``wanted`` says it is enough."""
    found = []
    limit = time.monotonic() + 600
    while not wanted(found):
        assert time.monotonic() < limit, found
        found += executor.wait(1.0)
    return found


def outcomes(found):
    return [event for event in found if isinstance(event, Outcome)]


def stages(found):
    return [event.stage for event in found if isinstance(event, CellProgress)]


def ended(count):
    return lambda found: len(outcomes(found)) == count


# ---------------------------------------------------------------- cells


def test_one_process_takes_one_cell_after_another(executor):
    one = executor(workers=2)
    workers = set()
    for index in range(3):
        assert one.free == 2
        one.begin(cell("work", f"k{index}"))
        assert one.free == 1
        (outcome,) = outcomes(until(one, ended(1)))
        assert (outcome.key, outcome.status, outcome.attempt) == (f"k{index}", "finished", 1)
        workers.add(outcome.worker)
    assert len(workers) == 1


def test_cells_side_by_side_have_processes_of_their_own(executor):
    two = executor(workers=2)
    two.begin(cell("work", "a"))
    two.begin(cell("work", "b"))
    assert two.free == 0
    found = outcomes(until(two, ended(2)))
    assert {outcome.key for outcome in found} == {"a", "b"}
    assert len({outcome.worker for outcome in found}) == 2


def test_waiting_ends_when_nothing_happens(executor):
    assert executor().wait(0.01) == []


@pytest.mark.parametrize(("name", "value"), [("OMP_NUM_THREADS", "3"), ("CUDA_VISIBLE_DEVICES", "GPU-7")])
def test_a_worker_is_told_its_share(executor, name, value):
    one = executor(threads=3, gpus=("GPU-7",))
    one.begin(cell("work", tell=name))
    (outcome,) = outcomes(until(one, ended(1)))
    assert outcome.error == value


# ---------------------------------------------------------------- deaths


def test_a_worker_that_dies_is_replaced_and_its_cell_begun_again(executor):
    one = executor(retries=1)
    one.begin(cell("die once"))
    found = until(one, ended(1))
    assert outcomes(found)[0].status == "finished" and outcomes(found)[0].attempt == 2
    assert "Begun again, as its worker was killed by signal 9 (out of memory?)" in stages(found)
    assert one.free == 1


@pytest.mark.parametrize(("retries", "words"), [(0, "Its worker died: it was killed"), (1, "in each of 2 attempts")])
def test_a_cell_that_kills_every_worker_is_given_up(executor, retries, words):
    one = executor(retries=retries)
    one.begin(cell("die"))
    (outcome,) = outcomes(until(one, ended(1)))
    assert (outcome.status, outcome.folder, outcome.attempt) == ("failed", None, retries + 1)
    assert words in outcome.error and "killed by signal 9 (out of memory?)" in outcome.error
    one.begin(cell("work", "next"))  # the executor lives on
    (outcome,) = outcomes(until(one, ended(1)))
    assert (outcome.key, outcome.status) == ("next", "finished")


def test_the_last_words_of_a_worker_are_kept(executor):
    one = executor(retries=0)
    one.begin(cell("exit"))
    (outcome,) = outcomes(until(one, ended(1)))
    assert "ended by itself with exit code 3" in outcome.error and "worker-1.log" in outcome.error
    assert outcome.detail.endswith("last words")


def test_what_a_worker_has_finished_before_it_dies_is_finished(executor):
    one = executor()
    one.begin(cell("finish and die"))
    found = outcomes(until(one, ended(1)))
    one.begin(cell("work", "next"))
    found += outcomes(until(one, ended(1)))
    assert [(outcome.key, outcome.status) for outcome in found] == [("k", "finished"), ("next", "finished")]


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("what", ["sleep", "stubborn"])
def test_closing_ends_a_worker_at_work(executor, what, monkeypatch):
    monkeypatch.setattr(local, "GRACE", 0.2)
    one = executor(workers=2)
    one.begin(cell("work", "idle one"))
    until(one, ended(1))
    one.begin(cell("work", "idle one"))
    one.begin(cell(what))
    until(one, lambda found: ("deaf" if what == "stubborn" else what) in stages(found) and outcomes(found))
    processes = [worker.process for worker in one._workers]
    one.close()
    assert all(process is not None and process.poll() is not None for process in processes)


def start_real_worker(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "augment.cli.sweep_worker", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_real_worker_ends_with_its_input_in_the_middle_of_a_cell(tmp_path, monkeypatch):
    """The cell waits for a run folder that never becomes free; nothing but the end of the input ends it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import augment.studies.sweep.cell as cell, time\n"
        "def carry_out(cell, out, report, draw, *, attempt):\n"
        "    print('what a library prints', flush=True)\n"
        "    report.stage('stuck')\n"
        "    time.sleep(600)\n"
        "cell.carry_out = carry_out\n"
        "cell.STUDIED = {'run': 'json'}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    worker = start_real_worker(tmp_path / "s")
    worker.stdin.write(b'{"cell": {"key": "k", "command": "run", "settings": {}, "coordinates": {}}, "attempt": 1}\n')
    worker.stdin.flush()
    first = worker.stdout.readline()
    assert b'"stage": "stuck"' in first  # what was printed is not among the messages
    worker.stdin.close()
    assert worker.wait(timeout=600) == 0
    assert b"what a library prints" in worker.stderr.read()
    worker.stdout.close()
    worker.stderr.close()


MIDDLE = """
import os, sys
from augment.compute.workers import Workers
workers = Workers(1)
print(workers.submit(os.getpid).future.result(), flush=True)
workers.submit(__import__("time").sleep, 600)
sys.stdin.read()
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_processes_of_a_worker_that_is_killed_do_not_stay():
    middle = subprocess.Popen([sys.executable, "-c", MIDDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    inner = int(middle.stdout.readline())
    assert alive(inner)
    middle.kill()
    middle.wait()
    limit = time.monotonic() + 30
    while alive(inner) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not alive(inner)
    middle.stdin.close()
    middle.stdout.close()


# ---------------------------------------------------------------- the machine


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 4)
    monkeypatch.setattr(local, "available_memory", lambda: 7 * 1024**3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def on(device, count=10):
    return [Cell(str(index), "run", {"device": device}) for index in range(count)]


def test_cells_cores_and_memory_bound_the_workers(four_cores, monkeypatch):
    assert local.divided(on("cpu")) == local.Share(3, 1)  # 7 GB are three times 2 GB
    assert local.divided(on("cpu", 2)) == local.Share(2, 2)
    assert local.divided(on("cpu"), workers=1) == local.Share(1, 4)
    assert local.divided(on("cpu"), workers=8) == local.Share(8, 1)
    monkeypatch.setattr(local, "available_memory", lambda: 1024**3)
    assert local.divided(on("cpu")) == local.Share(1, 4)
    monkeypatch.setattr(local, "available_memory", lambda: None)
    assert local.divided(on("cpu")) == local.Share(4, 1)


def test_threads_that_a_person_has_set_are_not_exceeded(four_cores, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert local.divided(on("cpu", 2)) == local.Share(2, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    assert local.divided(on("cpu", 2)) == local.Share(2, 2)


def test_each_gpu_has_a_worker(four_cores, monkeypatch):
    monkeypatch.setattr(local, "_kind", lambda device: "cuda")
    monkeypatch.setattr(local, "_gpus", lambda: ("0", "GPU-x"))
    assert local.divided(on("auto")) == local.Share(2, 2, ("0", "GPU-x"))
    assert local.divided(on("auto", 1)) == local.Share(1, 4, ("0", "GPU-x"))
    assert local.divided(on("cuda"), workers=4) == local.Share(4, 1, ("0", "GPU-x"))
    assert local.divided(on("cuda:1")) == local.Share(1, 4, ())


def test_the_gpus_a_process_may_use_keep_their_names(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
    assert local._gpus() == ("GPU-a", "GPU-b")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert local._gpus() == ("0", "1")


def test_a_device_that_is_not_there_is_an_error_before_anything_begins():
    with pytest.raises(ConfigError, match="Device 'cuda:99' is not there"):
        local.divided(on("cuda:99"))


def test_memory_is_what_system_and_group_have_left(tmp_path):
    assert local.available_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    5000 kB\n")
    assert local.available_memory(tmp_path) == 5000 * 1024
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("1000\n")
    assert local.available_memory(tmp_path) == 5000 * 1024
    (group / "memory.max").write_text("3000\n")
    assert local.available_memory(tmp_path) == 2000


def test_how_a_process_ended_is_told_for_people():
    assert local._how(3) == "ended by itself with exit code 3"
    assert local._how(-signal.SIGSEGV) == "was killed by signal 11"


def test_a_module_in_the_current_folder_hides_no_library(monkeypatch):
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    assert local._as_this_one() == ["-P"]
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    assert local._as_this_one() == []
    monkeypatch.setattr(sys, "path", [os.getcwd()])
    assert local._as_this_one() == []
