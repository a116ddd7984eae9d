"""A generator on all cores: sent to worker processes once per chunk of work, computed on one thread each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from augment.generator import Generator, GeneratorConfig, ImageSpec
from augment.workers import Workers, side_by_side, threads

P = TypeVar("P")
T = TypeVar("T")

WORTH_WORKERS = 15.0
"""Seconds of work that are left from which on starting processes pays; each takes some seconds to start."""

Work = Callable[[Generator, P, int], T]
"""``work(generator, part, index)``; a function of a module, or ``functools.partial`` of one, as it travels too.

A part is a tensor or a tuple of tensors.
"""


class Travelling:
    """A generator that may go to another process: as its class, options and weights, and built anew there.

    Modules whose weights are parametrised (spectral normalisation, say) cannot be pickled whole.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def __reduce__(self) -> tuple[Any, ...]:
        generator = self.generator
        cls = type(generator)
        return _arrived, (cls, cls.name, generator.config, generator.spec, generator.state_dict())


def _arrived(
    cls: type[Generator], name: str, config: GeneratorConfig, spec: ImageSpec, weights: dict[str, Tensor]
) -> Travelling:
    cls.name = name  # the registry of the other process has set it there
    with torch.random.fork_rng(devices=[]):
        generator = cls(config, spec)
    generator.load_state_dict(weights)
    return Travelling(generator.eval())


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
        yield _alone(work, Travelling(generator), parts[0], 0)
        slow = (time.perf_counter() - start) * (len(parts) - 1) > WORTH_WORKERS
        with side_by_side(len(parts) - 1 if slow else 0, generator.device.type) as found:
            yield from _shared(work, generator, parts, found, first=1)


def _shared(work: Work[P, T], generator: Generator, parts: Sequence[P], workers: Workers, *, first: int) -> Iterator[T]:
    travelling = Travelling(generator)
    rest = enumerate(parts[first:], start=first)
    yield from workers.in_order([workers.submit(_alone, work, travelling, part, index) for index, part in rest])


def _alone(work: Work[P, T], travelling: Travelling, part: P, index: int) -> T:
    with threads(1):
        return work(travelling.generator, part, index)
