"""What guidance does to samples of clip_guided: label consistency, KID, precision and recall over both scales.

    python benchmarks/guidance.py --dataset fashionmnist [--data-dir D] [--steps N] [--samples N] [--generator FOLDER]

Trains one generator on all training images, or takes a saved one, and draws the same noise at every setting: CLIP's
gradient from none to strong, with and without classifier-free guidance, both objectives, and the gradient through
CLIP alone or through the U-Net. The judge is the extractor's own classifier, which no generator has seen. Writes
docs/guidance.md and docs/img/guidance.png.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment import registry
from augment.compute.sampling import as_uint8
from augment.datasets import ImageSet, load_dataset
from augment.generator import Generator, draw
from augment.metrics.extractor import Extractor
from augment.metrics.extractors import load_extractor
from augment.metrics.fidelity import SampleImages
from augment.metrics.scores import FidelityScores, compute_scores
from augment.results.contact_sheets import image_rows
from augment.training import fit

DOCS = Path(__file__).resolve().parent.parent / "docs"
REFERENCE = 5_000
"""Training images the samples are scored against."""

SCALES = (0.0, 2.0, 5.0, 10.0)
COMPARED = 5.0
"""Scale at which objectives and gradients are compared."""
GUIDANCE = (1.0, 2.0)
SETTINGS: tuple[dict[str, Any], ...] = (
    *({"clip_scale": scale, "guidance": guidance} for guidance in GUIDANCE for scale in SCALES),
    *(
        {"clip_scale": COMPARED, "guidance": guidance, **other}
        for other in ({"clip_objective": "similarity"}, {"clip_gradient": "network"})
        for guidance in GUIDANCE
    ),
)
PICTURED = (0.0, 5.0, 10.0)


@dataclass(frozen=True)
class Row:
    """What one setting gave; ``cpu_seconds`` per 1,000 images."""

    setting: dict[str, Any]
    consistency: float
    fidelity: FidelityScores
    cpu_seconds: float


def trained(data: ImageSet, steps: int | None, minutes: float | None) -> tuple[Generator, str]:
    """A generator of the default options, and how it was trained."""
    torch.manual_seed(0)
    generator = registry.create("clip_guided", data.spec, {} if steps is None else {"steps": steps})
    result = fit(generator, data.train, None, seed=0, max_seconds=None if minutes is None else 60 * minutes)
    return generator, f"{result.steps:,} updates of {generator.config.batch_size} images"


def sampled(generator: Generator, n: int, setting: dict[str, Any], precision: str) -> tuple[Tensor, Tensor, float]:
    """``n`` uint8 images at a setting, the classes asked for, and processor seconds per 1,000."""
    generator.config = generator.config.model_copy(update=setting)
    labels = torch.arange(n) % generator.spec.num_classes
    start = time.process_time()
    images = torch.cat([as_uint8(part) for part in draw(generator, labels, seed=0, precision=precision)])
    return images, labels, 1000 * (time.process_time() - start) / n


def measured(
    generator: Generator, data: ImageSet, extractor: Extractor, setting: dict[str, Any], n: int, precision: str
) -> tuple[Row, Tensor]:
    """One row, and its images."""
    images, labels, seconds = sampled(generator, n, {**defaults(generator), **setting}, precision)
    rng = torch.Generator().manual_seed(0)
    reference = data.train.images[torch.randperm(len(data.train), generator=rng)[:REFERENCE]]
    consistency = (extractor.probabilities(images).argmax(1) == labels).double().mean().item()
    fidelity = compute_scores(SampleImages(reference, images, data.test.images, extractor, seed=0))
    return Row(setting, consistency, fidelity, seconds), images


def defaults(generator: Generator) -> dict[str, Any]:
    """How a row that does not say otherwise takes its gradient."""
    fields = type(generator.config).model_fields
    return {name: fields[name].default for name in ("clip_objective", "clip_gradient")}


def table(rows: list[Row], real: float) -> str:
    """All settings as a Markdown table."""
    columns = ("clip_scale", "objective", "gradient of", "guidance", "label consistency", "KID x 1000")
    columns += ("precision", "recall", "CPU s per 1,000")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        objective = row.setting.get("clip_objective", "log_softmax")
        gradient = "CLIP and U-Net" if row.setting.get("clip_gradient") == "network" else "CLIP"
        what = f"{objective} | {gradient}" if row.setting["clip_scale"] else "- | -"
        lines.append(
            f"| {row.setting['clip_scale']:g} | {what} | {row.setting['guidance']:g} "
            f"| {row.consistency:.3f} | {score(row, 'kid', 1, 1000)} | {score(row, 'precision', 3)} "
            f"| {score(row, 'recall', 3)} | {row.cpu_seconds:.0f} |"
        )
    f = rows[0].fidelity
    lines.append(
        f"| real images | | | | {real:.3f} | {number(f['kid'].floor, 1, 1000)} | {number(f['precision'].floor, 3)} "
        f"| {number(f['recall'].floor, 3)} | |"
    )
    return "\n".join(lines)


def score(row: Row, name: str, digits: int, scale: float = 1) -> str:
    """A score of a row's samples."""
    return number(row.fidelity[name].value, digits, scale)


def number(value: float | None, digits: int, scale: float = 1) -> str:
    """A figure, or a dash where there are too few images for it."""
    return "-" if value is None else f"{value * scale:.{digits}f}"


def clip_accuracy(generator: Generator, data: ImageSet) -> float:
    """Share of test images whose CLIP embedding is nearest to their own class's captions."""
    generator.eval()
    with torch.no_grad():
        z = torch.cat([generator.encode(part.float() / 255, layer="clip") for part in data.test.images.split(500)])
        found = (z @ generator.clip.class_embeddings().T).argmax(1)
    return (found == data.test.labels).double().mean().item()


def page(data: ImageSet, rows: list[Row], how: str, command: str, accuracy: float, real: float) -> str:
    """docs/guidance.md."""
    f = rows[0].fidelity
    size = " x ".join(map(str, data.spec.shape))
    return f"""# What guidance does

Written by `{command}`.

`clip_guided` moves the clean image x0 that the U-Net sees behind every x_t by

    clip_scale * sigma_t^2 * grad_x0 log p(caption of the class | x0)

with p the softmax of CLIP's similarities over all classes' captions (`clip_objective=log_softmax`) or, instead of
log p, the scaled similarity itself (`similarity`). This is Bayes' rule with sigma_t^2, the noise level, for the
variance of x0 given x_t. `clip_gradient=network` takes that variance from the U-Net's own derivative: the gradient
with respect to x_t of arXiv 2105.05233 and 2112.10741, at the price of a backward pass through the U-Net. `guidance`
is classifier-free guidance between the captions and none; 1 is plain sampling.

One generator, {how}, on all {len(data.train):,} training images of `{data.name}` ({size});
{f.n:,} samples per row from the same noise, classes in equal shares.
Label consistency: share of samples that the classifier of the extractor
`{f.extractor}` (`{f.extractor_sha256[:12]}`) assigns to the class asked for; it had no part in training or guiding.
KID, precision and recall against {f.n_reference:,} training images by the same extractor. The CLIP is the small one,
trained together with the U-Net; it names {accuracy:.1%} of the test images rightly. Processor time on one thread,
on a machine that had other work: compare the rows with each other only.

{table(rows, real)}

![samples](img/guidance.png)

One column per class; the first row without CLIP's gradient, the others from the same noise with clip_scale
{" and ".join(f"{scale:g}" for scale in PICTURED[1:])}.

## Which scale

{advice(rows)}
"""


def advice(rows: list[Row]) -> str:
    """What the figures say to somebody who has to choose."""
    plain = rows[0]
    best = max(rows, key=lambda row: row.consistency)
    cheap = min(
        rows, key=lambda row: row.fidelity["kid"].value if row.fidelity["kid"].value is not None else float("inf")
    )
    return (
        f"Without any guidance {plain.consistency:.1%} of the samples are what was asked for; the most, "
        f"{best.consistency:.1%}, with {said(best)} (KID {score(best, 'kid', 1, 1000)} against "
        f"{score(plain, 'kid', 1, 1000)}, recall {score(best, 'recall', 3)} against "
        f"{score(plain, 'recall', 3)}). The lowest KID has {said(cheap)}. Read recall beside consistency: "
        "guidance can buy clear membership of a class with variety."
    )


def said(row: Row) -> str:
    """A setting as options."""
    return "`" + " ".join(f"{key}={value}" for key, value in row.setting.items()) + "`"


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashionmnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float, help="at most this long for training")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--generator", type=Path, help="a saved clip_guided to measure instead of training one")
    options = parser.parse_args()
    data = load_dataset(options.dataset, data_dir=options.data_dir)
    images, labels = data.train.images, data.train.labels
    extractor = load_extractor(
        data.name, data.spec.channels, images=images, labels=labels, num_classes=data.spec.num_classes
    )
    if options.generator is None:
        generator, how = trained(data, options.steps, options.minutes)
    else:
        generator = registry.load_generator(options.generator)
        how = f"{generator.config.steps:,} updates of {generator.config.batch_size} images"
    rows, pictures = [], {}
    for setting in SETTINGS:
        row, drawn = measured(generator, data, extractor, setting, options.samples, options.precision)
        rows.append(row)
        if len(setting) == 2 and setting["guidance"] == 1 and setting["clip_scale"] in PICTURED:
            pictures[f"clip_scale {setting['clip_scale']:g}"] = drawn[: data.spec.num_classes]
        sys.stdout.write(f"{said(row)} {row.consistency:.3f} KID {score(row, 'kid', 1, 1000)}\n")
        sys.stdout.flush()
    (DOCS / "img").mkdir(parents=True, exist_ok=True)
    image_rows(list(pictures.values()), list(pictures)).save(DOCS / "img" / "guidance.png")
    real = (extractor.probabilities(data.test.images).argmax(1) == data.test.labels).double().mean().item()
    command = f"python benchmarks/guidance.py --dataset {data.name} --samples {options.samples}"
    for name, value in (("steps", options.steps), ("minutes", options.minutes)):
        command += "" if value is None else f" --{name} {value:g}"
    command += "" if options.generator is None else " --generator FOLDER"
    text = page(data, rows, how, command, clip_accuracy(generator, data), real)
    (DOCS / "guidance.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
