"""One run: split, train generators, synthesise, train every arm alike, score once on the test images.

The rules of evidence live here: the split comes first, generators and arms see training images only, all arms have one
budget, and a generative arm is judged against the best arm without synthetic images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from augment import registry
from augment.arms import evaluation
from augment.arms.evaluation import Pending
from augment.arms.grammar import ArmSpec
from augment.compute.sampling import as_uint8
from augment.datasets import ImageSet, LabelledImages
from augment.datasets.class_folders import save_class_folders
from augment.evidence.guards import Fingerprint
from augment.generators.model_card import (
    HELPED,
    SAMPLES,
    Evidence,
    escaped,
    fidelity_section,
    helped_section,
    near_copies,
    unscored,
    write_card,
)
from augment.generators.scoring import Scoring, reconstructions, sample_like, split_references
from augment.progress import Reporter
from augment.results.gallery import Gallery
from augment.results.gallery_choice import restored_beside_originals, samples_beside_nearest
from augment.results.predictions import Predictions
from augment.results.run_result import RunResult
from augment.results.study_result import Identity
from augment.seeds import derived_seed
from augment.storage import files
from augment.storage.files import safe_name
from augment.studies.identity import DataFacts
from augment.studies.lifecycle import StudyKind
from augment.studies.run import retraining
from augment.studies.run.added import added_key
from augment.studies.run.conclusion import result_of
from augment.studies.run.config import RunConfig
from augment.studies.run.identity import identity_of, models_of
from augment.studies.run.plan import Draw, Plan, check_names, draw_of, prepare, without_test_images
from augment.studies.run.repetition import Repetition, add_images, begin, generator_folder, obtain_generator

PICTURED = 12
"""Held-out images whose reconstructions are drawn."""


def scoring(plan: Plan, repetition: Repetition, reporter: Reporter) -> Scoring:
    """Draw samples of the run's model, as many of each class as held-out images, and show some of them."""
    data, seed = repetition.draw.data, repetition.draw.seed
    generator = repetition.trained[plan.config.model].generator
    references = split_references(data.test, plan.config.fidelity_images, seed)
    reporter.stage("Draw samples to score")
    fake = sample_like(
        generator,
        references.held_out.labels,
        derived_seed(seed, "samples to score"),
        compute=plan.compute,
        on_progress=reporter.advance,
    )
    restored = reconstructions(generator, references.held_out)
    _draw_pictures(plan, fake, references.held_out, restored)
    _save_gallery(plan, repetition.draw, fake, references.held_out, restored)
    return Scoring(
        dataset=plan.config.dataset,
        num_classes=len(data.classes),
        fake=fake,
        references=references,
        pool=repetition.draw.real,
        restored=restored,
        seed=seed,
    )


def _draw_pictures(plan: Plan, fake: LabelledImages, held_out: LabelledImages, restored: Tensor | None) -> None:
    from augment.results.contact_sheets import class_grid, image_rows

    with files.writing(plan.folder):
        class_grid(fake.images, fake.labels, plan.data.classes).save(plan.folder / "samples.png")
        if restored is not None:
            rows = [held_out.images[:PICTURED], as_uint8(restored[:PICTURED])]
            image_rows(rows, ["held out", "reconstructed"]).save(plan.folder / "reconstructions.png")


def _save_gallery(
    plan: Plan, draw: Draw, fake: LabelledImages, held_out: LabelledImages, restored: Tensor | None
) -> None:
    """The nearest images are sought among all that were drawn: those held back chose the weights that are kept."""
    classes = plan.data.classes
    samples = samples_beside_nearest(fake, draw.real, len(classes))
    made = None if restored is None else restored_beside_originals(held_out, restored, len(classes))
    with files.writing(plan.folder):
        Gallery(plan.config.model, classes, samples, made).save(plan.folder)


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


class RunStudy(StudyKind[RunConfig, Plan, RunResult]):
    """A comparison of arms."""

    name = "run"
    config = RunConfig
    result = RunResult

    def prepare(self, config: RunConfig, reporter: Reporter) -> Plan:
        """Load the data and resolve every default."""
        return prepare(config, reporter)

    def carry_out(self, plan: Plan, reporter: Reporter) -> RunResult:
        """All repetitions."""
        return _carry_out(plan, reporter)

    def models(self, config: RunConfig) -> tuple[str, ...]:
        """All generators that its arms use."""
        registry.get(config.model)  # named as a model, before its arms make a component of it
        return models_of(config)

    def check(self, config: RunConfig) -> None:
        """Models, their options, arms, strategy."""
        check_names(config)

    def identity(self, config: RunConfig, data: DataFacts) -> Identity:
        """What decides the result."""
        return identity_of(config, data)

    def data_of(self, config: RunConfig, reporter: Reporter) -> ImageSet:
        """Without training images that are test images, too, where both parts are given."""
        data = config.load_data(reporter)
        if config.divided(own_test=data.own_test).split != "given":
            return data
        return without_test_images(data, Fingerprint(data.test.images), Reporter())


STUDY = RunStudy()


def _within_time(plan: Plan, reporter: Reporter) -> Plan:
    """The plan with the time its generators may take; a resumed run keeps what it had."""
    file = plan.folder / "time.json"
    known = files.read_json(file)
    if known is not None:
        return replace(plan, generator_minutes=known["generator_minutes"])
    if plan.config.max_minutes is None:
        return plan
    from augment.studies.run.estimate import within

    minutes = within(plan, reporter)
    with files.writing(plan.folder):
        files.write_json(file, {"generator_minutes": minutes})
    return replace(plan, generator_minutes=minutes)


def _carry_out(plan: Plan, reporter: Reporter) -> RunResult:
    """All repetitions; arms without a generator begin first, and workers train them while generators are trained."""
    plan = _within_time(plan, reporter)
    repetitions = [Repetition(draw_of(plan, index)) for index in range(plan.config.repetitions)]
    pending = [_begin(plan, repetition, "classical", reporter) for repetition in repetitions]
    for repetition, begun in zip(repetitions, pending, strict=True):
        for model in plan.models:
            repetition.trained[model] = obtain_generator(plan, repetition.draw, model, reporter)
        begun += _begin(plan, repetition, "generative", reporter)
        save_images(plan, repetition)
    scores = plan.compute.queue.submit(scoring(plan, repetitions[0], reporter).compute)
    repeats = retraining.begin(plan, repetitions, reporter) if plan.config.repetitions > 1 else []
    reporter.stage("Train classifiers and score the samples")
    entries = [(repetition, entry) for repetition, begun in zip(repetitions, pending, strict=True) for entry in begun]
    for done, (repetition, entry) in enumerate(entries):
        reporter.advance(done, len(entries), f"{entry.arm}{repetition.draw.label}")
        repetition.results += evaluation.collect([entry], repetition.draw.data, plan.compute.queue)
    spreads = retraining.collect(plan, repetitions, repeats)
    retraining.train_again(plan, repetitions, reporter)
    (fidelity,) = plan.compute.queue.results([scores])
    found = result_of(plan, repetitions, fidelity, spreads)
    save_predictions(plan, repetitions)
    write_cards(plan, repetitions, found)
    return found


def _begin(plan: Plan, repetition: Repetition, family: str, reporter: Reporter) -> list[Pending]:
    """Begin the arms of one family; their images are made first."""
    specs: list[ArmSpec] = [spec for spec in plan.arms if spec.family == family]
    for spec in specs:
        add_images(plan, repetition, spec, reporter)
    return list(begin(plan, repetition, specs))
