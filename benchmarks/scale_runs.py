"""Finished run folders by the thousand, made of one real small run: for measuring what reads many of them.

Names, seeds, sizes and scores differ as in a study of all models; pictures and weights are links to the one run's.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.registry import registered
from augment.storage.hashing import content_hash
from augment.studies.sweep.cell import Cell, Outcome
from augment.studies.sweep.folder import SweepFolder

MODEL = "vae"
REGIMES = ("balanced", "semi", "high")
SEEDS = 8


@dataclass(frozen=True)
class Coordinates:
    """Where a copy lies in the grid."""

    model: str
    regime: str
    size: int
    seed: int


def real_run(out: Path, dataset: str, data_dir: str | None) -> Path:
    """The folder of one small run, made in a few seconds."""
    options = ["--dataset", dataset, "--model", MODEL, "--steps", "20", "--updates", "20", "--offline"]
    options += [] if data_dir is None else ["--data-dir", data_dir]
    subprocess.run([sys.executable, "-m", "augment", "run", *options, "--out", out], check=True, capture_output=True)
    return next(out.glob(f"*-{MODEL}-*"))


def coordinates(count: int) -> Iterator[Coordinates]:
    """``count`` cells over all registered models, three regimes, eight seeds and as many sizes as it takes."""
    models = sorted(registered())
    sizes = [1000 * step for step in range(1, math.ceil(count / (len(models) * len(REGIMES) * SEEDS)) + 1)]
    grid = itertools.product(models, REGIMES, sizes, range(SEEDS))
    return (Coordinates(*place) for place in itertools.islice(grid, count))


def make(base: Path, folder: Path, count: int) -> None:
    """``count`` copies of ``base`` with their records, as a sweep in ``folder`` leaves them."""
    sweep = SweepFolder(folder)
    result, config = ((base / name).read_text() for name in ("result.json", "config.json"))
    others = [file for file in base.rglob("*") if file.is_file() and file.name not in ("result.json", "config.json")]
    grid = [Cell(content_hash(vars(place)), "run", {}, vars(place)) for place in coordinates(count)]
    sweep.save_grid({"schema": "augment.grid/1", "cells": [cell.to_json() for cell in grid]})
    for place in coordinates(count):
        identity = content_hash(vars(place))
        run = folder / f"images-{place.regime}-{place.model}-{identity[:10]}"
        for file in others:
            (run / file.relative_to(base)).parent.mkdir(parents=True, exist_ok=True)
            os.link(file, run / file.relative_to(base))
        _write(run / "config.json", _config(_renamed(config, place.model), place))
        _write(run / "result.json", _result(_renamed(result, place.model), place, str(run), identity))
        sweep.record(Outcome(identity, "finished", run.name, identity, seconds=30.0, worker="host:1"))


def _renamed(text: str, model: str) -> Any:
    return json.loads(re.sub(rf"\b{MODEL}\b", model, text))


def _write(file: Path, document: Any) -> None:
    """Without waiting for the disk, which these copies are not worth."""
    file.write_text(json.dumps(document, indent=2) + "\n")


def _config(config: dict[str, Any], place: Coordinates) -> dict[str, Any]:
    config["config"].update(regime=place.regime, size=place.size, seed=place.seed)
    for recipe in config["recipes"].values():
        recipe.update(seed=place.seed, data_sha256=content_hash([place.regime, place.size, place.seed]))
    return config


def _result(result: dict[str, Any], place: Coordinates, folder: str, identity: str) -> dict[str, Any]:
    rng = random.Random(identity)
    result["regime"].update(name=place.regime, size=place.size, seed=place.seed)
    result["seeds"] = [place.seed]
    for arm in result["arms"]:
        arm["seed"] += place.seed
        arm["accuracy"] = min(1.0, max(0.0, arm["accuracy"] + rng.gauss(0, 0.02)))
        arm["balanced_accuracy"] = min(1.0, max(0.0, arm["balanced_accuracy"] + rng.gauss(0, 0.02)))
    return {**result, "folder": folder, "identity": identity}


def records_only(folder: Path, count: int) -> None:
    """Records with the smallest results they can have, ``count`` of them: what finding out where a sweep was costs."""
    (folder / "cells").mkdir(parents=True)
    for place in range(count):
        key = content_hash(place)
        (folder / key).mkdir()
        _write(folder / key / "result.json", {"identity": key})
        outcome = Outcome(key, "finished", key, key, seconds=30.0, worker="host:1")
        _write(folder / "cells" / f"{key}.json", outcome.to_json())
