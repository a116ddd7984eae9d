"""Features kept on disk by the content of images, weights, options and code, so that nothing is encoded twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from augment.compute.device import CPU, Compute
from augment.compute.encoding import OnProgress, encode_set
from augment.generator import Generator
from augment.progress import Reporter
from augment.registry.capabilities import encode_options
from augment.storage.cache import kept_parts
from augment.storage.files import write_bytes
from augment.storage.hashing import content_hash, tensors_hash
from augment.training.trained import plugin_code


class FeatureCache:
    """Features kept on disk by the content of images, weights, options and code.

    folder: where they are kept; it need not exist. A folder that cannot be written only means encoding again.
    reporter: is told where another process encodes the same and is waited for.
    """

    def __init__(self, folder: Path, reporter: Reporter | None = None) -> None:
        self.folder = folder
        self.reporter = reporter or Reporter()

    def encode(
        self,
        generator: Generator,
        images: Tensor,
        *,
        layers: Sequence[str | None] = (None,),
        compute: Compute = CPU,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> list[Tensor]:
        """As :func:`encode_set`; layers that were encoded before are read, the others come out of one pass."""
        base = [_identity(generator), tensors_hash(images), compute.precision, _complete(generator, options)]
        found = kept_parts(
            self.folder / content_hash(base),
            {name: self._file(base, name) for name in dict.fromkeys(layers)},
            lambda missing: dict(
                zip(
                    missing,
                    encode_set(
                        generator,
                        images,
                        layers=missing,
                        compute=compute,
                        on_progress=on_progress,
                        **options,
                    ),
                    strict=True,
                )
            ),
            read=_read,
            write=lambda file, features: write_bytes(file, save({"features": features.contiguous()})),
            waiting=self._waiting,
        )
        return [found[name] for name in layers]

    def _waiting(self) -> None:
        self.reporter.note("Waiting for another process that encodes the same images.")

    def _file(self, base: Sequence[Any], layer: str | None) -> Path:
        return self.folder / f"{content_hash([*base, layer])}.safetensors"


def _identity(generator: Generator) -> str:
    """Hash of a generator's class, options, code and weights."""
    parts: list[Tensor | str] = [f"{generator.name} {plugin_code(type(generator))} {generator.config!r}"]
    for name, tensor in generator.state_dict().items():
        parts += [name, tensor]
    return tensors_hash(*parts)


def _complete(generator: Generator, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``encode`` with their defaults, without the layer."""
    return {name: value for name, value in {**encode_options(type(generator)), **options}.items() if name != "layer"}


def _read(file: Path) -> Tensor | None:
    try:
        return load_file(file)["features"]
    except (OSError, KeyError, SafetensorError):
        return None
