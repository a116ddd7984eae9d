"""Exponential moving average of weights, used for validation and as the final weights.

Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992; decay warm-up as in TensorFlow's
ExponentialMovingAverage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averages of a module's trainable parameters and of its saved floating-point buffers.

    decay: in [0, 1); 0 keeps no averages, so that :meth:`applied` changes nothing. A buffer that holds non-finite
    values from the start (a mask, say) and integer buffers are used as they are in the module.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters: dict[str, Tensor] = {
            name: p for name, p in module.named_parameters() if p.requires_grad and decay
        }
        self._owners = {name: place for name, place in _buffers(module) if decay and _averageable(place)}
        self.tensors = {name: tensor.detach().clone() for name, tensor in self._live().items()}
        self._averages = list(self.tensors.values())

    def _live(self) -> dict[str, Tensor]:
        """The module's tensors now; buffers are looked up, since a plugin may assign new ones."""
        return self._parameters | {name: getattr(owner, leaf) for name, (owner, leaf) in self._owners.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the weights after update number ``step`` (from 0), with decay min(d, (1 + s) / (10 + s))."""
        if self._averages:
            weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._averages, [tensor.detach() for tensor in self._live().values()], weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module computes with the averages inside the block; storage is exchanged, nothing is copied."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for tensor, average in zip(self._live().values(), self._averages, strict=True):
            tensor.data, average.data = average.data, tensor.data

    @torch.no_grad()
    def heal(self) -> None:
        """Put the averages in place of buffers that a non-finite batch spoiled (running statistics, say)."""
        live = self._live()
        for name in self._owners:
            if not bool(torch.isfinite(live[name]).all()):
                live[name].copy_(self.tensors[name])


def _buffers(module: nn.Module) -> Iterator[tuple[str, tuple[nn.Module, str]]]:
    """Saved buffers by full name, each with the module that owns it."""
    for prefix, owner in module.named_modules():
        for leaf in (name for name in owner._buffers if name not in owner._non_persistent_buffers_set):
            yield f"{prefix}.{leaf}" if prefix else leaf, (owner, leaf)


def _averageable(place: tuple[nn.Module, str]) -> bool:
    buffer = place[0]._buffers[place[1]]
    return buffer is not None and buffer.is_floating_point() and bool(torch.isfinite(buffer).all())
