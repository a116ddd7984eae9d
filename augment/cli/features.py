"""The command ``augment features``."""

from __future__ import annotations

from typing import Annotated

import typer

from augment.cli.options import Json, Quiet, Settings, with_settings
from augment.cli.output import print_json, reporting
from augment.errors import UsageError
from augment.studies.features.config import FeaturesConfig


@with_settings(FeaturesConfig)
def features_command(
    settings: Settings,
    *,
    noise_draws: Annotated[
        int | None, typer.Option(help="Passes with other noise to average, for a model that adds noise. [default: 4]")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether a generator's features beat pixels.

    Trains the generator without labels, and classifiers of its features on few labels per class.
    """
    from augment.cli import features_tables as tables

    listing = settings.get("layer") == "list"
    encode = settings.get("encode", {})
    twice = [name for name in ("t", "layer", "noise_draws") if name in encode]
    if twice:
        raise UsageError(f"--encode {twice[0]}=... has an option of its own: --{twice[0].replace('_', '-')}.")
    settings["encode"] = {**encode, **({} if noise_draws is None else {"noise_draws": noise_draws})}
    config = FeaturesConfig.parse(**{**settings, **({"layer": None} if listing else {})})
    with reporting(quiet=quiet or as_json) as reporter:
        if listing:
            from augment.studies.features.resolve import layers_of

            layers = layers_of(config, reporter)
        else:
            from augment import study_features

            result = study_features(config, reporter)
    if listing:
        print_json(layers) if as_json else tables.show_layers(layers)
    else:
        print_json({**result.to_json(), "cached": result.cached}) if as_json else tables.show_features(result)
