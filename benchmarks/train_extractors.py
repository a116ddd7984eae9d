"""Train the extractors that ship with augment.metrics, on official training splits only.

    python benchmarks/train_extractors.py digits mnist fashionmnist cifar10=path/to/cifar10

NAME takes a known data set; NAME=FOLDER takes its files, or an image folder with train/ and test/, from FOLDER. Prints
one line per set: accuracy on the test split (measured for the documentation; nothing is chosen by it), seconds of
processor time, bytes, and the line for ``SHIPPED`` in augment/metrics/extractors.py. Takes some 8 minutes of one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from augment.datasets import ImageSet, load_dataset
from augment.errors import AugmentError
from augment.metrics.extractors import WEIGHTS, read_extractor, write_network
from augment.metrics.network import train_network

SEED = 0
UPDATES = {"digits": 400, "mnist": 1500, "fashionmnist": 3000, "cifar10": 4000}
MIRRORED = {"fashionmnist", "cifar10"}
"""Sets whose mirror images are of the same class and as likely."""


def train(name: str, source: str | None, precision: str, folder: Path) -> str:
    """Train, save and measure the extractor of one set; returns the line to print."""
    data = _load(name, source)
    start = time.process_time()
    network = train_network(
        data.train.images,
        data.train.labels,
        len(data.classes),
        updates=UPDATES[name],
        seed=SEED,
        flip=name in MIRRORED,
        precision=precision,
    )
    seconds = time.process_time() - start
    file = folder / f"{name}.safetensors"
    channels, height, width = data.train.images.shape[1:]
    facts = {"dataset": name, "updates": UPDATES[name], "seed": SEED, "precision": precision, "images": len(data.train)}
    digest = write_network(file, network, (channels, height, width), **facts)
    extractor = read_extractor(file, name, expected_sha256=digest)[1]
    correct = extractor.probabilities(data.test.images).argmax(dim=1) == data.test.labels
    accuracy = 100 * correct.double().mean().item()
    return (
        f'{name}: {accuracy:.2f} % of test, {seconds:.0f} s, {file.stat().st_size:,} bytes\n    "{name}": "{digest}",'
    )


def _load(name: str, source: str | None) -> ImageSet:
    if source is None:
        return load_dataset(name)
    if (Path(source) / "train").is_dir() and (Path(source) / "test").is_dir():
        return load_dataset(source)
    return load_dataset(name, data_dir=source)


def main() -> int:
    """Train what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME[=FOLDER]", help=f"of {', '.join(UPDATES)}")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the weights")
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that sums are taken in the same order on every machine
    for argument in options.names:
        name, _, source = argument.partition("=")
        if name not in UPDATES:
            parser.error(f"unknown set {name!r}; known: {', '.join(UPDATES)}")
        try:
            line = train(name, source or None, options.precision, options.out)
        except AugmentError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
