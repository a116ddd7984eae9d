"""The processes that share a training: gradients, buffers and decisions are joint, batches are slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, broadcast_object_list, reduce
from torch import Tensor

from augment.errors import ProcessLost

T = TypeVar("T")


@contextmanager
def _joint() -> Iterator[None]:
    """Turn the failure of a joint operation into an error that says what it means."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ProcessLost(
            f"Another process of this training has ended, or cannot be reached ({reason}). If it was killed, memory "
            "may have run out. The last checkpoint is kept; start all again with --resume to go on from it."
        ) from error


@dataclass(frozen=True)
class Processes:
    """The processes of one training, as Accelerate finds them: one, or those of ``accelerate launch`` or torchrun.

    Attributes:
        index: Of this process; 0 is the one that writes.
        count: How many there are.
        device: This process's own.

    Example:
        >>> import torch
        >>> from augment.training import Processes
        >>> processes = Processes.join(torch.device("cpu"))
        >>> processes.index, processes.count, processes.is_main_process
        (0, 1, True)
    """

    index: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device: torch.device) -> Self:
        """Meet the other processes, if a launcher started any; a lone process leaves no trace in Accelerate."""
        fresh = not PartialState._shared_state
        state = PartialState(cpu=device.type == "cpu")
        if state.num_processes > 1:
            return cls(state.process_index, state.num_processes, state.device)
        if fresh:  # else a later Accelerator() of the caller would inherit the device chosen here
            PartialState._reset_state()
        return cls(0, 1, device)

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.index == 0

    def all_reduce_mean_(self, tensors: Sequence[Tensor], share: float = 1.0) -> None:
        """Replace each tensor by its mean over processes, in place; ``share`` weighs this process's part (mean 1)."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]) * share
        with _joint():
            flat = reduce(flat, reduction="mean")
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def average_gradients_(self, parameters: Sequence[Tensor], share: float) -> None:
        """Average ``.grad``; one that is missing here counts as zero, one that is missing everywhere stays missing."""
        if self.count == 1:
            return
        present = torch.tensor([float(parameter.grad is not None) for parameter in parameters], device=self.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        self.all_reduce_mean_([*gradients, present], share)
        for parameter, gradient, used in zip(parameters, gradients, present.tolist(), strict=True):
            parameter.grad = gradient if used else None

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of process 0, in place."""
        if self.count > 1:
            for tensor in tensors:
                whole = tensor.detach().contiguous()
                with _joint():
                    whole = broadcast(whole)
                tensor.detach().copy_(whole)

    def broadcast_numbers(self, values: Mapping[str, float]) -> dict[str, float]:
        """The numbers process 0 has under these names."""
        if self.count == 1:
            return dict(values)
        numbers = [torch.tensor(value, dtype=torch.float32, device=self.device) for value in values.values()]
        self.broadcast_(numbers)
        return {name: value.item() for name, value in zip(values, numbers, strict=True)}

    def reduce_clock(self, elapsed: float, signal_number: int) -> tuple[float, int]:
        """The first process's clock, and the largest signal number that any process was sent (0: none)."""
        if self.count == 1:
            return elapsed, signal_number
        clock = torch.tensor([elapsed if self.is_main_process else 0.0, float(signal_number)], device=self.device)
        with _joint():
            together: list[float] = reduce(clock, reduction="max").tolist()
        return together[0], int(together[1])

    def broadcast_object(self, make: Callable[[], T]) -> T:
        """What ``make`` gives in the first process, in all of them; it is called in that one alone."""
        objects = [make() if self.is_main_process else None]
        if self.count > 1:
            with _joint():
                broadcast_object_list(objects)
        return objects[0]  # type: ignore[return-value]

    def wait_for_everyone(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            with _joint():
                PartialState().wait_for_everyone()
