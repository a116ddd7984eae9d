"""Optimizer updates: learning-rate schedule, clipping, the guard against non-finite gradients, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from augment.training.processes import Processes


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
        self._owners = {name: owner for name, owner in _buffers(module) if decay and _averageable(owner)}
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
    def replace_non_finite_buffers(self) -> None:
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


def _averageable(owner: tuple[nn.Module, str]) -> bool:
    buffer = owner[0]._buffers[owner[1]]
    return buffer is not None and buffer.is_floating_point() and bool(torch.isfinite(buffer).all())


def learning_rate_factor(share: float, *, warmup: float, first: float) -> float:
    """Factor of the peak learning rate: a linear rise over ``warmup``, then half a cosine down to 0.

    share: of the training that is behind, in [0, 1].  first: one step's share, so that the first update moves too.
    Loshchilov & Hutter, SGDR, arXiv 1608.03983.
    """
    if share < warmup:
        return min(1.0, (share + first) / warmup)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))) if warmup < 1 else 1.0


class GuardedOptimizer(Optimizer):
    """An optimizer as a plugin's ``training_step`` sees it.

    ``step`` averages gradients over processes, measures their norm, clips it to ``grad_clip`` (0: not at all), and
    makes the update only when the norm is finite; else it discards the gradients and sets :attr:`skipped`.
    """

    def __init__(self, optimizer: Optimizer, *, grad_clip: float, processes: Processes, share: float) -> None:
        # The base constructor would register the parameters a second time; everything is the inner optimizer's.
        self.inner = optimizer
        self.defaults = optimizer.defaults
        self.state = optimizer.state
        self.param_groups = optimizer.param_groups
        self.skipped = False
        self.norm: Tensor | None = None
        self._parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
        self._grad_clip = grad_clip
        self._processes = processes
        self._share = share

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Discard the gradients."""
        self.inner.zero_grad(set_to_none=set_to_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters, or skip where a gradient is not finite; returns what ``closure`` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._processes.average_gradients_(self._parameters, self._share)
        self.norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if not math.isfinite(self.norm.item()):
            self.skipped = True
            self.zero_grad()
            return loss
        if self._grad_clip:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self._grad_clip, self.norm)
        self.inner.step()
        return loss


class Updates:
    """All optimizers of a generator, behind guards, on one schedule."""

    def __init__(
        self, optimizers: Sequence[Optimizer], *, grad_clip: float, processes: Processes, share: float
    ) -> None:
        self.guards = [
            GuardedOptimizer(inner, grad_clip=grad_clip, processes=processes, share=share) for inner in optimizers
        ]
        self._peaks = [(group, group["lr"]) for guard in self.guards for group in guard.param_groups]

    def begin(self, factor: float) -> None:
        """Before a step: set the learning rates and forget what the last step did."""
        for group, peak in self._peaks:
            group["lr"] = peak * factor
        for guard in self.guards:
            guard.skipped, guard.norm = False, None

    @property
    def lr(self) -> float:
        """Learning rate of the first group."""
        return float(self._peaks[0][0]["lr"]) if self._peaks else 0.0

    @property
    def skipped(self) -> bool:
        """Whether any update of this step was left out."""
        return any(guard.skipped for guard in self.guards)

    def norms(self) -> dict[str, Tensor]:
        """Gradient norms of this step before clipping: ``grad_norm``, ``grad_norm_2`` ... by optimizer."""
        names = ("grad_norm" if index == 1 else f"grad_norm_{index}" for index in range(1, len(self.guards) + 1))
        return {name: guard.norm for name, guard in zip(names, self.guards, strict=True) if guard.norm is not None}
