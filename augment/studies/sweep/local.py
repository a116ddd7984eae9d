"""Cells in processes side by side on this machine: each imports torch once and takes one cell after another."""

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
