"""Ways of using a generator's images beside the strongest cheap arm, judged on validation images: docs/recipes.md.

    python benchmarks/recipes.py --dataset fashionmnist [--only dvae-500-600 ...] [--seeds 3]

Every generator, 500 and 5,000 training images of a long tail, 600 updates; for two of them also 300 and 1,200. The
images that arms are scored on are training images that no repetition drew, so that the recipe of `augment run` is not
chosen on the test images. Each part is kept in --out as soon as it is there, as docs/recipes/NAME.json, and is not
computed again; --write only makes the page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_part import write_part

from augment import run
from augment.errors import AugmentError, Stopped
from augment.evidence.statistics import mean_with_interval, signed
from augment.progress import Reporter, choose_reporter
from augment.storage.files import read_json, write_json
from augment.studies.run.config import RunConfig

DOCS = Path(__file__).resolve().parent.parent / "docs"

RIVAL = "balanced-softmax+randaugment"

MODELS = ("dvae", "ddpm", "vae", "vqvae", "ae", "cgan", "biggan", "realnvp", "clip_guided")

BOTH_ENDS = ("dvae", "ddpm")
"""Generators that are tried with fewer and more updates, too."""

SIZES = {500: 4, 5000: 1}
"""Training images, and synthetic ones for each, of which every class gets as many."""

MIXTURE, ORIGIN = "model+balanced-softmax+randaugment", "model+balanced-softmax:prior=origin+randaugment"
HALF, LAST = "batch-share:share=0.5", "real-last"

RECIPES = {
    "mixture": f"{MIXTURE}+{HALF}",
    "origin": f"{ORIGIN}+{HALF}",
    "mixture, real-last": f"{MIXTURE}+{HALF}+{LAST}",
    "origin, real-last": f"{ORIGIN}+{HALF}+{LAST}",
    "origin, real-norm": f"{ORIGIN}+{HALF}+real-norm",
    "origin, real-last, real-norm": f"{ORIGIN}+{HALF}+{LAST}+real-norm",
    "origin, real-last, share 0.7": f"{ORIGIN}+batch-share:share=0.7+{LAST}",
    "partial, real-last": f"{MIXTURE}+partial+real-last:share=0.3",
}
"""The last is what `augment run` did before."""


@dataclass(frozen=True)
class Part:
    """One run: a generator, a size and a number of updates."""

    model: str
    size: int
    updates: int

    @property
    def name(self) -> str:
        """As it is kept."""
        return f"{self.model}-{self.size}-{self.updates}"


def parts() -> Iterator[Part]:
    """All parts, those that tell most first."""
    small, large = SIZES
    yield from (Part(model, size, 600) for size in SIZES for model in BOTH_ENDS)
    others = [model for model in MODELS if model not in BOTH_ENDS]
    yield from (Part(model, small, 600) for model in others)
    yield from (Part(model, size, updates) for size in SIZES for model in BOTH_ENDS for updates in (300, 1200))
    yield from (Part(model, large, 600) for model in others)


def carry_out(part: Part, options: argparse.Namespace, reporter: Reporter) -> dict[str, Any]:
    """Accuracies of every recipe and of the rival, by seed."""
    given = {"steps": options.steps, "size": options.size}
    settings: dict[str, Any] = {
        "size": part.size,
        "updates": options.updates or part.updates,
        **{name: value for name, value in given.items() if value is not None},
    }
    config = RunConfig.parse(
        dataset=options.dataset,
        data_dir=options.data_dir,
        out=options.runs,
        model=part.model,
        regime="high",
        seeds=options.seeds,
        arms=(RIVAL, "balanced-softmax", *RECIPES.values()),
        strategy=f"even:ratio={SIZES[part.size]}",
        classifiers=("cnn",),
        score_on="validation",
        fidelity_images=200,
        **settings,
    )
    document = run(config, reporter).to_json()
    found: dict[str, list[float]] = {}
    for row in document["arms"]:
        found.setdefault(row["arm"].replace(part.model, "model"), []).append(row["trainings"][0])
    generator = document["generators"][0]
    return {
        "model": part.model,
        "size": document["regime"]["size"],
        "updates": part.updates,
        "steps": generator["steps"],
        "validation_images": document["scored_on"]["images"],
        "accuracies": found,
        "seconds": document["seconds"],
    }


def gains(document: dict[str, Any], recipe: str) -> list[float]:
    """Points above the rival, by seed."""
    ours, rival = document["accuracies"][RECIPES[recipe]], document["accuracies"][RIVAL]
    return [100 * (a - b) for a, b in zip(ours, rival, strict=True)]


def table(documents: Sequence[dict[str, Any]]) -> str:
    """A row per part, a column per recipe, and their means."""
    lines = [
        f"| generator, images, updates | {RIVAL} % | {' | '.join(RECIPES)} |",
        f"|---|---:|{'---:|' * len(RECIPES)}",
    ]
    for document in documents:
        rival, _ = mean_with_interval(document["accuracies"][RIVAL])
        cells = " | ".join(_cell(gains(document, recipe)) for recipe in RECIPES)
        named = f"{document['model']}, {document['size']:,}, {document['updates']:,}"
        lines.append(f"| {named} | {100 * rival:.1f} | {cells} |")
    for size in dict.fromkeys(document["size"] for document in documents):
        same = [one for one in documents if one["size"] == size and one["updates"] == 600]
        means = [_mean([value for one in same for value in gains(one, recipe)]) for recipe in RECIPES]
        if same:
            lines.append(f"| **mean of {len(same)}, {size:,}, 600** | | {' | '.join(map(signed, means))} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float]) -> str:
    return f"{signed(_mean(values))} ({', '.join(map(signed, values))})"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashionmnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, help="of the CNN, instead of a part's own")
    parser.add_argument("--steps", type=int, help="of the generators")
    parser.add_argument("--size", type=int, help="training images, instead of a part's own")
    parser.add_argument("--only", nargs="+", help="names of parts, such as dvae-500-600")
    parser.add_argument("--out", type=Path, default=DOCS / "recipes")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "recipes")
    parser.add_argument("--page", type=Path, default=DOCS / "recipes.md")
    parser.add_argument("--write", action="store_true", help="only write the page from what is kept")
    options = parser.parse_args()
    every = list(parts())
    chosen = [part for part in every if not options.only or part.name in options.only]
    if not chosen:
        parser.error(f"no part is called like {options.only}; there are {', '.join(part.name for part in every)}")
    try:
        with choose_reporter(quiet=False) as reporter:
            for part in [] if options.write else chosen:
                file = options.out / f"{part.name}.json"
                if read_json(file) is None:
                    reporter.stage(part.name)
                    write_json(file, carry_out(part, options, reporter))
    except (AugmentError, Stopped) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    kept = [document for part in every if (document := read_json(options.out / f"{part.name}.json")) is not None]
    write_part(options.page, "recipes", table(kept))
    sys.stdout.write(f"Written: {options.page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
