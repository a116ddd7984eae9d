"""Score samples against real images: fidelity with its floor, diversity and memorisation in one report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.compute.device import CPU, Compute, choose_device, choose_precision
from augment.compute.sampling import OnProgress, sample_images
from augment.datasets import ImageSet, LabelledImages, load_dataset
from augment.datasets.fake_images import FakeImages, load_fake_images
from augment.errors import DataError
from augment.evidence.guards import Fingerprint, no_test_images, same_scaling
from augment.evidence.verdict import Guard
from augment.generator import Generator, evaluating
from augment.metrics.extractors import load_extractor
from augment.metrics.fidelity import SampleImages
from augment.metrics.scores import FidelityScores, compute_scores
from augment.progress import Reporter
from augment.registry import load_generator
from augment.seeds import torch_rng

SCHEMA = "augment.score/3"

FEWEST = 4
"""Real images to score against: two to compare with, two held out."""

RECONSTRUCTED = 512
"""Held-out images whose reconstructions are scored."""


@dataclass(frozen=True)
class References:
    """Two disjoint halves of the real images: ``reference`` to compare with, ``held_out`` as real as samples can be."""

    reference: LabelledImages
    held_out: LabelledImages


def split_references(test: LabelledImages, n: int, seed: int) -> References:
    """Halve the real images by a seeded draw; at most ``n`` of the second half are held out.

    Raises DataError for fewer than :data:`FEWEST`.
    """
    if len(test) < FEWEST:
        raise DataError(f"{len(test)} real images are too few to score against; at least {FEWEST} are needed.")
    order = torch.randperm(len(test), generator=torch_rng(seed, "halves of the real images"))
    half = len(test) // 2
    return References(test.subset(order[:half]), test.subset(order[half : half + min(n, half)]))


def sample_like(
    generator: Generator,
    labels: Tensor,
    seed: int,
    *,
    compute: Compute = CPU,
    on_progress: OnProgress | None = None,
) -> LabelledImages:
    """One sample per label; a generator without classes is drawn as often, its labels are the ones asked for."""
    images = sample_images(generator, labels, seed=seed, compute=compute, on_progress=on_progress)
    return LabelledImages(images, labels)


@dataclass(frozen=True)
class Scoring:
    """Everything a score needs, so that any process can compute it.

    pool: training images of the data set, for an extractor where none is shipped.  restored: reconstructions of the
    first held-out images, None for a generator that makes none.
    """

    dataset: str
    num_classes: int
    fake: LabelledImages
    references: References
    pool: LabelledImages
    restored: Tensor | None
    seed: int
    inception: Path | None = None

    def compute(self) -> FidelityScores:
        """All scores of the samples."""
        extractor = load_extractor(
            self.dataset,
            self.pool.images.shape[1],
            images=self.pool.images,
            labels=self.pool.labels,
            num_classes=self.num_classes,
            inception=self.inception,
        )
        held_out = self.references.held_out
        images = SampleImages(
            real=self.references.reference.images,
            fake=self.fake.images,
            held_out=held_out.images,
            extractor=extractor,
            seed=self.seed,
            fake_labels=self.fake.labels,
            held_out_labels=held_out.labels,
            train=self.pool.images,
            restored=self.restored,
        )
        return compute_scores(images)


def reconstructions(generator: Generator, held_out: LabelledImages) -> Tensor | None:
    """Reconstructions of the first held-out images, float32 ``(n, C, H, W)`` in [0, 1] on the CPU.

    None for a generator that does not reconstruct.
    """
    if not generator.tags.reconstructs:
        return None
    images = held_out.images[:RECONSTRUCTED].to(generator.device).float() / 255
    with evaluating(generator):
        restored: Tensor = generator.reconstruct(images)  # type: ignore[operator]
    return restored.float().cpu().clamp(0, 1)


@dataclass(frozen=True)
class ScoreResult:
    """What ``augment score`` found.

    real, fake: what was compared.  guards: are test images among the fake ones, and have both one scale?
    """

    real: str
    fake: Path
    seed: int
    notes: tuple[str, ...]
    fidelity: FidelityScores
    guards: tuple[Guard, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of ``--json``."""
        return {
            "schema": SCHEMA,
            "real": self.real,
            "fake": str(self.fake),
            "seed": self.seed,
            "notes": list(self.notes),
            "fidelity": self.fidelity.to_json(),
            "guards": [asdict(guard) for guard in self.guards],
        }


def score(
    real: str,
    fake: Path,
    *,
    n: int = 2000,
    data_dir: Path | None = None,
    image_size: int | None = None,
    strict: bool = False,
    seed: int = 0,
    device: str = "auto",
    inception: Path | None = None,
    offline: bool = False,
    reporter: Reporter | None = None,
) -> ScoreResult:
    """Score ``fake``, a folder of images or a saved generator, against the test images of ``real``.

    Class folders of ``fake`` are matched by name and may be fewer: then only real images of those classes are compared.
    ``image_size`` resizes both. Raises DataError when shapes, colours or classes do not agree
    (:func:`augment.datasets.fake_images.load_fake_images`).
    """
    reporter = reporter or Reporter()
    reporter.stage(f"Load {real}")
    data = load_dataset(
        real, data_dir=data_dir, image_size=image_size, strict=strict, offline=offline, log=reporter.note
    )
    _check_enough(data.test, f"{real} has too few test images")
    reporter.stage(f"Load {fake}")
    generator = None
    if (fake / "config.json").exists():
        generator = _suited_generator(fake, data).to(choose_device(device))
        labels = split_references(data.test, n, seed).held_out.labels
        fake_images = FakeImages(_samples(generator, labels, seed, reporter), data.test)
    else:
        fake_images = load_fake_images(fake, data, image_size=image_size, strict=strict)
    for note in fake_images.notes:
        reporter.note(note)
    images = fake_images.images
    _check_enough(fake_images.test, f"{real} has too few test images of the classes in {fake}")
    references = split_references(fake_images.test, min(n, len(images)), seed)
    reporter.stage("Score")
    scoring = Scoring(
        dataset=real,
        num_classes=len(data.classes),
        fake=_drawn(images, len(references.held_out), seed),
        references=references,
        pool=data.train,
        restored=None if generator is None else reconstructions(generator, references.held_out),
        seed=seed,
        inception=inception,
    )
    return ScoreResult(real, fake, seed, tuple(fake_images.notes), scoring.compute(), _guards(images, data))


def _check_enough(test: LabelledImages, described: str) -> None:
    if len(test) < FEWEST:
        raise DataError(
            f"{described} to score against: {len(test)}, and at least {FEWEST} are needed. Add images to its test "
            "part; where it has no parts, a fifth of each class is for testing."
        )


def _suited_generator(folder: Path, data: ImageSet) -> Generator:
    """A saved generator of the data set's shape and classes; raises DataError for others."""
    generator = load_generator(folder)
    spec, advice = generator.spec, "Score its images instead: draw them with `augment sample` and pass their folder."
    if spec.shape != data.spec.shape:
        raise DataError(
            f"{folder} has images of shape {spec.shape}, {data.name} of {data.spec.shape} (channels, height, width). "
            f"Scores need equal shapes: pass --image-size to resize the real ones, or train it anew. {advice}"
        )
    if spec.num_classes != len(data.classes):
        raise DataError(
            f"{folder} was made for {spec.num_classes} classes, {data.name} has {len(data.classes)}. {advice}"
        )
    if spec.class_names and spec.class_names != data.classes:
        raise DataError(
            f"{folder} was made for the classes {', '.join(spec.class_names)}; {data.name} has "
            f"{', '.join(data.classes)}, in this order. {advice}"
        )
    return generator


def _samples(generator: Generator, labels: Tensor, seed: int, reporter: Reporter) -> LabelledImages:
    reporter.stage(f"Sample {generator.name}")
    compute = Compute(str(generator.device), choose_precision("auto", generator.device))
    return sample_like(generator, labels, seed, compute=compute, on_progress=reporter.advance)


def _drawn(images: LabelledImages, n: int, seed: int) -> LabelledImages:
    """``n`` of the images, in an order drawn by ``seed``; all in their own order where there are no more."""
    if len(images) <= n:
        return images
    return images.subset(torch.randperm(len(images), generator=torch_rng(seed, "samples to score"))[:n])


def _guards(fake: LabelledImages, data: ImageSet) -> tuple[Guard, Guard]:
    """All images are looked at, not only those that are scored."""
    test = Fingerprint(data.test.images)
    return no_test_images({"images to score": fake.images}, test), same_scaling(data.train, fake, data.test)
