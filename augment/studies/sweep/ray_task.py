"""What runs on the nodes of a Ray cluster: a cell, and the journal that tells the sweep what cells are at."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import cache
from pathlib import Path
from typing import Any

from augment.progress import Reporter
from augment.storage import hashing
from augment.studies.lifecycle import Draw
from augment.studies.sweep.cell import Cell, Outcome, carry_out
from augment.studies.sweep.executor import CellProgress
from augment.studies.sweep.folder import SweepFolder

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
        self.worker = f"{socket.gethostname()}:{os.getpid()}"

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
