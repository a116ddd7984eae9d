"""What ``same_numbers.py`` carries out with each checkout: commands of ``augment`` and functions of its public names.

Every command that makes numbers is here, every generator, classifier, component of arms, probe and second stage; all so
small that the whole takes a few minutes on one core. Steps are in folders side by side, and one may read another's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Step:
    """A command line of ``augment``, or a function of ``same_numbers_python.py``, in a folder called ``name``."""

    name: str
    words: Sequence[str]
    kind: Literal["augment", "python"] = "augment"

    def to_json(self) -> dict[str, Any]:
        """As the launcher reads it."""
        return asdict(self)


FIXED = "--device cpu --precision fp32 --json"
"""One kind of arithmetic: what ``auto`` takes may be decided by a race."""

RUN = f"--dataset digits --updates 30 {FIXED}"
FEATURES = f"--dataset ../data/grey --episodes 2 {FIXED}"
DDPM = "--steps 5 --set channels=[8,16] --set sampling_steps=3"

MODELS = {
    "ae": "--regime balanced --size 100 --steps 6 --classifier cnn --classifier cart-cnn --arm real --arm oversample "
    "--arm duplicate --arm copies:randaugment --arm smote --arm latent-smote --arm ae+balance "
    "--arm vae+ratio:ratio=0.5 --set vae.steps=4",
    "vae": "--size 120 --steps 6 --seeds 2 --spread",
    "dvae": "--size 120 --steps 60 --set noise=rotation --classifier cnn --save-images "
    "--strategy partial:share=0.4,cap=3 --arm oversample+randaugment --arm trivialaugment --arm erasing "
    "--arm dvae+neighbourhood:below=15 --arm dvae+teacher:folds=2,low=0.05,rounds=2",
    "vqvae": "--regime semi --size 120 --steps 6 --classifier cnn --classifier cart-pixels --arm class-weights "
    "--arm mixup --arm cutmix --arm vqvae+even+batch-share+real-norm --arm vqvae+class-mixup --arm vqvae+decay",
    "cgan": "--size 120 --steps 6 --score-on validation --arm balanced-softmax+mixup "
    "--arm cgan+balanced-softmax+real-last --arm cgan+weight:weight=0.4 "
    "--arm cgan+real-last:share=0.5,layers=classifier",
    "biggan": "--class-counts 30,25,20,15,10,10,8,6,5,4 --steps 4 --arm oversample+classical --arm biggan",
    "realnvp": "--size 120 --imbalance-factor 10 --steps 6 --classifier cart-pca --classifier cnn "
    "--arm noise:rotation+oversample --arm noise:gaussian+oversample --arm noise:blur+oversample "
    "--arm noise:salt_pepper --arm noise:speckle --arm noise:masking --arm noise:brightness --arm noise:contrast "
    "--arm realnvp",
    "ddpm": f"--size 100 {DDPM} --classifier cnn --arm oversample --arm ddpm --arm ddpm+partial-noise "
    "--arm ddpm+translation:below=20",
    "clip_guided": f"--size 100 {DDPM} --set clip_width=4 --classifier cart-pca --arm oversample --arm clip_guided",
}
"""Options of ``augment run`` for each generator; those of one that is not here are the ones of UNKNOWN."""

UNKNOWN = "--size 100 --steps 5"

STUDY = """\
dataset: digits
model: vae
regime: semi
size: 100
seeds: 2
steps: 4
updates: 6
classifier: [cnn]
device: cpu
precision: fp32
"""
"""Joined over its seeds by what reads it."""


def steps(models: Sequence[str]) -> list[Step]:
    """All steps, in an order in which each finds what it reads. models: registered names."""
    return [Step(name, tuple(words.split()), kind) for name, kind, words in _steps(models)]


def _steps(models: Sequence[str]) -> Iterator[tuple[str, Literal["augment", "python"], str]]:
    yield "doctor", "augment", "doctor --json"
    yield "models", "augment", "models --json"
    yield "arms", "augment", "arms --json"
    yield "datasets", "augment", "datasets list --json"
    yield "inspect", "augment", "datasets inspect ../data/colour --json"
    for model in models:
        yield f"run-{model}", "augment", f"run --model {model} {RUN} {MODELS.get(model, UNKNOWN)}"
    colour = f"--dataset ../data/colour --class-counts 20,10,4 --image-size 8 --steps 5 --updates 6 {FIXED}"
    yield "run-images", "augment", f"run --model ae {colour} --classifier cart-pixels --classifier cnn"
    yield "run-again", "augment", f"run --model vae {RUN} {MODELS['vae']} --arm oversample --arm vae"
    planned = "--size 120 --steps 7 --arm vae --classifier cart-pixels --dry-run"
    yield "dry-run", "augment", f"run --model vae {RUN} {planned}"
    yield from ((name, "augment", words) for name, words in _generators())
    yield from ((name, "augment", words) for name, words in _features())
    yield from ((name, "augment", words) for name, words in _readers())
    yield "extractor", "python", "extractor ../train/generator"
    yield "sampler", "python", "sampler"
    yield "run-python", "python", "run"
    yield "generators", "python", "generators ../run-*/runs/*/generator"


def _generators() -> Iterator[tuple[str, str]]:
    small = "--dataset digits --device cpu --precision fp32 --json"
    yield "train", f"train --model dvae --regime high --size 150 --steps 6 --out generator {small}"
    yield "train-all", f"train --model cgan --steps 4 --seed 3 --out generator {small}"
    yield "sample", f"sample ../train/generator --n 25 --out pictures {FIXED}"
    yield "sample-counts", f"sample ../train-all/generator --class-counts 3,0,1,2,0,0,1,1,1,4 --out pictures {FIXED}"
    yield "score", "score --real digits --fake ../sample/pictures --device cpu --json"
    yield "score-generator", "score --real digits --fake ../train/generator --n 100 --device cpu --json"


def _features() -> Iterator[tuple[str, str]]:
    probes = "--probe linear,mlp,prototype,knn --second-stage propagation,pseudo-labels --baseline pixels,untrained"
    yield (
        "features-ae",
        f"features --model ae --steps 6 --labels-per-class 1,4 {probes} --plot pca,tsne --export f.npz {FEATURES}",
    )
    few = "--labels-per-class 1,2 --probe linear --baseline pixels --plot none"
    yield "features-ddpm", f"features --model ddpm {DDPM} --t auto --layer auto {few} --export f.csv {FEATURES}"
    cnn = "--labels-per-class 2 --probe linear --baseline cnn,untrained --second-stage pseudo-cnn --plot none"
    yield "features-vae", f"features --model vae --steps 6 {cnn} --export f.safetensors {FEATURES} --episodes 1"
    saved = "--labels-per-class 1,2 --probe knn --baseline pixels --plot none --layer encoder"
    yield "features-saved", f"features --generator ../train/generator --dataset digits {saved} {FIXED}"
    yield "features-layers", f"features --model ddpm --layer list {FEATURES}"


def _readers() -> Iterator[tuple[str, str]]:
    grid = "--dataset digits --size 100 --steps 4 --updates 6 --classifier cnn --device cpu --precision fp32"
    yield "sweep", f"sweep --model vae,ae --regime balanced,semi --name grid --workers 1 --json {grid}"
    yield "sweep-study", "sweep ../data/study.yaml --name seeds --workers 1 --json"
    everything = "../sweep/runs ../sweep-study/runs ../run-*/runs ../features-*/runs"
    yield "results", f"results {everything} --json"
    yield "results-each", "results ../sweep/runs ../sweep-study/runs --each --sort -accuracy --format csv"
    yield "report", f"report {everything} --figures none --json"
    yield "compare", "compare ../sweep/runs/grid/digits-semi-vae-* ../sweep-study/runs/seeds --json"
    yield "compare-models", "compare ../sweep/runs/grid/digits-semi-vae-* ../sweep/runs/grid/digits-semi-ae-* --json"


def write_data(folder: Path) -> None:
    """Two folders of images and a study file, which the steps read."""
    rng = np.random.default_rng(0)
    for name, shape, per_class in (("grey", (8, 8), {"train": 40, "test": 20}), ("colour", (10, 10, 3), {"all": 45})):
        means = rng.uniform(60, 200, (4, *shape))
        for label, mean in enumerate(means[: 4 if name == "grey" else 3]):
            for part, count in per_class.items():
                place = folder / name / ("" if part == "all" else part) / f"kind {label}"
                place.mkdir(parents=True)
                for index in range(count):
                    pixels = np.clip(rng.normal(mean, 35), 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(place / f"{index:03d}.png")
    (folder / "study.yaml").write_text(STUDY)
