"""Each stage of `augment run` against the plain way of doing it, in one process, as ratios.

    python benchmarks/run_cell.py [--dataset fashionmnist] [--data-dir DIR] [--model dvae] [--seconds 5] [--threads 1]

The plain way is what a script would do: fp32, NCHW memory, a DataLoader that transforms image by image, and the
two-convolution CNN. Runs are interleaved, so that a noisy machine slows both sides. The last lines say which share of
the machine's own bf16 matrix rate training reaches.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from augment import create, load_dataset
from augment.arms import Arm, Budget
from augment.arms.evaluation import evaluate
from augment.classifiers import CNN, fit_cart
from augment.classifiers.cart import Features
from augment.compute.device import choose_precision
from augment.datasets import ImageSet, LabelledImages
from augment.datasets.regimes import class_counts, draw_split
from augment.generator import Generator
from augment.training import fit

BATCH = 128


class PlainDataset(Dataset[tuple[Tensor, Tensor]]):
    """One image at a time, converted to float when it is asked for."""

    def __init__(self, data: LabelledImages) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.data.images[index].float() / 255, self.data.labels[index]


def plain_cnn(data: ImageSet) -> nn.Module:
    """Convolutions of 32 and 64 filters at full resolution, three dense layers of 128 units."""
    spec = data.spec
    flat = 64 * (spec.height // 2) * (spec.width // 2)
    return nn.Sequential(
        nn.Conv2d(spec.channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(flat, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, spec.num_classes),
    )


def images_per_second(step: Callable[[], int], seconds: float) -> float:
    """Images of ``step`` per second of wall clock, after one step to warm up."""
    step()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        done += step()
    return done / (time.perf_counter() - start)


def plain_batches(train: LabelledImages, batch_size: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """An endless plain DataLoader."""
    loader = DataLoader(PlainDataset(train), batch_size=batch_size, shuffle=True, drop_last=True)
    batches = iter(loader)

    def following() -> tuple[Tensor, Tensor]:
        nonlocal batches
        try:
            images, labels = next(batches)
        except StopIteration:
            batches = iter(loader)
            images, labels = next(batches)
        return images, labels

    return following


def plain_generator_step(generator: Generator, train: LabelledImages) -> Callable[[], int]:
    """The same network and loss, trained plainly."""
    batch = plain_batches(train, generator.config.batch_size)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3)

    def step() -> int:
        images, labels = batch()
        optimizer.zero_grad()
        generator.loss_terms(images, labels)["loss"].backward()
        optimizer.step()
        return len(labels)

    return step


def plain_classifier_step(data: ImageSet, train: LabelledImages) -> Callable[[], int]:
    """The two-convolution CNN, trained plainly."""
    batch, net = plain_batches(train, BATCH), plain_cnn(data)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step() -> int:
        images, labels = batch()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
        return len(labels)

    return step


def plain_batch_step(train: LabelledImages) -> Callable[[], int]:
    """One batch from the DataLoader."""
    batch = plain_batches(train, BATCH)
    return lambda: len(batch()[1])


def our_batch_step(train: LabelledImages) -> Callable[[], int]:
    """One batch as an index gather on uint8."""

    def step() -> int:
        index = torch.randint(0, len(train), (BATCH,))
        return len((train.images[index].float() / 255, train.labels[index])[1])

    return step


def cart_step(train: LabelledImages, test: LabelledImages, features: Features) -> Callable[[], int]:
    """One tree fitted and asked about the test images."""

    def step() -> int:
        fit_cart(train.images, train.labels, features=features, seed=0).predict(test.images)
        return len(train)

    return step


def matrix_rate(dtype: torch.dtype, size: int = 1024, seconds: float = 1.0) -> float:
    """Best FLOP/s of a square matrix product within ``seconds``."""
    left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        left @ right
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def training_flops(step: Callable[[], object]) -> int:
    """Floating-point operations of convolutions and matrix products in one training step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def startup(*arguments: str) -> float:
    """Seconds of the fastest of three starts of the command line."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "augment", *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashionmnist")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--model", default="dvae")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=1, help="of both sides; a run's trainings have one each")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    data = load_dataset(options.dataset, data_dir=options.data_dir)
    counts = class_counts("high", data.train.counts(len(data.classes)))
    manifest = draw_split(
        data.train.labels,
        counts,
        dataset=data.name,
        dataset_sha256=data.sha256,
        regime="high",
        imbalance_factor=100,
        seed=0,
    )
    train = data.train.subset(manifest.train)
    precision = choose_precision("auto")
    print(f"{data.name}, {len(train):,} training images, {torch.get_num_threads()} threads, {precision}\n")

    generator_plain, classifier_plain, generator_ours, classifier_ours = [], [], [], []
    for _ in range(3):
        plain = plain_generator_step(create(options.model, data.spec), train)
        generator_plain.append(images_per_second(plain, options.seconds))
        result = fit(create(options.model, data.spec), train, None, seed=0, steps=100_000, max_seconds=options.seconds)
        generator_ours.append(result.images_per_second)
        classifier_plain.append(images_per_second(plain_classifier_step(data, train), options.seconds))
        updates = 60
        start = time.perf_counter()
        evaluate(
            Arm("real", train),
            ["cnn"],
            data.test.subset(range(100)),
            len(data.classes),
            Budget(updates, 0, "cpu", precision),
        )
        classifier_ours.append(updates * BATCH / (time.perf_counter() - start))

    batches_plain = [images_per_second(plain_batch_step(train), 1.0)]
    batches_ours = [images_per_second(our_batch_step(train), 1.0)]
    cart_plain = [images_per_second(cart_step(train, data.test, "pixels"), options.seconds)]
    cart_ours = [images_per_second(cart_step(train, data.test, "pca"), options.seconds)]

    print("| stage | plain, images/s | ours, images/s | ratio |\n|---|---|---|---|")
    for name, plain_rates, our_rates in (
        ("make batches", batches_plain, batches_ours),
        (f"train {options.model}", generator_plain, generator_ours),
        ("train classifier", classifier_plain, classifier_ours),
        ("fit a tree (pixels against 20 components)", cart_plain, cart_ours),
    ):
        plain_rate, our_rate = max(plain_rates), max(our_rates)
        print(f"| {name} | {plain_rate:,.0f} | {our_rate:,.0f} | {our_rate / plain_rate:.1f} |")

    generator = create(options.model, data.spec)
    images, labels = train.images[:BATCH].float() / 255, train.labels[:BATCH]
    flops = training_flops(lambda: generator.loss_terms(images, labels)["loss"].backward()) / BATCH
    bf16, fp32 = matrix_rate(torch.bfloat16), matrix_rate(torch.float32)
    net = CNN(data.spec.channels, data.spec.num_classes)
    flops_cnn = training_flops(lambda: net(images).sum().backward()) / BATCH
    print(f"\nmatrix product: bf16 {bf16 / 1e12:.2f} TFLOP/s, fp32 {fp32 / 1e12:.2f} TFLOP/s, ratio {bf16 / fp32:.1f}")
    print(
        f"{options.model} training reaches {flops * max(generator_ours) / bf16:.0%} of the bf16 rate "
        f"({flops / 1e6:.0f} MFLOP per image), the classifier {flops_cnn * max(classifier_ours) / bf16:.0%} "
        f"({flops_cnn / 1e6:.0f} MFLOP per image)"
    )
    for arguments in (["--help"], ["models"], ["completion", "bash"]):
        print(f"augment {' '.join(arguments)}: {startup(*arguments):.2f} s")


if __name__ == "__main__":
    main()
