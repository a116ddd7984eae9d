"""How numbers are computed: on which device, in which precision, with which processes to help."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from augment.workers import Workers


@dataclass(frozen=True)
class Compute:
    """What a computation runs on; results depend on the device and the precision, never on the workers.

    device: of networks that are made here; a generator stays where it is.  precision: "bf16" computes under autocast,
    "fp32" does not.  workers: processes that help; without any, some are started where the work is slow.
    """

    device: str = "cpu"
    precision: str = "fp32"
    workers: Workers | None = None

    @cached_property
    def queue(self) -> Workers:
        """Where calls wait for a worker; without workers, whoever asks for their results runs them."""
        return self.workers or Workers(0)


CPU = Compute()
"""Full precision on the CPU."""
