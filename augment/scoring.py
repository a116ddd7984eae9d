"""Score samples against real images: fidelity with its floor, diversity and memorisation in one report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.datasets import ImageSet, LabelledImages, load_dataset
from augment.device import choose_device, choose_precision
from augment.errors import DataError
from augment.evidence.guards import Fingerprint, Guard, no_test_images, same_scaling
from augment.fake_images import FakeImages, load_fake_images
from augment.generator import Generator, evaluating
from augment.metrics.extractors import Extractor, load_extractor
from augment.metrics.fidelity import Fidelity, score_fidelity
from augment.metrics.memorisation import Memorisation, memorisation
from augment.metrics.similarity import ms_ssim_reduced, psnr, ssim, ssim_diversity
from augment.progress import Reporter
from augment.registry import load_generator
from augment.sampling import OnProgress, sample_images
from augment.workers import Workers

FEWEST = 4
"""Real images to score against: two to compare with, two held out."""

RECONSTRUCTED = 512
"""Held-out images whose reconstructions are scored."""


@dataclass(frozen=True)
class References:
    """Two disjoint halves of the real images: ``reference`` to compare with, ``held_out`` as real as samples can be."""

    reference: LabelledImages
    held_out: LabelledImages


@dataclass(frozen=True)
class SampleScores:
    """All scores of one set of samples; similarities are None where they do not apply."""

    fidelity: Fidelity
    ssim_diversity: float | None
    ssim_diversity_real: float | None
    memorisation: Memorisation | None
    ssim: float | None = None
    ms_ssim: float | None = None
    psnr: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The ``fidelity`` section of a result.

        ``ssim``, ``ms_ssim_reduced`` and ``psnr`` are of reconstructions of held-out images; ``ssim_diversity`` is of
        samples within a class, lower is more diverse.
        """
        scores, copied = self.fidelity, self.memorisation
        return {
            "extractor": scores.extractor,
            "extractor_sha256": scores.extractor_sha256,
            "n": scores.n,
            "n_reference": scores.n_reference,
            "fid": scores.fid,
            "fid_floor": scores.fid_floor,
            "fid_floor_range": _listed(scores.fid_floor_range),
            "fid_reason": scores.fid_reason,
            "kid": scores.kid,
            "kid_std": scores.kid_std,
            "kid_floor": scores.kid_floor,
            "kid_floor_range": _listed(scores.kid_floor_range),
            "is": scores.inception_score,
            "precision": scores.precision,
            "precision_floor": scores.precision_floor,
            "recall": scores.recall,
            "recall_floor": scores.recall_floor,
            "density": scores.density,
            "density_floor": scores.density_floor,
            "coverage": scores.coverage,
            "coverage_floor": scores.coverage_floor,
            "ssim": self.ssim,
            "ms_ssim_reduced": self.ms_ssim,
            "psnr": self.psnr,
            "ssim_diversity": self.ssim_diversity,
            "ssim_diversity_floor": self.ssim_diversity_real,
            "memorisation": None if copied is None else copied.share,
            "exact_copies": None if copied is None else copied.exact_copies,
            "near_copies": None if copied is None else copied.near_copies / copied.n,
            "near_copies_floor": None if copied is None else copied.near_copies_held_out,
        }


def _listed(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else list(bounds)


def split_references(test: LabelledImages, n: int, seed: int) -> References:
    """Halve the real images by a seeded draw; at most ``n`` of the second half are held out.

    Raises DataError for fewer than :data:`FEWEST`.
    """
    if len(test) < FEWEST:
        raise DataError(f"{len(test)} real images are too few to score against; at least {FEWEST} are needed.")
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    half = len(test) // 2
    return References(test.subset(order[:half]), test.subset(order[half : half + min(n, half)]))


def sample_like(
    generator: Generator,
    labels: Tensor,
    seed: int,
    *,
    precision: str = "fp32",
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
) -> LabelledImages:
    """One sample per label; a generator without classes is drawn as often, its labels are the ones asked for."""
    images = sample_images(generator, labels, seed=seed, precision=precision, workers=workers, on_progress=on_progress)
    return LabelledImages(images, labels)


def score_samples(
    fake: LabelledImages,
    references: References,
    extractor: Extractor,
    *,
    train: LabelledImages | None,
    restored: Tensor | None = None,
    seed: int = 0,
) -> SampleScores:
    """Score ``fake`` against real images.

    train: what the generator was trained on, for memorisation.  restored: :func:`reconstructions` of the first held-out
    images, for their quality.
    """
    held_out = references.held_out
    return SampleScores(
        fidelity=score_fidelity(references.reference.images, fake.images, held_out.images, extractor, seed=seed),
        ssim_diversity=ssim_diversity(fake.images, fake.labels, seed=seed),
        ssim_diversity_real=ssim_diversity(held_out.images, held_out.labels, seed=seed),
        memorisation=None if train is None else _memorisation(train, held_out, fake),
        **({} if restored is None else _reconstruction_scores(restored, held_out)),
    )


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

    def compute(self) -> dict[str, Any]:
        """The ``fidelity`` section of a result."""
        extractor = load_extractor(
            self.dataset,
            self.pool.images.shape[1],
            images=self.pool.images,
            labels=self.pool.labels,
            num_classes=self.num_classes,
            inception=self.inception,
        )
        scores = score_samples(
            self.fake, self.references, extractor, train=self.pool, restored=self.restored, seed=self.seed
        )
        return scores.to_json()


def _memorisation(train: LabelledImages, held_out: LabelledImages, fake: LabelledImages) -> Memorisation:
    """Compared class by class, so that another mixture of classes does not look like copying."""
    return memorisation(
        train.images, held_out.images, fake.images, held_out_labels=held_out.labels, fake_labels=fake.labels
    )


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


def _reconstruction_scores(restored: Tensor, held_out: LabelledImages) -> dict[str, float]:
    original = held_out.images[: len(restored)].float() / 255
    return {
        "ssim": float(ssim(restored, original).mean()),
        "ms_ssim": float(ms_ssim_reduced(restored, original).mean()),
        "psnr": float(psnr(restored, original).mean()),
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
    report: Reporter | None = None,
) -> dict[str, Any]:
    """Score ``fake``, a folder of images or a saved generator, against the test images of ``real``.

    Class folders of ``fake`` are matched by name and may be fewer: then only real images of those classes are compared.
    ``image_size`` resizes both. The document's ``guards`` say whether test images are among the fake ones and whether
    both have one scale. Raises DataError when shapes, colours or classes do not agree
    (:func:`augment.fake_images.load_fake_images`).
    """
    report = report or Reporter()
    report.stage(f"Load {real}")
    data = load_dataset(
        real, data_dir=data_dir, image_size=image_size, strict=strict, offline=offline, report=report.note
    )
    _check_enough(data.test, f"{real} has too few test images")
    report.stage(f"Load {fake}")
    generator = None
    if (fake / "config.json").exists():
        generator = _suited_generator(fake, data).to(choose_device(device))
        labels = split_references(data.test, n, seed).held_out.labels
        found = FakeImages(_samples(generator, labels, seed, report), data.test)
    else:
        found = load_fake_images(fake, data, image_size=image_size, strict=strict)
    for note in found.notes:
        report.note(note)
    images = found.images
    _check_enough(found.test, f"{real} has too few test images of the classes in {fake}")
    references = split_references(found.test, min(n, len(images)), seed)
    report.stage("Score")
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
    return {
        "schema": "augment.score/2",
        "real": real,
        "fake": str(fake),
        "seed": seed,
        "notes": list(found.notes),
        "fidelity": scoring.compute(),
        "guards": [asdict(guard) for guard in _guards(images, data)],
    }


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


def _samples(generator: Generator, labels: Tensor, seed: int, report: Reporter) -> LabelledImages:
    report.stage(f"Sample {generator.name}")
    precision = choose_precision("auto", generator.device)
    return sample_like(generator, labels, seed, precision=precision, on_progress=report.advance)


def _drawn(images: LabelledImages, n: int, seed: int) -> LabelledImages:
    """``n`` of the images, in an order drawn by ``seed``; all in their own order where there are no more."""
    if len(images) <= n:
        return images
    return images.subset(torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n])


def _guards(fake: LabelledImages, data: ImageSet) -> tuple[Guard, Guard]:
    """All images are looked at, not only those that are scored."""
    test = Fingerprint(data.test.images)
    return no_test_images({"images to score": fake.images}, test), same_scaling(data.train, fake, data.test)
