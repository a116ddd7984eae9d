"""Compare all generators, each at its own defaults, on all training images of a data set and on a long tail of them.

    OMP_NUM_THREADS=1 python benchmarks/generators.py --dataset fashionmnist [--data-dir D] [--device cuda]

Keeps each result in --out as soon as it is there; the same command goes on where it was stopped. At its end it writes
--page with one table per set (docs/generators.md) and pictures of samples beside it. To share the work between
processes, start one with --sets all and one with --sets longtail, and write the page anew at the end with --write,
which measures nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from generator_page import read_results, write_page
from generator_rows import measure_real, measure_row, row_key
from generator_setup import MODELS, SAMPLES, SETS, Bench, Settings, training_set
from threadpoolctl import threadpool_limits

from augment.compute.device import choose_device, choose_precision
from augment.datasets import ImageSet, load_dataset
from augment.errors import AugmentError, Stopped
from augment.generators.scoring import split_references
from augment.metrics.extractors import load_extractor
from augment.progress import Reporter, choose_reporter
from augment.storage.files import safe_name

PAGE = Path(__file__).resolve().parent.parent / "docs" / "generators.md"


def arguments(words: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashionmnist", help="a named data set or an image folder")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated rows")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="samples to score of each model")
    parser.add_argument("--steps", type=int, help="instead of each model's own")
    parser.add_argument("--minutes", type=float, help="limit of each training")
    parser.add_argument("--updates", type=int, help="of the CNN behind CAS, instead of its default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--extractor", help="a shipped one by name, whose classes have the order of these")
    parser.add_argument("--out", type=Path, help="folder for results [default: runs/generators-<dataset>]")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--write", action="store_true", help="only write the page from the results in --out")
    options = parser.parse_args(words)
    for kind, known in (("sets", SETS), ("models", tuple(MODELS))):
        names = [name.strip() for name in getattr(options, kind).split(",")]
        unknown = [name for name in names if name not in known]
        if unknown:
            parser.error(f"unknown {kind} {', '.join(unknown)}; known: {', '.join(known)}")
        setattr(options, kind, names)
    return options


def prepare(options: argparse.Namespace, data: ImageSet, out: Path, reporter: Reporter) -> Bench:
    """Resolve what is measured how, and by which eyes."""
    device = choose_device(options.device)
    settings = Settings.of(
        options.updates,
        options.samples,
        steps=options.steps,
        minutes=options.minutes,
        device=str(device),
        precision=choose_precision(options.precision, device),
        threads=options.threads,
    )
    reporter.stage("Load the extractor")
    train, classes = data.train, len(data.classes)
    extractor = load_extractor(
        options.extractor or data.name,
        data.spec.channels,
        images=train.images,
        labels=train.labels,
        num_classes=classes,
    )
    out.mkdir(parents=True, exist_ok=True)
    return Bench(data, extractor, split_references(data.test, options.samples, seed=0), settings, out, reporter)


def measure(options: argparse.Namespace, bench: Bench) -> int:
    """Measure every row that is asked for; one that fails is named and left out. Returns how many failed."""
    failed = 0
    for name in options.sets:
        part = training_set(bench.data, name)
        measure_real(part, bench)
        for title in options.models:
            try:
                measure_row(title, part, bench)
            except Stopped:
                raise
            except Exception as error:  # an hour's other rows must not be lost to one plugin's bug
                failed += 1
                bench.reporter.note(f"{title} on {name} is left out: {type(error).__name__}: {error}")
    return failed


def write(data: ImageSet, out: Path, page: Path, reporter: Reporter) -> None:
    """The page, from everything in the folder of results; rows that would be measured anew now are marked."""
    results = read_results(out)
    if not results:
        reporter.note(f"No page is written: {out} holds no results.")
        return
    parts = {name: training_set(data, name) for name in results}

    def is_stale(row: Mapping[str, Any]) -> bool:
        return bool(row["key"] != row_key(row["title"], parts[row["set"]], Settings(**row["settings"])))

    write_page(results, out, page, is_stale)
    reporter.note(f"Written: {page}")


def main(words: list[str] | None = None) -> int:
    """Measure and write; returns the exit code."""
    options = arguments(words)
    out = options.out or Path("runs") / f"generators-{safe_name(Path(options.dataset).name)}"
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads), choose_reporter(quiet=False) as reporter:
        try:
            reporter.stage(f"Load {options.dataset}")
            data = load_dataset(
                options.dataset, data_dir=options.data_dir, image_size=options.image_size, log=reporter.note
            )
            failed = 0 if options.write else measure(options, prepare(options, data, out, reporter))
            write(data, out, options.page, reporter)
        except AugmentError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
