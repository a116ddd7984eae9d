"""What carries cells out for a sweep: a process on this machine, or a task on a node of a Ray cluster.

A local worker reads a line of JSON per cell from its standard input and writes lines of JSON to its standard output:
what it is at, and how the cell ended. When its input ends, the sweep is gone, and the worker ends at once, whatever it
is doing. A task on a cluster tells a journal what it is at, and the sweep takes it from there.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from augment.errors import Stopped
from augment.progress import LineReporter, Reporter
from augment.storage import hashing
from augment.studies.lifecycle import Draw, study_of
from augment.studies.sweep.cell import Cell, Outcome, carry_out, worker_name
from augment.studies.sweep.executor import CellProgress
from augment.studies.sweep.folder import SweepFolder

Send = Callable[[Mapping[str, Any]], None]

TOLD_EVERY = 2.0
"""Seconds between two messages about progress within a stage."""

LOGGED_EVERY = 60.0
"""The same for lines in the log."""


class _SweepReporter(LineReporter):
    """Tells the sweep what the cell is at, and writes more of it to the log."""

    def __init__(self, key: str, send: Send) -> None:
        super().__init__(every=LOGGED_EVERY)
        self.key, self.send, self.title, self.told = key, send, "", time.monotonic()

    def stage(self, title: str) -> None:
        """Tell of a new stage."""
        super().stage(title)
        self.title = title
        self._tell(title)

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Tell how far it is, every few seconds."""
        super().advance(done, total, detail)
        if total and time.monotonic() - self.told >= TOLD_EVERY:
            self._tell(f"{self.title} {100 * done / total:.0f}%")

    def _tell(self, stage: str) -> None:
        self.told = time.monotonic()
        self.send({"doing": {"key": self.key, "stage": stage, "worker": worker_name()}})


def main(location: str, draw: Draw | None) -> None:
    """Carry out cells until the sweep lets go; ends through ``os._exit``, as a thread still waits for input then.

    location: of the sweep's folder.  draw: what a finished study draws into its folder.
    """
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log and cannot spoil the messages
    requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
    Thread(target=_listen, args=(requests,), daemon=True).start()

    def send(message: Mapping[str, Any]) -> None:
        try:
            messages.write(json.dumps(message) + "\n")
            messages.flush()
        except OSError:  # nobody reads: the sweep is gone
            os._exit(0)

    folder = SweepFolder(location)
    while True:
        request = requests.get()
        try:
            _carry_out(folder, Cell(**request["cell"]), request["attempt"], send, draw)
        except Stopped as stopped:
            os._exit(stopped.exit_code)


def _carry_out(folder: SweepFolder, cell: Cell, attempt: int, send: Send, draw: Draw | None) -> None:
    sys.stderr.write(f"=== {cell.name}, attempt {attempt} ({cell.key})\n")
    study_of(cell.command)  # once, and no part of what a cell takes
    reporter = _SweepReporter(cell.key, send)
    outcome = folder.publish(carry_out(cell, folder.run_root(), reporter, draw, attempt=attempt))
    if outcome.error is not None:
        sys.stderr.write(f"{outcome.detail or outcome.error}\n")
    sys.stderr.flush()
    send({"outcome": outcome.to_json()})


def _listen(requests: SimpleQueue[dict[str, Any]]) -> None:
    """Read cells; the end of the input ends this process in the middle of anything."""
    with os.fdopen(0, "rb", buffering=0, closefd=False) as lines:
        for line in lines:
            requests.put(json.loads(line))
    os._exit(0)


_OTHER_CODE = (
    "Node {} runs other code of augment than the machine that began the sweep. Install the same version on all nodes, "
    "restart Ray there, then run the same sweep again."
)


class Journal:
    """An actor: cells tell what they are at, the sweep takes all that is new."""

    def __init__(self) -> None:
        self._told: dict[str, CellProgress] = {}
        self._something = asyncio.Event()

    async def tell(self, doing: CellProgress) -> None:
        """Keep the newest of each cell."""
        self._told[doing.key] = doing
        self._something.set()

    async def take(self) -> list[CellProgress]:
        """What was told since the last call; waits until there is something."""
        await self._something.wait()
        told, self._told = list(self._told.values()), {}
        self._something.clear()
        return told


class _JournalReporter(Reporter):
    """Tells the journal of each stage, without waiting for it."""

    def __init__(self, key: str, journal: Any) -> None:
        self.key, self.journal = key, journal
        self.worker = worker_name()

    def stage(self, title: str) -> None:
        """Tell what the cell is at."""
        self.journal.tell.remote(CellProgress(self.key, title, self.worker))


def carry_out_here(
    cell: Cell, attempt: int, location: str, threads: int, source: str, journal: Any, draw: Draw | None
) -> Outcome:
    """Carry out a cell on this node and make its run folder visible to all.

    location: of the sweep's folder.  threads: of PyTorch.  source: :func:`source_hash` where the sweep was begun; a
    node with other code would put its result under a wrong key.  draw: what a finished study draws into its folder.
    """
    reporter = _JournalReporter(cell.key, journal)
    reporter.stage("Begin")
    if source != source_hash():
        return Outcome(
            cell.key, "failed", error=_OTHER_CODE.format(socket.gethostname()), worker=reporter.worker, attempt=attempt
        )
    from augment.compute import workers

    folder = SweepFolder(location)
    with workers.threads(threads):
        return folder.publish(carry_out(cell, folder.run_root(), reporter, draw, attempt=attempt))


@cache
def source_hash() -> str:
    """Hash of the installed package's code."""
    import augment

    return hashing.code_fingerprint(Path(folder) for folder in augment.__path__)
