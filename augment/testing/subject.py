"""What the checks work on: a generator class, toy images, and a room in which global state is watched and restored."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.datasets import LabelledImages
from augment.generator import Generator, GeneratorConfig, ImageSpec

SPECS = (ImageSpec(1, 28, 28, 3), ImageSpec(3, 32, 32, 3))
"""Image sizes every generator is checked on."""

TEST_OPTIONS: dict[str, Any] = {"steps": 6, "batch_size": 6, "warmup": 0.0}
"""Options of all checks; a generator's own ``test_options`` and the caller's ``options`` go before them."""


@dataclass(frozen=True)
class Subject:
    """A generator class under test on toy images of one size; every instance starts from the same torch seed.

    Attributes:
        cls: The class.
        spec: Shape of the images, and their classes, of which the toys have three.
        options: Configuration that goes before the class's ``test_options``.

    Example:
        >>> from augment import ImageSpec
        >>> from augment.testing import MinimalGenerator, Subject
        >>> subject = Subject(MinimalGenerator, ImageSpec(1, 28, 28, num_classes=3))
        >>> subject.images.shape, subject.labels.tolist(), subject.config.steps
        (torch.Size([6, 1, 28, 28]), [0, 0, 1, 1, 2, 2], 6)
    """

    cls: type[Generator]
    spec: ImageSpec
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> GeneratorConfig:
        """The small configuration the checks use."""
        own: Mapping[str, Any] = getattr(self.cls, "test_options", {})
        return self.cls.Config.parse({**TEST_OPTIONS, **own, **self.options})

    def create(self) -> Generator:
        """A fresh generator."""
        torch.manual_seed(0)
        return self.cls(self.config, self.spec)

    def toys(self, *counts: int) -> LabelledImages:
        """Noisy stripes whose frequency tells the class; ``counts`` images of each class, uint8."""
        labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        phase = torch.linspace(0, 1, self.spec.width) * (labels[:, None, None, None] + 1)
        noise = torch.rand(len(labels), *self.spec.shape, generator=torch.Generator().manual_seed(0))
        return LabelledImages(((0.4 + 0.3 * torch.sin(6 * phase) + 0.3 * noise) * 255).to(torch.uint8), labels)

    @property
    def images(self) -> Tensor:
        """Two images of each of three classes, float32 in [0, 1]; new tensors each time, so no check spoils another."""
        return self.toys(2, 2, 2).images.float() / 255

    @property
    def labels(self) -> Tensor:
        """Their classes, int64."""
        return self.toys(2, 2, 2).labels

    def fit(self, data: LabelledImages, **options: Any) -> Generator:
        """A fresh generator after a few steps of the training loop."""
        from augment.training.fitting import fit

        generator = self.create()
        fit(generator, data, None, seed=1, device="cpu", precision="fp32", **options)
        return generator

    @cached_property
    def training(self) -> Generator | Exception:
        """What a short run of the training loop ended with."""
        try:
            return self.fit(self.toys(4, 4, 4))
        except Exception as error:  # check_training raises it; the others only refer to it
            return error

    def fitted(self) -> Generator:
        """A copy of the one trained generator, in eval mode."""
        if isinstance(self.training, Exception):
            raise AssertionError("This check needs a trained generator, and training failed: see check_training.")
        return copy.deepcopy(self.training).eval()


def require(holds: bool, problem: str, wants: str, where: str) -> None:
    """Raise AssertionError unless the check ``holds``: the problem, what the contract wants, where to read."""
    if not holds:
        raise AssertionError(f"{problem}. The contract wants {wants}: read help(augment.{where}).")


def require_images(images: Tensor, n: int, spec: ImageSpec, what: str) -> None:
    """Raise AssertionError unless these are exactly ``n`` finite float32 images in [0, 1]."""
    expected, where = (n, *spec.shape), "Generator.sample"
    require(tuple(images.shape) == expected, f"{what} has shape {tuple(images.shape)}", f"{expected}", where)
    require(images.dtype == torch.float32, f"{what} is {images.dtype}", "float32", where)
    require(bool(torch.isfinite(images).all()), f"{what} has non-finite values", "finite ones", where)
    low, high = torch.aminmax(images.detach()) if n else (0.0, 1.0)
    require(bool(low >= 0 and high <= 1), f"{what} lies in [{low:.4g}, {high:.4g}]", "[0, 1]", where)


def rng(seed: int = 0) -> torch.Generator:
    """A random number generator for ``sample``."""
    return torch.Generator().manual_seed(seed)


def equal_weights(one: Generator, other: Generator) -> bool:
    """Whether all parameters and buffers are equal, bit for bit."""
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


# Each part of global state that a plugin has no business with: how it is read, and how it is put back.
_GLOBALS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's RNG": (torch.get_rng_state, torch.set_rng_state),
    "numpy's RNG": (np.random.get_state, np.random.set_state),
    "python's RNG": (random.getstate, random.setstate),
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the deterministic flag": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
}


def global_state() -> dict[str, Any]:
    """All watched global state, to be compared by :func:`changed` and put back by :func:`restore`."""
    return {name: read() for name, (read, _) in _GLOBALS.items()}


def restore(state: Mapping[str, Any]) -> None:
    """Put global state back as it was read."""
    for name, (_, write) in _GLOBALS.items():
        write(state[name])


def changed(before: Mapping[str, Any]) -> set[str]:
    """Names of what differs now from ``before``."""
    now = global_state()
    return {name for name in now if _plain(now[name]) != _plain(before[name])}


def _plain(state: Any) -> Any:
    if isinstance(state, tuple | list):
        return [_plain(part) for part in state]
    return state.tolist() if isinstance(state, Tensor | np.ndarray) else state


@contextmanager
def sandbox() -> Iterator[None]:
    """One thread, seeds nobody else would set, and at the end the global state of before, whatever a plugin did."""
    before = global_state()
    torch.set_num_threads(1)
    random.seed(8_191_357)
    np.random.seed(8_191_357)
    try:
        yield
    finally:
        restore(before)
