"""A running training to its checkpoints and back."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from augment.errors import DataError
from augment.storage.files import writing
from augment.training import checkpoint
from augment.training.history import write_history
from augment.training.state import State

if TYPE_CHECKING:
    from augment.training.loop import Loop


def save(loop: Loop, *, best: bool = False) -> None:
    """Write the last checkpoint, then the best; weights that are not finite are not worth keeping.

    In this order a killed process leaves either both, or a last one whose averages are the best weights.
    """
    folder = loop.plan.folder
    if folder is not None and loop.processes.writes and weights_are_finite(loop.generator):
        tensors, document = _last(loop)
        checkpoint.write(checkpoint.last_file(folder), tensors, document)
        if best and loop.best is not None:
            checkpoint.write(checkpoint.best_file(folder), loop.best, _heading(loop))
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
    tensors, scalars = checkpoint.optimizer_state(loop.optimizers)
    everything = {
        **{f"weights/{name}": tensor for name, tensor in loop.generator.state_dict().items()},
        **{f"average/{name}": tensor for name, tensor in loop.average.tensors.items()},
        **{f"optimizer/{name}": tensor for name, tensor in tensors.items()},
    }
    return everything, {**_heading(loop), "state": asdict(loop.state), "optimizer": scalars}


def restore(loop: Loop, found: checkpoint.Checkpoint) -> None:
    """Go on from a checkpoint; raises DataError when it does not fit this version of the plugin."""
    try:
        loop.generator.load_state_dict(found.part("weights"))
        average = found.part("average")
        for name, tensor in loop.average.tensors.items():
            tensor.copy_(average[name])
        checkpoint.restore_optimizers(loop.optimizers, found.part("optimizer"), found.document["optimizer"])
        loop.state = State(**found.document["state"])
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(
            f"The checkpoint in {loop.plan.folder} does not fit this version of {loop.generator.name!r}: {reason}. "
            f"{checkpoint.REMEDY}"
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
    file = checkpoint.best_file(folder)
    found = checkpoint.read(file)
    if found.document.get("identity") != loop.plan.identity or found.document.get("best_step") != state.best_step:
        raise DataError(f"{file} does not belong to {checkpoint.last_file(folder).name} beside it. {checkpoint.REMEDY}")
    return found.tensors
