"""The command ``augment features``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from augment.cli.options import (
    A_FILE,
    A_PATH,
    DataDir,
    Device,
    ImageSize,
    Json,
    MaxMinutes,
    Offline,
    Precision,
    Quiet,
    Seed,
    Set,
    Steps,
    Strict,
    Tracker,
    complete_dataset,
    complete_model,
    model_options,
    names,
    whole_numbers,
)
from augment.cli.output import print_json, reporting
from augment.errors import UsageError

AUTO: Literal["auto"] = "auto"


def features_command(
    model: Annotated[
        str | None, typer.Option(help="A registered generator; see `augment models`.", autocompletion=complete_model)
    ] = None,
    generator: Annotated[Path | None, typer.Option(help="A saved generator instead of training one.", **A_PATH)] = None,
    dataset: Annotated[
        str, typer.Option(help="A named data set, or a folder of images.", autocompletion=complete_dataset)
    ] = "fashionmnist",
    t: Annotated[
        str | None,
        typer.Option("--t", help="Timestep, several to choose from (1,10,50) or auto. [default: the model's]"),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="A layer, several joined by commas, auto, or list. [default: the model's]")
    ] = None,
    noise_draws: Annotated[
        int | None, typer.Option(help="Passes with other noise to average, for a model that adds noise. [default: 4]")
    ] = None,
    encode: Annotated[
        list[str] | None,
        typer.Option("--encode", help="Another option of the model's encode as key=value; repeatable."),
    ] = None,
    labels_per_class: Annotated[
        str | None, typer.Option(help="Labels per class, separated by commas. [default: 1,2,4 ... up to 512]")
    ] = None,
    head: Annotated[str, typer.Option(help="linear, mlp, prototype, knn, separated by commas.")] = "linear,mlp",
    second_stage: Annotated[
        str | None,
        typer.Option(help="Use the unlabelled pool: propagation, pseudo-labels, pseudo-cnn, separated by commas."),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="What to compare with: pixels, cnn, untrained, separated by commas, or none.")
    ] = "pixels,cnn,untrained",
    episodes: Annotated[int, typer.Option(help="Draws of the labelled images.")] = 5,
    plot: Annotated[str, typer.Option(help="Maps of the features: pca, tsne, umap, by commas, or none.")] = "pca,tsne",
    export: Annotated[
        Path | None,
        typer.Option(help="Write all images' features to a .npz, .csv or .safetensors file.", **A_FILE),
    ] = None,
    set_: Set = None,
    seed: Seed = 0,
    steps: Steps = None,
    max_minutes: MaxMinutes = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    strict: Strict = False,
    device: Device = "auto",
    precision: Precision = "auto",
    tracker: Tracker = None,
    out: Annotated[Path, typer.Option(help="Folder for run folders.", **A_PATH)] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with an interrupted study and reuse finished parts.")
    ] = True,
    offline: Offline = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether a generator's features beat pixels.

    Trains the generator without labels, and classifiers of its features on few labels per class.
    """
    from augment.cli import features_tables as tables
    from augment.features.config import FeaturesConfig

    listing = layer == "list"
    options = model_options(encode, flag="--encode")
    twice = [name for name in ("t", "layer", "noise_draws") if name in options]
    if twice:
        raise UsageError(f"--encode {twice[0]}=... has an option of its own: --{twice[0].replace('_', '-')}.")
    config = FeaturesConfig.parse(
        model=model,
        generator=generator,
        dataset=dataset,
        t=None if t is None else AUTO if t == AUTO else whole_numbers(t, "--t", "50, 1,10,50 or auto"),
        layer=None if listing else layer,
        encode={**options, **({} if noise_draws is None else {"noise_draws": noise_draws})},
        labels_per_class=labels_per_class and whole_numbers(labels_per_class, "--labels-per-class", "2,8,32"),
        heads=names(head),
        second_stage=names(second_stage),
        baselines=names(baseline),
        episodes=episodes,
        plots=names(plot),
        export=export,
        options=model_options(set_),
        seed=seed,
        steps=steps,
        max_minutes=max_minutes,
        data_dir=data_dir,
        image_size=image_size,
        strict=strict,
        device=device,
        precision=precision,
        tracker=tracker,
        out=out,
        resume=resume,
        offline=offline,
    )
    with reporting(quiet=quiet or as_json) as report:
        if listing:
            from augment.features.resolve import layers_of

            layers = layers_of(config, report)
        else:
            from augment.features.study import study_features

            result = study_features(config, report)
    if listing:
        print_json(layers) if as_json else tables.show_layers(layers)
    else:
        print_json(result.to_json()) if as_json else tables.show_features(result)
