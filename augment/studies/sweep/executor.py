"""What carries cells out: the same few calls for processes on this machine and for a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from augment.studies.sweep.cell import Cell, Outcome


@dataclass(frozen=True)
class CellProgress:
    """What a cell that runs is at, where the executor can tell."""

    key: str
    stage: str
    worker: str


class Executor(Protocol):
    """Carries out cells; what it was given and did not end is begun again by the next sweep.

    A worker that dies (killed, out of memory, its node gone) takes at most ``retries`` more attempts of its cell, and
    then ends it as failed with a message that says how the worker died.
    """

    @property
    def free(self) -> int:
        """How many cells can be begun now; a cluster may grow and shrink."""
        ...

    def begin(self, cell: Cell) -> None:
        """Hand out a cell; only while :attr:`free` is positive."""
        ...

    def wait(self, seconds: float) -> list[Outcome | CellProgress]:
        """What happened since the last call; waits so long for something to happen."""
        ...

    def close(self) -> None:
        """End all work at once; cells that run are left as they are, to be resumed."""
        ...
