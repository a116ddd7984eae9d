"""Labels -> uint8 images of a generator, chunk by chunk, on as many cores as there are workers.

Chunks have seeds of their own (:func:`augment.generator.draw`) and are computed on one thread each on a CPU, so the
images are the same whoever draws which chunk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from augment.generator import SAMPLE_CHUNK, Generator, GeneratorConfig, ImageSpec, draw
from augment.workers import Workers, side_by_side, threads

WORTH_WORKERS = 15.0
"""Seconds of drawing that are left from which on starting processes pays; each takes some seconds to start."""

OnProgress = Callable[[int, int], None]


def as_uint8(images: Tensor) -> Tensor:
    """Round float images in [0, 1] to uint8 in 0..255."""
    return images.mul(255).round_().to(torch.uint8)


def sample_images(
    generator: Generator,
    labels: Tensor,
    *,
    seed: int,
    precision: str = "fp32",
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
) -> Tensor:
    """One image per label: uint8 ``(n, C, H, W)``.

    workers: processes that help; without any, some are started where drawing is slow. on_progress: called with images
    done and wanted. Raises PluginError when a plugin returns another shape or non-finite values.
    """
    images = torch.empty((len(labels), *generator.spec.shape), dtype=torch.uint8)
    done = 0
    for chunk in _chunks(generator, labels.cpu(), seed, precision, workers):
        images[done : done + len(chunk)] = chunk
        done += len(chunk)
        if on_progress is not None:
            on_progress(done, len(labels))
    return images


def _chunks(
    generator: Generator, labels: Tensor, seed: int, precision: str, workers: Workers | None
) -> Iterator[Tensor]:
    parts = [part for part in labels.split(SAMPLE_CHUNK) if len(part)]
    if workers is None and parts:
        start = time.perf_counter()
        yield _chunk(generator, parts[0], seed, 0, precision)
        slow = (time.perf_counter() - start) * (len(parts) - 1) > WORTH_WORKERS
        with side_by_side(len(parts) - 1 if slow else 0, generator.device.type) as found:
            yield from _rest(generator, parts, seed, precision, found, first=1)
    elif workers is not None:
        yield from _rest(generator, parts, seed, precision, workers, first=0)


def _rest(
    generator: Generator, parts: list[Tensor], seed: int, precision: str, workers: Workers, *, first: int
) -> Iterator[Tensor]:
    travelling = _Travelling(generator)
    jobs = [
        workers.submit(_travelled_chunk, travelling, part, seed, index, precision)
        for index, part in enumerate(parts[first:], start=first)
    ]
    yield from workers.in_order(jobs)


def _chunk(generator: Generator, labels: Tensor, seed: int, index: int, precision: str) -> Tensor:
    with threads(1):
        (images,) = draw(generator, labels, seed, first_chunk=index, precision=precision)
        return as_uint8(images)


class _Travelling:
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
) -> _Travelling:
    cls.name = name  # the registry of the other process has set it there
    with torch.random.fork_rng(devices=[]):
        generator = cls(config, spec)
    generator.load_state_dict(weights)
    return _Travelling(generator.eval())


def _travelled_chunk(travelling: _Travelling, labels: Tensor, seed: int, index: int, precision: str) -> Tensor:
    return _chunk(travelling.generator, labels, seed, index, precision)
