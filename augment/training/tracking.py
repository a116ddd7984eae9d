"""Trackers: the curves and results of a run in TensorBoard, Weights & Biases or MLflow, through Accelerate's classes.

Everything stays on this machine, in ``tracker`` inside the run folder, unless the tracker's own environment variables
name a server. Nothing is asked and nothing is sent.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.errors import UsageError, unknown_name
from augment.progress import Reporter, is_main_process

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

TRACKERS = ("tensorboard", "wandb", "mlflow")
FOLDER = "tracker"
PROJECT = "augment"

VARIABLES: dict[str, dict[str, str]] = {
    "tensorboard": {},
    "wandb": {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"},
    "mlflow": {"MLFLOW_TRACKING_URI": "sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"},
}
"""What keeps a tracker on this machine and silent, while it is in use."""

SERVERS = {"wandb": ("WANDB_MODE", "WANDB_API_KEY"), "mlflow": ("MLFLOW_TRACKING_URI",)}
"""Variables with which a person says where a tracker is to write; then none of the above are set."""


def check_tracker(name: str) -> str:
    """The name of a tracker that is installed; raises UsageError for others."""
    if name not in TRACKERS:
        raise UsageError(unknown_name("tracker", name, TRACKERS))
    if importlib.util.find_spec(name) is None:
        raise UsageError(f'--tracker {name} needs {name}: pip install "augment-toolkit[trackers]".')
    return name


@contextmanager
def tracked(name: str | None, folder: Path, settings: Mapping[str, Any], reporter: Reporter) -> Iterator[Reporter]:
    """``reporter``, with its metrics in the tracker of that name, too; as it is without a name.

    folder: of the run; it gets a folder ``tracker``.  settings: what is kept as the run's configuration. In several
    processes of a launch the first tracks. Raises UsageError where the tracker cannot begin.
    """
    if name is None or not is_main_process():
        yield reporter
        return
    from accelerate.utils import patch_environment

    with patch_environment(**_variables(name, folder / FOLDER)):
        reporter = Tracked(reporter, check_tracker(name), folder, settings)
        try:
            yield reporter
        finally:
            reporter.finish()


def _variables(name: str, folder: Path) -> dict[str, str]:
    if any(os.environ.get(variable) for variable in SERVERS.get(name, ())):
        return {}
    return {key: value.format(folder=folder.resolve()) for key, value in VARIABLES[name].items()}


class Tracked(Reporter):
    """Hands everything on to another reporter, and metrics to a tracker, which begins with the first of them."""

    def __init__(self, reporter: Reporter, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self.reporter, self.name, self.folder, self.settings = reporter, name, folder, settings
        self._tracker: GeneralTracker | None = None
        self._begun: set[str] = set()
        self._failed = False

    def stage(self, title: str) -> None:
        """Hand on."""
        self.reporter.stage(title)

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Hand on."""
        self.reporter.advance(done, total, detail)

    def note(self, text: str) -> None:
        """Hand on."""
        self.reporter.note(text)

    def metrics(self, values: Mapping[str, float], step: int, folder: Path | None = None) -> None:
        """Log numbers by name: those of a training after the path of its folder, as in ``seed-1/generator/loss``."""
        self.reporter.metrics(values, step, folder)
        part = None if folder is None else self._part(folder)
        scalars = {safe_tag(name if part is None else f"{part}/{name}"): float(value) for name, value in values.items()}
        if self._failed:
            return
        with accelerate_state():
            self._tracker = self._tracker or self._start()
            try:
                self._log(self._tracker, scalars, step, part)
            except Exception as error:  # hours of training must not end for a curve
                self._failed = True
                self.reporter.note(
                    f"The tracker {self.name} failed and gets no more: {str(error) or type(error).__name__}"
                )

    def _log(self, tracker: GeneralTracker, scalars: dict[str, float], step: int, part: str | None) -> None:
        if self.name == "wandb":  # its own steps only ever grow, and every training begins at 1
            self._log_to_wandb(tracker, scalars, step, part)
        else:
            tracker.log(scalars, step=step)

    def _part(self, folder: Path) -> str:
        within = folder.relative_to(self.folder).as_posix() if folder.is_relative_to(self.folder) else folder.name
        return "generator" if within == "." else within

    def _log_to_wandb(self, tracker: GeneralTracker, scalars: dict[str, float], step: int, part: str | None) -> None:
        if part is None:
            tracker.log(scalars)
            return
        if part not in self._begun:
            self._begun.add(part)
            tracker.tracker.define_metric(f"{part}/*", step_metric=f"{part}/step")
        tracker.log({**scalars, f"{part}/step": step})

    def _start(self) -> GeneralTracker:
        log_folder = self.folder / FOLDER
        try:
            log_folder.mkdir(parents=True, exist_ok=True)
            tracker = _tracker(self.name, log_folder)
            tracker.main_process_only = False  # only the first process comes here; Accelerate would ask all
            tracker.start()
            tracker.store_init_configuration(flat(self.settings))
        except Exception as error:
            raise UsageError(
                f"--tracker {self.name} cannot begin: {str(error) or type(error).__name__}. Leave it out, or see to "
                "what it says; finished parts are kept."
            ) from error
        return tracker

    def finish(self) -> None:
        """Close the tracker, if it has begun."""
        if self._tracker is not None:
            with accelerate_state():
                try:
                    self._tracker.finish()
                except Exception as error:  # the work is done and kept
                    self.reporter.note(f"The tracker {self.name} did not close: {str(error) or type(error).__name__}")


def _tracker(name: str, log_folder: Path) -> GeneralTracker:
    from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

    run = log_folder.resolve().parent.name
    if name == "tensorboard":
        return TensorBoardTracker(log_folder.name, log_folder.parent)
    if name == "mlflow":
        return MLflowTracker(PROJECT, logging_dir=str(log_folder / "artifacts"), run_name=run)
    import wandb

    settings = wandb.Settings(console="off", disable_git=True, save_code=False, silent=True)
    if os.environ.get("WANDB_MODE", "online") in ("online", "run") and not wandb.api.api_key:
        raise UsageError("wandb has no key and would ask for one; set WANDB_API_KEY, or run `wandb login` before")
    return WandBTracker(PROJECT, dir=str(log_folder), name=run, settings=settings)


@contextmanager
def accelerate_state() -> Iterator[None]:
    """The state that Accelerate's trackers need; a process that is alone leaves none behind."""
    from accelerate import PartialState

    fresh = not PartialState._shared_state
    if fresh:
        PartialState(cpu=True)
    try:
        yield
    finally:
        if fresh:  # else a later Accelerator() of the caller would inherit the device chosen here
            PartialState._reset_state()


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str | int | float | bool]:
    """Settings without nesting, as trackers want them: ``options.lr``; lists as JSON, None left out."""
    entries: dict[str, str | int | float | bool] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            entries |= flat(value, f"{above}{key}.")
        elif isinstance(value, str | int | float | bool):
            entries[f"{above}{key}"] = value
        elif value is not None:
            entries[f"{above}{key}"] = json.dumps(value, default=str)
    return entries


def safe_tag(name: str) -> str:
    """A name that all trackers take: letters, digits, ``/ - _ .``, others as ``_``."""
    return re.sub(r"[^-/\w.]", "_", name, flags=re.ASCII)


def means(numbers: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Numbers by name; of a name that comes several times, as with several seeds, the mean."""
    values_by_name: dict[str, list[float]] = {}
    for name, value in numbers:
        values_by_name.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in values_by_name.items()}
