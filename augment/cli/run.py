"""The commands ``augment run`` and ``augment arms``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augment.cli.options import (
    A_PATH,
    ClassCounts,
    DataDir,
    Dataset,
    Device,
    ImageSize,
    ImbalanceFactor,
    Json,
    Model,
    Offline,
    Precision,
    Quiet,
    Regime,
    Seed,
    Set,
    Size,
    Steps,
    Strict,
    Tracker,
    model_options,
    parse_counts,
)
from augment.cli.output import print_json, reporting

if TYPE_CHECKING:
    from augment.experiment.config import RunConfig
    from augment.results.run_result import RunResult

UNREACHED = 7
"""Exit code where the gain stays under ``--fail-under`` or ``--fail-under-mean``."""


def run_command(
    dataset: Dataset,
    model: Model,
    regime: Regime = None,
    size: Size = None,
    imbalance_factor: ImbalanceFactor = 100.0,
    class_counts: ClassCounts = None,
    regime_seed: Annotated[
        int | None, typer.Option(help="Decides which classes are rare.", show_default="--seed")
    ] = None,
    set_: Set = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="An arm, as in oversample+mixup or model+balanced-softmax; repeatable. See `augment arms`."),
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="A set of arms, quick or full.", show_default="quick, without --arm")
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(help="cnn, cart-pixels, cart-pca, cart-cnn; repeatable. [default: cnn and cart-pca]"),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="How synthetic images are used, as in partial:share=0.5,cap=5+teacher. See `augment arms`."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Repetitions with new subsets, generators and classifiers.")] = 1,
    seed: Seed = 0,
    spread: Annotated[
        bool, typer.Option("--spread", help="Train generators with other seeds on the first subset, too.")
    ] = False,
    steps: Steps = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Minutes for all; generators are trained as long as is left for them.")
    ] = None,
    updates: Annotated[int | None, typer.Option(help="Optimizer updates of the CNN, the same in every arm.")] = None,
    score_on: Annotated[
        str,
        typer.Option(help="test, or validation: training images that were not drawn, to choose on."),
    ] = "test",
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
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    strict: Strict = False,
    device: Device = "auto",
    precision: Precision = "auto",
    tracker: Tracker = None,
    out: Annotated[Path, typer.Option(help="Folder for run folders.", **A_PATH)] = Path("runs"),
    save_images: Annotated[bool, typer.Option("--save-images", help="Keep the synthetic images as PNG.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with an interrupted run and reuse finished parts.")
    ] = True,
    offline: Offline = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether a generator's images help a classifier.

    Trains the generator, adds its images to the rare classes, and compares with the cheap ways. An interrupted run goes
    on where it was; an identical one is not computed again.
    """
    from augment.experiment.config import RunConfig

    counts = parse_counts(class_counts)
    config = RunConfig.parse(
        dataset=dataset,
        model=model,
        data_dir=data_dir,
        image_size=image_size,
        strict=strict,
        regime=regime or ("explicit" if counts else "high"),
        size=size,
        imbalance_factor=imbalance_factor,
        class_counts=counts,
        regime_seed=regime_seed,
        options=model_options(set_),
        seed=seed,
        seeds=seeds,
        spread=spread,
        score_on=score_on,
        arms=tuple(arm or ()),
        arm_set=arms,
        **({"classifiers": tuple(classifier)} if classifier else {}),
        strategy=strategy,
        steps=steps,
        max_minutes=max_minutes,
        updates=updates,
        device=device,
        precision=precision,
        tracker=tracker,
        out=out,
        save_images=save_images,
        resume=resume,
        offline=offline,
    )
    if dry_run:
        _estimate(config, as_json=as_json, quiet=quiet)
    else:
        result = _run(config, as_json=as_json, quiet=quiet)
        below = fail_under is not None and not result.verdict.reached(fail_under)
        if below or (fail_under_mean is not None and not result.verdict.reached_on_average(fail_under_mean)):
            raise typer.Exit(UNREACHED)


def _estimate(config: RunConfig, *, as_json: bool, quiet: bool) -> None:
    from augment.cli.run_tables import show_estimate
    from augment.experiment.estimate import estimate

    with reporting(quiet=quiet or as_json) as report:
        found = estimate(config, report)
    if as_json:
        print_json(found.to_json())
    else:
        show_estimate(found)


def _run(config: RunConfig, *, as_json: bool, quiet: bool) -> RunResult:
    from augment.cli.run_tables import show_run
    from augment.experiment.study import run

    with reporting(quiet=quiet or as_json) as report:
        result = run(config, report)
    if as_json:
        print_json(result.to_json())
    else:
        show_run(result)
    return result


def arms_command(as_json: Json = False) -> None:
    """List what arms are made of.

    Ways with imbalance, transforms, mixing, added images, strategies.
    """
    from augment.arms import SETS, components

    rows = [{"name": name, "kind": kind, "about": about} for name, kind, about in components()]
    if as_json:
        print_json({"components": rows, "sets": {name: list(arms) for name, arms in SETS.items()}})
    else:
        from augment.cli.run_tables import show_components

        show_components(rows, SETS)
