"""Our CNN against the plain way: two convolutions (32 and 64 3x3 filters, full resolution), three layers of 128 units.

    python benchmarks/classifiers.py fashionmnist --regime balanced --size 5000 --seeds 3

The plain way is what a first script does: float32, NCHW, a shuffling DataLoader, Adam, batches of 128, a fixed number
of epochs. Ours runs at a quarter, a half and all of its default updates; the cheapest row that reaches the plain
accuracy tells the ratio at equal accuracy. All trainings of a seed follow each other in one process, so that ratios
hold on a shared machine. Prints a Markdown table: means over seeds, the official test split, seconds of wall-clock and
of processor time for one training without prediction. Writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import mean

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from augment.classifiers import default_updates, fit_cnn, score_predictions
from augment.classifiers.batches import Augmentation
from augment.classifiers.learning import Learning
from augment.compute.device import choose_precision
from augment.datasets import ImageSet, LabelledImages, load_dataset
from augment.datasets.regimes import REGIMES, class_counts, draw_split
from augment.errors import AugmentError

Predict = Callable[[Tensor], Tensor]
Fit = Callable[[LabelledImages, int, int], Predict]


@dataclass(frozen=True)
class Outcome:
    """One training: seconds of it, and what it reached on the test images."""

    wall: float
    processor: float
    accuracy: float
    balanced_accuracy: float


def fit_plain(train: LabelledImages, num_classes: int, seed: int, *, epochs: int) -> Predict:
    """Train the plain CNN for ``epochs`` passes; returns what predicts."""
    torch.manual_seed(seed)
    channels, height, width = train.images.shape[1:]
    network = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * (height // 2) * (width // 2), 128), nn.ReLU()),
        *(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, num_classes)),
    )
    optimizer = torch.optim.Adam(network.parameters())
    loader = DataLoader(TensorDataset(train.images.float() / 255, train.labels), batch_size=128, shuffle=True)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()

    def predict(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([network(part.float() / 255).argmax(dim=1) for part in images.split(500)])

    return predict


def fit_ours(
    train: LabelledImages,
    num_classes: int,
    seed: int,
    *,
    updates: int,
    precision: str,
    learning: Learning,
    augmentation: Augmentation,
) -> Predict:
    """Train our CNN; returns what predicts."""
    return fit_cnn(
        train.images,
        train.labels,
        num_classes,
        updates=updates,
        seed=seed,
        precision=precision,
        learning=learning,
        augmentation=augmentation,
    ).predict


def measure(fit: Fit, train: LabelledImages, data: ImageSet, seed: int) -> Outcome:
    """Train once, then score on the test split."""
    wall, processor = time.perf_counter(), time.process_time()
    predict = fit(train, len(data.classes), seed)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    scores = score_predictions(data.test.labels, predict(data.test.images), len(data.classes))
    return Outcome(wall, processor, scores.accuracy, scores.balanced_accuracy)


def subset(data: ImageSet, regime: str, size: int, seed: int) -> LabelledImages:
    """The training images of one regime, drawn by ``seed``."""
    counts = class_counts(regime, data.train.counts(len(data.classes)), size=size, seed=seed)
    split = draw_split(
        data.train.labels,
        counts,
        dataset=data.name,
        dataset_sha256=data.sha256,
        regime=regime,
        imbalance_factor=None,
        seed=seed,
    )
    return data.train.subset(split.train)


def contenders(size: int, epochs: int) -> dict[str, Fit]:
    """Rows of the table by name; the plain way comes first."""
    precision = choose_precision("auto", torch.device("cpu"))
    rows: dict[str, Fit] = {f"plain, {epochs} epochs": partial(fit_plain, epochs=epochs)}
    full = default_updates(size)
    ours = partial(fit_ours, precision=precision, learning=Learning(), augmentation="shift")
    for updates in (full // 4, full // 2, full):
        rows[f"ours, {updates} updates"] = partial(ours, updates=updates)
    for augmentation in ("none", "shift-flip"):
        rows[f"ours, {full} updates, {augmentation}"] = partial(ours, updates=full, augmentation=augmentation)
    rows[f"ours, {full} updates, oversampled"] = partial(ours, updates=full, learning=Learning("oversample"))
    return rows


def table(outcomes: dict[str, list[Outcome]]) -> str:
    """The Markdown table; ratios are of wall-clock and processor time to the first row's."""
    lines = [
        "| CNN | accuracy | balanced accuracy | by seed | seconds | cpu seconds | faster, wall | faster, cpu |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = next(iter(outcomes.values()))
    for name, found in outcomes.items():
        wall, processor = (mean(getattr(o, kind) for o in found) for kind in ("wall", "processor"))
        ratios = (mean(o.wall for o in first) / wall, mean(o.processor for o in first) / processor)
        lines.append(
            f"| {name} | {100 * mean(o.accuracy for o in found):.2f} "
            f"| {100 * mean(o.balanced_accuracy for o in found):.2f} "
            f"| {' '.join(f'{100 * o.accuracy:.1f}' for o in found)} "
            f"| {wall:.1f} | {processor:.1f} | {ratios[0]:.1f} | {ratios[1]:.1f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Command line: a data set, a regime and the number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="fashionmnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--regime", choices=sorted(REGIMES), default="balanced")
    parser.add_argument("--size", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20, help="of the plain CNN")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", action="append", help="rows whose name contains this; repeatable")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = contenders(options.size, options.epochs)
    chosen = [name for name in rows if not options.only or any(part in name for part in options.only)]
    if not chosen:
        parser.error(f"no row is called like {options.only}; there are {list(rows)}")
    try:
        data = load_dataset(options.dataset, data_dir=options.data_dir)
        outcomes: dict[str, list[Outcome]] = {name: [] for name in chosen}
        for seed in range(options.seeds):
            train = subset(data, options.regime, options.size, seed)
            for name in chosen:
                outcomes[name].append(measure(rows[name], train, data, seed))
                sys.stderr.write(f"seed {seed}, {name}: {outcomes[name][-1]}\n")
    except AugmentError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{table(outcomes)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
