"""Where a result was made: versions, processor and device, as they are kept with it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from augment.device import processor


def environment(device: str) -> dict[str, Any]:
    """Versions of what decides a number, and the machine; ``threads`` are those of torch in this process.

    device: a name of :func:`augment.device.available_devices`; that of a GPU is followed by what it is.
    """
    return {
        "augment": version("augment-toolkit"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": processor()[0] or platform.processor() or platform.machine(),
        "device": _described(device),
        "threads": torch.get_num_threads(),
    }


def _described(device: str) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if torch.device(device).type == "cuda" else device
