"""The commands ``augment run`` and ``augment arms``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from augment.cli.options import Json, Quiet, Settings, with_settings
from augment.cli.output import print_json, reporting
from augment.studies.run.config import RunConfig

if TYPE_CHECKING:
    from augment.results.run_result import RunResult

UNREACHED = 7
"""Exit code where the gain stays under ``--fail-under`` or ``--fail-under-mean``."""


@with_settings(RunConfig)
def run_command(
    settings: Settings,
    *,
    fail_under: Annotated[
        float | None,
        typer.Option(help="Exit with 7 unless the gain's interval lies above so many points of accuracy."),
    ] = None,
    fail_under_mean: Annotated[
        float | None,
        typer.Option(help="Exit with 7 unless it helps, by an estimate of so many points; a smaller gain may pass."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and about how long it takes, and do nothing.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether a generator's images help a classifier.

    Trains the generator, adds its images to the rare classes, and compares with the cheap ways. An interrupted run goes
    on where it was; an identical one is not computed again.
    """
    config = RunConfig.parse(**settings)
    if dry_run:
        _estimate(config, as_json=as_json, quiet=quiet)
    else:
        result = _run(config, as_json=as_json, quiet=quiet)
        below = fail_under is not None and not result.verdict.reached(fail_under)
        if below or (fail_under_mean is not None and not result.verdict.reached_on_average(fail_under_mean)):
            raise typer.Exit(UNREACHED)


def _estimate(config: RunConfig, *, as_json: bool, quiet: bool) -> None:
    from augment.cli.run_tables import show_estimate
    from augment.studies.run.estimate import estimate

    with reporting(quiet=quiet or as_json) as reporter:
        found = estimate(config, reporter)
    if as_json:
        print_json(found.to_json())
    else:
        show_estimate(found)


def _run(config: RunConfig, *, as_json: bool, quiet: bool) -> RunResult:
    from augment import run
    from augment.cli.run_tables import show_run

    with reporting(quiet=quiet or as_json) as reporter:
        result = run(config, reporter)
    if as_json:
        print_json({**result.to_json(), "cached": result.cached})
    else:
        show_run(result)
    return result


def arms_command(as_json: Json = False) -> None:
    """List what arms are made of.

    Ways with imbalance, transforms, mixing, added images, strategies.
    """
    from augment.arms.grammar import SETS, components

    rows = [{"name": name, "kind": kind, "about": about} for name, kind, about in components()]
    if as_json:
        print_json({"components": rows, "sets": {name: list(arms) for name, arms in SETS.items()}})
    else:
        from augment.cli.run_tables import show_components

        show_components(rows, SETS)
