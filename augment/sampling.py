"""Labels -> uint8 images of a generator, chunk by chunk, on as many cores as there are workers.

Chunks have seeds of their own (:func:`augment.generator.draw`) and are computed on one thread each on a CPU, so the
images are the same whoever draws which chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from augment.generator import SAMPLE_CHUNK, Generator, draw
from augment.travelling import on_all_cores
from augment.workers import Workers

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
    parts = [part for part in labels.cpu().split(SAMPLE_CHUNK) if len(part)]
    done = 0
    for chunk in on_all_cores(partial(_chunk, seed=seed, precision=precision), generator, parts, workers=workers):
        images[done : done + len(chunk)] = chunk
        done += len(chunk)
        if on_progress is not None:
            on_progress(done, len(labels))
    return images


def _chunk(generator: Generator, labels: Tensor, index: int, *, seed: int, precision: str) -> Tensor:
    (images,) = draw(generator, labels, seed, first_chunk=index, precision=precision)
    return as_uint8(images)
