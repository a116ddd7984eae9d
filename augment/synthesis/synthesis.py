"""Counts per class -> synthetic images, drawn from noise or made from real images, with a provenance row for each.

How many of each class is the business of :mod:`augment.synthesis.strategies`; how images are made from real ones, of
:mod:`augment.synthesis.sources`. A set that was drawn before is reused by every arm and run that asks for the very same
images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.compute.device import CPU, Compute
from augment.compute.sampling import OnProgress, sample_images
from augment.datasets import LabelledImages
from augment.errors import ConfigError, DataError, UsageError
from augment.generator import SAMPLE_CHUNK, Generator
from augment.progress import Reporter
from augment.seeds import derived_seed
from augment.storage import files, hashing, typed_json
from augment.storage.cache import kept
from augment.storage.hashing import imported_sources
from augment.storage.locations import cache_folder
from augment.synthesis.filter_outcome import FilterOutcome
from augment.synthesis.sources import check_parents, check_source, classes_from_real, make_from_real
from augment.synthesis.strategies import Counts, Neighbourhood, SourceStrategy

FROM_NOISE = "noise"
"""Source of images that start from no other image."""

FROM_REAL = "made from real images"
"""Stream of a seed for such images."""

NO_PARENT = -1
"""Parent of an image from noise, and of one whose parent is not known."""


@dataclass(frozen=True)
class SyntheticSet:
    """Synthetic images with their labels, a provenance row and a parent each.

    images: uint8 ``(n, C, H, W)``.  labels: int64 ``(n,)``, ascending.  rows: generator and config_sha256 (null without
    a generator), seed, index, class, source ("noise", or the name of what made it), parent (null for -1), chunk_seed
    and chunk_place (the stream of its noise, and its place among the images drawn from that; null without noise), and,
    once they are known, the nearest training image's index and root-mean-square pixel distance in [0, 1].  parents:
    int64 ``(n,)``, index of the real image each was made from, among those that were given; -1 for an image from noise,
    or where it is not known.
    """

    images: Tensor
    labels: Tensor
    rows: tuple[dict[str, Any], ...]
    parents: Tensor

    def counts(self, num_classes: int) -> Counts:
        """Synthetic images per class."""
        return tuple(torch.bincount(self.labels, minlength=num_classes).tolist())


def config_sha256(generator: Generator) -> str:
    """Hash of a generator's name, shape and options."""
    document = {
        "name": generator.name,
        "spec": generator.spec.shape,
        "config": generator.config.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def synthesise(
    generator: Generator,
    counts: Sequence[int],
    *,
    real: LabelledImages | None = None,
    source: SourceStrategy | None = None,
    seed: int,
    compute: Compute = CPU,
    on_progress: OnProgress | None = None,
) -> SyntheticSet:
    """Exactly ``counts[c]`` images of every class c.

    source: how images of classes with fewer than ``source.below`` real images are made from ``real``; all others are
    drawn from noise. Raises ConfigError for counts that do not fit the classes, and for images from noise of a
    generator that cannot follow labels: they would carry labels that mean nothing. Raises UsageError for a source that
    lacks ``real`` or a tag of the generator; more of a source's: :func:`~augment.synthesis.sources.make_from_real`.
    """
    _check_counts(generator, counts)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    if source is None:
        return _from_noise(generator, labels, seed, compute, on_progress)
    if real is None:
        raise UsageError(f"Source {source.name!r} makes images from real ones. Pass them as real=LabelledImages(...).")
    check_source(generator, source)
    rare = classes_from_real(source, counts, real.counts(len(counts)))
    if not rare:
        return _from_noise(generator, labels, seed, compute, on_progress)
    chosen = torch.isin(labels, torch.tensor(rare, dtype=torch.int64))
    _check_labels_followed(generator, int((~chosen).sum()))
    first, rest = (_shifted(on_progress, before, len(labels)) for before in (0, int(chosen.sum())))
    from_real = _from_real(generator, labels[chosen], real, source, seed, compute, first)
    return _joined(from_real, _from_noise(generator, labels[~chosen], seed, compute, rest))


def check_generator(
    generator: Generator, counts: Sequence[int], real: Sequence[int], source: SourceStrategy | None
) -> None:
    """Raise what :func:`synthesise` would raise, before training: a missing tag, or nothing for a source to start from.

    real: images there are of each class, by which a source chooses its own.
    """
    _check_counts(generator, counts)
    from_real: list[int] = []
    if source is not None:
        check_source(generator, source)
        from_real = classes_from_real(source, counts, real)
        check_parents(source, from_real, real)
    n_from_noise = sum(count for label, count in enumerate(counts) if label not in from_real)
    _check_labels_followed(generator, n_from_noise)


def _check_counts(generator: Generator, counts: Sequence[int]) -> None:
    num_classes = generator.spec.num_classes
    if len(counts) != num_classes or min(counts) < 0:
        raise ConfigError(
            f"Images per class are {', '.join(map(str, counts))}; {generator.name!r} has {num_classes} classes, and "
            "each needs a number that is not negative."
        )


def _check_labels_followed(generator: Generator, count: int) -> None:
    if count and not generator.tags.conditional:
        raise ConfigError(
            f"{generator.name!r} with these options samples without classes, so its images have no labels to train a "
            f"classifier on. `augment models {generator.name}` shows the options that make it class-conditional."
        )


def _shifted(on_progress: OnProgress | None, before: int, total: int) -> OnProgress | None:
    """Progress of a part, told as progress of the whole."""
    return on_progress and (lambda done, _: on_progress(before + done, total))


def _from_noise(
    generator: Generator,
    labels: Tensor,
    seed: int,
    compute: Compute,
    on_progress: OnProgress | None,
) -> SyntheticSet:
    _check_labels_followed(generator, len(labels))
    images = sample_images(generator, labels, seed=seed, compute=compute, on_progress=on_progress)
    parents = torch.full_like(labels, NO_PARENT)
    rows = provenance(generator, labels, seed, FROM_NOISE, parents, stream=seed)
    return SyntheticSet(images, labels, rows, parents)


def _from_real(
    generator: Generator,
    labels: Tensor,
    real: LabelledImages,
    source: SourceStrategy,
    seed: int,
    compute: Compute,
    on_progress: OnProgress | None,
) -> SyntheticSet:
    stream = derived_seed(seed, FROM_REAL)
    samples = make_from_real(generator, labels, real, source, seed=stream, compute=compute, on_progress=on_progress)
    noisy = not isinstance(source, Neighbourhood)
    rows = provenance(generator, labels, seed, source.name, samples.parents, stream=stream if noisy else None)
    return SyntheticSet(samples.images, labels, rows, samples.parents)


def draw_unlabelled(
    generator: Generator, n: int, *, seed: int, compute: Compute = CPU, on_progress: OnProgress | None = None
) -> SyntheticSet:
    """Draw ``n`` images of a generator without classes: all labels are 0, and the rows name no class."""
    labels = torch.zeros(n, dtype=torch.int64)
    parents = torch.full_like(labels, NO_PARENT)
    images = sample_images(generator, labels, seed=seed, compute=compute, on_progress=on_progress)
    rows = provenance(generator, labels, seed, FROM_NOISE, parents, stream=seed)
    return SyntheticSet(images, labels, tuple({**row, "class": None} for row in rows), parents)


def provenance(
    generator: Generator | None,
    labels: Tensor,
    seed: int,
    source: str,
    parents: Tensor,
    *,
    stream: int | None,
) -> tuple[dict[str, Any], ...]:
    """A row per image; ``stream`` is the seed whose chunks the noise came from, None where there was none."""
    origin = {
        "generator": None if generator is None else generator.name,
        "config_sha256": None if generator is None else config_sha256(generator),
        "seed": seed,
        "source": source,
    }
    chunks = range(-(-len(labels) // SAMPLE_CHUNK))
    seeds = [None if stream is None else derived_seed(stream, "chunk", chunk) for chunk in chunks]
    return tuple(
        {
            **origin,
            "index": index,
            "class": label,
            "parent": None if parent == NO_PARENT else parent,
            "chunk_seed": seeds[index // SAMPLE_CHUNK],
            "chunk_place": None if stream is None else index % SAMPLE_CHUNK,
        }
        for index, (label, parent) in enumerate(zip(labels.tolist(), parents.tolist(), strict=True))
    )


def _joined(one: SyntheticSet, other: SyntheticSet) -> SyntheticSet:
    """Both, by label; each row's index is its place there."""
    labels = torch.cat([one.labels, other.labels])
    order = labels.argsort(stable=True)
    rows = (*one.rows, *other.rows)
    return SyntheticSet(
        images=torch.cat([one.images, other.images])[order],
        labels=labels[order],
        rows=tuple({**rows[old], "index": new} for new, old in enumerate(order.tolist())),
        parents=torch.cat([one.parents, other.parents])[order],
    )


def with_nearest(synthetic: SyntheticSet, index: Tensor, distance: Tensor) -> SyntheticSet:
    """The same set with each row naming its nearest training image."""
    rows = tuple(
        {**row, "nearest_training_index": int(near), "nearest_training_distance": round(float(far), 5)}
        for row, near, far in zip(synthetic.rows, index.tolist(), distance.tolist(), strict=True)
    )
    return replace(synthetic, rows=rows)


MAKERS = (
    "augment.synthesis.synthesis",
    "augment.synthesis.acceptance",
    "augment.synthesis.teacher_filter",
    "augment.synthesis.copies",
)
"""Modules that make synthetic sets; what they import is part of the identity, too."""

Drawn = tuple[SyntheticSet, FilterOutcome | None]
"""A set, and what became of the images that its filter was shown, where it had one."""


def kept_or_drawn(
    identity: Mapping[str, Any], draw: Callable[[], Drawn], *, reuse: bool, reporter: Reporter | None = None
) -> Drawn:
    """The set of ``identity`` from the cache, or drawn now and kept; without ``reuse`` it is always drawn.

    identity: everything the images depend on besides the code that draws them, which is added here. A set that another
    process draws is waited for; ``reporter`` says so.
    """
    reporter = reporter or Reporter()
    code = hashing.code_fingerprint(imported_sources(*MAKERS))
    return kept(
        cache_folder() / "synthetic" / hashing.content_hash({**identity, "code": code}),
        draw,
        read=_read,
        write=lambda folder, drawn: files.replace_folder(folder, lambda temporary: _write(temporary, drawn)),
        reuse=reuse,
        waiting=lambda: reporter.note("Waiting for another process that makes the same synthetic images."),
    )


def _write(folder: Path, drawn: Drawn) -> None:
    from safetensors.torch import save_file

    synthetic, outcome = drawn
    tensors = {"images": synthetic.images, "labels": synthetic.labels, "parents": synthetic.parents}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "images.safetensors")
    document = {"rows": synthetic.rows, "filter": None if outcome is None else typed_json.to_json(outcome)}
    (folder / "rows.json").write_text(json.dumps(document), encoding="utf-8")


def _read(folder: Path) -> Drawn | None:
    """None for what is not there, or is damaged: it is drawn again."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / "images.safetensors")
        document = files.parse_json((folder / "rows.json").read_bytes())
        summary = document["filter"]
        outcome = None if summary is None else typed_json.from_json(FilterOutcome, summary, "rows.json")
    except (OSError, ValueError, SafetensorError, DataError):
        return None
    rows = tuple(document["rows"])
    if len(rows) != len(tensors["labels"]):
        return None
    return SyntheticSet(tensors["images"], tensors["labels"], rows, tensors["parents"]), outcome
