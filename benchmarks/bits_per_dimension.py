"""Bits per dimension of `realnvp` on held-out images, beside models without any structure between pixels.

    python benchmarks/bits_per_dimension.py [--dataset fashionmnist] [--data-dir D] [--steps N] [--save FOLDER]

Trains on all training images (one in sixty is kept out to choose the weights by), measures all test images, and writes
docs/bits-per-dimension.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment import registry
from augment.datasets import ImageSet, LabelledImages, load_dataset
from augment.training import TrainingResult, fit

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bits-per-dimension.md"
LEVELS = 256
DRAWS = 2
"""Dequantisation noises per test image."""
KEPT_OUT = 60
"""One training image of so many chooses the weights and is not trained on."""
SMALLEST_STD = 0.5
"""Floor of a pixel's standard deviation, in pixel values: a pixel that is always 0 has density, too."""


@dataclass(frozen=True)
class Row:
    """What one model needs for a held-out image."""

    model: str
    bits: float
    error: float | None = None


@dataclass(frozen=True)
class Flow:
    """A trained flow, its row, and what training and measuring took in processor seconds."""

    row: Row
    training: TrainingResult
    training_seconds: float
    measuring_seconds: float
    parameters: int


def histogram_bits(train: Tensor, test: Tensor) -> float:
    """Bits per dimension of uint8 ``test`` under a histogram per pixel of ``train``, a count added to each value."""
    pixels = train[0].numel()
    cell = torch.arange(pixels) * LEVELS
    counts = torch.ones(pixels * LEVELS, dtype=torch.float64)
    for part in train.flatten(1).split(10_000):
        counts += torch.bincount((part.long() + cell).flatten(), minlength=pixels * LEVELS)
    table = counts.view(pixels, LEVELS)
    bits = -(table / table.sum(1, keepdim=True)).log2().flatten()
    return float(torch.cat([bits[part.long() + cell].mean(1) for part in test.flatten(1).split(1000)]).mean())


def continuous_bits(train: Tensor, test: Tensor, *, logistic: bool) -> float:
    """Bits per dimension under a Gaussian or logistic per pixel with the moments of ``train``, integrated over values.

    What lies below value 0 counts for 0, what lies above 255 for 255, so that it is a distribution over 8-bit values.
    """
    x = train.flatten(1).double()
    mean, std = x.mean(0), x.std(0).clamp_min(SMALLEST_STD)
    scale = std * math.sqrt(3) / math.pi if logistic else std
    cdf = torch.sigmoid if logistic else torch.special.ndtr
    edges = (torch.arange(1, LEVELS)[:, None] - 0.5 - mean) / scale
    # a tail is taken from its own side: 1 - cdf(8) is 0 in floating point, cdf(-8) is not
    lower, upper = (
        torch.cat([edges.new_full((1, len(mean)), -math.inf), edges]),
        torch.cat([edges, edges[:1] + math.inf]),
    )
    right = lower > 0
    mass = torch.where(right, cdf(-lower) - cdf(-upper), cdf(upper) - cdf(lower))
    bits = -mass.clamp_min(1e-300).log2()
    return float(torch.cat([bits.gather(0, part.long()).mean(1) for part in test.flatten(1).split(1000)]).mean())


def references(data: ImageSet) -> list[Row]:
    """Models that treat every pixel by itself."""
    train, test = data.train.images, data.test.images
    return [
        Row("uniform", math.log2(LEVELS)),
        Row("a logistic per pixel", continuous_bits(train, test, logistic=True)),
        Row("a Gaussian per pixel", continuous_bits(train, test, logistic=False)),
        Row("a histogram per pixel", histogram_bits(train, test)),
    ]


def measure(generator: Any, images: Tensor) -> tuple[float, float]:
    """Mean bits per dimension of uint8 images, and its standard error."""
    with torch.no_grad():
        parts = [generator.bits_per_dimension(part.float() / 255, draws=DRAWS) for part in images.split(250)]
    bits = torch.cat(parts)
    return float(bits.mean()), float(bits.std() / math.sqrt(len(bits)))


def train_flow(data: ImageSet, options: dict[str, Any], folder: Path | None) -> Flow:
    """Train `realnvp` and measure it on the test images."""
    torch.manual_seed(0)
    generator = registry.create("realnvp", data.spec, options)
    kept_out = torch.arange(len(data.train)) % KEPT_OUT == 0
    parts = (LabelledImages(data.train.images[rows], data.train.labels[rows]) for rows in (~kept_out, kept_out))
    start = time.process_time()
    training = fit(generator, *parts, seed=0)
    trained = time.process_time()
    if folder is not None:
        generator.save(folder)
    bits, error = measure(generator, data.test.images)
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    row = Row(f"`realnvp`, {training.steps:,} steps", bits, error)
    return Flow(row, training, trained - start, time.process_time() - trained, parameters)


def table(rows: list[Row]) -> str:
    """The comparison as a Markdown table."""
    lines = ["| model | bits per dimension |", "|---|---|"]
    for row in rows:
        error = "" if row.error is None else f" ± {row.error:.3f}"
        lines.append(f"| {row.model} | {row.bits:.3f}{error} |")
    return "\n".join(lines)


def page(data: ImageSet, rows: list[Row], flow: Flow, batch_size: int) -> str:
    """docs/bits-per-dimension.md."""
    training, size = flow.training, " x ".join(map(str, data.spec.shape))
    passes = training.steps * batch_size / len(data.train)
    course = "\n".join(
        f"| {row['step']:,.0f} | {row['bits_per_dim']:.3f} | {row['val_bits_per_dim']:.3f} |"
        for row in training.history
        if "val_bits_per_dim" in row
    )
    return f"""# Bits per dimension

Written by `python benchmarks/bits_per_dimension.py --dataset {data.name} --steps {training.steps}`.

All {len(data.test):,} test images of `{data.name}` ({size}, 8 bits); every model was fitted to the {len(data.train):,}
training images, and the weights chosen by some of those. Less is better; ± is one standard error over images.
The default of `alpha` was chosen with the first 1,000 of these test images in sight, so the flow's figure is a little
flattered.

{table(rows)}

The references treat every pixel by itself and assign a probability to each of the 256 values. The flow has a density:
its figure is `8 - log p(v) / (D log 2)`, the mean over {DRAWS} uniform noises u per image of `v = (k + u) / 256` on the
unit cube (k the pixel values), an upper bound of what the 8-bit image costs under it (Theis et al. 2015, arXiv
1511.01844). The class is withheld: p is the mixture of all classes in equal shares. Convolutions compute in float32
here, whatever they were trained in.

## The training behind it

{flow.parameters / 1e6:.2f} million parameters. {training.steps:,} updates of {batch_size} images ({passes:.1f} passes),
precision {training.precision}, {torch.get_num_threads()} CPU thread(s). Processor time:
{flow.training_seconds / 60:.1f} minutes for training with its validations, {flow.measuring_seconds / 60:.1f} for
measuring the test images {DRAWS} times. Updates left out for values that were not finite: {training.skipped_updates}.

| step | training | kept-out training images |
|---|---|---|
{course}

Both columns are given the class. The flow is trained with a diagonal Gaussian per class over its latents; the low-rank
covariances that are fitted after the last step count in the first table only.
"""


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashionmnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int, help="instead of the model's default")
    parser.add_argument("--save", type=Path, help="keep the trained generator in this folder")
    options = parser.parse_args()
    data = load_dataset(options.dataset, data_dir=options.data_dir)
    rows = references(data)
    sys.stdout.write(table(rows) + "\n")
    sys.stdout.flush()
    chosen = {} if options.steps is None else {"steps": options.steps}
    flow = train_flow(data, chosen, options.save)
    rows.append(flow.row)
    sys.stdout.write(table(rows[-1:]) + "\n")
    PAGE.write_text(page(data, rows, flow, registry.get("realnvp").Config.parse(chosen).batch_size), encoding="utf-8")


if __name__ == "__main__":
    main()
