"""All generators as feature sources on few labels, with pixels, untrained nets and a CNN from scratch beside them.

    python benchmarks/few_labels.py --dataset mnist [--data-dir D] [--labels-per-class 2,8,32,128] [--episodes 5]

Each generator is trained without labels at its own defaults, its timestep and layer are chosen on validation images,
and it is scored by `augment features`. Each result is kept in --out as soon as it is there; the same command goes on
where it was stopped. At its end it writes --page (docs/features.md); --write only does that.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from few_labels_page import SHOWN_LABELS, Page

from augment import study_features
from augment.errors import AugmentError, Stopped
from augment.progress import Reporter, choose_reporter
from augment.storage.files import read_json, safe_name, write_json
from augment.studies.features.config import FeaturesConfig

PAGE = Path(__file__).resolve().parent.parent / "docs" / "features.md"
PICTURES = ("layers.png", "timesteps.png", "embedding-tsne-2d.png")


@dataclass(frozen=True)
class Entry:
    """One row of the page: a model, its options, and how it is studied."""

    title: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """Name of its file."""
        return safe_name(self.title.translate(str.maketrans(" =", "--", "()")))


SEARCHED: dict[str, Any] = {"t": "auto", "layer": "auto"}
MODELS = (
    *(Entry(name, name, study=SEARCHED) for name in ("ddpm", "clip_guided", "cgan", "biggan", "realnvp", "vqvae")),
    *(Entry(name, name, study=SEARCHED) for name in ("ae", "vae", "dvae")),
)
SIZES = tuple(Entry(f"ae latent_dim={size}", "ae", {"latent_dim": size}) for size in (32, 64, 128, 256))
ON_POOL = Entry(
    "vae latent_dim=32",
    "vae",
    {"latent_dim": 32},
    {
        "labels_per_class": (2, 8, 32),
        "episodes": 3,
        "probes": ("linear",),
        "second_stage": ("propagation", "pseudo-labels", "pseudo-cnn"),
        "baselines": ("pixels",),
    },
)
"""The longest second stage, with the pixels beside it, on one kind of features."""
SHAPED: tuple[dict[str, float], ...] = (
    {},
    {"supervision": 1.0},
    {"decorrelation": 1.0},
    {"supervision": 1.0, "decorrelation": 1.0},
)


def shaped(episodes: int) -> tuple[Entry, ...]:
    """The autoencoders' options that see the k labels: a training for every k and episode, so few of both."""
    few = {
        "labels_per_class": (8, 32),
        "episodes": episodes,
        "second_stage": (),
        "baselines": (),
        "probes": ("linear",),
    }
    return tuple(
        Entry(
            " ".join([model, *(f"{key}={value:g}" for key, value in options.items())]) + SHOWN_LABELS,
            model,
            options,
            few,
        )
        for model in ("ae", "vae")
        for options in SHAPED
    )


def arguments(words: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist", help="a named data set or an image folder")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--models", help="comma-separated titles of rows, instead of all")
    parser.add_argument("--labels-per-class", default="2,8,32,128")
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of every training, instead of each model's own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="folder for results [default: runs/few-labels-<dataset>]")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--write", action="store_true", help="only write the page from the results in --out")
    options = parser.parse_args(words)
    options.entries = (*MODELS, *SIZES, ON_POOL, *shaped(min(options.episodes, 2)))
    if options.models:
        wanted = [name.strip() for name in options.models.split(",")]
        unknown = sorted(set(wanted) - {entry.title for entry in options.entries})
        if unknown:
            parser.error(f"unknown rows {', '.join(unknown)}; known: {', '.join(e.title for e in options.entries)}")
        options.entries = tuple(entry for entry in options.entries if entry.title in wanted)
    options.out = options.out or Path("runs") / f"few-labels-{Path(options.dataset).name}"
    return options


def measure(entry: Entry, options: argparse.Namespace, reporter: Reporter) -> None:
    """Study one entry and keep its document and pictures; pixels and the CNN are scored with the first row alone."""
    first = entry.title == MODELS[0].title
    asked: dict[str, Any] = {
        "labels_per_class": tuple(int(k) for k in options.labels_per_class.split(",")),
        "episodes": options.episodes,
        "probes": ("linear", "mlp", "prototype"),
        "second_stage": ("propagation",),
        "baselines": ("pixels", "cnn", "untrained") if first else ("untrained",),
        "plots": ("tsne",) if first else (),
        **entry.study,
    }
    config = FeaturesConfig.parse(
        model=entry.model,
        options=entry.options,
        dataset=options.dataset,
        data_dir=options.data_dir,
        steps=options.steps,
        device=options.device,
        out=options.out / "studies",
        **asked,
    )
    reporter.note(f"== {entry.title}")
    result = study_features(config, reporter)
    for name in PICTURES:
        if (result.folder / name).exists():
            shutil.copyfile(result.folder / name, options.out / f"{entry.slug}-{name}")
    write_json(options.out / f"{entry.slug}.json", {**result.to_json(), "title": entry.title})


def main(words: list[str] | None = None) -> int:
    """Measure and write; returns the exit code."""
    options = arguments(words)
    failed = 0
    with choose_reporter(quiet=False) as reporter:
        for entry in () if options.write else options.entries:
            try:
                measure(entry, options, reporter)
            except Stopped as error:
                reporter.note(str(error))
                return error.exit_code
            except AugmentError as error:  # the other rows must not be lost to one
                failed += 1
                reporter.note(f"{entry.title} is left out: {error}")
    kept = {entry.title: read_json(options.out / f"{entry.slug}.json") for entry in options.entries}
    results = {title: document for title, document in kept.items() if document is not None}
    if not results:
        sys.stderr.write(f"No page is written: {options.out} holds no results.\n")
        return 1
    Page(results, options.dataset, options.out).write(options.page)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
