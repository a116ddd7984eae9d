"""What a training was asked for, the scalars it keeps, and how it can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.errors import ConfigError
from augment.training.history import Progress

Reason = str
"""``"finished"``, ``"max_seconds"``, ``"stop_at"``, or why the generator itself wanted to stop, in a sentence."""


OUT_OF_TIME = "max_seconds"
"""Why a training stopped that could go on."""


class Diverged(ConfigError):
    """Loss or gradients stayed non-finite, or the trained generator is no use; the last good checkpoint is kept.

    Example:
        >>> from augment.training import Diverged
        >>> Diverged("The loss is not finite since step 40.").exit_code
        3
    """


NUMERICAL = (FloatingPointError, torch.linalg.LinAlgError, np.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What values that are not finite, or far too large, raise in a factorisation or in the fit of a density."""


@dataclass(frozen=True)
class TrainingPlan:
    """What was asked for; ``identity`` is what a checkpoint must agree with."""

    seed: int
    steps: int
    stop_at: int | None
    max_seconds: float | None
    folder: Path | None
    precision: str
    identity: dict[str, Any]
    on_progress: Callable[[Progress], None] | None
    on_row: Callable[[dict[str, float]], None] | None = None


@dataclass
class TrainingState:
    """The scalars that a checkpoint keeps."""

    step: int = 0
    seconds: float = 0.0
    tenths: int = 0
    skipped: int = 0
    streak: int = 0
    best_step: int | None = None
    best_loss: float | None = None
    meter: dict[str, tuple[float, int]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
