"""Commands in the processes of one launch, as ``accelerate launch``, torchrun or mpirun start them.

Only ``augment train`` shares its work between them.
"""

from __future__ import annotations

from augment.errors import UsageError
from augment.progress import process_count

SHARED = ("train",)
"""Commands that share their work between the processes of a launch."""


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
