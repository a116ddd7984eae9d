"""Samplers of diffusion models, one function per algorithm, over the schedulers of diffusers.

All take ``x``, noise or a noised image at ``timesteps(steps)[first]``, walk down the remaining timesteps, and return
the clean images. ``predict(x_t, t)`` gives the clean image a model sees behind x_t at the timestep ``t``, an int;
conditioning and guidance are the model's business. Randomness, where an algorithm has any, comes from ``rng``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ._diffusion import TIMESTEPS, Schedule, betas

SamplerName = Literal["dpm-solver++", "ddim", "ddpm"]
Predict = Callable[[Tensor, int], Tensor]


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
