"""The end of a run or feature study: how it was made stands with its result, and what only its making needed goes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from augment import store

RESULT = "result.json"
OUT_OF_TIME = "max_seconds"
"""Why a training stopped that could go on."""


def finish(
    folder: Path,
    document: dict[str, Any],
    *,
    identity: str,
    environment: dict[str, Any],
    seconds: float,
    classifier_seconds: float,
) -> dict[str, Any]:
    """Write ``result.json``, which marks the folder as finished; returns what it says.

    Everything else must be there already.  environment: of :func:`~augment.run_folder.environment.environment`.
    seconds: wall clock of this attempt, in which parts that were finished before cost nothing.  classifier_seconds: of
    all classifiers, whenever they were trained. Checkpoints of generators that need no more training are removed.
    Raises DataError where the folder cannot be written.
    """
    trainings = _trainings(folder)
    finished = {
        **document,
        "environment": environment,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cost": {
            "seconds": round(seconds, 2),
            "generator_seconds": round(sum(one["seconds"] for one in trainings.values()), 2),
            "classifier_seconds": round(classifier_seconds, 2),
        },
        "seconds": round(seconds, 2),
        "folder": str(folder),
        "identity": identity,
    }
    with store.writing(folder):
        store.write_json(folder / RESULT, finished)
    _remove_checkpoints(trainings)
    return finished


def _trainings(folder: Path) -> dict[Path, dict[str, Any]]:
    """What the training of every generator below ``folder`` left, by the generator's folder."""
    found = {file.parent: store.read_json(file) for file in folder.rglob("training.json")}
    return {place: training for place, training in found.items() if training is not None and "seconds" in training}


def _remove_checkpoints(trainings: Mapping[Path, Mapping[str, Any]]) -> None:
    """They are several times as large as the weights, and only an interrupted training needs them."""
    for place, training in trainings.items():
        if training.get("stopped") != OUT_OF_TIME:
            shutil.rmtree(place / "checkpoint", ignore_errors=True)  # what cannot be removed does no harm
