"""What a run keeps beside its result: predictions, images that were added, and a card for every generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augment.class_folders import save_class_folders
from augment.experiment.added import added_key
from augment.experiment.plan import Plan
from augment.experiment.repetition import Repetition, generator_folder
from augment.model_card.card import Evidence, write_card
from augment.model_card.markdown import escaped
from augment.model_card.sections import HELPED, SAMPLES, fidelity_section, helped_section, near_copies, unscored
from augment.results.run_result import RunResult
from augment.run_folder.predictions import Predictions
from augment.storage import files
from augment.storage.files import safe_name


def save_predictions(plan: Plan, repetitions: Sequence[Repetition]) -> None:
    """Every prediction of every classifier and arm, by training, in ``predictions.safetensors``."""
    truths = {index: one.draw.data.test.labels.numpy().astype(np.int32) for index, one in enumerate(repetitions)}
    predicted = {
        (index, result.classifier, result.arm): np.asarray(result.predictions, dtype=np.int32)
        for index, repetition in enumerate(repetitions)
        for result in repetition.results
    }
    with files.writing(plan.folder):
        Predictions(truths, predicted).save(plan.folder)


def save_images(plan: Plan, repetition: Repetition) -> None:
    """With ``save_images`` what generators added, as PNG in class folders, each set with its rows.

    A set that several arms add is in the folder of the first, ``synthetic/<arm>``.
    """
    if not plan.config.save_images:
        return
    sets: dict[str, str] = {}
    for spec in plan.arms:
        if spec.generator is not None:
            sets.setdefault(added_key(spec), spec.name)
    for key, arm in sets.items():
        images = repetition.added[key].images
        folder = repetition.draw.folder / "synthetic" / folder_name(arm, [spec.name for spec in plan.arms])
        save_class_folders(folder, images.images, images.labels, plan.data.classes, images.rows)


def folder_name(arm: str, arms: Sequence[str]) -> str:
    """A folder for an arm; numbered where another one of ``arms`` would have the same, as in ``a+b`` and ``a:b``."""
    alike = [other for other in arms if safe_name(other) == safe_name(arm)]
    number = alike.index(arm)
    return f"{safe_name(arm)}-{number}" if number else safe_name(arm)


def write_cards(plan: Plan, repetitions: Sequence[Repetition], result: RunResult) -> None:
    """A model card in the folder of every generator, with what the run has found out about it."""
    for index, repetition in enumerate(repetitions):
        for model, trained in repetition.trained.items():
            folder = repetition.draw.folder / generator_folder(plan, model)
            evidence = _evidence(plan, model, result, first=index == 0)
            write_card(folder, trained.generator, repetition.draw.manifest, plan.data.classes, evidence)


def _evidence(plan: Plan, model: str, result: RunResult, *, first: bool) -> Evidence:
    """Samples are scored of the run's own model, in the first repetition; classifiers of every one are compared."""
    arms = {spec.name for spec in plan.arms if spec.generator == model}
    rows = [row for row in result.comparisons if row.arm in arms]
    verdicts = [row.text for row in result.verdicts if row.arm in arms or row.decision == "invalid"]
    helped = {HELPED: helped_section(rows, verdicts)}
    if model != plan.config.model:
        reason = f"the run that it was trained for scored samples of {escaped(plan.config.model)}."
        return Evidence({SAMPLES: unscored(reason), **helped}, (near_copies(None),))
    scored = fidelity_section(result.fidelity, part=result.scored_on.part, other_training=not first)
    copied = near_copies(result.fidelity)
    return Evidence({SAMPLES: scored, **helped}, (copied if first else f"Of the other generator: {copied}",))
