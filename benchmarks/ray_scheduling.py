"""Scheduling of very many cells that do nothing, on simulated nodes of a Ray cluster on this machine.

    python benchmarks/ray_scheduling.py [--cells 1000,10000,100000] [--nodes 4] [--cpus 4] [--limit 180] [--write]

A cell of the simulation tells its stages and ends; a real one takes half a minute and more, so that a cluster of 1,000
slots ends about 30 a second. Rows that would take longer than --limit seconds are left out. The second table is what a
sweep does before its first cell, also when it is resumed. --write puts the tables into docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from page_part import write_part
from scale_runs import MODEL, records_only

from augment.progress import Reporter
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.config import SweepConfig
from augment.studies.sweep.executor import CellProgress
from augment.studies.sweep.folder import SweepFolder
from augment.studies.sweep.grid import cells as cells_of
from augment.studies.sweep.on_ray import RayExecutor
from augment.studies.sweep.study import sweep

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"

STAGES = 6
"""What a run tells between its begin and its end."""

KINDS = {
    "plain": "Ray tasks that return at once, all handed to Ray at the start",
    "executor": "through `RayExecutor`: stages told, a bounded queue",
    "sweep": "the whole sweep: a checked grid, records and events on disk",
}


def nothing(cell: Cell, attempt: int, location: str, threads: int, source: str, journal: Any) -> Outcome:
    """What a task of a real cell says to others, without the cell."""
    for stage in range(STAGES):
        journal.tell.remote(CellProgress(cell.key, f"stage {stage}", "host:1"))
    return Outcome(cell.key, "finished", folder="run", identity=cell.key, attempt=attempt)


def grid(folder: str, count: int) -> SweepConfig:
    """So many cells: up to a hundred seeds of as many long tails as it takes."""
    seeds = min(100, count)
    factors = [2 + 0.05 * step for step in range(count // seeds)]
    settings = {"dataset": "digits", "model": MODEL, "regime": "high", "imbalance_factor": factors, "seeds": seeds}
    return SweepConfig.parse({**settings, "offline": True, "out": folder, "name": "study"})


def run_plain(address: str, count: int, folder: str) -> float:
    """Seconds of plain tasks."""
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    task = ray.remote(lambda number: number)
    ray.get([task.remote(number) for number in range(64)])
    start = time.perf_counter()
    ray.get([task.remote(number) for number in range(count)])
    return time.perf_counter() - start


def run_executor(address: str, count: int, folder: str) -> float:
    """Seconds from the first cell handed out to the last outcome."""
    executor = RayExecutor(address, folder, work=nothing)
    follow(executor, [Cell(f"warm-{number}", "run", {}) for number in range(64)])
    cells = [Cell(f"{number:08d}", "run", {"seed": number}, {"seed": number}) for number in range(count)]
    start = time.perf_counter()
    follow(executor, cells)
    seconds = time.perf_counter() - start
    executor.close()
    return seconds


def follow(executor: RayExecutor, cells: Sequence[Cell]) -> None:
    """Hand out cells until all have ended."""
    waiting, left = list(reversed(cells)), len(cells)
    while left:
        while waiting and executor.free:
            executor.begin(waiting.pop())
        left -= sum(isinstance(happened, Outcome) for happened in executor.wait(0.5))


def run_sweep(address: str, count: int, folder: str) -> float:
    """Seconds of a sweep as a person starts it, from the first event to the end."""
    begun: list[float] = []

    def start(where: SweepFolder, todo: Sequence[Cell]) -> RayExecutor:
        executor = RayExecutor(address, where.location, work=nothing)
        follow(executor, [Cell(f"warm-{number}", "run", {}) for number in range(64)])
        begun.append(time.perf_counter())
        return executor

    result = sweep(grid(folder, count), start)
    assert result.counts["finished"] == count, result.counts
    return time.perf_counter() - begun[0]


def alone(kind: str, address: str, count: int) -> dict[str, float]:
    """One row in a process of its own, so that its memory is its own, too."""
    arguments = ["--one", kind, "--address", address, "--cells", str(count)]
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def cluster(nodes: int, cpus: int) -> Iterator[str]:
    """Simulated nodes beside a head without room for cells; yields the address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster
    store = 80 * 2**20
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": store})
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=cpus, object_store_memory=store)
        yield made.address
    finally:
        made.shutdown()


def peak() -> float:
    """Most memory of this process so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage would tell what the process before exec held
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1e3


def rates_table(counts: Sequence[int], options: argparse.Namespace) -> str:
    """Cells per second and the memory of the process that hands them out."""
    lines = []
    with cluster(options.nodes, options.cpus) as address:
        for kind, title in KINDS.items():
            cells: list[str] = []
            rate = float("inf")
            for count in counts:
                if count / rate > options.limit:
                    cells.append("-")
                    continue
                found = alone(kind, address, count)
                rate = count / found["seconds"]
                cells.append(f"{rate:,.0f} (+{found['megabytes']:,.0f} MB)")
            lines.append(f"| {title} | {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr, flush=True)
    names = " | ".join(f"{count:,} cells" for count in counts)
    head = (
        f"| cells per second (what the process that hands them out grows by) | {names} |\n|---|{'---|' * len(counts)}\n"
    )
    where = f"\n\n{options.nodes} simulated nodes of {options.cpus} CPUs, all on the cores of one machine."
    where += f" A dash: it would have taken more than {options.limit:g} s."
    return head + "\n".join(lines) + where


def before_table(counts: Sequence[int], options: argparse.Namespace) -> str:
    """Seconds before the first cell: the grid, and what is finished."""
    lines, each = [], 0.0
    cells_of(grid("runs", 1), Reporter())  # imports and loads
    for count in counts:
        checked = "-"
        if each * count < options.limit:
            start = time.perf_counter()
            assert len(cells_of(grid("runs", count), Reporter())) == count
            seconds = time.perf_counter() - start
            each, checked = seconds / count, f"{seconds:.1f}"
        with tempfile.TemporaryDirectory() as name:
            records_only(Path(name), count)
            start = time.perf_counter()
            assert len(SweepFolder(name).records()) == count
            seconds = time.perf_counter() - start
        lines.append(f"| {count:,} | {checked} | {seconds:.2f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    head = "| cells | checking the grid, s | records and their results, s |\n|---|---|---|\n"
    return head + "\n".join(lines) + "\n\nOn a local disk, the files just written."


def main() -> None:
    """Measure, print, and with --write keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="1000,10000,100000")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds that a row may take")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    options = parser.parse_args()
    counts = [int(count) for count in options.cells.split(",")]
    if options.one:
        before = peak()
        with tempfile.TemporaryDirectory() as folder:
            seconds = RUNS[options.one](options.address, counts[0], folder)
        print(json.dumps({"seconds": seconds, "megabytes": peak() - before}))
        return
    for name, table in (("before", before_table), ("rates", rates_table)):
        text = table(counts, options)
        print(f"{text}\n", flush=True)
        if options.write:
            write_part(PAGE, f"ray_scheduling.py {name}", text)


RUNS = {"plain": run_plain, "executor": run_executor, "sweep": run_sweep}

if __name__ == "__main__":
    main()
