"""A training's state on disk: one safetensors file per checkpoint, its scalars as JSON in the file's own header.

One file, written beside its place, synced and renamed: a process killed at any moment leaves either the previous
checkpoint or the new one, never half of one. There are no pickles, and none are read. What a
training in progress writes there, and how it goes on from it, stands at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from augment.errors import DataError, PluginError
from augment.storage.files import writing
from augment.storage.hashing import tensors_hash
from augment.training.history import write_history
from augment.training.state import TrainingState

if TYPE_CHECKING:
    from augment.datasets import LabelledImages
    from augment.generator import Generator
    from augment.training.loop import Loop

FORMAT = 1
"""Version of the layout; a checkpoint of another version is refused, not guessed at."""

KEY = "augment"
REMEDY = "Delete it to start afresh, or choose another folder."


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and a JSON document with everything else."""

    tensors: dict[str, Tensor]
    document: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose names begin with ``prefix/``, without it."""
        start = len(prefix) + 1
        return {name[start:]: tensor for name, tensor in self.tensors.items() if name.startswith(f"{prefix}/")}


def last_file(folder: Path) -> Path:
    """Where the state to resume from is."""
    return folder / "checkpoint" / "last.safetensors"


def best_file(folder: Path) -> Path:
    """Where the weights of the best validation loss are."""
    return folder / "checkpoint" / "best.safetensors"


def prepare(folder: Path, *, resume: bool) -> None:
    """Make the folder and try to write there; what a killed writer left goes, and earlier checkpoints unless resuming.

    Raises DataError when the folder cannot be made or written.
    """
    checkpoint_folder = last_file(folder).parent
    with writing(checkpoint_folder):
        checkpoint_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=checkpoint_folder) as probe:
            probe.write(b"\0")
        for leftover in checkpoint_folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        if not resume:
            last_file(folder).unlink(missing_ok=True)
            best_file(folder).unlink(missing_ok=True)


def write(file: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Replace ``file`` atomically; raises DataError when the disk is full or the folder cannot be written."""
    from safetensors.torch import save

    stored = {name: _detached(tensor) for name, tensor in tensors.items()}
    header = {"format": FORMAT, "checksum": _checksum(stored), **document}
    data = save(stored, metadata={KEY: json.dumps(header, allow_nan=False)})
    with writing(file.parent):
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
            _sync_folder(file.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _detached(tensor: Tensor) -> Tensor:
    """A copy of its own, since tied weights share storage and the format has no sharing; row-major."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut; some file systems have no such thing."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 over all values in the order of names: safetensors itself has no check of the data."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(_bytes(tensors[name]), value)
    return value


def _bytes(tensor: Tensor) -> memoryview:
    values: Any = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(values)


def read(file: Path) -> Checkpoint:
    """Read a checkpoint; raises DataError when it is damaged, truncated, not ours or of another format."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            document = json.loads((opened.metadata() or {}).get(KEY, "null"))
            names = opened.keys() if isinstance(document, dict) and document.get("format") == FORMAT else ()
            tensors = {name: opened.get_tensor(name) for name in names}
    except SafetensorError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{file} is damaged, truncated or not a safetensors file ({reason}). Pickles are never read. {REMEDY}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}. {REMEDY}") from None
    return _checked(file, Checkpoint(tensors, document))


def _checked(file: Path, checkpoint: Checkpoint) -> Checkpoint:
    document = checkpoint.document
    if not isinstance(document, dict):
        raise DataError(f"{file} was not written by this program: it has no {KEY!r} entry. {REMEDY}")
    if document.get("format") != FORMAT:
        raise DataError(
            f"{file} has format {document.get('format')}; this version reads format {FORMAT}. {REMEDY} "
            "The version that wrote it can still go on with it."
        )
    if document.get("checksum") != _checksum(checkpoint.tensors):
        raise DataError(f"{file} is damaged: its values do not have the checksum they were written with. {REMEDY}")
    return checkpoint


def identity(
    generator: Generator, train: LabelledImages, validation: LabelledImages | None, *, seed: int, steps: int
) -> dict[str, Any]:
    """What a checkpoint must agree with to be gone on with: plugin, options, image shape, data, seed and horizon."""
    options = {**generator.config.model_dump(mode="json"), "steps": steps}
    document = {
        "generator": generator.name or type(generator).__qualname__,
        "spec": asdict(generator.spec),
        "options": options,
        "seed": seed,
        "training images": _fingerprint(train),
        "validation images": _fingerprint(validation) if validation is not None else None,
    }
    return dict(json.loads(json.dumps(document)))  # as a checkpoint will have it


def _fingerprint(data: LabelledImages) -> str:
    return tensors_hash(data.images, data.labels)


def check_identity(file: Path, saved: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise DataError that names the first thing in which the checkpoint is another training's."""
    for key, value in expected.items():
        other = saved.get(key)
        if other != value and isinstance(value, dict) and isinstance(other, dict):
            key = next(name for name in {**value, **other} if value.get(name) != other.get(name))
            value, other = value.get(key), other.get(key)
        if other != value:
            raise DataError(
                f"{file} belongs to another training: its {key} is {_short(other)}, here {_short(value)}. {REMEDY}"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return f"{text[:16]}..." if len(text) > 48 else text


def optimizer_state(optimizers: Sequence[Optimizer]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """State of the optimizers as tensors named ``<optimizer>/<parameter>/<key>``, and the scalars in it.

    Raises PluginError for state that is neither a tensor nor JSON.
    """
    tensors: dict[str, Tensor] = {}
    scalars: list[dict[str, Any]] = []
    for index, optimizer in enumerate(optimizers):
        rest: dict[str, dict[str, Any]] = {}
        for parameter, state in optimizer.state_dict()["state"].items():
            state_tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
            tensors |= {f"{index}/{parameter}/{key}": value for key, value in state_tensors.items()}
            rest[str(parameter)] = {key: value for key, value in state.items() if key not in state_tensors}
        _require_json(rest, optimizer)
        scalars.append(rest)
    return tensors, scalars


def _require_json(state: Mapping[str, Any], optimizer: Optimizer) -> None:
    try:
        json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"The state of {type(optimizer).__name__} cannot be written to a checkpoint ({error}). "
            "Use an optimizer whose state is tensors and numbers, or train without a folder."
        ) from None


def restore_optimizers(
    optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor], scalars: Sequence[Mapping[str, Mapping[str, Any]]]
) -> None:
    """Put back what :func:`optimizer_state` gave, in the memory layout of the parameters, as fused kernels want it."""
    for index, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Any]] = {int(key): dict(value) for key, value in scalars[index].items()}
        for name, tensor in tensors.items():
            owner, parameter, key = name.split("/", 2)
            if int(owner) == index:
                state[int(parameter)][key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        _match_layout(optimizer)


def _match_layout(optimizer: Optimizer) -> None:
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim():
                state[key] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def save(loop: Loop, *, best: bool = False) -> None:
    """Write the last checkpoint, then the best; weights that are not finite are not worth keeping.

    In this order a killed process leaves either both, or a last one whose averages are the best weights.
    """
    folder = loop.plan.folder
    if folder is not None and loop.processes.is_main_process and weights_are_finite(loop.generator):
        tensors, document = _last(loop)
        write(last_file(folder), tensors, document)
        if best and loop.best is not None:
            write(best_file(folder), loop.best, _heading(loop))
        with writing(folder):
            write_history(folder / "history.csv", loop.state.history)
    loop.saved_at = time.monotonic()


def weights_are_finite(module: nn.Module) -> bool:
    """Whether all parameters are."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())


def not_finite(module: nn.Module) -> set[str]:
    """Names of the parameters and persistent buffers that hold a value which is not."""
    return {name for name, tensor in module.state_dict().items() if not bool(torch.isfinite(tensor).all())}


def _heading(loop: Loop) -> dict[str, object]:
    return {
        "identity": loop.plan.identity,
        "device": loop.device.type,
        "precision": loop.plan.precision,
        "best_step": loop.state.best_step,
    }


def _last(loop: Loop) -> tuple[dict[str, Tensor], dict[str, object]]:
    loop.state.meter = loop.meter.state()
    tensors, scalars = optimizer_state(loop.optimizers)
    everything = {
        **{f"weights/{name}": tensor for name, tensor in loop.generator.state_dict().items()},
        **{f"average/{name}": tensor for name, tensor in loop.average.tensors.items()},
        **{f"optimizer/{name}": tensor for name, tensor in tensors.items()},
    }
    return everything, {**_heading(loop), "state": asdict(loop.state), "optimizer": scalars}


def restore(loop: Loop, checkpoint: Checkpoint) -> None:
    """Go on from a checkpoint; raises DataError when it does not fit this version of the plugin."""
    try:
        loop.generator.load_state_dict(checkpoint.part("weights"))
        average = checkpoint.part("average")
        for name, tensor in loop.average.tensors.items():
            tensor.copy_(average[name])
        restore_optimizers(loop.optimizers, checkpoint.part("optimizer"), checkpoint.document["optimizer"])
        loop.state = TrainingState(**checkpoint.document["state"])
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(
            f"The checkpoint in {loop.plan.folder} does not fit this version of {loop.generator.name!r}: {reason}. "
            f"{REMEDY}"
        ) from None
    loop.updates = loop.guarded()  # loading gave the optimizers new state and groups
    loop.meter.restore(loop.state.meter, loop.device)
    loop.best = _best(loop)
    loop.first_step = loop.state.step
    loop.began = loop.entered - loop.state.seconds


def _best(loop: Loop) -> dict[str, Tensor] | None:
    """The weights of the best validation loss so far, None before the first."""
    state, folder = loop.state, loop.plan.folder
    if folder is None or state.best_step is None:
        return None
    if state.best_step == state.step:
        return loop.usable()
    file = best_file(folder)
    best = read(file)
    if best.document.get("identity") != loop.plan.identity or best.document.get("best_step") != state.best_step:
        raise DataError(f"{file} does not belong to {last_file(folder).name} beside it. {REMEDY}")
    return best.tensors
