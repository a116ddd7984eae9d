"""Images in the place of synthetic ones that need no generator: copies, transformed copies, and SMOTE between them.

SMOTE makes images between real ones of a class, on pixels, and on a generator's codes.

Chawla et al. 2002, "SMOTE: Synthetic Minority Over-sampling Technique" (arXiv 1106.1813), by imbalanced-learn; between
codes: DeepSMOTE, Dablain et al. 2021 (arXiv 2105.02340).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from augment.classifiers.batches import random_shift
from augment.classifiers.transforms import transformed
from augment.compute.device import CPU, Compute
from augment.compute.encoding import encode_set
from augment.compute.sampling import OnProgress, as_uint8, decode_codes
from augment.datasets import LabelledImages
from augment.errors import DataError, UsageError
from augment.generator import Generator
from augment.seeds import random_state, torch_rng
from augment.synthesis.synthesis import NO_PARENT, SyntheticSet, provenance

PART = 512
"""Images transformed at a time."""


def duplicates(real: LabelledImages, counts: tuple[int, ...], seed: int) -> SyntheticSet:
    """``counts[c]`` copies of real images of each class, every image as often as the others of its class.

    The control for added images as such. A class without images gets none.
    """
    index = _chosen(real, counts, seed)
    labels = real.labels[index]
    rows = provenance(None, labels, seed, "duplicate", index, stream=None)
    return SyntheticSet(real.images[index], labels, rows, index)


def transformed_copies(real: LabelledImages, counts: tuple[int, ...], transform: str, seed: int) -> SyntheticSet:
    """:func:`duplicates`, each shifted as a classifier's batches are and changed by ``transform``.

    What a tree, which sees every image once, has of augmentation. transform: one of
    :data:`augment.classifiers.transforms.TRANSFORMS`, whose errors it raises.
    """
    index, moves = _chosen(real, counts, seed), torch_rng(seed, "transformed copies")
    labels = real.labels[index]
    images = real.images[index]
    for start in range(0, len(index), PART):
        rows = index[start : start + PART]
        shifted = random_shift(real.images, rows, "shift", moves)
        images[start : start + PART] = transformed(shifted, [transform], moves, share=1.0)
    provenance_rows = provenance(None, labels, seed, f"copies:{transform}", index, stream=None)
    return SyntheticSet(images, labels, provenance_rows, index)


def _chosen(real: LabelledImages, counts: tuple[int, ...], seed: int) -> torch.Tensor:
    chosen, shuffles = [], torch_rng(seed, "copied images")
    for label, count in enumerate(counts):
        rows = (real.labels == label).nonzero()[:, 0]
        passes = -(-count // max(1, len(rows))) if len(rows) else 0
        order = [rows[torch.randperm(len(rows), generator=shuffles)] for _ in range(passes)]
        chosen.append(torch.cat([*order, rows[:0]])[:count])
    return torch.cat(chosen)


PIXELS, CODES = "smote", "latent-smote"


def smote_images(
    images: Tensor, labels: Tensor, counts: Sequence[int], *, neighbours: int = 5, seed: int
) -> SyntheticSet:
    """``counts[c]`` images between images of class c and one of their nearest in pixels: two pictures, one fading.

    images: uint8 ``(N, C, H, W)``.  labels: int64 ``(N,)``.  A class of ``neighbours`` images or fewer uses those it
    has; an only image is copied, and is then the copies' parent, while imbalanced-learn does not tell the parents of
    others. Raises DataError where images are wanted of a class that has none, or where all are of one class.
    """
    pixels, parents = _between(images.flatten(1).float(), labels, counts, neighbours, seed)
    drawn = _labels(counts)
    new_images = as_uint8(pixels.div(255).clamp(0, 1)).view(-1, *images.shape[1:])
    return SyntheticSet(new_images, drawn, provenance(None, drawn, seed, PIXELS, parents, stream=None), parents)


def latent_smote(
    generator: Generator,
    images: Tensor,
    labels: Tensor,
    counts: Sequence[int],
    *,
    neighbours: int = 5,
    seed: int,
    compute: Compute = CPU,
    on_progress: OnProgress | None = None,
) -> SyntheticSet:
    """``counts[c]`` images decoded from points between codes of class c; an only image is decoded from its own.

    As :func:`smote_images` in the space of ``generator.encode``, which sees no labels. DeepSMOTE trains an autoencoder
    for this; any generator tagged ``decodes`` does. Raises UsageError for another, and DataError as there.
    """
    check_decodes(generator)
    (codes,) = encode_set(generator, images, compute=compute)
    points, parents = _between(codes, labels, counts, neighbours, seed)
    decoded = decode_codes(generator, points, compute=compute, on_progress=on_progress)
    drawn = _labels(counts)
    return SyntheticSet(decoded, drawn, provenance(generator, drawn, seed, CODES, parents, stream=None), parents)


def check_decodes(generator: Generator) -> None:
    """Raise UsageError unless the generator is tagged ``decodes``."""
    if not generator.tags.decodes:
        raise UsageError(
            f"{CODES!r} decodes points between codes, and {generator.name!r} is not tagged decodes. `augment models` "
            "shows which models are."
        )


def _labels(counts: Sequence[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def _between(
    points: Tensor, labels: Tensor, counts: Sequence[int], neighbours: int, seed: int
) -> tuple[Tensor, Tensor]:
    """``counts[c]`` new points of each class, by class, and their parents where these are known."""
    real = torch.bincount(labels, minlength=len(counts)).tolist()
    _check(real, counts)
    new_points = points.new_empty(sum(counts), points.shape[1])
    parents, drawn = torch.full((len(new_points),), NO_PARENT), _labels(counts)
    for label, count in enumerate(counts):
        if count and real[label] == 1:
            only = torch.nonzero(labels == label).flatten()
            new_points[drawn == label], parents[drawn == label] = points[only], only
        elif count:
            new_points[drawn == label] = _smote(points, labels, label, count, min(neighbours, real[label] - 1), seed)
    return new_points, parents


def _check(real: Sequence[int], counts: Sequence[int]) -> None:
    for label, wanted in enumerate(counts):
        if wanted and not real[label]:
            raise DataError(
                f"SMOTE is to make {wanted} images of class {label}, which has no real image to start from. Ask for "
                "none of it, as strategy 'partial' does."
            )
    if any(counts) and sum(count > 0 for count in real) < 2:
        raise DataError("SMOTE needs images of at least two classes; these are of one.")


def _smote(points: Tensor, labels: Tensor, label: int, count: int, neighbours: int, seed: int) -> Tensor:
    from imblearn.over_sampling import SMOTE

    sampling_strategy = {label: int((labels == label).sum()) + count}
    smote = SMOTE(
        sampling_strategy=sampling_strategy, k_neighbors=neighbours, random_state=random_state(seed, "smote", label)
    )
    resampled, _ = smote.fit_resample(points.numpy(), labels.numpy())
    return torch.from_numpy(resampled[len(points) :])
