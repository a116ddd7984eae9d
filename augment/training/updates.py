"""Optimizer updates: learning-rate schedule, clipping, the guard against non-finite gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from augment.training.processes import Processes


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
