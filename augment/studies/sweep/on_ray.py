"""Cells on a Ray cluster: one task each, begun again elsewhere when its node dies.

Tasks import the installed package, so all nodes need the same one; its files are not sent. All nodes reach the sweep's
folder under the same path, or through a URL.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from augment.errors import UsageError
from augment.studies.lifecycle import Draw
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.executor import CellProgress
from augment.studies.sweep.stores import path_of
from augment.studies.sweep.worker import Journal, carry_out_here, source_hash

_ANSWERS_WITHIN = 5.0
"""Seconds for the address of a cluster to answer; Ray itself would try for two minutes and then end the process."""


def connect(address: str | None) -> tuple[Any, bool]:
    """The module ``ray``, connected, and whether this call connected it. Raises UsageError when that fails.

    address: ``auto``, ``host:port``, ``ray://host:port``, or None for this machine's own cluster, started if need be.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise UsageError(
            f'Ray is not installed ({error}). Install it with pip install "augment-toolkit[ray]", or leave out '
            "--executor ray to use the processes of this machine."
        ) from None
    if ray.is_initialized():
        return ray, False
    target = address if address not in (None, "auto") else os.environ.get("RAY_ADDRESS", address)
    _check_answers(target)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with warnings.catch_warnings(), _own_signal_handlers():
            warnings.simplefilter("ignore")
            ray.init(
                address=target,
                ignore_reinit_error=True,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:  # Ray has many kinds for an address without a cluster and for other versions there
        raise UsageError(_no_cluster(target, str(error).strip())) from None
    # Ray would write of dead nodes to standard output, where a program reads the sweep's own document.
    ray._private.worker._worker_logs_enabled = False
    return ray, True


def _check_answers(address: str | None) -> None:
    """Does anything listen at ``host:port``?"""
    host, _, port = (address or "").rpartition("://")[2].partition("/")[0].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise UsageError(_no_cluster(address, f"nothing answers there ({error})")) from None


def _no_cluster(address: str | None, reason: str) -> str:
    where = f"at {address}" if address else "on this machine"
    return (
        f"No Ray cluster could be reached {where}: {reason}. Start one with `ray start --head` and give the address "
        "that it prints, or leave out --address to use this machine alone."
    )


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM; a sweep ends by its own, which keeps what is finished."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        try:
            signal.signal(signal.SIGTERM, before)
        except (ValueError, TypeError):  # not the main thread, where Ray leaves the handler alone, too
            pass


def slots(nodes: Sequence[Mapping[str, Any]], cpus: float, gpus: float) -> int:
    """How many cells of ``cpus`` and ``gpus`` fit on the living nodes, one by one; at most one per millicpu."""
    return sum(_fits(node["Resources"], cpus, gpus) for node in nodes if node["Alive"])


def _fits(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    needs = {"CPU": cpus, "GPU": gpus}
    rooms = [int(resources.get(kind, 0.0) / need + 1e-9) for kind, need in needs.items() if need > 0]
    return min(rooms) if rooms else int(1000 * resources.get("CPU", 0.0))


_LOOK_AGAIN = 2.0
"""Seconds for which the size of the cluster is taken as known."""

_AHEAD_AT_LEAST = 4
_SMALLEST_STEP = 0.05


@dataclass(frozen=True)
class _Attempt:
    cell: Cell
    number: int
    begun: float


class RayExecutor:
    """Carries out cells as tasks of a Ray cluster; see :class:`~augment.studies.sweep.executor.Executor`.

    address: ``auto``, ``host:port``, ``ray://host:port``, or None for the cluster of this machine, which is started
    where there is none.  location: of the sweep's folder, under which every node reaches it.  cpus, gpus: of the
    cluster for each cell; a part of a GPU is possible (0.5).  retries: further attempts of a cell whose worker died.
    draw: what a finished study draws into its folder.
    work: what a task does, with the arguments of :func:`~augment.studies.sweep.worker.carry_out_here`.
    Raises UsageError without Ray, without a cluster, and when no node of it has room for a cell.
    """

    def __init__(
        self,
        address: str | None,
        location: str,
        *,
        cpus: float = 1.0,
        gpus: float = 0.0,
        retries: int = 2,
        draw: Draw | None = None,
        work: Callable[..., Outcome] = carry_out_here,
    ) -> None:
        self._ray, self._own = connect(address)
        self._cpus, self._gpus, self._retries = cpus, gpus, retries
        self._running: dict[Any, _Attempt] = {}
        self._looked, self._slots = -math.inf, 0
        try:
            self._check_room()
            self._journal = self._start_journal()
            self._news = [self._journal.take.remote()]
        except BaseException:
            self.close()
            raise
        path = path_of(location)
        place = str(path.absolute()) if path else location
        self._arguments = (place, max(1, int(cpus)), source_hash(), self._journal, draw)
        # Attempts are counted here: Ray would begin tasks that ran out of memory again for ever.
        self._task = self._ray.remote(work).options(num_cpus=cpus, num_gpus=gpus, max_retries=0)

    def _check_room(self) -> None:
        if self._room() == 0:
            raise UsageError(
                f"No node of the Ray cluster has {self._cpus:g} CPUs and {self._gpus:g} GPUs for a cell. Ask for less, "
                "or start a node that has them first (with an autoscaler: at least one, min_workers: 1)."
            )

    def _start_journal(self) -> Any:
        """On the node of this process, as it is of use only while both live."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=True)
        return self._ray.remote(Journal).options(num_cpus=0, scheduling_strategy=here).remote()

    def _room(self) -> int:
        """How many cells the cluster has room for now."""
        if time.monotonic() - self._looked > _LOOK_AGAIN:
            self._slots = slots(self._ray.nodes(), self._cpus, self._gpus)
            self._looked = time.monotonic()
        return self._slots

    @property
    def free(self) -> int:
        """Twice as many cells as there is room for, less those handed out.

        Nodes never wait for this process then, an autoscaler sees that there is more to do, and Ray's scheduler never
        holds a whole large grid.
        """
        room = self._room()
        return max(0, room + max(room, _AHEAD_AT_LEAST) - len(self._running))

    def begin(self, cell: Cell) -> None:
        """Hand out a cell."""
        self._submit(cell, 1)

    def _submit(self, cell: Cell, number: int) -> None:
        reference = self._task.remote(cell, number, *self._arguments)
        self._running[reference] = _Attempt(cell, number, time.monotonic())

    def wait(self, seconds: float) -> list[Outcome | CellProgress]:
        """What happened since the last call; waits so long for something to happen."""
        watched = [*self._running, *self._news]
        if not watched:
            return []
        ready, _ = self._ray.wait(watched, num_returns=1, timeout=max(seconds, _SMALLEST_STEP))
        if ready:  # one is: ask for all that are
            ready, _ = self._ray.wait(watched, num_returns=len(watched), timeout=0)
        found: list[Outcome | CellProgress] = []
        if self._news and self._news[0] in ready:
            found += self._take_news()
        return found + [self._end(reference) for reference in ready if reference in self._running]

    def _take_news(self) -> list[CellProgress]:
        """What workers told; nothing more comes once the journal is gone, which harms no result."""
        (news,), self._news = self._news, []
        try:
            told: list[CellProgress] = self._ray.get(news)
        except self._ray.exceptions.RayError:
            return []
        self._news = [self._journal.take.remote()]
        at_work = {attempt.cell.key for attempt in self._running.values()}
        return [doing for doing in told if doing.key in at_work]

    def _end(self, reference: Any) -> Outcome | CellProgress:
        """The outcome of a task that is over, or that its cell is begun again."""
        attempt = self._running.pop(reference)
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(reference)
            return outcome
        except errors.RayTaskError as error:
            return _failed(attempt, f"The cell could not be carried out: {error.cause!r}.", str(error))
        except errors.RayError as error:
            if attempt.number > self._retries:
                return _failed(attempt, _died(attempt.number, error), str(error))
            self._submit(attempt.cell, attempt.number + 1)
            return CellProgress(attempt.cell.key, f"Begin again, as the worker died ({type(error).__name__})", "")

    def close(self) -> None:
        """End all work at once; cells that run are left as they are, to be resumed."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if hasattr(self, "_journal"):
            self._ray.kill(self._journal)
        if self._own:
            self._ray.shutdown()


def _died(attempts: int, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    return (
        f"Its worker died in each of {attempts} attempts; the last one: {type(error).__name__}: {reason} Give a cell "
        "more memory or fewer neighbours (a larger --cpus), then run the same sweep again."
    )


def _failed(attempt: _Attempt, error: str, detail: str) -> Outcome:
    return Outcome(
        key=attempt.cell.key,
        status="failed",
        seconds=round(time.monotonic() - attempt.begun, 3),
        error=error,
        detail=detail,
        attempt=attempt.number,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )
