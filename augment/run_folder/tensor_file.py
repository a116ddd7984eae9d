"""Arrays with names and a few words about them in one file: written at once or not at all, read by anyone.

The format is safetensors, which holds no code. Reading takes numpy alone, so that what only looks at results need not
wait for torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from augment.storage.files import write_bytes


@dataclass(frozen=True)
class TensorFile:
    """The content of a file: arrays by name, and texts by name."""

    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, str]


def write(path: Path, content: TensorFile) -> None:
    """Write ``content`` atomically; raises OSError where that is impossible."""
    from safetensors.numpy import save

    write_bytes(path, save(dict(content.arrays), dict(content.metadata)))


def read(path: Path) -> TensorFile | None:
    """The content of ``path``; None where there is no file, or a damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return TensorFile({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})
    except (OSError, SafetensorError):
        return None
