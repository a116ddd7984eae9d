"""What decides the result of a feature study."""

from __future__ import annotations

from typing import Any

from augment import registry
from augment.generator import read_saved
from augment.registry.capabilities import encode_options
from augment.results.features_result import FeaturesResult
from augment.results.study_result import GeneratorIdentity, Identity
from augment.storage import hashing
from augment.storage.hashing import imported_sources
from augment.studies import identity as studies
from augment.studies.features.config import FeaturesConfig
from augment.studies.features.resolve import model_name
from augment.studies.identity import DataFacts, untrained

SOURCE = "augment.studies.features.study"

WEIGHTS = "model.safetensors"
"""Of a saved generator."""

NOISE_DRAWS = 4
"""Passes with different noise that are averaged, where a model adds noise and nothing else is asked for."""


def identity_of(config: FeaturesConfig, data: DataFacts) -> Identity:
    """The identity of a feature study on these data; raises what is wrong with its model or options."""
    model = model_name(config)
    settings: dict[str, Any] = {"model": model, "encode": encode_of(config, model)}
    if config.generator is None:
        found = untrained(model, config.options, config.steps)
        settings["options"] = {
            name: value for name, value in found.options.items() if name != "steps" or config.steps is None
        }
    else:
        weights = config.generator / WEIGHTS
        kept = hashing.file_hash(weights) if weights.is_file() else None  # what lacks is told when it is loaded
        found = GeneratorIdentity(read_saved(config.generator), weights=kept)
    return studies.identity_of(
        config,
        data,
        {model: found},
        schema=FeaturesResult.schema,
        code=hashing.code_fingerprint(imported_sources(SOURCE)),
        settings=settings,
        resolved={"generator": None},
    )


def encode_of(config: FeaturesConfig, model: str) -> dict[str, Any]:
    """Options of the model's ``encode`` but for the timestep and the layer."""
    options = dict(config.encode)
    if "noise_draws" in encode_options(registry.get(model)):
        options.setdefault("noise_draws", NOISE_DRAWS)
    return options
