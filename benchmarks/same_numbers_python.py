"""Steps of ``same_numbers.py`` that use the public names of the package; each leaves arrays in the current folder."""

from __future__ import annotations

import glob
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

FIXED: Mapping[str, Any] = {"device": "cpu", "precision": "fp32"}


def main(function: str, *words: str) -> None:
    """One of the functions below, by its name."""
    {"extractor": extractor, "sampler": sampler, "run": run, "generators": generators}[function](*words)


def _digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from sklearn.datasets import load_digits

    rows, labels = load_digits(return_X_y=True)
    return rows[:400] / 16, labels[:400]


def extractor(saved: str) -> None:
    """Features by the scikit-learn transformer: of images, of rows, at a noise level, of a saved generator."""
    from augment import FeatureExtractor

    rows, _ = _digits()
    images = rows.reshape(-1, 1, 8, 8)
    small = {"channels": (8, 16)}
    ddpm = FeatureExtractor("ddpm", t=20, layer="mid", noise_draws=2, options=small, steps=4, **FIXED)
    np.savez(
        "features.npz",
        images=FeatureExtractor("ae", layer="encoder", steps=6, **FIXED).fit_transform(images),
        rows=FeatureExtractor("vae", steps=5, random_state=4, **FIXED).fit_transform(rows * 3 - 1),
        noised=ddpm.fit(images[:100]).transform(images[100:200]),
        saved=FeatureExtractor(generator=saved, **FIXED).fit(images).transform(images[:50]),
    )


def sampler() -> None:
    """Images and rows added by the imbalanced-learn sampler, plainly, with a filter, and made from real ones."""
    from augment import SyntheticSampler

    rows, labels = _digits()
    kept = np.concatenate([np.flatnonzero(labels == digit)[: 5 + 3 * digit] for digit in range(10)])
    rows, labels = rows[kept], labels[kept]
    found: dict[str, Any] = {}
    for name, options in {
        "plain": {"model": "vae", "strategy": "balance"},
        "filtered": {"model": "dvae", "strategy": "partial+teacher:folds=2,low=0.05,rounds=1", "steps": 60},
        "near": {"model": "ae", "strategy": "neighbourhood:below=10", "sampling_strategy": {0: 9, 1: 12}},
    }.items():
        used = SyntheticSampler(**{"steps": 5, **options, **FIXED})
        found[f"{name} X"], found[f"{name} y"] = used.fit_resample(rows, labels)
        found[f"{name} synthetic"], found[f"{name} parents"] = used.is_synthetic_, used.parent_indices_
    np.savez("resampled.npz", **found)


def run() -> None:
    """A run with its settings as keywords."""
    import augment

    small = {"size": 100, "steps": 4, "updates": 6, "classifiers": ("cart-pixels",), "seed": 5}
    found = augment.run(dataset="digits", model="vae", arms=("oversample", "vae"), out=Path("runs"), **small, **FIXED)
    sys.stdout.write(json.dumps(found.document if hasattr(found, "document") else found.to_json()))


METHODS: Mapping[str, Any] = {
    "reconstructs": lambda generator, images, labels: generator.reconstruct(images),
    "likelihood": lambda generator, images, labels: generator.log_prob(images),
    "edits": lambda generator, images, labels: generator.sample_from(
        images, labels, 0.5, rng=torch.Generator().manual_seed(2)
    ),
}
"""By the tag that stands for them."""


def generators(*patterns: str) -> None:
    """What every saved generator makes of seeds and images, by the methods of its contract that it has.

    patterns: as ``../<step>/runs/*/generator``.
    """
    from augment import load_generator

    found: dict[str, Any] = {}
    for folder in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        generator, name = load_generator(folder).eval(), Path(folder).parts[1]
        labels = torch.arange(12) % generator.spec.num_classes
        with torch.no_grad():
            images = generator.sample(12, labels=labels, rng=torch.Generator().manual_seed(1))
            found[f"{name} sample"], found[f"{name} encode"] = images.numpy(), generator.encode(images).numpy()
            for able, method in METHODS.items():
                if getattr(generator.tags, able):
                    found[f"{name} {able}"] = method(generator, images, labels).numpy()
    np.savez("generators.npz", **found)
