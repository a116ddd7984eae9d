"""Speed of features: encoding against a plain fp32 loop over the same net, and probes against scikit-learn.

    python benchmarks/features.py [--dataset fashionmnist] [--data-dir D] [--model ddpm] [--t 50] [--images 4096]

Encoding: `encode_set` as `augment features` calls it, against a loop over batches that runs the whole network in fp32
and keeps one block by a hook. The net is not trained: that changes no speed. Runs are interleaved, so that a noisy
machine slows both sides. Probes: the whole grid of k and episodes by our solver, against one scikit-learn
LogisticRegression for each strength and episode, at the k of --compared.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augment import create, load_dataset
from augment.compute.device import Compute, choose_precision
from augment.compute.encoding import encode_set
from augment.compute.workers import side_by_side, threads
from augment.datasets import ImageSet
from augment.generator import Generator, ImageSpec
from augment.studies.features.episodes import DEFAULT_KS, default_ks, draw_episodes
from augment.studies.features.few_labels import FeatureTable, score_probes

PLAIN_BATCH = 128
WHOLE_SET = 70_000
ROUNDS = 3
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""What scikit-learn's C is tried at, as a script would."""


@contextmanager
def hooked(module: nn.Module) -> Iterator[list[Tensor]]:
    """Outputs of a module during passes."""
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    handle = module.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def plain_diffusion(generator: Any, images: Tensor, t: int) -> Tensor:
    """Noise, the whole U-Net in fp32, the pooled output of its first up block: what a script does."""
    features = []
    for batch in images.split(PLAIN_BATCH):
        x = 2 * generator.grid.pad(batch.float() / 255) - 1
        at = torch.full((len(x),), t)
        x_t = generator.diffusion.add_noise(x, torch.randn_like(x), at)
        blocks = nn.functional.pixel_unshuffle(x_t, generator.patch)
        with torch.no_grad(), hooked(generator.unet.up_blocks[0]) as found:
            generator.unet(
                blocks, at, class_labels=generator.condition(torch.full((len(x),), generator.spec.num_classes))
            )
        features.append(found[0].mean((2, 3)))
    return torch.cat(features)


def plain_encode(generator: Generator, images: Tensor) -> Tensor:
    """Any other model: its own `encode`, batch by batch in fp32."""
    with torch.no_grad():
        return torch.cat([generator.encode(batch.float() / 255) for batch in images.split(PLAIN_BATCH)])


def seconds_of(call: Callable[[], object]) -> float:
    """Wall clock of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure_encoding(generator: Generator, images: Tensor, t: int | None, precision: str) -> list[str]:
    """Images per second of both ways, interleaved, the best of each."""
    options = {} if t is None else {"t": t, "noise_draws": 1}
    plain: Callable[[], object] = lambda: plain_encode(generator, images)  # noqa: E731
    if hasattr(generator, "unet") and t is not None:
        plain = lambda: plain_diffusion(generator, images, t)  # noqa: E731
    cores = torch.get_num_threads()
    ours: list[float] = []
    theirs: list[float] = []
    with side_by_side(8, generator.device.type) as workers:
        compute = Compute(str(generator.device), precision, workers)
        encode_set(generator, images[:512], compute=compute, **options)  # starts the workers
        for _ in range(ROUNDS):
            ours.append(seconds_of(lambda: encode_set(generator, images, compute=compute, **options)))
            with threads(cores):
                theirs.append(seconds_of(plain))
    rate, plain_rate = len(images) / min(ours), len(images) / min(theirs)
    return [
        f"encoding, {generator.name}{'' if t is None else f' at t = {t}'} ({precision})",
        f"  ours        {rate:8,.0f} images/s, so {WHOLE_SET:,} images in {WHOLE_SET / rate:.0f} s",
        f"  plain fp32  {plain_rate:8,.0f} images/s",
        f"  ratio       {rate / plain_rate:8.2f}",
    ]


def measure_probes(data: ImageSet, compared: int, episodes: int) -> list[str]:
    """The linear probe on pixels for the whole grid, and beside scikit-learn at one k."""
    rows = torch.arange(len(data.train))
    train, test = (part.images.flatten(1).float() / 255 for part in (data.train, data.test))
    table = FeatureTable.standardised(rows, train, test, rows)
    labels, classes = data.train.labels, len(data.classes)
    ks = [k for k in DEFAULT_KS if k in default_ks(labels, classes)]
    grid = draw_episodes(labels, classes, ks, episodes, seed=0)
    whole = seconds_of(lambda: score_probes("pixels", table, grid, ["linear"]))
    compared = min(compared, ks[-1])
    one = draw_episodes(labels, classes, [compared], episodes, seed=0)
    ours = seconds_of(lambda: score_probes("pixels", table, one, ["linear"]))
    theirs = seconds_of(lambda: plain_probe(table, one.rows(compared), one.labels(compared)))
    return [
        f"linear probes on {train.shape[1]} pixels, regularisation chosen inside the k",
        f"  whole grid, k = {ks[0]} to {ks[-1]}, {episodes} episodes: {whole:.1f} s",
        f"  k = {compared}: ours {ours:.2f} s, scikit-learn {theirs:.2f} s, ratio {theirs / ours:.1f}",
    ]


def plain_probe(table: FeatureTable, rows: Tensor, labels: Tensor) -> None:
    """Cross-validated scikit-learn regression, episode by episode."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    for each, truth in zip(rows, labels, strict=True):
        search = GridSearchCV(LogisticRegression(max_iter=200), {"C": STRENGTHS}, cv=4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it stops at 200 iterations
            search.fit(table.of(each).numpy(), truth.numpy())
        search.predict(table.test.numpy())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashionmnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model", default="ddpm")
    parser.add_argument("--t", type=int)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--compared", type=int, default=32, help="k at which scikit-learn is timed as well")
    parser.add_argument("--episodes", type=int, default=5)
    options = parser.parse_args()
    data = load_dataset(options.dataset, data_dir=options.data_dir)
    torch.manual_seed(0)
    generator = create(options.model, ImageSpec(*data.spec.shape, 1)).eval()
    t = options.t if options.t is not None else 50 if generator.timesteps else None
    images = data.train.images[: options.images]
    lines = measure_encoding(generator, images, t, choose_precision("auto"))
    lines += measure_probes(data, options.compared, options.episodes)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
