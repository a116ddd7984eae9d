"""Compare the built-in autoencoders with a plain N(0, I) VAE of the same size, trained on all images of a data set.

    python benchmarks/generators.py --dataset fashionmnist [--data-dir D] [--steps N] [--models vae,vqvae]

Writes docs/generators.md and docs/img/samples-<model>.png. Every model gets the same number of updates and the same
batch size; samples (as many as test images, classes in equal shares) are scored against the training images, and the
test images, scored the same way, are the floor.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augment import registry
from augment.datasets import ImageSet, load_dataset
from augment.generator import Generator, draw
from augment.metrics.extractors import Extractor, load_extractor
from augment.metrics.fidelity import Fidelity, score_fidelity
from augment.metrics.memorisation import Memorisation, memorisation
from augment.report.pictures import class_grid
from augment.training import TrainingResult, fit

DOCS = Path(__file__).resolve().parent.parent / "docs"
BATCH_SIZE = 32
REFERENCE = 10_000
"""Training images the samples are scored against."""

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain VAE": ("vae", {"conditional": False, "prior": "normal", "beta": 1.0}),
    "ae": ("ae", {}),
    "vae": ("vae", {}),
    "dvae": ("dvae", {}),
    "vqvae": ("vqvae", {}),
}


@dataclass(frozen=True)
class Row:
    """What one run gave."""

    title: str
    parameters: int
    training: TrainingResult
    samples_per_second: float
    fidelity: Fidelity
    memorisation: Memorisation


def run(title: str, data: ImageSet, extractor: Extractor, steps: int) -> Row:
    """Train one model, sample, score, and write its picture."""
    name, options = RUNS[title]
    torch.manual_seed(0)
    generator = registry.create(name, data.spec, {"steps": steps, "batch_size": BATCH_SIZE, **options})
    training = fit(generator, data.train, None, seed=0)
    images, labels, per_second = sample(generator, len(data.test))
    picture = class_grid(images, labels, data.classes)
    picture.save(DOCS / "img" / f"samples-{title.replace(' ', '-').lower()}.png")
    held_out = data.test.images
    return Row(
        title,
        sum(parameter.numel() for parameter in generator.parameters()),
        training,
        per_second,
        score_fidelity(reference(data), images, held_out, extractor, seed=0),
        memorisation(
            data.train.images,
            held_out[:2000],
            images[:2000],
            held_out_labels=data.test.labels[:2000],
            fake_labels=labels[:2000],
        ),
    )


def sample(generator: Generator, n: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """``n`` uint8 images with their classes in random order, and images per second."""
    labels = torch.arange(n) % generator.spec.num_classes
    labels = labels[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    start = time.perf_counter()
    images = torch.cat(list(draw(generator, labels, seed=0)))
    return (images * 255).round().to(torch.uint8), labels, n / (time.perf_counter() - start)


def reference(data: ImageSet) -> torch.Tensor:
    """A fixed random part of the training images."""
    rng = torch.Generator().manual_seed(0)
    return data.train.images[torch.randperm(len(data.train), generator=rng)[:REFERENCE]]


def table(rows: list[Row]) -> str:
    """The comparison as a Markdown table."""
    columns = ("model", "parameters", "minutes", "training images/s", "samples/s", "FID", "KID x 1000")
    columns += ("precision", "recall", "nearer than held-out")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        f = row.fidelity
        lines.append(
            f"| {row.title} | {row.parameters / 1e6:.2f} M | {row.training.seconds / 60:.1f} "
            f"| {row.training.images_per_second:,.0f} | {row.samples_per_second:,.0f} | {number(f.fid, 2)} "
            f"| {number(f.kid, 2, 1000)} | {number(f.precision, 3)} | {number(f.recall, 3)} "
            f"| {row.memorisation.share:.2f} |"
        )
    f = rows[0].fidelity
    lines.append(
        f"| real images (floor) | | | | | {number(f.fid_floor, 2)} | {number(f.kid_floor, 2, 1000)} "
        f"| {number(f.precision_floor, 3)} | {number(f.recall_floor, 3)} | 0.50 |"
    )
    return "\n".join(lines)


def number(value: float | None, digits: int, scale: float = 1) -> str:
    """A figure, or a dash where there are too few images for it."""
    return "-" if value is None else f"{value * scale:.{digits}f}"


def page(data: ImageSet, rows: list[Row], steps: int) -> str:
    """docs/generators.md."""
    f = rows[0].fidelity
    pictures = "\n\n".join(
        f"### {row.title}\n\n![samples of {row.title}](img/samples-{row.title.replace(' ', '-').lower()}.png)"
        for row in rows
    )
    copies = ", ".join(f"{row.title} {row.memorisation.near_copies}" for row in rows)
    size = " x ".join(map(str, data.spec.shape))
    return f"""# Generators compared

Written by `python benchmarks/generators.py --dataset {data.name} --steps {steps}`.

All {len(data.train):,} training images of `{data.name}` ({size}), {steps:,} updates of {BATCH_SIZE} images for every
model, one seed. {f.n:,} samples, classes in equal shares, are scored against {f.n_reference:,} training images by the
extractor `{f.extractor}` (`{f.extractor_sha256[:12]}`); FIDs of other extractors or other numbers of images are not
comparable. "Plain VAE" is `vae` with `conditional=false prior=normal beta=1`: the same network, sampled from N(0, I).

The last column is the probability that a sample lies nearer to its nearest training image than a held-out image does:
0.5 is as far away as unseen images. Smooth images lie near to everything, so a high value without near copies means
blur, not copying. Near copies among {rows[0].memorisation.n:,} samples: {copies}.
Timed with {torch.get_num_threads()} CPU thread(s), precision {rows[0].training.precision}, on a machine that had other
work; compare the speeds with each other only.

{table(rows)}

Reconstructions play no part in this table: every image scored was drawn from the model's prior.

## Samples

{pictures}
"""


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashionmnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--models", default=",".join(RUNS), help="comma-separated; the page is written for these")
    options = parser.parse_args()
    titles = [title.strip() for title in options.models.split(",")]
    unknown = [title for title in titles if title not in RUNS]
    if unknown:
        parser.error(f"unknown models {unknown}; known: {', '.join(RUNS)}")
    data = load_dataset(options.dataset, data_dir=options.data_dir)
    extractor = load_extractor(
        data.name,
        data.spec.channels,
        images=data.train.images,
        labels=data.train.labels,
        num_classes=data.spec.num_classes,
    )
    (DOCS / "img").mkdir(parents=True, exist_ok=True)
    rows = []
    for title in titles:
        rows.append(run(title, data, extractor, options.steps))
        sys.stdout.write(table(rows[-1:]) + "\n")
        sys.stdout.flush()
    (DOCS / "generators.md").write_text(page(data, rows, options.steps), encoding="utf-8")


if __name__ == "__main__":
    main()
