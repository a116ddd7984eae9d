"""The command ``augment sweep``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.cli.options import A_PATH, Json, Offline, Quiet, Set, Settings, model_options, with_axes
from augment.cli.output import print_json, reporting
from augment.errors import UsageError
from augment.studies.features.config import FeaturesConfig
from augment.studies.run.config import RunConfig

if TYPE_CHECKING:
    from augment.studies.sweep.cell import Cell
    from augment.studies.sweep.config import SweepConfig
    from augment.studies.sweep.executor import Executor
    from augment.studies.sweep.folder import SweepFolder
    from augment.studies.sweep.study import Start

WORKER = ("-m", "augment.cli.sweep_worker")
"""How Python starts a worker of a local sweep; the folder's location comes after it."""

PARTLY_FAILED = 6
"""Exit code where a cell failed."""


class ExecutorName(StrEnum):
    """What carries cells out."""

    local = "local"
    ray = "ray"


@with_axes(
    {"run": RunConfig, "features": FeaturesConfig}, without=("options", "out", "seed", "seeds", "offline", "strict")
)
def sweep_command(
    axes: Settings,
    *,
    file: Annotated[Path | None, typer.Argument(help="A sweep file: YAML with options as keys.", **A_PATH)] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of every combination, each a run of its own.")] = None,
    seed: Annotated[int | None, typer.Option(help="First seed.", show_default="0")] = None,
    set_: Set = None,
    command: Annotated[str | None, typer.Option(help="What a cell is: run or features. [default: run]")] = None,
    out: Annotated[str | None, typer.Option(help="Folder or URL for sweep folders.", show_default="runs")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep's folder. [default: the sweep file's]")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Cells side by side on this machine. [default: by cores, memory, GPUs]", min=1)
    ] = None,
    retries: Annotated[int, typer.Option(help="Further attempts of a cell whose worker died.", min=0)] = 1,
    executor: Annotated[ExecutorName, typer.Option(help="This machine, or a Ray cluster.")] = ExecutorName.local,
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster: auto, host:port, ray://host:port.", show_default="auto")
    ] = None,
    cpus_per_cell: Annotated[
        float | None, typer.Option(help="CPUs of a cell on a cluster.", min=0.1, show_default="1")
    ] = None,
    gpus_per_cell: Annotated[
        float | None, typer.Option(help="GPUs of a cell on a cluster, also a part.", min=0.0, show_default="0")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells, what is done, and the time it takes; do nothing.")
    ] = False,
    offline: Offline = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Carry out a whole grid of runs, each of them once.

    A run for each combination of values and seeds; whatever was finished before stays. Options given here replace those
    of the sweep file. A sweep that was stopped or killed goes on with the same command. Exit code 6: some cells failed;
    they are tried again by the same command.
    """
    own = {"seeds": seeds, "seed": seed, "set": model_options(set_) or None, "command": command}
    own |= {"out": out, "name": name, "offline": offline or None}
    said = {**axes, **{key: value for key, value in own.items() if value is not None}}
    config = _config(file, said)
    if dry_run:
        count = workers if executor is ExecutorName.local else workers or 1
        _estimate(config, count, as_json=as_json, quiet=quiet)
        return
    if executor is ExecutorName.local:
        _refuse(executor, "ray", address=address, cpus_per_cell=cpus_per_cell, gpus_per_cell=gpus_per_cell)
        start: Start = partial(_start_local, workers=workers, retries=retries)
    else:
        _refuse(executor, "local", workers=workers)
        cpus = 1.0 if cpus_per_cell is None else cpus_per_cell
        start = partial(_start_ray, address=address or "auto", cpus=cpus, gpus=gpus_per_cell or 0.0, retries=retries)
    _sweep(config, start, as_json=as_json, quiet=quiet)


def _refuse(executor: ExecutorName, other: str, **options: object) -> None:
    """An option that would do nothing is a mistake."""
    for name, value in options.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} {value} goes with --executor {other}, not {executor.value}. Leave one out.")


def _start_local(folder: SweepFolder, cells: Sequence[Cell], *, workers: int | None, retries: int) -> Executor:
    from augment.studies.sweep.local import LocalExecutor, divided

    share = divided(cells, workers)
    return LocalExecutor(folder, WORKER, workers=share.workers, threads=share.threads, gpus=share.gpus, retries=retries)


def _start_ray(
    folder: SweepFolder, cells: Sequence[Cell], *, address: str, cpus: float, gpus: float, retries: int
) -> Executor:
    from augment.report.drawing import draw_study
    from augment.studies.sweep.on_ray import RayExecutor

    return RayExecutor(address, folder.location, cpus=cpus, gpus=gpus, retries=retries, draw=draw_study)


def _config(file: Path | None, given: Mapping[str, Any]) -> SweepConfig:
    from augment.studies.sweep.config import SweepConfig, overridden, read_sweep_file

    return SweepConfig.parse(given if file is None else overridden(read_sweep_file(file), given))


def _estimate(config: SweepConfig, workers: int | None, *, as_json: bool, quiet: bool) -> None:
    from augment.cli.sweep_tables import show_estimate
    from augment.studies.sweep.estimate import estimate_sweep
    from augment.studies.sweep.folder import SweepFolder
    from augment.studies.sweep.grid import cells
    from augment.studies.sweep.local import divided

    with reporting(quiet=quiet or as_json) as reporter:
        found = cells(config, reporter)
        records = SweepFolder(config.location).records()
        share = divided(found, workers)
        estimate = estimate_sweep(
            config.location, found, records, reporter, workers=share.workers, threads=share.threads
        )
    print_json(estimate.to_json()) if as_json else show_estimate(estimate)


def _sweep(config: SweepConfig, start: Start, *, as_json: bool, quiet: bool) -> None:
    from augment.cli.sweep_tables import show_sweep
    from augment.studies.sweep.study import sweep

    with reporting(quiet=quiet or as_json) as reporter:
        result = sweep(config, start, reporter)
    print_json(result.to_json()) if as_json else show_sweep(result)
    if result.failed:
        raise typer.Exit(PARTLY_FAILED)
