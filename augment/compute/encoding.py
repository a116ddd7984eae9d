"""Features by a generator's ``encode``: on all cores, with the options this model has and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from augment.compute.device import CPU, Compute
from augment.compute.workers import on_all_cores
from augment.errors import PluginError, UsageError, unknown_name
from augment.generator import Generator, evaluating
from augment.registry.capabilities import REQUIRED, encode_options
from augment.registry.models import known_models

ENCODE_CHUNK = 256
"""Images per pass."""

ALL = "all"
"""Stands for all layers of a model, joined."""

OnProgress = Callable[[int, int], None]


def encode_set(
    generator: Generator,
    images: Tensor,
    *,
    layers: Sequence[str | None] = (None,),
    compute: Compute = CPU,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> list[Tensor]:
    """Features ``(N, D)`` float32 on the CPU of uint8 images ``(N, C, H, W)``, one tensor per name in ``layers``.

    layers: names of ``generator.layers``, several joined by commas, "all", or None for the model's own default. They
    come out of one pass where the model can do so.  options: of the model's ``encode``. Raises UsageError for an option
    or layer that the model does not have, PluginError when it returns another shape or non-finite values.
    """
    check_encode_options(type(generator), {**options, **({"layer": None} if any(layers) else {})})
    check_layers(generator, layers)
    joined = tuple(",".join(generator.layers) if name == ALL else name for name in layers)
    work = partial(_chunk, layers=joined, options=options, precision=compute.precision)
    parts = [part.clone() for part in images.split(ENCODE_CHUNK) if len(part)]  # a view travels with all of it
    chunks: list[list[Tensor]] = []
    done = 0
    for part, chunk in zip(parts, on_all_cores(work, generator, parts, workers=compute.workers), strict=True):
        chunks.append(chunk)
        done += len(part)
        if on_progress is not None:
            on_progress(done, len(images))
    return [torch.cat(layer_chunks) for layer_chunks in zip(*chunks, strict=True)]


def _chunk(
    generator: Generator,
    images: Tensor,
    index: int,
    *,
    layers: tuple[str | None, ...],
    options: Mapping[str, Any],
    precision: str,
) -> list[Tensor]:
    """Features of one chunk, by layer."""
    x = images.to(generator.device).float().div(255)
    single = list(dict.fromkeys(name for joined in layers if joined for name in joined.split(",")))
    with evaluating(generator), torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        by_name = dict(zip(single, generator.encode_layers(x, single, **options) if single else [], strict=True))
        own = generator.encode(x, **options) if None in layers else None
    outputs = [own if name is None else torch.cat([by_name[one] for one in name.split(",")], dim=1) for name in layers]
    return [_checked(generator, features, len(x)) for features in outputs if features is not None]


def _checked(generator: Generator, features: Tensor, n: int) -> Tensor:
    if features.ndim != 2 or len(features) != n:
        raise PluginError(f"{generator.name}.encode returned {tuple(features.shape)} for {n} images; ({n}, D) is due.")
    if not bool(torch.isfinite(features).all()):
        raise PluginError(f"{generator.name}.encode returned non-finite values: its training has diverged.")
    return features.float().cpu()


def check_layers(generator: Generator, layers: Sequence[str | None]) -> None:
    """Raise UsageError for a name that is neither "all", nor one or several of the generator's layers."""
    for name in (one for joined in layers if joined and joined != ALL for one in joined.split(",")):
        if name not in generator.layers:
            raise UsageError(unknown_name(f"layer of {generator.name!r}", name, (ALL, *generator.layers)))


def check_encode_options(cls: type[Generator], options: Mapping[str, Any]) -> None:
    """Raise UsageError unless ``cls.encode`` can be called with these options."""
    known = encode_options(cls)
    name = cls.name or cls.__name__
    for option in options:
        if option not in known:
            raise UsageError(_unknown(name, option, known))
    missing = [option for option, default in known.items() if default is REQUIRED and option not in options]
    if missing:
        raise UsageError(f"Features of {name!r} need {', '.join(missing)}. `augment models {name}` says what it is.")


def _unknown(model: str, option: str, known: Mapping[str, Any]) -> str:
    """What was wrong, what this model has, and which others have the option, as far as is known without importing."""
    has = ", ".join(f"{key}={_shown(default)}" for key, default in known.items())
    others = [info.name for info in known_models() if option in (one.name for one in info.capabilities.encode_options)]
    hint = (
        f" Models that have {option}: {', '.join(others)}." if others else " `augment models` shows which model has it."
    )
    return (
        f"Features of {model!r} have no option {option!r}; "
        + (f"its options and defaults are {has}." if known else "its encode has no options at all. Leave it out.")
        + hint
    )


def _shown(default: Any) -> str:
    return "(must be given)" if default is REQUIRED else str(default)
