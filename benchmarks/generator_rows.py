"""Measure one generator on one training set: train, sample, score; the result is a dictionary ready for JSON.

Splits and seeds are those of ``augment run --seed 0``. Every result carries a key over the generator's code, its
options, the data and the way it was measured, so that a second start measures only what is missing or has changed.
"""

from __future__ import annotations

import ast
import inspect
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from generator_setup import MODELS, SEED, Bench, Settings, TrainingSet, machine
from torch import Tensor

from augment import generator as contract
from augment import registry
from augment.classifiers import fit_cnn, score_predictions
from augment.classifiers.learning import Learning
from augment.compute.sampling import as_uint8
from augment.datasets import LabelledImages
from augment.generator import Generator, draw
from augment.metrics.extractor import Extractor
from augment.metrics.fidelity import SampleImages
from augment.metrics.memorisation import memorisation
from augment.metrics.scores import compute_scores
from augment.results.contact_sheets import class_grid, image_rows
from augment.seeds import torch_rng
from augment.storage.files import read_json, write_json
from augment.storage.hashing import code_fingerprint, content_hash
from augment.training import trained
from augment.training.recipe import TrainingRecord

COPIES = 2000
"""Samples, and held-out images, whose nearest training images are looked up."""

PICTURED = 10
CORE = Path(contract.__file__).parent
METHOD = (Path(__file__), CORE / "metrics", CORE / "classifiers", CORE / "generator.py", CORE / "training")
"""Code of ours that every figure depends on."""


def slug(title: str) -> str:
    """A row's title as part of a file name."""
    return title.replace(" ", "-").lower()


def row_key(title: str, part: TrainingSet, settings: Settings) -> str:
    """Identity of a row's result."""
    name, options = MODELS[title]
    cls = registry.get(name)
    config = cls.Config.parse(options).model_dump(mode="json")
    return content_hash([title, config, part.manifest.sha256, asdict(settings), generator_code(cls)])


def generator_code(cls: type[Generator]) -> str:
    """Hash of the files a class is made of, the siblings it imports included, and of what measures it."""
    found: set[Path] = set()
    waiting = [Path(inspect.getfile(cls))]
    while waiting:
        file = waiting.pop()
        if file not in found and file.is_file():
            found.add(file)
            waiting += [file.with_name(f"{name}.py") for name in _siblings(file)]
    return code_fingerprint([*found, *METHOD])


def _siblings(file: Path) -> set[str]:
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1}


def measure_row(title: str, part: TrainingSet, bench: Bench) -> dict[str, Any]:
    """Train, sample and score one model; keeps ``<set>-<title>.json`` and ``.png``, or returns what is kept."""
    file = bench.out / f"{part.name}-{slug(title)}.json"
    key = row_key(title, part, bench.settings)
    kept = read_json(file)
    if kept is not None and kept.get("key") == key:
        bench.reporter.note(f"{title} on {part.name}: measured before.")
        return kept
    bench.reporter.stage(f"Train {title} on {part.name}")
    generator, training = _trained(title, part, bench, file.with_name(f"{file.stem}-{key[:8]}"))
    bench.reporter.stage(f"Sample {title}")
    images, labels, sampling = _sampled(generator, bench)
    bench.reporter.stage(f"Score {title}")
    picture(images, labels, part, bench, conditional=generator.tags.conditional).save(file.with_suffix(".png"))
    row = {
        "key": key,
        "title": title,
        "set": part.name,
        "settings": asdict(bench.settings),
        "parameters": sum(parameter.numel() for parameter in generator.parameters()),
        "config": generator.config.model_dump(mode="json"),
        "training": training,
        "sampling": sampling,
        **scores(images, labels, part, bench, conditional=generator.tags.conditional),
        "machine": machine(bench.settings),
    }
    write_json(file, row)
    return row


def _trained(title: str, part: TrainingSet, bench: Bench, folder: Path) -> tuple[Generator, dict[str, Any]]:
    """The trained generator on its device and what it cost; trained before, or resumed, where ``folder`` allows it.

    It goes into the cache of generators, where ``augment run`` with the same split finds it.
    """
    name, options = MODELS[title]
    settings, data = bench.settings, bench.data
    if not (folder / "cost.json").exists():
        recipe = trained.make_recipe(
            name,
            options,
            classes=data.classes,
            data_sha256=part.manifest.sha256,
            seed=SEED,
            steps=settings.steps,
            max_minutes=settings.minutes,
            device=settings.device,
            precision=settings.precision,
        )
        fit, validation = trained.generator_parts(part.manifest, data.train)
        _, wall, cpu = timed(lambda: trained.obtain(recipe, data.spec, fit, validation, folder, bench.reporter))
        write_json(folder / "cost.json", {"wall": wall, "cpu": cpu})
    facts, cost = TrainingRecord.read(folder), read_json(folder / "cost.json") or {}
    assert facts is not None
    busy = cost["cpu"] / cost["wall"]
    seconds = max(cost["wall"], facts.seconds)  # the clock of a resumed training covers all of its sessions
    training = {
        name: getattr(facts, name) for name in ("steps", "stopped", "best_step", "skipped_updates", "images_per_second")
    }
    training |= {"seconds": seconds, "cpu_seconds": busy * seconds}
    training["images_per_cpu_second"] = facts.images_per_second / busy
    return registry.load_generator(folder).to(settings.device), training


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What ``call`` returns, and the seconds it took: of wall clock and of this process's processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def balanced_labels(n: int, num_classes: int) -> Tensor:
    """``n`` classes in equal shares and in random order."""
    labels = torch.arange(n) % num_classes
    return labels[torch.randperm(n, generator=torch_rng(SEED, "labels"))]


def _sampled(generator: Generator, bench: Bench) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Samples as uint8, the classes asked for, and what drawing cost."""
    n = bench.settings.samples
    labels = balanced_labels(n, len(bench.data.classes))

    def call() -> Tensor:
        parts: list[Tensor] = []
        for part in draw(generator, labels, SEED, precision=bench.settings.precision):
            parts.append(as_uint8(part))
            bench.reporter.advance(sum(map(len, parts)), n)
        return torch.cat(parts)

    images, wall, cpu = timed(call)
    return images, labels, {"n": n, "per_second": n / wall, "per_cpu_second": n / cpu}


def scores(images: Tensor, labels: Tensor, part: TrainingSet, bench: Bench, *, conditional: bool) -> dict[str, Any]:
    """Everything said of samples uint8 ``(n, C, H, W)``; what needs their classes is None without ``conditional``."""
    held_out, few = bench.references.held_out, slice(COPIES)
    classes = {"held_out_labels": held_out.labels[few], "fake_labels": labels[few]} if conditional else {}
    real = bench.references.reference.images
    fidelity = compute_scores(SampleImages(real, images, held_out.images, bench.extractor, SEED))
    copied = memorisation(part.images.images, held_out.images[few], images[few], **classes)
    return {
        "fidelity": fidelity.to_json(),
        "cas": cas(LabelledImages(images, labels), bench) if conditional else None,
        "label_consistency": consistency(images, labels, bench.extractor) if conditional else None,
        "memorisation": asdict(copied),
    }


def cas(train: LabelledImages, bench: Bench) -> float:
    """Classification accuracy score: our CNN trained on ``train`` alone, balanced accuracy on the real test images.

    Ravuri and Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models", arXiv:1905.10887.
    """
    classes, settings = len(bench.data.classes), bench.settings
    cnn = fit_cnn(
        train.images,
        train.labels,
        classes,
        updates=settings.updates,
        seed=SEED,
        device=settings.device,
        precision=settings.precision,
        learning=Learning("oversample"),
    )
    test = bench.data.test
    return score_predictions(test.labels, cnn.predict(test.images), classes).balanced_accuracy


def consistency(images: Tensor, labels: Tensor, extractor: Extractor) -> float:
    """Share of images that the extractor's own classifier assigns to their class."""
    return (extractor.probabilities(images).argmax(dim=1) == labels).double().mean().item()


def measure_real(part: TrainingSet, bench: Bench) -> dict[str, Any]:
    """The reference row of a set: what real images reach where samples are scored; kept as ``<set>-real.json``."""
    file = bench.out / f"{part.name}-real.json"
    key = content_hash([part.manifest.sha256, asdict(bench.settings), code_fingerprint(METHOD)])
    kept = read_json(file)
    if kept is not None and kept.get("key") == key:
        return kept
    bench.reporter.stage(f"Score the real images of {part.name}")
    test, data = bench.data.test, bench.data
    row = {
        "key": key,
        "set": part.name,
        "dataset": data.name,
        "shape": list(data.spec.shape),
        "classes": list(data.classes),
        "counts": list(part.manifest.class_counts),
        "settings": asdict(bench.settings),
        "cas": cas(part.images, bench),
        "label_consistency": consistency(test.images, test.labels, bench.extractor),
    }
    write_json(file, row)
    return row


def picture(images: Tensor, labels: Tensor, part: TrainingSet, bench: Bench, *, conditional: bool) -> Any:
    """A row of samples per class, with the number of training images it has; rows without a name for no classes."""
    counts = part.manifest.class_counts
    if not conditional:
        rows = list(images[: PICTURED * len(counts)].split(PICTURED))
        return image_rows(rows, [""] * len(rows))
    names = [f"{name} ({count:,})" for name, count in zip(bench.data.classes, counts, strict=True)]
    return class_grid(images, labels, names, per_class=PICTURED)
