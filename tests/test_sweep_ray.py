"""A real Ray cluster of two nodes on this machine: one of them is killed in the middle, every cell is finished once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from augment.errors import UsageError
from augment.studies.sweep.folder import SweepFolder
from augment.studies.sweep.on_ray import connect, slots

pytestmark = pytest.mark.libraries

try:
    import importlib.metadata

    importlib.metadata.version("ray")
except importlib.metadata.PackageNotFoundError:
    pytest.skip("Ray is not installed: pip install 'augment-toolkit[ray]'", allow_module_level=True)

CLUSTER = """
import json, sys, warnings
warnings.simplefilter("ignore")
import psutil
from ray.cluster_utils import Cluster


def cmdline(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


store = 80 * 2**20
quick = {"health_check_period_ms": 1000, "health_check_initial_delay_ms": 1000}  # a dead node is known in 5 s, not 15
cluster = Cluster(
    initialize_head=True,
    head_node_args=dict(num_cpus=0, object_store_memory=store, include_dashboard=False, _system_config=quick),
)
nodes = [cluster.add_node(num_cpus=1, object_store_memory=store) for _ in range(2)]
print(json.dumps({"address": cluster.address}), flush=True)
for line in sys.stdin:  # kill a node with a cell at work, as if its plug were pulled, and let another one join
    workers = [process for process in psutil.process_iter() if "ray::carry_out_here" in " ".join(cmdline(process))]
    raylets = [worker.ppid() for worker in workers]
    node = next(node for node in nodes if node.all_processes["raylet"][0].process.pid in raylets)
    nodes.remove(node)
    cluster.remove_node(node, allow_graceful=False)
    nodes.append(cluster.add_node(num_cpus=1, object_store_memory=store))
    print(json.dumps({"killed": True}), flush=True)
cluster.shutdown()
"""

DRIVER = """
import json, sys
from dataclasses import asdict
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.folder import SweepFolder
from augment.studies.sweep.on_ray import RayExecutor

address, location, cells = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
folder = SweepFolder(location)
executor = RayExecutor(address, location, cpus=1, gpus=0, retries=1)
waiting = [Cell(**cell) for cell in cells]
left = len(waiting)
while left:
    while waiting and executor.free:
        executor.begin(waiting.pop())
    for happened in executor.wait(1.0):
        if isinstance(happened, Outcome):
            folder.record(happened)
            left -= 1
        print(json.dumps({type(happened).__name__: asdict(happened)}), flush=True)
executor.close()
"""


class Cluster:
    """Two nodes in processes of their own; all of them are gone at the end."""

    def __init__(self, home: Path) -> None:
        self.environment = {**os.environ, "AUGMENT_HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
            start_new_session=True,
        )
        self.address = self._answer()["address"]

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise AssertionError("The cluster ended.")

    def kill_node(self) -> None:
        """One on which a cell is at work."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(30)
        finally:
            self.process.stdout.close()
            for number in self.processes():
                os.kill(number, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Whatever of this cluster still runs: its address is on every command line."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.address.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return [number for number in found if number != os.getpid()]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("home"))
    try:
        yield cluster
    finally:
        cluster.close()


def cell(seed, **changes):
    settings = {
        "dataset": "digits",
        "model": "vae",
        "regime": "high",
        "steps": 5,
        "updates": 5,
        "classifiers": ["cart-pixels"],
        "seed": seed,
        "offline": True,
        **changes,
    }
    return {"key": f"cell-{seed}", "command": "run", "settings": settings, "coordinates": {"seed": seed}}


def drive(cluster, location, cells):
    """Carry out cells in a process of its own; yields what happens, as it happens."""
    with subprocess.Popen(
        [sys.executable, "-W", "error::UserWarning", "-c", DRIVER, cluster.address, str(location), json.dumps(cells)],
        stdout=subprocess.PIPE,
        text=True,
        env=cluster.environment,
    ) as driver:
        try:
            for line in driver.stdout:
                ((kind, happened),) = json.loads(line).items()
                yield kind, happened
            assert driver.wait(30) == 0
        finally:
            driver.kill()


def sweep(cluster, out):
    """``augment sweep`` over six cells, in a process of its own."""
    grid = ["--dataset", "digits", "--model", "vae", "--regime", "high,balanced", "--size", "300", "--seeds", "3"]
    short = ["--steps", "5", "--updates", "5", "--classifier", "cart-pixels", "--offline"]
    where = ["--out", str(out), "--name", "study", "--executor", "ray", "--address", cluster.address]
    return subprocess.Popen(
        [sys.executable, "-m", "augment", "sweep", *grid, *short, *where, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cluster.environment,
    )


def until(condition, seconds=600.0):
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It never came."
        time.sleep(0.05)


def test_every_cell_is_finished_once_though_a_node_dies(cluster, tmp_path):
    folder = tmp_path / "study"
    with sweep(cluster, tmp_path) as process:
        until(lambda: process.poll() is not None or list(folder.glob("*/config.json")))  # a cell is at work
        cluster.kill_node()
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    document = json.loads(out)  # nothing else is on standard output, though Ray has much to say about dead nodes
    assert [one["status"] for one in document["cells"]] == ["finished"] * 6
    assert 2 in [one["attempt"] for one in document["cells"]]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    ends = Counter(event["key"] for event in events if event["event"] == "finished")
    assert ends == Counter(one["key"] for one in document["cells"])
    records = SweepFolder(folder).records()
    assert set(records) == set(ends)
    results = [json.loads(file.read_text()) for file in folder.glob("*/result.json")]
    assert Counter(one["identity"] for one in results) == Counter(one.identity for one in records.values())
    assert all(one["arms"] for one in results)


def test_a_cell_that_fails_or_kills_its_worker_ends_with_a_message_and_the_others_go_on(cluster, tmp_path):
    cells = [cell(0), cell(1, model="nosuch"), cell(2, steps=1_000_000)]
    killed, again, ended = 0, 0, {}
    for kind, happened in drive(cluster, tmp_path, cells):
        if kind == "Outcome":
            assert ended.setdefault(happened["key"], happened) is happened
        elif happened["key"] == "cell-2" and happened["stage"] == "Train vae":
            killed += 1
            os.kill(int(happened["worker"].rpartition(":")[2]), signal.SIGKILL)
        again += happened.get("stage", "").startswith("Begin again")
    assert (killed, again) == (2, 1)
    assert (ended["cell-0"]["status"], ended["cell-0"]["attempt"]) == ("finished", 1)
    assert (ended["cell-1"]["status"], ended["cell-1"]["attempt"]) == ("failed", 1)
    assert "nosuch" in ended["cell-1"]["error"]
    assert (ended["cell-2"]["status"], ended["cell-2"]["attempt"]) == ("failed", 2)
    assert "died in each of 2 attempts" in ended["cell-2"]["error"]
    assert set(SweepFolder(tmp_path).records()) == set(ended)


def test_a_killed_sweep_leaves_no_cell_at_work_and_is_resumed(cluster, tmp_path):
    for _, happened in drive(cluster, tmp_path, [cell(seed, steps=1_000_000) for seed in range(2)]):
        if happened.get("stage") == "Train vae":
            worker = Path("/proc", happened["worker"].rpartition(":")[2])
            break  # which kills the driver
    until(lambda: not worker.exists())
    assert SweepFolder(tmp_path).records() == {}
    ends = [happened for kind, happened in drive(cluster, tmp_path, [cell(0), cell(1)]) if kind == "Outcome"]
    assert sorted((one["key"], one["status"]) for one in ends) == [("cell-0", "finished"), ("cell-1", "finished")]


def test_an_address_where_nobody_listens_is_told_at_once(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    start = time.monotonic()
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9", "auto", None):
        with pytest.raises(UsageError, match=r"127.0.0.1:9: nothing answers.*ray start --head"):
            connect(address)
    assert time.monotonic() - start < 60


def test_without_ray_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r'pip install "augment-toolkit\[ray\]"'):
        connect("auto")


NODES = [
    {"Alive": True, "Resources": {"CPU": 0.0, "memory": 1e9}},
    {"Alive": True, "Resources": {"CPU": 7.0, "GPU": 2.0}},
    {"Alive": True, "Resources": {"CPU": 4.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [(1, 0, 11), (2, 0, 5), (4, 0, 2), (8, 0, 0), (1, 1, 2), (1, 0.5, 4), (4, 0.1, 1), (0, 1, 2), (0.1, 0, 110)],
)
def test_cells_fit_on_single_nodes_that_are_alive(cpus, gpus, expected):
    assert slots(NODES, cpus, gpus) == expected
