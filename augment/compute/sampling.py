"""Labels, images to edit or codes -> uint8 images of a generator, chunk by chunk, on all cores.

Chunks have seeds of their own (:func:`augment.generator.draw`) and are computed on one thread each on a CPU, so the
images are the same whoever draws which chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from augment.compute.device import CPU, Compute
from augment.compute.workers import Work, on_all_cores
from augment.errors import PluginError
from augment.generator import SAMPLE_CHUNK, Generator, draw, evaluating
from augment.seeds import torch_rng

P = TypeVar("P")

OnProgress = Callable[[int, int], None]


class Edit(NamedTuple):
    """Work for one chunk: images to start from, uint8 ``(n, C, H, W)``, and the classes to be, int64 ``(n,)``."""

    images: Tensor
    labels: Tensor


def as_uint8(images: Tensor) -> Tensor:
    """Round float images in [0, 1] to uint8 in 0..255."""
    return images.mul(255).round_().to(torch.uint8)


def sample_images(
    generator: Generator,
    labels: Tensor,
    *,
    seed: int,
    compute: Compute = CPU,
    on_progress: OnProgress | None = None,
) -> Tensor:
    """One image per label: uint8 ``(n, C, H, W)``.

    on_progress: called with images done and wanted. Raises PluginError when a plugin returns another shape or
    non-finite values.
    """
    work = partial(_chunk, seed=seed, precision=compute.precision)
    return _gathered(work, generator, _chunks(labels.cpu()), len(labels), compute, on_progress)


def edit_images(
    generator: Generator,
    images: Tensor,
    labels: Tensor,
    strength: float,
    *,
    seed: int,
    compute: Compute = CPU,
    on_progress: OnProgress | None = None,
) -> Tensor:
    """A new image for each of ``images``, uint8 ``(n, C, H, W)``, as ``labels``, by a generator tagged ``edits``.

    strength: in (0, 1], 1 forgets the image. Errors and the rest as :func:`sample_images`.
    """
    parts = [*map(Edit, _chunks(images), _chunks(labels))]
    work = partial(_edited, strength=strength, seed=seed, precision=compute.precision)
    return _gathered(work, generator, parts, len(labels), compute, on_progress)


def decode_codes(
    generator: Generator,
    codes: Tensor,
    *,
    compute: Compute = CPU,
    on_progress: OnProgress | None = None,
) -> Tensor:
    """Images uint8 ``(n, C, H, W)`` of codes ``(n, D)``, by a generator tagged ``decodes``; see sample_images."""
    work = partial(_decoded, precision=compute.precision)
    return _gathered(work, generator, _chunks(codes), len(codes), compute, on_progress)


def _chunks(rows: Tensor) -> list[Tensor]:
    """Copies of its parts: a view of a tensor travels to another process with the whole of it."""
    return [part.clone() for part in rows.split(SAMPLE_CHUNK) if len(part)]


def _gathered(
    work: Work[P, Tensor],
    generator: Generator,
    parts: Sequence[P],
    n: int,
    compute: Compute,
    on_progress: OnProgress | None,
) -> Tensor:
    """What ``work`` makes of the parts, ``n`` images in all, in order: uint8 ``(n, C, H, W)``."""
    images = torch.empty((n, *generator.spec.shape), dtype=torch.uint8)
    done = 0
    for chunk in on_all_cores(work, generator, parts, workers=compute.workers):
        images[done : done + len(chunk)] = chunk
        done += len(chunk)
        if on_progress is not None:
            on_progress(done, n)
    return images


def _chunk(generator: Generator, labels: Tensor, index: int, *, seed: int, precision: str) -> Tensor:
    (images,) = draw(generator, labels, seed, first_chunk=index, precision=precision)
    return as_uint8(images)


def _edited(generator: Generator, part: Edit, index: int, *, strength: float, seed: int, precision: str) -> Tensor:
    device = generator.device
    own = torch_rng(seed, "chunk", index, device=device)
    images, labels = part.images.to(device).float().div(255), part.labels.to(device)
    with evaluating(generator), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        edited = cast(Any, generator).sample_from(images, labels, strength, rng=own)
    return _checked(generator, edited, len(labels), "sample_from")


def _decoded(generator: Generator, codes: Tensor, index: int, *, precision: str) -> Tensor:
    device = generator.device
    with evaluating(generator), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        images = cast(Any, generator).decode(codes.to(device))
    return _checked(generator, images, len(codes), "decode")


def _checked(generator: Generator, images: Tensor, n: int, method: str) -> Tensor:
    expected = (n, *generator.spec.shape)
    if tuple(images.shape) != expected:
        raise PluginError(f"{generator.name}.{method} returned {tuple(images.shape)} instead of {expected}.")
    if not bool(torch.isfinite(images).all()):
        raise PluginError(f"{generator.name}.{method} returned non-finite values: its training has diverged.")
    return as_uint8(images.float().clamp(0, 1).cpu())
