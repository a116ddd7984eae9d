"""A worker of a local sweep, which carries out one cell after another.

It reads a line of JSON per cell from its standard input and writes lines of JSON to its standard output: what it is at,
and how the cell ended. When its input ends, the sweep is gone, and the worker ends at once, whatever it is doing.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from threading import Thread
from typing import Any

from augment.errors import Stopped
from augment.progress import LineReporter
from augment.studies.lifecycle import Draw, study_of
from augment.studies.sweep.cell import Cell, carry_out
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
        self.send({"doing": {"key": self.key, "stage": stage, "worker": name()}})


def name() -> str:
    """``host:process`` of this worker."""
    return f"{socket.gethostname()}:{os.getpid()}"


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
