"""One small training on one thread and on all, alone and beside a program that keeps one core busy.

    python benchmarks/threads.py [--updates 60]

Prints seconds of wall clock. This is why a run gives each of its trainings a thread of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import nullcontext

import torch

from augment.classifiers import fit_cnn
from augment.compute.workers import threads


def seconds(updates: int, count: int) -> float:
    """Wall-clock seconds of ``updates`` updates of the CNN on ``count`` threads."""
    images = torch.randint(0, 255, (2000, 1, 28, 28), dtype=torch.uint8)
    labels = torch.randint(0, 10, (2000,))
    with threads(count):
        fit_cnn(images, labels, 10, updates=5, seed=0, precision="bf16")
        start = time.perf_counter()
        fit_cnn(images, labels, 10, updates=updates, seed=0, precision="bf16")
        return time.perf_counter() - start


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=60)
    options = parser.parse_args()
    everything = torch.get_num_threads()
    print("| threads | alone, s | beside a busy program, s |\n|---|---|---|")
    for count in (1, everything):
        times = []
        for busy in (False, True):
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else nullcontext()
            with other:
                times.append(seconds(options.updates, count))
                if busy:
                    other.kill()
        print(f"| {count} | {times[0]:.1f} | {times[1]:.1f} |")


if __name__ == "__main__":
    main()
