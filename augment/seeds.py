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
    """Seed of one stream of a person's seed.

    Args:
        seed: The person's.
        *names: What the stream is for.

    Returns:
        63 bits, the same on every machine.

    Example:
        >>> from augment.seeds import derived_seed
        >>> derived_seed(0, "epoch", 3)
        7846613312426240703
        >>> derived_seed(0, "epoch", 3) == derived_seed(1, "epoch", 2)
        False
    """
    digest = hashlib.sha256(":".join(map(str, ("augment", seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def torch_rng(seed: int, *names: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """PyTorch's generator at the start of a stream.

    Args:
        seed: The person's.
        *names: What the stream is for.
        device: Where it draws.

    Returns:
        A fresh generator.

    Example:
        >>> import torch
        >>> from augment.seeds import torch_rng
        >>> one, same = (torch.rand(3, generator=torch_rng(0, "epoch", 3)) for _ in range(2))
        >>> torch.equal(one, same)
        True
    """
    import torch

    return torch.Generator(device).manual_seed(derived_seed(seed, *names))


def numpy_rng(seed: int, *names: int | str) -> np.random.Generator:
    """NumPy's generator at the start of a stream.

    Args:
        seed: The person's.
        *names: What the stream is for.

    Returns:
        A fresh generator.

    Example:
        >>> from augment.seeds import numpy_rng
        >>> numpy_rng(0, "order").random() == numpy_rng(0, "order").random()
        True
    """
    import numpy as np

    return np.random.default_rng(derived_seed(seed, *names))


def random_state(seed: int, *names: int | str) -> int:
    """The stream as scikit-learn's ``random_state``, which takes 32 bits.

    Args:
        seed: The person's.
        *names: What the stream is for.

    Returns:
        A whole number below 2^32.

    Example:
        >>> from augment.seeds import derived_seed, random_state
        >>> random_state(0, "tree") == derived_seed(0, "tree") >> 31
        True
    """
    return derived_seed(seed, *names) >> 31
