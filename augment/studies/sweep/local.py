"""Cells in processes side by side on this machine: each imports torch once and takes one cell after another.

Cores, memory and GPUs are divided among the workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.executor import CellProgress
from augment.studies.sweep.folder import SweepFolder

MEMORY_EACH = 2 * 1024**3
"""Bytes that a worker may need: PyTorch, a data set, a generator and classifiers of the usual sizes."""


@dataclass(frozen=True)
class Share:
    """Workers side by side, threads of each, and GPUs they take in turn; no ``gpus`` leaves devices as they are."""

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()


def divided(cells: Sequence[Cell], workers: int | None = None) -> Share:
    """Cores and GPUs for the workers of a sweep.

    workers: how many a person asked for; None takes one per GPU, or on the CPU as many as there are cells, cores and
    memory for. A cell that asks for one GPU by its number keeps it, and the default is one worker then. Raises
    UsageError where a cell asks for a device that is not there.
    """
    asked = {str(cell.settings.get("device", "auto")) for cell in cells}
    found = {_kind(device) for device in asked}
    gpus = _gpus() if "cuda" in found and all(":" not in device for device in asked) else ()
    if workers is None and found - {"cpu"}:
        workers = max(1, min(len(gpus), len(cells)))
    elif workers is None:
        memory = available_memory()
        fitting = len(cells) if memory is None else memory // MEMORY_EACH
        workers = max(1, min(len(cells), cores(), fitting))
    return Share(workers, _threads(workers), gpus)


def _kind(device: str) -> str:
    """Its precision is found here, too, and remembered: workers that race side by side would disagree on it."""
    from augment.compute.device import choose_device, choose_precision

    kind = str(choose_device(device).type)
    choose_precision("auto", kind)
    return kind


def _gpus() -> tuple[str, ...]:
    """Names of the GPUs this process may use."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index) for index in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return tuple(name.strip() for name in names[: torch.cuda.device_count()])


def _threads(workers: int) -> int:
    """Cores of each worker; a smaller number that a person has set stays."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    each = max(1, cores() // workers)
    return min(each, int(asked)) if asked.isdigit() and int(asked) > 0 else each


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping, by the system and by this process's group; None where nothing tells.

    root: where ``proc`` and ``sys`` are.
    """
    known = []
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            known.append(1024 * int(line.split()[1]))
    limit, used = (_lines(root / "sys/fs/cgroup" / f"memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0].isdigit():
        known.append(max(0, int(limit[0]) - int(used[0])))
    return min(known) if known else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


GRACE = 5.0
"""Seconds a worker that trains has to write a checkpoint when the sweep is stopped."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(eq=False)
class _Worker:
    """One place for a worker: its process, once it is needed, and the cell it has."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    cell: Cell | None = None
    attempt: int = 1
    begun: float = 0.0


_Message = tuple[_Worker, subprocess.Popen[bytes], dict[str, Any] | None]
"""What a process said, or None when it said its last."""


class LocalExecutor:
    """Carries cells out in up to ``workers`` processes; see :class:`~augment.studies.sweep.executor.Executor`.

    command: Python's arguments that start a worker; the sweep's folder comes after them.  threads: of each.  gpus: one
    for each worker in turn, as in ``CUDA_VISIBLE_DEVICES``; none leaves that as it is.
    retries: further attempts of a cell whose worker died.  What workers print is in ``logs`` of the folder.
    """

    def __init__(
        self,
        folder: SweepFolder,
        command: Sequence[str],
        *,
        workers: int,
        threads: int,
        gpus: Sequence[str] = (),
        retries: int = 1,
    ) -> None:
        self._command = tuple(command)
        self._folder, self._threads, self._gpus, self._retries = folder, threads, tuple(gpus), retries
        self._logs = folder.logs()
        self._workers = [_Worker(number) for number in range(1, workers + 1)]
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()

    @property
    def free(self) -> int:
        """Workers without a cell."""
        return sum(worker.cell is None for worker in self._workers)

    def begin(self, cell: Cell) -> None:
        """Hand a cell to a free worker, one that is already there if possible."""
        idle = [worker for worker in self._workers if worker.cell is None]
        worker = min(idle, key=lambda one: (one.process is None, one.number))
        self._hand_out(worker, cell, attempt=1)

    def _hand_out(self, worker: _Worker, cell: Cell, attempt: int) -> None:
        worker.cell, worker.attempt, worker.begun = cell, attempt, time.monotonic()
        if worker.process is None:
            worker.process = self._start(worker)
        request = json.dumps({"cell": cell.to_json(), "attempt": attempt}) + "\n"
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: its last message is on the way, the cell is begun again
            worker.process.stdin.write(request.encode())
            worker.process.stdin.flush()

    def _start(self, worker: _Worker) -> subprocess.Popen[bytes]:
        """A session of its own: a signal to the terminal's group is the sweep's business."""
        with open(self._log(worker), "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *_as_this_one(), *self._command, self._folder.location],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(worker),
                start_new_session=True,
            )
        Thread(target=self._listen, args=(worker, process), daemon=True).start()
        return process

    def _environment(self, worker: _Worker) -> dict[str, str]:
        more = {name: str(self._threads) for name in THREAD_VARIABLES}
        if self._gpus:
            more["CUDA_VISIBLE_DEVICES"] = self._gpus[(worker.number - 1) % len(self._gpus)]
        return {**os.environ, **more}

    def _log(self, worker: _Worker) -> Path:
        return self._logs / f"worker-{worker.number}.log"

    def _listen(self, worker: _Worker, process: subprocess.Popen[bytes]) -> None:
        """On a thread: pass on what a process says, until its end."""
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                try:
                    self._messages.put((worker, process, json.loads(line)))
                except ValueError:  # it was killed in the middle of a line
                    break
        process.wait()
        self._messages.put((worker, process, None))

    def wait(self, seconds: float) -> list[Outcome | CellProgress]:
        """What happened since the last call; waits so long for something to happen."""
        found: list[Outcome | CellProgress] = []
        until = time.monotonic() + seconds
        while True:
            try:
                message = self._messages.get(timeout=0 if found else max(0.0, until - time.monotonic()))
            except queue.Empty:
                return found
            found += self._read(*message)

    def _read(
        self, worker: _Worker, process: subprocess.Popen[bytes], message: Mapping[str, Any] | None
    ) -> list[Outcome | CellProgress]:
        if message is None:
            return self._dead(worker, process)
        if "doing" in message:
            return [CellProgress(**message["doing"])]
        worker.cell = None
        return [Outcome(**message["outcome"])]

    def _dead(self, worker: _Worker, process: subprocess.Popen[bytes]) -> list[Outcome | CellProgress]:
        """Replace a process that died and begin its cell again, or give that up."""
        if worker.process is not process:
            return []
        _close_input(process)
        worker.process = None
        if worker.cell is None:
            return []
        cell, attempt, how = worker.cell, worker.attempt, _how(process.returncode)
        if attempt <= self._retries:
            self._hand_out(worker, cell, attempt + 1)
            return [CellProgress(cell.key, f"Begun again, as its worker {how}", f"worker {worker.number}")]
        worker.cell = None
        return [self._given_up(worker, cell, how)]

    def _given_up(self, worker: _Worker, cell: Cell, how: str) -> Outcome:
        times = "" if worker.attempt == 1 else f" in each of {worker.attempt} attempts; in the last one it"
        return Outcome(
            key=cell.key,
            status="failed",
            seconds=round(time.monotonic() - worker.begun, 3),
            error=f"Its worker died{times or ': it'} {how}. See {self._log(worker)}; fewer --workers need less memory.",
            detail=_tail(self._log(worker)),
            attempt=worker.attempt,
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def close(self) -> None:
        """End all work at once: idle workers go, one that trains may write a checkpoint, none is left."""
        processes = [worker.process for worker in self._workers if worker.process is not None]
        for worker in self._workers:
            process, worker.process = worker.process, None
            if process is not None:
                _let_go(process, busy=worker.cell is not None)
            worker.cell = None
        until = time.monotonic() + GRACE
        for process in processes:
            _end(process, until)


def _let_go(process: subprocess.Popen[bytes], *, busy: bool) -> None:
    """An idle worker ends with its input; one at work is asked to, and keeps its input for as long as it may take."""
    if busy:
        process.terminate()
    else:
        _close_input(process)


def _end(process: subprocess.Popen[bytes], until: float) -> None:
    try:
        process.wait(timeout=max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _close_input(process)


def _close_input(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it is gone, and what was still to be written with it
        process.stdin.close()


def _as_this_one() -> list[str]:
    """A module in the current folder must not hide a library's, unless it does so here."""
    return [] if {"", os.getcwd()} & set(sys.path) else ["-P"]


def _how(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"ended by itself with exit code {code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code}{hint}"


def _tail(log: Path, size: int = 2000) -> str:
    """The last words of a log."""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - size))
        return file.read().decode("utf-8", errors="replace")
