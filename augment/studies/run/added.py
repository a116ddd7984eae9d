"""The images that arms add to the real ones of a repetition: made once for all arms that add the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from augment.arms.grammar import COPIES, DUPLICATE, LATENT_SMOTE, ArmSpec
from augment.evidence import guards
from augment.generator import Generator
from augment.metrics.memorisation import nearest
from augment.progress import Reporter
from augment.seeds import derived_seed
from augment.studies.run.plan import Draw, Plan, counts_of
from augment.synthesis import synthesis
from augment.synthesis.acceptance import filtered
from augment.synthesis.copies import duplicates, latent_smote, smote_images, transformed_copies
from augment.synthesis.filter_outcome import FilterOutcome
from augment.synthesis.synthesis import NO_PARENT, SyntheticSet, synthesise, with_nearest
from augment.synthesis.teacher_filter import Teachers


@dataclass(frozen=True)
class Added:
    """Images made by the generator ``model`` (None: without one).

    origins: of each the real image of the repetition that it was made from, or is most like, ``(n,)``.  filtered:
    what became of the images that their filter was shown.
    """

    model: str | None
    images: SyntheticSet
    origins: Tensor
    filtered: FilterOutcome | None = None


def added_key(spec: ArmSpec) -> str:
    """Arms with the same key add the same images."""
    making = [str(one) for one in spec.usage.strategies if one.slot in ("counts", "source", "filter")]
    return "+".join([spec.generator or "", str(spec.adds), *([spec.transform] if spec.transform else []), *making])


def make_added(
    plan: Plan,
    draw: Draw,
    generator: Generator | None,
    spec: ArmSpec,
    reporter: Reporter,
) -> Added:
    """What an arm adds, from the cache where the very same images were made before."""
    counts = counts_of(spec.usage, draw.manifest.class_counts)
    identity = {
        "key": added_key(spec),
        "counts": counts,
        "recipe": asdict(plan.recipe(spec.generator, draw.manifest, draw.seed)) if spec.generator else None,
        "data": draw.manifest.sha256,
        "seed": draw.seed,
        "updates": plan.updates if spec.usage.filter else None,  # of the filter's teachers
        "precision": plan.compute.precision,
    }

    def make() -> synthesis.Drawn:
        reporter.stage(f"Make images of {spec.name}{draw.label}")
        return _made(plan, draw, generator, spec, counts, reporter)

    images, filter_report = synthesis.kept_or_drawn(identity, make, reuse=plan.config.resume, reporter=reporter)
    _tell_shortfall(spec, counts, images, reporter)
    index, distance = _nearest(images, draw)
    origins = torch.where(images.parents == NO_PARENT, index, images.parents)
    return Added(spec.generator, _located(images, draw, index, distance), origins, filter_report)


def _made(
    plan: Plan,
    draw: Draw,
    generator: Generator | None,
    spec: ArmSpec,
    counts: tuple[int, ...],
    reporter: Reporter,
) -> synthesis.Drawn:
    seed = draw.seed
    if spec.adds == DUPLICATE:
        return duplicates(draw.real, counts, seed), None
    if spec.adds == COPIES and spec.transform is not None:
        return transformed_copies(draw.real, counts, spec.transform, seed), None
    if generator is None:
        return smote_images(draw.real.images, draw.real.labels, counts, seed=seed), None
    compute = plan.compute
    if spec.adds == LATENT_SMOTE:
        return latent_smote(generator, draw.real.images, draw.real.labels, counts, seed=seed, compute=compute), None

    def drawn(wanted: tuple[int, ...], turn: int) -> SyntheticSet:
        own = derived_seed(seed, "turn", turn) if turn else seed
        return synthesise(
            generator,
            wanted,
            real=draw.real,
            source=spec.usage.source,
            seed=own,
            compute=compute,
            on_progress=reporter.advance,
        )

    rule = spec.usage.filter
    if rule is None:
        return drawn(counts, 0), None
    guards.refuse_test_images(draw.real.images, draw.test, "the images that the teachers keep")
    reporter.stage(f"Train teachers{draw.label}")
    teachers = Teachers.fit(
        draw.real,
        len(plan.data.classes),
        rule,
        updates=plan.updates,
        seed=draw.seed,
        compute=plan.compute,
    )
    kept, found = filtered(drawn, counts, teachers)
    return kept, found.outcome(plan.data.classes)


def _nearest(images: SyntheticSet, draw: Draw) -> tuple[Tensor, Tensor]:
    """For each image the nearest real one of the repetition, and its distance."""
    if len(images.labels) == 0:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    return nearest(images.images, draw.real.images)


def _located(images: SyntheticSet, draw: Draw, index: Tensor, distance: Tensor) -> SyntheticSet:
    """Every row names its nearest training image and its parent as indices into the data set's training part."""
    train = torch.tensor(draw.manifest.train)
    rows = tuple(
        {**row, "parent": int(train[row["parent"]])} if row.get("parent") is not None else row for row in images.rows
    )
    return with_nearest(replace(images, rows=rows), train[index], distance)


def _tell_shortfall(spec: ArmSpec, counts: tuple[int, ...], images: SyntheticSet, reporter: Reporter) -> None:
    missing = sum(counts) - len(images.labels)
    if sum(counts) == 0:
        reporter.note(f"{spec.usage.counts} asks for no images in arm {spec.name}: no class has a deficit.")
    elif missing:
        reporter.note(f"Arm {spec.name}: the filter kept {len(images.labels):,} of the {sum(counts):,} images wanted.")
