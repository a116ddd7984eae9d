"""Randomness that derives from a seed and a place in the work, and a caller who finds everything as it was.

Every random number of step ``s`` comes from the stream ``"step", s, process`` of the seed: no generator state has to
be kept to resume exactly.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from augment.errors import Stopped
from augment.seeds import derived_seed


def seed_all(device: torch.device, seed: int, *names: int | str) -> None:
    """Put the global generators of Python, NumPy and PyTorch (CPU and ``device``) at the start of a stream."""
    seed = derived_seed(seed, *names)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed also asks every absent accelerator, in 0.1 ms
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def isolated(device: torch.device) -> Iterator[None]:
    """Gradients on, whatever the caller's mode; on leaving, all global state is what it was on entering.

    Restored: random states, grad mode, default dtype, thread count, deterministic and cuDNN flags.
    """
    before = _GlobalState.of(device)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        before.restore()


@dataclass(frozen=True)
class _GlobalState:
    python: Any
    numpy: Any
    generator: Tensor
    cuda: list[Tensor] | None
    mps: Tensor | None
    threads: int
    dtype: torch.dtype
    deterministic: bool
    warn_only: bool
    benchmark: bool
    cudnn_deterministic: bool

    @classmethod
    def of(cls, device: torch.device) -> _GlobalState:
        return cls(
            python=random.getstate(),
            numpy=np.random.get_state(),
            generator=torch.get_rng_state(),
            cuda=torch.cuda.get_rng_state_all() if device.type == "cuda" else None,
            mps=torch.mps.get_rng_state() if device.type == "mps" else None,
            threads=torch.get_num_threads(),
            dtype=torch.get_default_dtype(),
            deterministic=torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            benchmark=torch.backends.cudnn.benchmark,
            cudnn_deterministic=torch.backends.cudnn.deterministic,
        )

    def restore(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.generator)
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)
        if self.mps is not None:
            torch.mps.set_rng_state(self.mps)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        torch.backends.cudnn.benchmark = self.benchmark
        torch.backends.cudnn.deterministic = self.cudnn_deterministic


class Interruption:
    """SIGTERM and SIGINT held back until the step is finished and the checkpoint written; handlers return on leaving.

    Only the main thread can install handlers; elsewhere, and for a signal the caller ignores, nothing changes.
    """

    def __init__(self) -> None:
        self.number = 0
        self.message = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive) or signal.SIG_DFL
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
        if self.message:
            raise Stopped(self.message, number)

    def at_once(self, message: str) -> None:
        """From now on a signal raises :class:`~augment.errors.Stopped` where it arrives: the work so far is saved."""
        self.message = message
        if self.number:
            raise Stopped(message, self.number)
