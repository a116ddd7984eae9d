"""Checks that a generator makes images instead of remembering those it was trained on.

It is trained for a moment on images of pure noise, of which no model can have learned anything yet: what resembles one
of them was stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.datasets import LabelledImages
from augment.generator import Generator
from augment.testing.subject import Subject, require, rng

PER_CLASS = 8
"""Noise images of each class; their mean, which an honest model may find, correlates with each of them by 0.35."""

COPIED = 0.9
"""Correlation from which an image is a copy: of other brightness or contrast, or with noise of half its deviation."""

SAMPLES = 24


def check_samples_are_new(subject: Subject) -> None:
    """``sample`` returns no training images: not as they were, nor mirrored, brightened or with some noise."""
    noise = _noise(subject)
    generator = subject.fit(noise)
    labels = torch.arange(SAMPLES) % subject.spec.num_classes
    count = int(_copied(generator.sample(SAMPLES, labels, rng=rng()), noise.images).sum())
    problem = f"{count} of {SAMPLES} samples are copies of training images"
    wants = "new images; a memory of training images looks excellent in every score and teaches nothing"
    require(not count, problem, wants, "Generator.sample")


def check_keeps_no_images(subject: Subject) -> None:
    """No weight, buffer or attribute holds training images after training and ``after_training``."""
    noise = _noise(subject)
    generator = subject.fit(noise)
    counts = {
        name: int(_copied(rows, noise.images).sum())
        for name, tensor in _held(generator)
        for rows in _as_images(tensor, subject)
    }
    holding = {name: count for name, count in counts.items() if count}
    problem = f"Training images are kept (how many, by name): {holding}"
    require(not holding, problem, "what was learned of them, not the images themselves", "Generator")


def _noise(subject: Subject) -> LabelledImages:
    """Uniform noise of every class, uint8."""
    labels = torch.arange(subject.spec.num_classes).repeat_interleave(PER_CLASS)
    shape, source = (len(labels), *subject.spec.shape), torch.Generator().manual_seed(7)
    return LabelledImages(torch.randint(0, 256, shape, dtype=torch.uint8, generator=source), labels)


def _copied(images: Tensor, originals: Tensor) -> Tensor:
    """Which rows of ``images`` correlate with an original or its mirror image as copies do, bool ``(n,)``."""
    gallery = torch.cat([_standard(originals), _standard(originals.flip(-1))])
    return (_standard(images) @ gallery.T).amax(1) >= COPIED


def _standard(images: Tensor) -> Tensor:
    """Rows of pixels with mean 0 and length 1, so that products are correlations; flat images become 0."""
    rows = images.detach().cpu().float().flatten(1).nan_to_num(0, 0, 0)
    return F.normalize(rows - rows.mean(1, keepdim=True), dim=1)


def _as_images(tensor: Tensor, subject: Subject) -> Iterator[Tensor]:
    """The tensor as rows of images, where its size allows that."""
    channels, height, width = subject.spec.shape
    if tensor.numel() and tensor.numel() % (channels * height * width) == 0:
        yield tensor.reshape(-1, channels, height, width)


def _held(generator: Generator) -> Iterator[tuple[str, Tensor]]:
    """Every tensor or array that a generator's modules hold, by its name or that of the attribute it is in."""
    yield from generator.named_parameters()
    yield from generator.named_buffers()
    for prefix, module in generator.named_modules():
        for name, value in _attributes(module).items():
            yield from ((f"{prefix}.{name}".lstrip("."), tensor) for tensor in _tensors(value, set()))


def _attributes(module: nn.Module) -> dict[str, object]:
    """Plain attributes of a module, those of its class among them."""
    classes = [cls for cls in type(module).__mro__ if issubclass(cls, nn.Module)]
    attributes = {name: value for cls in reversed(classes) for name, value in vars(cls).items()} | vars(module)
    return {name: value for name, value in attributes.items() if name not in ("_parameters", "_buffers", "_modules")}


def _tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    """Tensors in nested lists, tuples, sets and mappings."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, np.ndarray) and value.dtype.kind in "uif":
        yield torch.from_numpy(value)
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        inner: Iterable[object] = value.values() if isinstance(value, Mapping) else value
        for each in inner:
            yield from _tensors(each, seen)
