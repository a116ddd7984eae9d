"""Where a result was made: versions, processor and device, as they are kept with it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Environment:
    """Versions of what decides a number, and the machine; ``threads`` are those of torch in this process."""

    augment: str
    python: str
    torch: str
    numpy: str
    platform: str
    processor: str
    device: str
    threads: int


def environment(device: str) -> Environment:
    """Where this process is at work.

    device: a name of :func:`augment.device.available_devices`; that of a GPU is followed by what it is.
    """
    import numpy as np
    import torch

    from augment.device import processor

    return Environment(
        augment=version("augment-toolkit"),
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=np.__version__,
        platform=platform.platform(),
        processor=processor()[0] or platform.processor() or platform.machine(),
        device=_described(device),
        threads=torch.get_num_threads(),
    )


def _described(device: str) -> str:
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if torch.device(device).type == "cuda" else device
