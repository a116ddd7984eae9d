"""Features kept on disk by the content of images, weights, options and code, so that nothing is encoded twice."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from augment.capabilities import encode_options
from augment.encoding import OnProgress, encode_set
from augment.generator import Generator
from augment.progress import Reporter
from augment.store import content_hash, held, write_bytes
from augment.trained import plugin_code
from augment.workers import Workers


class FeatureCache:
    """Features kept on disk by the content of images, weights, options and code.

    folder: where they are kept; it need not exist. A folder that cannot be written only means encoding again.
    report: is told where another process encodes the same and is waited for.
    """

    def __init__(self, folder: Path, report: Reporter | None = None) -> None:
        self.folder = folder
        self.report = report or Reporter()

    def encode(
        self,
        generator: Generator,
        images: Tensor,
        *,
        layers: Sequence[str | None] = (None,),
        precision: str = "fp32",
        workers: Workers | None = None,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> list[Tensor]:
        """As :func:`encode_set`; layers that were encoded before are read, the others come out of one pass."""
        base = [_identity(generator), _pixels(images), precision, _complete(generator, options)]
        files = {name: self._file(base, name) for name in dict.fromkeys(layers)}
        with held(self.folder / content_hash(base), self._waiting):
            found = {name: _read(file) for name, file in files.items()}
            missing = [name for name, features in found.items() if features is None]
            if missing:
                made = encode_set(
                    generator,
                    images,
                    layers=missing,
                    precision=precision,
                    workers=workers,
                    on_progress=on_progress,
                    **options,
                )
                for name, features in zip(missing, made, strict=True):
                    found[name] = features
                    with contextlib.suppress(OSError):
                        write_bytes(files[name], save({"features": features.contiguous()}))
        return [features for features in (found[name] for name in layers) if features is not None]

    def _waiting(self) -> None:
        self.report.note("Waiting for another process that encodes the same images.")

    def _file(self, base: Sequence[Any], layer: str | None) -> Path:
        return self.folder / f"{content_hash([*base, layer])}.safetensors"


def _identity(generator: Generator) -> str:
    """Hash of a generator's class, options, code and weights."""
    digest = hashlib.sha256(f"{generator.name} {plugin_code(type(generator))} {generator.config!r}".encode())
    for name, tensor in generator.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().numpy().tobytes())
    return digest.hexdigest()


def _pixels(images: Tensor) -> str:
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    digest.update(images.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def _complete(generator: Generator, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``encode`` with their defaults, without the layer."""
    return {name: value for name, value in {**encode_options(type(generator)), **options}.items() if name != "layer"}


def _read(file: Path) -> Tensor | None:
    try:
        return load_file(file)["features"]
    except (OSError, KeyError, SafetensorError):
        return None
