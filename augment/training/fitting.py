"""``fit``: check what was asked for, run the loop, hand back a generator that is ready to use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from augment.compute.device import choose_device, choose_precision
from augment.errors import ConfigError, DataError
from augment.generator import UNLABELLED
from augment.training import checkpoint
from augment.training.checkpoint import restore
from augment.training.history import Progress
from augment.training.isolation import Interruption, isolated
from augment.training.loop import Loop
from augment.training.processes import Processes
from augment.training.state import Reason, TrainingPlan

if TYPE_CHECKING:
    from augment.datasets import LabelledImages
    from augment.generator import Generator


@dataclass(frozen=True)
class TrainingResult:
    """What a training did; the weights to use are in the generator.

    Attributes:
        steps: Steps behind it, earlier sessions included.
        seconds: Wall-clock seconds they took.
        images_per_second: Over all of that.
        best_step: Of the weights in use; None without a validation loss.
        best_validation_loss: Of the weights in use; None without a validation loss.
        stopped: Why it ended: "finished", "max_seconds", "stop_at", or the generator's own reason in a sentence.
        skipped_updates: Steps left out for non-finite values.
        device: On which it ran.
        precision: In which it ran, "fp32" or "bf16".
        history: The rows of ``history.csv``.

    Example:
        >>> from augment import create, load_dataset
        >>> from augment.training import fit
        >>> digits = load_dataset("digits")
        >>> generator = create("ae", digits.spec)
        >>> result = fit(generator, digits.train.subset(range(100)), None, seed=0, steps=5, device="cpu")
        >>> result.steps, result.stopped, result.best_step, result.device
        (5, 'finished', None, 'cpu')
    """

    steps: int
    seconds: float
    images_per_second: float
    best_step: int | None
    best_validation_loss: float | None
    stopped: Reason
    skipped_updates: int
    device: str
    precision: str
    history: list[dict[str, float]]


def fit(
    generator: Generator,
    train: LabelledImages,
    validation: LabelledImages | None,
    *,
    seed: int,
    steps: int | None = None,
    stop_at: int | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    folder: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_row: Callable[[dict[str, float]], None] | None = None,
) -> TrainingResult:
    """Train ``generator``; on return it holds the weights to use, on the CPU, in eval mode, ``after_training`` done.

    The weights are averaged ones (EMA), those of the best validation loss; without a validation loss, the last. The
    caller's random state, grad mode and thread count are left alone.

    Args:
        generator: As its constructor made it.
        train: Training images, of the shape and classes of ``generator.spec``.
        validation: Images that choose the weights; None, or an empty set, for no validation loss.
        seed: Of all that the training draws.
        steps: Updates, instead of the config's.
        stop_at: End at this step of the same schedule.
        max_seconds: Wall-clock budget; the schedule follows the larger of step share and time share, so a run that is
            cut short still decays.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        folder: Gets ``history.csv`` and ``checkpoint/``.
        resume: Go on from the folder's checkpoint, if there is one.
        on_progress: Called about twice a second, in the first of several processes only.
        on_row: Called with every new row of the history, ``images_per_second`` added, in the first of several processes
            only.

    Returns:
        What the training did.

    Raises:
        DataError: For images that do not fit, a folder that cannot be written and a checkpoint that is damaged or
            another training's.
        ConfigError: For a device, precision or budget that is not possible.
        Diverged: When updates stay non-finite, or what was trained gives a loss or samples that are.
        Stopped: After SIGTERM or SIGINT, when the step is finished and the checkpoint written.

    Example:
        >>> from augment import create, load_dataset
        >>> from augment.training import fit
        >>> digits = load_dataset("digits")
        >>> generator = create("vae", digits.spec, {"latent_dim": 4, "width": 8})
        >>> train, validation = digits.train.subset(range(100)), digits.train.subset(range(100, 120))
        >>> result = fit(generator, train, validation, seed=0, steps=5)
        >>> result.stopped, generator.training, generator.sample(3).shape
        ('finished', False, torch.Size([3, 1, 8, 8]))
    """
    horizon = generator.config.steps if steps is None else steps
    _check_budget(horizon, stop_at, max_seconds)
    validation = validation if validation is not None and len(validation) else None
    _check_data(generator, train, "training")
    if validation is not None:
        _check_data(generator, validation, "validation")
    target_device = choose_device(device)
    with isolated(target_device), Interruption() as interruption:
        processes = Processes.join(target_device)
        identity, saved = _open(folder, generator, train, validation, seed, horizon, processes, resume=resume)
        plan = TrainingPlan(
            seed=seed,
            steps=horizon,
            stop_at=stop_at,
            max_seconds=max_seconds,
            folder=folder,
            precision=processes.broadcast_object(lambda: _precision(precision, processes.device, saved)),
            identity=identity,
            on_progress=on_progress if processes.is_main_process else None,
            on_row=on_row if processes.is_main_process else None,
        )
        loop = Loop(generator, train, validation, plan, processes, interruption)
        if saved is not None:
            restore(loop, saved)
        stopped = loop.run()
        loop.finish(train)
    return _result(loop, stopped)


def _check_budget(steps: int, stop_at: int | None, max_seconds: float | None) -> None:
    for name, value in (("steps", steps), ("stop_at", stop_at)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1.")
    if max_seconds is not None and not max_seconds > 0:
        raise ConfigError(f"max_seconds is {max_seconds}; it must be more than 0. Leave it out for no limit.")


def _check_data(generator: Generator, data: LabelledImages, part: str) -> None:
    spec = generator.spec
    if not len(data):
        raise DataError(f"There are no {part} images. Choose a larger size, or another data set.")
    if tuple(data.images.shape[1:]) != spec.shape:
        raise DataError(
            f"The {part} images are {tuple(data.images.shape[1:])} (C, H, W), the generator was made for {spec.shape}. "
            "Make it with the data's own spec."
        )
    if int(data.labels.max()) >= spec.num_classes:
        raise DataError(
            f"There is a {part} label {int(data.labels.max())}; the generator knows classes 0 to "
            f"{spec.num_classes - 1}. Make it with the data's own spec."
        )
    if int(data.labels.min()) == UNLABELLED and not generator.tags.semi_supervised:
        raise DataError(
            f"There are {part} images without a label, and this {generator.name!r} needs one for each. Label them, "
            "leave them out, or train a generator that learns from few labels: an autoencoder with supervision=1."
        )


def _open(
    folder: Path | None,
    generator: Generator,
    train: LabelledImages,
    validation: LabelledImages | None,
    seed: int,
    steps: int,
    processes: Processes,
    *,
    resume: bool,
) -> tuple[dict[str, Any], checkpoint.Checkpoint | None]:
    """Identity of this training, and the checkpoint to go on from where there is one."""
    if folder is None:
        return {}, None
    if processes.is_main_process:
        checkpoint.prepare(folder, resume=resume)
    processes.wait_for_everyone()
    identity = checkpoint.identity(generator, train, validation, seed=seed, steps=steps)
    file = checkpoint.last_file(folder)
    exists = resume and file.exists()
    if processes.broadcast_object(lambda: exists) != exists:
        raise DataError(
            f"Process 1 and process {processes.index + 1} of {processes.count} do not find the same at {file}. All of "
            "them need one folder: give --out on a file system that their machines share."
        )
    if not exists:
        return identity, None
    saved = checkpoint.read(file)
    checkpoint.check_identity(file, saved.document.get("identity", {}), identity)
    return identity, saved


def _precision(name: str, device: torch.device, saved: checkpoint.Checkpoint | None) -> str:
    """The chosen precision; a resumed training keeps its own, so that a race run anew cannot change its course."""
    if name == "auto" and saved is not None and saved.document["device"] == device.type:
        return str(saved.document["precision"])
    return choose_precision(name, device)


def _result(loop: Loop, stopped: Reason) -> TrainingResult:
    state = loop.state
    return TrainingResult(
        steps=state.step,
        seconds=state.seconds,
        images_per_second=state.step * loop.batches.size / max(state.seconds, 1e-9),
        best_step=state.best_step,
        best_validation_loss=state.best_loss,
        stopped=stopped,
        skipped_updates=state.skipped,
        device=str(loop.device),
        precision=loop.plan.precision,
        history=state.history,
    )
