"""Diffusion both ways: noise schedules, noising and what a network may predict; samplers back to a clean image.

Ho, Jain and Abbeel 2020, arXiv 2006.11239 (linear schedule, epsilon); Nichol and Dhariwal 2021, arXiv 2102.09672
(cosine schedule); Salimans and Ho 2022, arXiv 2202.00512 (v); Hang et al. 2023, arXiv 2303.09556 (min-SNR weights).

Samplers are one function per algorithm, over the schedulers of diffusers. All take ``x``, noise or a noised image at
``timesteps(steps)[first]``, walk down the remaining timesteps, and return the clean images. ``predict(x_t, t)`` gives
the clean image a model sees behind x_t at the timestep ``t``, an int; conditioning and guidance are the model's
business. Randomness, where an algorithm has any, comes from ``rng``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

TIMESTEPS = 1000
"""Steps of the forward process; ``t`` counts them from 0, a little noise, to 999, noise alone."""

Schedule = Literal["cosine", "linear"]
Prediction = Literal["v", "epsilon"]
SamplerName = Literal["dpm-solver++", "ddim", "ddpm"]
Predict = Callable[[Tensor, int], Tensor]


def betas(schedule: Schedule) -> Tensor:
    """Variances added per step, ``(1000,)`` float64."""
    if schedule == "linear":
        return torch.linspace(1e-4, 0.02, TIMESTEPS, dtype=torch.float64)
    u = torch.arange(TIMESTEPS + 1, dtype=torch.float64) / TIMESTEPS
    alpha_bar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)


class Diffusion(nn.Module):
    """q(x_t | x) = N(sqrt(alpha_bar_t) x, (1 - alpha_bar_t) I) and the arithmetic around it; t is ``(n,)`` int64."""

    alpha_bar: Tensor

    def __init__(self, schedule: Schedule, prediction: Prediction) -> None:
        super().__init__()
        self.prediction = prediction
        alpha_bar = (1 - betas(schedule)).cumprod(0).float()
        self.register_buffer("alpha_bar", alpha_bar, persistent=False)

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), each ``(n, 1, 1, 1)``."""
        alpha_bar = self.alpha_bar[t].view(-1, 1, 1, 1)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def add_noise(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t, a draw of q(x_t | x) for standard normal ``eps``."""
        signal, noise = self.scales(t)
        return signal * x + noise * eps

    def target(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What the network is to predict: eps, or v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x."""
        if self.prediction == "epsilon":
            return eps
        signal, noise = self.scales(t)
        return signal * eps - noise * x

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean image that a prediction implies."""
        signal, noise = self.scales(t)
        return (x_t - noise * output) / signal if self.prediction == "epsilon" else signal * x_t - noise * output

    def weight(self, t: Tensor, gamma: float) -> Tensor:
        """Weight ``(n,)`` of the squared error at t: min(SNR, gamma) in terms of x (arXiv 2303.09556)."""
        snr = self.alpha_bar[t] / (1 - self.alpha_bar[t])
        return snr.clamp(max=gamma) / (snr if self.prediction == "epsilon" else snr + 1)


def timesteps(steps: int) -> list[int]:
    """The timesteps visited, from 999 down, evenly spaced ("trailing": Lin et al. 2023, arXiv 2305.08891)."""
    return [round(TIMESTEPS * (steps - index) / steps) - 1 for index in range(steps)]


def sample_ddpm(
    x: Tensor, predict: Predict, *, schedule: Schedule, steps: int, first: int = 0, rng: torch.Generator | None = None
) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, arXiv 2006.11239, algorithm 2); wants some hundred steps."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    scheduler = _scheduler(DDPMScheduler, schedule, steps, clip_sample=False)
    return _walk(x, predict, partial(scheduler.step, generator=rng), steps, first)


def sample_ddim(
    x: Tensor, predict: Predict, *, schedule: Schedule, steps: int, first: int = 0, rng: torch.Generator | None = None
) -> Tensor:
    """Deterministic given ``x`` (Song et al. 2020, arXiv 2010.02502, eta = 0); wants 20 steps or more."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    scheduler = _scheduler(DDIMScheduler, schedule, steps, clip_sample=False)
    return _walk(x, predict, scheduler.step, steps, first)


def sample_dpm_solver(
    x: Tensor, predict: Predict, *, schedule: Schedule, steps: int, first: int = 0, rng: torch.Generator | None = None
) -> Tensor:
    """DPM-Solver++ of second order, deterministic (Lu et al. 2022, arXiv 2211.01095); wants 10 steps or more."""
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    scheduler = _scheduler(DPMSolverMultistepScheduler, schedule, steps)
    scheduler.set_begin_index(first)
    return _walk(x, predict, scheduler.step, steps, first)


SAMPLERS: dict[SamplerName, Callable[..., Tensor]] = {
    "dpm-solver++": sample_dpm_solver,
    "ddim": sample_ddim,
    "ddpm": sample_ddpm,
}


def _scheduler(cls: Any, schedule: Schedule, steps: int, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # diffusers hands tensors to NumPy 2 in NumPy 1's way
        scheduler = cls(
            num_train_timesteps=TIMESTEPS,
            trained_betas=betas(schedule).numpy(),
            prediction_type="sample",
            timestep_spacing="trailing",
            **options,
        )
        scheduler.set_timesteps(steps)
    return scheduler


def _walk(x: Tensor, predict: Predict, step: Callable[..., Any], steps: int, first: int) -> Tensor:
    for t in timesteps(steps)[first:]:
        x = step(predict(x, t), t, x).prev_sample
    return x
