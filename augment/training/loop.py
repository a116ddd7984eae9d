"""The loop: batches, precision, averaging, validation, checkpoints, budget, signals.

Processes and reductions are Accelerate's (``accelerate launch`` or torchrun start several); autocast is PyTorch's own,
as Accelerate's would switch process-wide flags. Everything random at step ``s`` derives from the seed and ``s``, so N
steps, a stop and N resumed steps end with the weights of 2N steps, bit for bit on a CPU with the same thread count.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor, nn

from augment.errors import Stopped
from augment.generator import StopTraining
from augment.seeds import derived_seed, torch_rng
from augment.training.batches import Batches, as_input, per_class_sample
from augment.training.checkpoint import not_finite, save, weights_are_finite
from augment.training.history import Meter, Progress, checked_terms
from augment.training.isolation import Interruption, seed_all
from augment.training.processes import Processes
from augment.training.state import NUMERICAL, OUT_OF_TIME, Diverged, Reason, TrainingPlan, TrainingState
from augment.training.updates import Updates, WeightAverage, learning_rate_factor
from augment.training.validation import Validation

if TYPE_CHECKING:
    from augment.datasets import LabelledImages
    from augment.generator import Generator

CHECKPOINT_SECONDS = 30.0
PROGRESS_SECONDS = 0.5
HISTORY_ROWS = 100
VALIDATIONS = 10
PATIENCE = 20
"""Steps in a row without an update, for non-finite values, after which training gives up."""
PRIOR_PER_CLASS, PRIOR_TOTAL = 2_000, 20_000
"""Images given to ``after_training``: of each class, and in all."""

WEIGHTS = "loss, gradients or weights"
CHECKED, DRAWN = 128, 16
"""Training images and samples, at most, on which a trained generator is tried."""


class Loop:
    """One training in progress: ``restore`` from a checkpoint, ``run``, ``finish``."""

    def __init__(
        self,
        generator: Generator,
        train: LabelledImages,
        validation: LabelledImages | None,
        plan: TrainingPlan,
        processes: Processes,
        interruption: Interruption,
    ) -> None:
        self.generator, self.plan = generator, plan
        self.processes, self.interruption = processes, interruption
        self.device = processes.device
        self.state, self.meter = TrainingState(), Meter()
        self.unset = not_finite(generator)  # masks and the like, that never are
        self.terms: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] | None = None
        self.first_step = 0
        self.measured: dict[str, float] = {}
        self.entered = self.began = self.told_at = self.saved_at = time.monotonic()
        config = generator.config
        _move(generator, self.device, torch.channels_last)
        processes.broadcast_([*generator.parameters(), *generator.buffers()])
        self.batches = Batches(
            train,
            batch_size=config.batch_size,
            seed=derived_seed(plan.seed, "batches"),
            class_balanced=config.class_balanced,
            processes=processes,
        )
        self.validation = None if validation is None else Validation(validation, seed=plan.seed, device=self.device)
        self.optimizers = generator.configure_optimizers()
        self.updates = self.guarded()
        self.average = WeightAverage(generator, config.ema_decay)

    def guarded(self) -> Updates:
        """The optimizers as they are now, behind guards."""
        clip, share = self.generator.config.grad_clip, self.batches.share
        return Updates(self.optimizers, grad_clip=clip, processes=self.processes, share=share)

    def run(self) -> Reason:
        """Steps until something ends them; returns what it was."""
        self.generator.train()
        while True:
            elapsed = time.monotonic() - self.began
            self.state.seconds, signal_number = self.processes.reduce_clock(elapsed, self.interruption.number)
            if signal_number:
                self._stop(signal_number)
            reason = self._reason()
            if reason is None:
                reason = self._step()
            if reason is not None:
                self._close(reason)
                return reason
            self._observe()

    def _reason(self) -> Reason | None:
        plan, state = self.plan, self.state
        if state.step >= plan.steps:
            return "finished"
        if plan.stop_at is not None and state.step >= plan.stop_at:
            return "stop_at"
        # whatever getting ready took, a training that ends without a step would be no training
        return OUT_OF_TIME if state.step and self._time_share() >= 1 else None

    def _time_share(self) -> float:
        return self.state.seconds / self.plan.max_seconds if self.plan.max_seconds is not None else 0.0

    def _step(self) -> Reason | None:
        """One update; the reason where the generator wants to stop instead."""
        plan, state = self.plan, self.state
        share = max(state.step / plan.steps, self._time_share())
        warmup = self.generator.config.warmup
        self.updates.begin(learning_rate_factor(share, warmup=warmup, first=1 / plan.steps))
        images, labels = self.batches(state.step)
        seed_all(self.device, plan.seed, "step", state.step, self.processes.index)
        try:
            with self._autocast():
                terms = self.generator.training_step(images, labels, self.updates.guards)
        except StopTraining as wish:
            return str(wish)
        self.terms = checked_terms(terms, self.generator.name)
        self._count()
        state.step += 1
        return None

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16")

    def _count(self) -> None:
        """Count the step in, or, where loss or gradients were not finite, out; too many of those in a row end it."""
        state = self.state
        self._share_buffers()
        if self.updates.skipped or not self._finite(self.terms["loss"]):
            self.average.replace_non_finite_buffers()
            state.skipped, state.streak = state.skipped + 1, state.streak + 1
            if state.streak >= PATIENCE:
                raise self._diverged(f"in {PATIENCE} steps in a row")
            return
        state.streak = 0
        self.meter.add({**self.terms, **self.updates.norms()})
        self.average.update(state.step)

    def _share_buffers(self) -> None:
        """Running statistics and codebooks are updated from each process's slice; all go on with the mean."""
        if self.processes.count > 1:
            floating = [buffer for buffer in self.generator.buffers() if buffer.is_floating_point()]
            self.processes.all_reduce_mean_(floating, self.batches.share)

    def _finite(self, loss: Tensor) -> bool:
        """Whether the loss is finite, in every process."""
        if self.processes.count > 1:
            loss = loss.clone()
            self.processes.all_reduce_mean_([loss])
        return math.isfinite(loss.item())

    def _diverged(self, where: str, what: str = WEIGHTS) -> Diverged:
        lr, step = self.generator.config.lr, min(self.state.step + 1, self.plan.steps)
        hint = f" The last good checkpoint is kept in {self.plan.folder}." if self.plan.folder else ""
        return Diverged(
            f"{self.generator.name}: {what} were not finite {where}, at step {step} of {self.plan.steps}. "
            f"Lower lr, which is {lr:g}, to {lr / 3:.1g} say, or lower grad_clip.{hint}"
        )

    def _observe(self) -> None:
        """A row of history, a validation, progress, a checkpoint: each where it is due."""
        plan, state = self.plan, self.state
        improved = False
        tenths = max(VALIDATIONS * state.step // plan.steps, int(VALIDATIONS * min(1.0, self._time_share())))
        if tenths > state.tenths:
            state.tenths = tenths
            improved = self._validate()
        elif state.step % max(1, plan.steps // HISTORY_ROWS) == 0:
            self._row({})
        now = time.monotonic()
        if plan.on_progress is not None and now - self.told_at >= PROGRESS_SECONDS:
            self._tell(plan.on_progress, now)
        if improved or now - self.saved_at >= CHECKPOINT_SECONDS:
            save(self, best=improved)

    def _row(self, measured: dict[str, float]) -> None:
        row = {"step": float(self.state.step), "seconds": self.state.seconds, "lr": self.updates.lr}
        self.state.history.append({**row, **self.meter.flush(self.processes), **measured})
        if self.plan.on_row is not None:
            self.plan.on_row({**self.state.history[-1], "images_per_second": self._speed(time.monotonic())})

    def _speed(self, now: float) -> float:
        """Images per second since this session began."""
        return (self.state.step - self.first_step) * self.batches.size / max(now - self.entered, 1e-9)

    def _validate(self) -> bool:
        """Measure the averaged weights and add a row; True when they are the best so far."""
        measured: dict[str, float] = {}
        if self.validation is not None:
            with self.average.applied(), self._autocast():
                measured = self.processes.broadcast_numbers(self.validation(self.generator))
        self._row(measured)
        self.measured = measured
        loss, state = measured.get("val_loss", math.nan), self.state
        if not math.isfinite(loss) or (state.best_loss is not None and loss >= state.best_loss):
            return False
        state.best_step, state.best_loss = state.step, loss
        self.best = self.usable()
        return True

    def usable(self) -> dict[str, Tensor]:
        """A copy of the weights one would use now: averaged where there are averages."""
        with self.average.applied():
            return {name: tensor.detach().clone() for name, tensor in self.generator.state_dict().items()}

    def _tell(self, on_progress: Callable[[Progress], None], now: float) -> None:
        self.told_at = now
        on_progress(
            Progress(
                step=self.state.step,
                steps=self.plan.steps,
                seconds=now - self.began,
                images_per_second=self._speed(now),
                terms={**{name: value.item() for name, value in self.terms.items()}, **self.measured},
            )
        )

    def _stop(self, number: int) -> NoReturn:
        save(self)
        self.processes.wait_for_everyone()  # a launcher ends all when the first has ended, and this one writes
        state, folder = self.state, self.plan.folder
        hint = (
            f"The checkpoint is in {folder / 'checkpoint'}; give the same command with --resume to go on."
            if folder is not None
            else "Nothing was kept, as there is no folder for checkpoints."
        )
        name = signal.Signals(number).name
        raise Stopped(f"{name}: training stopped after step {state.step} of {self.plan.steps}. {hint}", number)

    def _close(self, reason: Reason) -> None:
        """A last validation where the schedule has not had it, and the last checkpoint."""
        best = False
        if reason not in ("finished", "stop_at") and self.state.tenths < VALIDATIONS:
            self.state.tenths = VALIDATIONS
            best = self._validate()
        save(self, best=best)

    def finish(self, train: LabelledImages) -> None:
        """Put the weights to use into the generator, fit what is not trained by gradients, and leave it on the CPU."""
        generator, plan = self.generator, self.plan
        hint = f"its steps are kept in {plan.folder}; --resume goes on there" if plan.folder else "nothing was kept"
        self.interruption.at_once(f"Stopped after the last step, before the generator was complete; {hint}.")
        generator.load_state_dict(self.best if self.best is not None else self.usable())
        if not weights_are_finite(generator):
            raise self._diverged("at the end")
        for parameter in generator.parameters():
            parameter.grad = None
        generator.eval()
        rows = per_class_sample(train.labels, per_class=PRIOR_PER_CLASS, total=PRIOR_TOTAL, seed=plan.seed)
        seed_all(self.device, plan.seed, "after training")
        try:
            with torch.no_grad():
                generator.after_training(as_input(train.images[rows], self.device), train.labels[rows].to(self.device))
                wrong = self._not_finite(train.subset(rows[:: -(-len(rows) // CHECKED)]))
        except NUMERICAL as error:
            raise self._diverged("after the last step") from error
        if wrong:
            raise self._diverged("after the last step", what=wrong)
        _move(generator.eval(), torch.device("cpu"), torch.contiguous_format)

    def _not_finite(self, images: LabelledImages) -> str | None:
        """What of the trained generator is not: the loss of a few training images, some samples, weights.

        A short training diverges without the row of steps that would tell, and so may what is fitted afterwards.
        """
        generator, seed = self.generator, self.plan.seed
        with self._autocast():
            loss = Validation(images, seed=seed, device=self.device)(generator).get("val_loss", 0.0)
        if not math.isfinite(loss):
            return WEIGHTS
        labels = torch.arange(min(generator.spec.num_classes, DRAWN), device=self.device)
        drawn = generator.eval().sample(
            len(labels), labels, rng=torch_rng(seed, "samples to check", device=self.device)
        )
        if not bool(torch.isfinite(drawn).all()):
            return "samples"
        return WEIGHTS if not_finite(generator) - self.unset else None


def _move(module: nn.Module, device: torch.device, layout: torch.memory_format) -> None:
    """Move a module, its 4-D tensors into ``layout`` (``Module.to`` would refuse 5-D ones)."""
    module.to(device)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=layout)
