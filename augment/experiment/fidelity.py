"""Fidelity of a run's own generator, by the first repetition: samples to score, and what is shown of them."""

from __future__ import annotations

from torch import Tensor

from augment.datasets import LabelledImages
from augment.experiment.plan import Draw, Plan
from augment.experiment.repetition import Repetition
from augment.progress import Reporter
from augment.run_folder.gallery import Gallery
from augment.run_folder.gallery_choice import restored_beside_originals, samples_beside_nearest
from augment.sampling import as_uint8
from augment.scoring import Scoring, reconstructions, sample_like, split_references
from augment.seeds import derived_seed
from augment.storage import files

PICTURED = 12
"""Held-out images whose reconstructions are drawn."""


def scoring(plan: Plan, repetition: Repetition, report: Reporter) -> Scoring:
    """Draw samples of the run's model, as many of each class as held-out images, and show some of them."""
    data, seed = repetition.draw.data, repetition.draw.seed
    generator = repetition.trained[plan.config.model].generator
    references = split_references(data.test, plan.config.fidelity_images, seed)
    report.stage("Draw samples to score")
    fake = sample_like(
        generator,
        references.held_out.labels,
        derived_seed(seed, "samples to score"),
        compute=plan.compute,
        on_progress=report.advance,
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
    from augment.pictures import class_grid, image_rows

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
