"""Defaults and names of a feature study made definite, with the errors a person can act on."""

from __future__ import annotations

from typing import Any

import torch

from augment import registry
from augment.compute.encoding import check_encode_options, check_layers
from augment.datasets import ImageSet
from augment.errors import DataError, UsageError
from augment.generator import Generator, ImageSpec, read_saved
from augment.progress import Reporter
from augment.registry.capabilities import encode_options
from augment.seeds import derived_seed
from augment.studies.features.config import AUTO, FeaturesConfig
from augment.studies.features.layer_search import Candidates, timestep_grid


def layers_of(config: FeaturesConfig, reporter: Reporter) -> dict[str, Any]:
    """What ``--layer list`` shows: the layers and timesteps of a model, and the options of its ``encode``."""
    model = model_name(config)
    generator = untrained_model(config, model, config.load_data(reporter))
    options = encode_options(type(generator))
    return {
        "model": model,
        "layers": list(generator.layers),
        "default": options.get("layer"),
        "timesteps": generator.timesteps,
        "options": {name: value for name, value in options.items() if name != "layer"},
    }


def model_name(config: FeaturesConfig) -> str:
    """The model's name, or that of the saved generator; raises UsageError where they are two."""
    if config.generator is None:
        if config.model is None:
            raise UsageError("Name a model with --model, or a saved generator with --generator FOLDER.")
        return config.model
    saved = str(read_saved(config.generator)["generator"])
    if config.model not in (None, saved):
        raise UsageError(f"{config.generator} holds a {saved!r} generator, not {config.model!r}. Leave --model out.")
    return saved


def check_options(config: FeaturesConfig, model: str) -> None:
    """Timestep and layer that are searched for are no error where a model has none: there is nothing to choose."""
    asked: dict[str, Any] = dict(config.encode)
    if config.t not in (None, AUTO):
        asked["t"] = config.t
    if config.layer not in (None, AUTO):
        asked["layer"] = config.layer
    cls = registry.get(model)
    due: dict[str, Any] = {name: None for name in ("t", "layer") if name in encode_options(cls)}  # chosen here at last
    check_encode_options(cls, {**due, **asked})


def untrained_model(config: FeaturesConfig, model: str, data: ImageSet) -> Generator:
    """The model before training; with the options and seed of its training, so that nothing else differs."""
    options, spec = dict(config.options), ImageSpec(*data.spec.shape, 1)
    if config.steps is not None:
        options["steps"] = config.steps
    if config.generator is not None:
        document = read_saved(config.generator)
        options, spec = document["config"], ImageSpec(**document["spec"])
        if spec.shape != data.spec.shape:
            raise DataError(
                f"{config.generator} was trained on images of {spec.shape} (channels, height, width); "
                f"{data.name} has {data.spec.shape}. Choose the data it was trained on, or --image-size."
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "weights"))
        generator = registry.create(model, spec, options)
        if generator.tags.semi_supervised and config.generator is None:
            torch.manual_seed(derived_seed(config.seed, "weights"))
            generator = registry.create(model, data.spec, options)
    return generator.eval()


def check_alone(config: FeaturesConfig, generator: Generator) -> None:
    """Raise UsageError for what needs one generator; one that learns from labels is trained for every k and episode."""
    for option, asked in (
        ("--layer auto", config.layer == AUTO),
        ("--t auto", config.t == AUTO),
        ("--second-stage", bool(config.second_stage)),
        ("--export", config.export is not None),
    ):
        if asked:
            raise UsageError(
                f"{option} needs one generator, and these options of {generator.name!r} learn from labels: one is "
                f"trained for every k and episode. Leave {option} out"
                + (f", or name a layer: {', '.join(generator.layers)}." if option == "--layer auto" else ".")
            )


def timesteps_of(config: FeaturesConfig, generator: Generator) -> tuple[int | None, ...]:
    """Timesteps to compare; one where nothing is to choose, None for a model without."""
    if config.t == AUTO:
        return timestep_grid(generator.timesteps) if generator.timesteps else (None,)
    if config.t is not None:
        wrong = [t for t in config.t if not 0 <= t < generator.timesteps]
        if wrong:
            raise UsageError(
                f"--t {wrong[0]}: timesteps of {generator.name!r} run from 0 to {generator.timesteps - 1}."
            )
        return tuple(dict.fromkeys(config.t))
    default = encode_options(type(generator)).get("t")
    return (default if isinstance(default, int) else None,)


def layers_asked(config: FeaturesConfig, generator: Generator) -> tuple[str | None, ...]:
    """Layers to compare; one where nothing is to choose, None for a model without."""
    if config.layer == AUTO:
        return generator.layers or (None,)
    if config.layer is not None:
        check_layers(generator, [config.layer])
        return (config.layer,)
    default = encode_options(type(generator)).get("layer")
    return (default if isinstance(default, str) else None,)


def untrained_candidates(own: Candidates, generator: Generator) -> Candidates:
    """What the untrained net may choose from: all its layers, at the model's timesteps and without noise.

    Held to the model's choice it would be a weak rival: noise, in which a trained net finds shapes, is only noise to
    it. Without layers or timesteps to name there is nothing to choose.
    """
    layers = generator.layers if own.layers != (None,) and generator.layers else own.layers
    timesteps = own.timesteps if own.timesteps == (None,) else tuple(dict.fromkeys((0, *own.timesteps)))
    return Candidates(timesteps, layers)
