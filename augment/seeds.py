"""Random streams: each is a hash of a person's seed and of what it is for, so that no two share a number by chance.

A repetition has one seed, and whatever draws in it names its stream: ``torch_rng(seed, "epoch", 3)``. Neighbouring
seeds, steps and classes are as far apart as any, and nothing is added to a seed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derived_seed(seed: int, *names: int | str) -> int:
    """A 63-bit seed of the stream ``names`` of ``seed``."""
    digest = hashlib.sha256(":".join(map(str, ("augment", seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def torch_rng(seed: int, *names: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """PyTorch's generator at the start of the stream ``names`` of ``seed``."""
    import torch

    return torch.Generator(device).manual_seed(derived_seed(seed, *names))


def numpy_rng(seed: int, *names: int | str) -> np.random.Generator:
    """NumPy's generator at the start of the stream ``names`` of ``seed``."""
    import numpy as np

    return np.random.default_rng(derived_seed(seed, *names))


def random_state(seed: int, *names: int | str) -> int:
    """The stream as scikit-learn's ``random_state``, which takes 32 bits."""
    return derived_seed(seed, *names) >> 31
