"""Small trainings side by side: single-threaded processes next to this one, which helps with what is still waiting.

One small network on two threads is hardly faster than on one, and many times slower when another program wants one of
the cores; two networks on a thread each are. Results do not depend on how many workers there are. One
generator over many images travels to them once.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import RLock, Thread
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from augment.generator import Generator, GeneratorConfig, ImageSpec

T = TypeVar("T")

WATCH = 0.2
"""Seconds between two looks of a worker at whether the process that started it is still there."""


@dataclass
class Job(Generic[T]):
    """A call that waits, runs or is done."""

    call: Callable[[], T]
    future: Future[T] = field(default_factory=Future)


class Workers:
    """Runs calls in ``count`` processes; calls that wait are run by whoever asks for results. 0: all of them here.

    The function and its arguments travel by pickle within this machine; results come back the same way.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._waiting: deque[Job[Any]] = deque()
        self._running = 0
        self._executor: Any = None
        self._lock = RLock()  # results arrive on a thread of the executor

    def __reduce__(self) -> tuple[type[Workers], tuple[int]]:
        """In another process there are none: who helps has no helpers."""
        return Workers, (0,)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Job[T]:
        """Begin ``function(*arguments)`` as soon as a process is free."""
        job = Job(partial(function, *arguments))
        self._waiting.append(job)
        self._dispatch()
        return job

    def _dispatch(self) -> None:
        """Hand out waiting jobs, never more than there are processes: what waits here can still be taken back."""
        with self._lock:
            while self._waiting and self._running < self.count:
                job = self._waiting.popleft()
                self._running += 1
                self._start().submit(job.call).add_done_callback(partial(self._finish, job))

    def _start(self) -> Any:
        if self._executor is None:
            from loky import ProcessPoolExecutor

            self._executor = ProcessPoolExecutor(
                self.count, env={"OMP_NUM_THREADS": "1"}, initializer=single_thread, initargs=(os.getpid(),)
            )
        return self._executor

    def _finish(self, job: Job[Any], remote: Future[Any]) -> None:
        if remote.cancelled():
            return
        error = remote.exception()
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(remote.result())
        with self._lock:
            self._running -= 1
        self._dispatch()

    @property
    def waiting(self) -> bool:
        """Are there calls that nobody has begun?"""
        with self._lock:
            return bool(self._waiting)

    def results(self, jobs: Iterable[Job[T]]) -> list[T]:
        """Results of ``jobs`` in order; whatever no process has begun is run here meanwhile."""
        submitted = list(jobs)
        while (job := self._take()) is not None:
            self._run_here(job)
        return [job.future.result() for job in submitted]

    def in_order(self, jobs: Iterable[Job[T]]) -> Iterator[T]:
        """Each result as soon as it and those before it are there, helping with what waits in between."""
        for awaited in list(jobs):
            while not awaited.future.done() and (job := self._take()) is not None:
                self._run_here(job)
            yield awaited.future.result()

    def _take(self) -> Job[Any] | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _run_here(self, job: Job[Any]) -> None:
        try:
            with threads(1):
                job.future.set_result(job.call())
        except Exception as error:
            job.future.set_exception(error)

    def close(self) -> None:
        """End the processes, also in the middle of a call."""
        with self._lock:
            self._waiting.clear()
            busy = self._running > 0
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=busy)


def single_thread(parent: int) -> None:
    """Set up a worker: one thread, and signals to the whole group are left to the process that started it.

    parent: number of that process; the worker ends when it is gone, even if it was killed.
    """
    import signal

    Thread(target=_end_without, args=(parent,), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):  # that process ends its workers itself, with one message
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch on ``count`` threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def side_by_side(jobs: int, device: str) -> Iterator[Workers]:
    """Workers for about ``jobs`` calls on the cores this process may use; it keeps the cores that are left.

    On a GPU there are none: the calls share the device better one after the other.
    """
    cores = torch.get_num_threads()
    count = min(jobs, cores - 1) if device == "cpu" else 0
    workers = Workers(count)
    try:
        with threads(max(1, cores - count)):
            yield workers
    finally:
        workers.close()


P = TypeVar("P")

WORTH_WORKERS = 15.0
"""Seconds of work that are left from which on starting processes pays; each takes some seconds to start."""

Work = Callable[[Generator, P, int], T]
"""``work(generator, part, index)``; a function of a module, or ``functools.partial`` of one, as it travels too.

A part is a tensor or a tuple of tensors.
"""


class PicklableGenerator:
    """A generator that may go to another process: as its class, options and weights, and built anew there.

    Modules whose weights are parametrised (spectral normalisation, say) cannot be pickled whole.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def __reduce__(self) -> tuple[Any, ...]:
        generator = self.generator
        cls = type(generator)
        return _unpickled, (cls, cls.name, generator.config, generator.spec, generator.state_dict())


def _unpickled(
    cls: type[Generator], name: str, config: GeneratorConfig, spec: ImageSpec, weights: dict[str, Tensor]
) -> PicklableGenerator:
    cls.name = name  # the registry of the other process has set it there
    with torch.random.fork_rng(devices=[]):
        generator = cls(config, spec)
    generator.load_state_dict(weights)
    return PicklableGenerator(generator.eval())


def on_all_cores(
    work: Work[P, T], generator: Generator, parts: Sequence[P], *, workers: Workers | None = None
) -> Iterator[T]:
    """``work(generator, part, index)`` of every part, in order.

    Each is computed on one thread, so that results are the same whoever computes which part. workers: processes that
    help; without any, some are started where the first part was slow.
    """
    if workers is not None:
        yield from _shared(work, generator, parts, workers, first=0)
    elif parts:
        start = time.perf_counter()
        yield _alone(work, PicklableGenerator(generator), parts[0], 0)
        slow = (time.perf_counter() - start) * (len(parts) - 1) > WORTH_WORKERS
        with side_by_side(len(parts) - 1 if slow else 0, generator.device.type) as pool:
            yield from _shared(work, generator, parts, pool, first=1)


def _shared(work: Work[P, T], generator: Generator, parts: Sequence[P], workers: Workers, *, first: int) -> Iterator[T]:
    picklable = PicklableGenerator(generator)
    rest = enumerate(parts[first:], start=first)
    yield from workers.in_order([workers.submit(_alone, work, picklable, part, index) for index, part in rest])


def _alone(work: Work[P, T], picklable: PicklableGenerator, part: P, index: int) -> T:
    with threads(1):
        return work(picklable.generator, part, index)
