"""The processes of one launch, as ``accelerate launch``, torchrun or mpirun start them: how many, and who speaks.

Only ``augment train`` shares its work between them. They all write to one terminal, so the first process alone prints
results and progress, and an error is told by whichever process meets one first.
"""

from __future__ import annotations

import os

from augment.errors import UsageError

COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
INDICES = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
"""Environment variables of launchers, in the order in which Accelerate reads them."""

SHARED = ("train",)
"""Commands that share their work between the processes of a launch."""

STORE_SECONDS = 10


def process_count() -> int:
    """Processes of this launch; 1 without a launcher."""
    return max(1, _number(COUNTS, 1))


def process_index() -> int:
    """Which of them this is; 0 is the first."""
    return _number(INDICES, 0) if process_count() > 1 else 0


def _number(names: tuple[str, ...], default: int) -> int:
    """The first of these variables that is a whole number, 0 or more."""
    texts = (os.environ.get(name, "") for name in names)
    return next((int(text) for text in texts if text.isdecimal()), default)


def refuse_to_repeat(command: str | None) -> None:
    """Raise UsageError for a command that every process of a launch would carry out again from start to end."""
    count = process_count()
    if count == 1 or command in SHARED:
        return
    raise UsageError(
        f"augment {command} does not share its work, and {count} processes were started (WORLD_SIZE and the like say "
        "so). Start it without a launcher; many runs side by side are `augment sweep --workers N`. Only `augment "
        "train` trains one generator in several processes; `augment features --generator FOLDER` then goes on from it."
    )


def leave() -> None:
    """At the end of a shared command: let go of the other processes, when all of them are here."""
    if process_count() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.barrier()
            distributed.destroy_process_group()


def first_to_speak() -> bool:
    """Whether no other process of this launch has told an error before.

    torchrun and ``accelerate launch`` keep a store that outlives the processes; elsewhere the first process speaks.
    """
    if process_count() == 1:
        return True
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return process_index() == 0
    from datetime import timedelta

    import torch.distributed as distributed

    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = distributed.TCPStore(  # type: ignore[attr-defined]
            address, port, is_master=False, timeout=timedelta(seconds=STORE_SECONDS)
        )
        return bool(store.add(f"augment/told/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1)
    except (RuntimeError, KeyError, ValueError):  # the store is gone, or the variables are not a launcher's
        return process_index() == 0
