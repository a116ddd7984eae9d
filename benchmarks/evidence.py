"""Does synthetic data help, and by how much? The experiments of docs/evidence.md, each of them an `augment run`.

    python benchmarks/evidence.py --dataset fashionmnist [--data-dir D] [--only choice] [--seeds 5]

choice, choice-balanced: ways of using synthetic images, one change at a time, scored on training images that were not
drawn; the defaults of `augment run` are chosen here.
answer, longer: cheap arms and recipes on the test images, with a diffusion model, and with twice the updates.
full: `--arms full` with the default autoencoder of the README.
trees: what a decision tree gains, by an autoencoder's images and by copies, with the leaves that each arm chooses.
balanced, semi, seed-high: other regimes, on the test images.

Each result is kept in --out as soon as it is there, and the same command goes on where it was stopped. At its end it
writes the parts of --page (docs/evidence.md) whose results are there; --write only does that.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence_page import Study, section
from page_part import write_part

from augment import run
from augment.errors import AugmentError, Stopped
from augment.progress import Reporter, choose_reporter
from augment.storage.files import read_json, write_json
from augment.studies.run.config import RunConfig

PAGE = Path(__file__).resolve().parent.parent / "docs" / "evidence.md"

ADJUSTED = "model+balanced-softmax"
LAST = "real-last:share=0.3"

SCORED = 500
"""Samples whose fidelity each run scores; docs/generators.md has it for more."""

CHOICE = (
    *("oversample", "balanced-softmax", "model", ADJUSTED),
    *(f"{ADJUSTED}+{one}" for one in ("weight:weight=0.4", "decay", "batch-share", "class-mixup", LAST)),
    f"{ADJUSTED}+real-last:share=0.3,layers=classifier",
    *(f"{ADJUSTED}+{LAST}+{one}" for one in ("partial-noise", "translation", "teacher", "mixup")),
)

CHEAP = (
    *("real", "duplicate", "oversample", "class-weights", "balanced-softmax", "classical", "randaugment"),
    *("noise:gaussian", "noise:rotation", "mixup", "cutmix", "smote"),
    *("oversample+classical", "balanced-softmax+randaugment", "balanced-softmax+mixup"),
)

ANSWER = (*CHEAP, "model", ADJUSTED, f"{ADJUSTED}+{LAST}", f"{ADJUSTED}+{LAST}+mixup")

LONGER = (
    *("balanced-softmax", "balanced-softmax+randaugment"),
    *(f"{ADJUSTED}+{LAST}", f"{ADJUSTED}+batch-share+{LAST}"),
)

TREES = (
    *("real", "duplicate", "oversample", "smote", "latent-smote", "copies:randaugment", "copies:erasing"),
    *("copies:randaugment+balance", "model", "model+balance", "model+ratio"),
)

REGIMES = ("real", "balanced-softmax", "balanced-softmax+randaugment", ADJUSTED)

BALANCED = ("real", "model", f"model+{LAST}", "model+batch-share", "model+weight:weight=0.4")


@dataclass(frozen=True)
class Experiment:
    """One run of the page."""

    name: str
    title: str
    settings: dict[str, Any]


def experiments(diffusion: str, autoencoder: str) -> tuple[Experiment, ...]:
    """All runs of the page, in its order."""
    cnn: dict[str, Any] = {"classifiers": ("cnn",)}
    long_tail = {"model": diffusion, "regime": "high", "strategy": "partial", **cnn}
    return (
        Experiment(
            "choice",
            "Ways of using synthetic images, scored on validation images",
            {**long_tail, "arms": CHOICE, "seeds": 2, "score_on": "validation"},
        ),
        Experiment(
            "choice-balanced",
            "Ways of using synthetic images with balanced classes, scored on validation images",
            {
                **{"model": autoencoder, "regime": "balanced", "strategy": "ratio", "arms": BALANCED, **cnn},
                **{"seeds": 2, "score_on": "validation"},
            },
        ),
        Experiment("answer", "A long tail (IF 100), scored on the test images", {**long_tail, "arms": ANSWER}),
        Experiment(
            "longer", "The same with twice the updates", {**long_tail, "arms": LONGER, "updates": 1200, "seeds": 3}
        ),
        Experiment(
            "full",
            "All arms of `--arms full` with the default autoencoder",
            {"model": autoencoder, "regime": "high", "arm_set": "full"},
        ),
        Experiment(
            "trees",
            "Decision trees on a long tail",
            {"model": autoencoder, "regime": "high", "arms": TREES, "classifiers": ("cart-pca",)},
        ),
        *(
            Experiment(regime, title, {"model": autoencoder, "regime": regime, "arms": REGIMES, "seeds": 3, **cnn})
            for regime, title in (
                ("balanced", "Balanced classes"),
                ("semi", "Semi-balanced: two classes at a sixth"),
                ("seed-high", "The published counts `seed-high`"),
            )
        ),
    )


def carry_out(one: Experiment, options: argparse.Namespace, reporter: Reporter) -> dict[str, Any]:
    """The result's document; kept as ``<name>.json`` in --out."""
    settings = {"seeds": options.seeds, "fidelity_images": SCORED, **one.settings}
    if options.at_most:
        settings["seeds"] = min(settings["seeds"], options.at_most)
    given = {"updates": options.updates, "steps": options.steps, "size": options.size}
    settings = {**{name: value for name, value in given.items() if value is not None}, **settings}
    config = RunConfig.parse(dataset=options.dataset, data_dir=options.data_dir, out=options.out / "runs", **settings)
    document = run(config, reporter).to_json()
    write_json(options.out / f"{one.name}.json", document)
    return document


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashionmnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--diffusion", default="ddpm")
    parser.add_argument("--autoencoder", default="dvae")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--at-most", type=int, help="seeds of any experiment")
    parser.add_argument("--updates", type=int, help="of the CNN")
    parser.add_argument("--steps", type=int, help="of the generators")
    parser.add_argument("--size", type=int, help="training images")
    parser.add_argument("--only", nargs="+", help="names of experiments")
    parser.add_argument("--out", type=Path, default=Path("runs") / "evidence")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--write", action="store_true", help="only write the page from what is kept")
    options = parser.parse_args()
    found = experiments(options.diffusion, options.autoencoder)
    chosen = [one for one in found if not options.only or one.name in options.only]
    if not chosen:
        parser.error(f"no experiment is called like {options.only}; there are {', '.join(one.name for one in found)}")
    try:
        if not options.write:
            with choose_reporter(quiet=False) as reporter:
                for one in chosen:
                    reporter.stage(one.title)
                    carry_out(one, options, reporter)
    except (AugmentError, Stopped) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for one in found:
        document = read_json(options.out / f"{one.name}.json")
        if document is not None:
            write_part(options.page, one.name, section(Study(one.name, one.title, document)))
    sys.stdout.write(f"Written: {options.page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
