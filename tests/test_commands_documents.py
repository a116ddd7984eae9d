"""Every command's document of ``--json``, key by key, the words for people, and every file that it leaves.

All through the command line, so that code may move. The expectations are written to be read: a type stands for any
value of it, text and numbers for themselves, a list for one or more of what is in it, a tuple for either.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import signal
import sys
from types import NoneType
from typing import get_args

import pytest

from augment.cli import main

# ---------------------------------------------------------------- documents

MAYBE = (NoneType, float)
INTERVAL = (NoneType, [float])
NAMES = ([], [str])

ENVIRONMENT = {
    **dict.fromkeys(("augment", "python", "torch", "numpy", "platform", "processor", "device"), str),
    "threads": int,
}

DATASET = {
    "name": "digits",
    "sha256": str,
    "channels": 1,
    "height": 8,
    "width": 8,
    "classes": [str],
    "notes": [str],
}

FIDELITY = {
    "extractor": "digits",
    "extractor_sha256": str,
    "n": int,
    "n_reference": int,
    "fid": MAYBE,
    "fid_floor": MAYBE,
    "fid_floor_range": INTERVAL,
    "kid_floor_range": INTERVAL,
    "fid_reason": (NoneType, str),
    **dict.fromkeys(("kid", "kid_std", "kid_floor", "is", "precision", "precision_floor", "recall"), float),
    **dict.fromkeys(("recall_floor", "density", "density_floor", "coverage", "coverage_floor"), float),
    **dict.fromkeys(("ssim", "ms_ssim_reduced", "psnr"), MAYBE),
    **dict.fromkeys(("ssim_diversity", "ssim_diversity_floor", "memorisation"), float),
    "exact_copies": int,
    "near_copies": float,
    "near_copies_floor": float,
}

GUARD = {"name": str, "passed": bool, "detail": str}

COMPARISON = {
    "classifier": str,
    "arm": str,
    "against": str,
    "delta": float,
    "ci95": INTERVAL,
    "p": float,
    "n": int,
    "test": str,
    "p_holm": MAYBE,
    "p_wilcoxon": MAYBE,
    "p_permutation": MAYBE,
    "standard_error": MAYBE,
    "freedom": MAYBE,
    "image_variance": float,
    "test_images": int,
    "deltas": [float],
    "overlap": MAYBE,
    "again": MAYBE,
}

VERDICT = {
    "text": str,
    "decision": str,
    "classifier": str,
    "arm": str,
    "against": str,
    "delta": float,
    "ci95": INTERVAL,
    "p": MAYBE,
    "n": int,
    "arms": int,
    "rivals": int,
    "seeds_needed": (NoneType, list),
    "images_needed": (NoneType, int),
    "overlap": MAYBE,
    "again": MAYBE,
}

GENERATOR = {
    "name": str,
    "config": dict,
    "version": str,
    "steps": int,
    "stopped": "finished",
    "seconds": float,
    "images_per_second": float,
    "cached": bool,
    "device": "cpu",
    "precision": "fp32",
}

ENDED = {
    "environment": ENVIRONMENT,
    "finished_at": str,
    "cost": {"seconds": float, "generator_seconds": float, "classifier_seconds": float},
    "seconds": float,
    "folder": str,
    "identity": str,
    "cached": bool,
}

FILTER = {
    **dict.fromkeys(("wanted", "drawn", "passed", "kept", "rounds"), int),
    "acceptance": MAYBE,
    "seconds": {"teachers": float, "drawing": float, "judging": float},
    "per_class": [
        {
            "class": str,
            **dict.fromkeys(("wanted", "drawn", "passed", "kept"), int),
            "acceptance": MAYBE,
            "refused": {"confidence": int, "distance": int, "copy": int},
            "limit": float,
        }
    ],
}

RUN = {
    "schema": "augment.run/8",
    "dataset": DATASET,
    "scored_on": {"part": "test", "images": 359},
    "regime": {
        "name": "high",
        "size": int,
        "class_counts": [int],
        "available": [int],
        "groups": {"many": [str], "medium": [str], "few": [str]},
        "seed": 0,
        "manifest_sha256": str,
    },
    "generators": [GENERATOR],
    "synthetic": [
        {
            "arm": str,
            "adds": "synthetic",
            "generator": "vae",
            "strategy": str,
            "class_counts": [int],
            "filter": (NoneType, [FILTER]),
        }
    ],
    "seeds": [int],
    "drawn": {"same_images": bool, "test_share": float, "overlap": MAYBE},
    "arms": [
        {
            "arm": str,
            "classifier": str,
            "seed": int,
            "updates": (NoneType, int),
            "accuracy": float,
            "trainings": [float],
            "balanced_accuracy": float,
            "seconds": float,
            "cached": bool,
            "per_class": [{"class": str, "precision": float, "recall": float, "f1": float, "support": int}],
            "confusion": [[int]],
            "family": str,
        }
    ],
    "fidelity": FIDELITY,
    "comparisons": [COMPARISON],
    "effects": [
        {
            "classifier": str,
            "arm": str,
            "against": str,
            "groups": [{"group": str, "classes": [str], "images": int, "delta": float, "ci95": INTERVAL}],
            "classes": [{"class": str, "images": int, "delta": float, "ci95": INTERVAL}],
        }
    ],
    "spread": [
        {
            "classifier": str,
            "arm": str,
            "seconds": float,
            "sd": {
                **dict.fromkeys(("total", "classifier", "generator", "subset", "subset_and_generator"), MAYBE),
                "below_zero": NAMES,
                "n": {"together": int, "same_data": int, "same_subset": int},
            },
            "text": str,
        }
    ],
    "guards": [GUARD],
    "verdict": VERDICT,
    "verdicts": [VERDICT],
    **ENDED,
}

FEATURES = {
    "schema": "augment.features/6",
    "dataset": DATASET,
    "generator": {
        **GENERATOR,
        "folder": NoneType,
        "trained": 1,
        "labels_seen": "none",
        "encode": {},
    },
    "protocol": {
        "labels_per_class": [int],
        "episodes": 2,
        "seeds": [int],
        "pool_images": int,
        "test_images": 359,
        "probes": [str],
        "second_stage": NAMES,
        "regularisation": str,
        "choice": (NoneType, str),
        "standardised_by": str,
    },
    "chosen": {"t": NoneType, "layer": str, "dimensions": int},
    "map": {
        "grid": [{"t": NoneType, "layer": str, "accuracy": float}],
        "chosen": {"t": NoneType, "layer": str, "accuracy": float},
        "labels_per_class": 16,
        "validation_images": int,
        "chosen_on": str,
    },
    "baselines": [str],
    "rows": [
        {
            "method": str,
            "probe": (NoneType, str),
            "t": NoneType,
            "layer": (NoneType, str),
            "k": int,
            "accuracy": float,
            "ci95": INTERVAL,
            "episodes": 2,
            "accuracies": [float],
            "chosen": [object],
            "seconds": float,
        }
    ],
    "comparisons": [{"k": int, **COMPARISON}],
    "guards": [GUARD],
    "verdict": str,
    **ENDED,
}

LAYERS = {"model": "ae", "layers": [str], "default": str, "timesteps": int, "options": {"pool": int}}

TRAIN = {
    "model": "ae",
    "folder": "generator",
    "key": str,
    "steps": 3,
    "seconds": float,
    "images_per_second": float,
    "stopped": "finished",
    "best_step": int,
    "skipped_updates": 0,
}

SAMPLE = {
    "generator": "ae",
    "n": 20,
    "class_counts": [2],
    "folder": "generator/samples",
    "sheet": "generator/samples.png",
    "seed": 0,
}

SCORE = {
    "schema": "augment.score/3",
    "real": "digits",
    "fake": str,
    "seed": 0,
    "notes": NAMES,
    "fidelity": FIDELITY,
    "guards": [GUARD],
}

COUNTS = {"cells": int, "finished": int, "failed": int, "left": int, "before": int}

COORDINATES = {"dataset": "digits", "regime": "high", "size": int, "model": "vae", "seed": int}

SWEEP = {
    "schema": "augment.sweep/1",
    "folder": "runs/study",
    "seconds": float,
    "counts": {"cells": 1, "finished": 1, "failed": 0, "left": 0, "before": 0},
    "cells": [
        {
            "key": str,
            "coordinates": COORDINATES,
            "status": "finished",
            "folder": str,
            "seconds": float,
            "cached": bool,
            "attempt": 1,
            "error": NoneType,
        }
    ],
}

DRY_RUN = {
    "schema": "augment.estimate/1",
    "folder": str,
    "stages": [{"name": str, "work": str, "seconds": float, "alone": bool}],
    "cores": int,
    "minutes": float,
}

DRY_SWEEP = {
    "schema": "augment.sweep-estimate/1",
    "folder": "runs/study",
    "counts": COUNTS,
    "workers": 1,
    "minutes": float,
    "models": [
        {
            "dataset": "digits",
            "model": "vae",
            "cells": int,
            "done": int,
            "each": float,
            "source": str,
            "left_seconds": float,
        }
    ],
    "cells": [{"key": str, "coordinates": COORDINATES, "status": str}],
}

RESULTS = {
    "schema": "augment.results/2",
    "runs": [
        {
            **dict.fromkeys(("dataset", "regime", "model", "differs", "classifier", "arm", "against"), str),
            "size": int,
            "accuracy": float,
            **dict.fromkeys(("accuracy_low", "accuracy_high", "difference", "low", "high", "p"), MAYBE),
            "decision": str,
            **dict.fromkeys(("kid", "kid_floor", "seconds"), float),
            "scored_by": str,
            "fidelity": dict,
            "seeds": int,
            "folders": [str],
            "settings": dict,
        }
    ],
    "features": [
        {
            **dict.fromkeys(("dataset", "model", "differs", "layer", "probe", "against"), str),
            "t": NoneType,
            **dict.fromkeys(("dimensions", "k", "episodes"), int),
            **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "difference", "low", "high", "p"), MAYBE),
            "seconds": float,
            "folders": [str],
            "settings": dict,
        }
    ],
    "unfinished": [],
    "damaged": [],
    "stale": [],
}

REPORT = {
    "page": "page.html",
    "runs": 3,
    "experiments": 2,
    "charts": int,
    "figures": [],
    "charts_without_files": int,
    "problems": [],
    "verdicts": [
        dict.fromkeys(("dataset", "regime", "size", "model", "classifier", "label", "decision", "text"), str),
    ],
    "features": [str],
}

SIDE = {
    "folders": [str],
    "dataset": "digits",
    "regime": "high",
    "size": int,
    "model": "vae",
    "seeds": [int],
    "verdicts": [VERDICT],
    "seconds": float,
}

COMPARE = {
    "schema": "augment.compare/2",
    "a": SIDE,
    "b": SIDE,
    "settings": [{"name": str, "a": object, "b": object}],
    "class_counts": [],
    "seeds": [0],
    "unpaired": NoneType,
    "arms": [
        {
            "classifier": str,
            "arm": str,
            "accuracy_a": float,
            "accuracy_b": float,
            "comparison": (NoneType, COMPARISON),
            "why": str,
        }
    ],
    "only_a": [str],
    "only_b": [],
    "fidelity": [{"name": str, "a": (int, float), "b": (int, float), "floor_a": MAYBE, "floor_b": MAYBE}],
    "fidelity_unlike": (NoneType, str),
}

ARMS = {
    "components": [{"name": str, "kind": str, "about": str}],
    "sets": {"quick": [str], "full": [str]},
}

MODEL = {
    **dict.fromkeys(("name", "package", "version", "target", "summary", "family", "description", "encode"), str),
    "available": True,
    "problem": NoneType,
    "tags": dict.fromkeys(
        ("conditional", "reconstructs", "decodes", "likelihood", "semi_supervised", "edits"),
        bool,
    ),
    "encode_options": [{"name": str, "type": str, "default": object, "required": bool}],
    "parameters": int,
    "parameters_problem": NoneType,
    "options": [
        {
            "name": str,
            "type": str,
            "allowed": str,
            "default": object,
            "required": bool,
            "common": bool,
            "description": str,
        }
    ],
}

DATASETS = {"datasets": [{"name": str, "description": str}]}

INSPECTED = {
    **{key: shape for key, shape in DATASET.items() if key != "classes"},
    "train": 1438,
    "test": 359,
    "classes": [{"class": str, "train": int, "test": int}],
    "contact_sheet": "digits-contact-sheet.png",
}

DOCTOR = {
    **ENVIRONMENT,
    "packages": {
        "torchvision": str,
        "accelerate": str,
        "diffusers": str,
        "open_clip_torch": str,
        "torch-fidelity": str,
        "pytorch-msssim": str,
        "scikit-learn": str,
        "imbalanced-learn": str,
        "scipy": str,
        "typer": str,
        "pydantic": str,
    },
    "devices": [str],
    "precision": str,
    "bf16_speedup_on_cpu": float,
    "cache": {"folder": str, "writable": True},
    "datasets": [str],
    "models": [{"name": str, "problem": NoneType}],
}

# ---------------------------------------------------------------- command lines

FIXED = "--device cpu --precision fp32"
TINY = f"--dataset digits --size 60 --steps 3 --updates 3 --classifier cart-pixels {FIXED}"
TEACHER = "vae+teacher:folds=2,low=0,far=1,rounds=1"
STUDY = f"sweep {TINY} --model vae --arm oversample --name study --workers 1"
FEW = "--labels-per-class 1 --probe knn --baseline pixels --layer auto --plot pca --episodes 2"

COMMANDS = {
    "run": f"run {TINY} --model vae --seeds 2 --arm oversample --arm vae --arm {TEACHER} --save-images",
    "features": f"features --dataset digits --model ae --steps 3 {FEW} --export features.npz {FIXED}",
    "layers": "features --dataset digits --model ae --layer list",
    "train": f"train --dataset digits --model ae --steps 3 --regime high --size 60 --out generator {FIXED}",
    "sample": f"sample generator --n 20 {FIXED}",
    "score": "score --real digits --fake generator --n 50 --device cpu",
    "dry run": f"run {TINY} --model vae --arm oversample --dry-run",
    "sweep": STUDY,
    "dry sweep": f"{STUDY} --seeds 2 --dry-run",
    "results": "results runs",
    "report": "report runs -o page.html --figures none",
    "compare": "compare RUN CELL",
    "arms": "arms",
    "models": "models ae",
    "datasets list": "datasets list",
    "datasets inspect": "datasets inspect digits",
    "doctor": "doctor",
}

READS = {
    **dict.fromkeys(("sample", "score"), ("train",)),
    "dry sweep": ("sweep",),
    **dict.fromkeys(("results", "report", "compare"), ("run", "features", "sweep")),
}
"""What a command finds there."""


class Place:
    """A folder in which each command is carried out once, when it is first asked for."""

    def __init__(self, folder):
        self.folder, self.done = folder, {}

    def call(self, *words):
        """Exit code and what is printed, as from a shell in the folder."""
        out, err = io.StringIO(), io.StringIO()
        before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["augment", *map(self.found, words)])
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                    code = 0
                except SystemExit as end:
                    code = end.code or 0
        for kind, handler in before.items():
            signal.signal(kind, handler)
        return code, out.getvalue(), err.getvalue()

    def found(self, word):
        """A run's folder by RUN, that of the sweep's cell by CELL."""
        pattern = {"RUN": "runs/digits-high-vae-*", "CELL": "runs/study/digits-high-vae-*"}.get(word)
        return word if pattern is None else str(next(self.folder.glob(pattern)))

    def document(self, name):
        """What a command answers with ``--json``."""
        if name not in self.done:
            for other in READS.get(name, ()):
                self.document(other)
            code, out, err = self.call(*COMMANDS[name].split(), "--json")
            assert (code, err) == (0, ""), err
            self.done[name] = json.loads(out)
        return self.done[name]

    def files(self, *patterns):
        """All files that match, each kind of picture once, without the hashes in their names."""
        found = (path for pattern in patterns for path in self.folder.glob(pattern) if path.is_file())
        names = (str(path.relative_to(self.folder)) for path in found)
        names = (re.sub(r"\d+-\w+/\d{6}\.png", "CLASS/NUMBER.png", name) for name in names)
        return sorted({re.sub(r"[0-9a-f]{10,16}(?=/|\.|$)", "HASH", name) for name in names})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMENT_HOME", str(tmp_path_factory.getbasetemp() / "augment-home"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("COLUMNS", "80")
        yield Place(tmp_path_factory.mktemp("commands"))


def misfits(value, shape, at="document"):
    """Where a JSON value is not what is expected, in words."""
    if isinstance(shape, tuple):
        found = [misfits(value, each, at) for each in shape]
        return [] if [] in found else found[0] if type(value) is NoneType else found[-1]
    if shape is object:
        return []
    if isinstance(shape, dict) and isinstance(value, dict):
        keys = [f"{at}.{key} is missing" for key in shape if key not in value]
        keys += [f"{at}.{key} is new" for key in value if key not in shape]
        both = [key for key in shape if key in value]
        return keys + [line for key in both for line in misfits(value[key], shape[key], f"{at}.{key}")]
    if isinstance(shape, list) and isinstance(value, list):
        if bool(shape) != bool(value):
            return [f"{at} has {len(value)} elements"]
        return [line for index, each in enumerate(value) for line in misfits(each, shape[0], f"{at}[{index}]")]
    if isinstance(shape, type) or get_args(shape):
        return [] if type(value) is shape else [f"{at} is {value!r} and no {shape.__name__}"]
    return [] if type(value) is type(shape) and value == shape else [f"{at} is {value!r} and not {shape!r}"]


DOCUMENTS = {
    "run": RUN,
    "features": FEATURES,
    "layers": LAYERS,
    "train": TRAIN,
    "sample": SAMPLE,
    "score": SCORE,
    "dry run": DRY_RUN,
    "sweep": SWEEP,
    "dry sweep": DRY_SWEEP,
    "results": RESULTS,
    "report": REPORT,
    "compare": COMPARE,
    "arms": ARMS,
    "models": MODEL,
    "datasets list": DATASETS,
    "datasets inspect": INSPECTED,
    "doctor": DOCTOR,
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_document_has_these_keys_and_no_others(place, name):
    assert misfits(place.document(name), DOCUMENTS[name]) == []


def test_a_document_that_does_not_fit_is_told():
    shape = {"a": [{"x": float, "y": (NoneType, int)}], "b": "text"}
    assert misfits({"a": [{"x": 1.0, "y": None}], "b": "text"}, shape) == []
    assert misfits({"a": [{"x": 1, "y": None}], "b": "text"}, shape) == ["document.a[0].x is 1 and no float"]
    assert misfits({"a": [{"x": 1.0, "y": True}], "b": "text"}, shape) == ["document.a[0].y is True and no int"]
    assert misfits({"a": [{"x": 1.0, "y": 1, "z": 0}]}, shape) == ["document.b is missing", "document.a[0].z is new"]
    assert misfits({"a": [], "b": "words"}, shape) == [
        "document.a has 0 elements",
        "document.b is 'words' and not 'text'",
    ]


# ---------------------------------------------------------------- words for people

WORDS = {
    "run": (
        "digits 1 x 8 x 8",
        "Accuracy of cart-pixels",
        "KID x 1000",
        "Guards: all 4 passed.",
        "cached",
        "Written to",
    ),
    "layers": ("ae: layers stem, encoder, latent", "default: latent", "option pool, default 3"),
    "score": ("KID x 1000", "Coverage", "Guard passed: no test image in training"),
    "sweep": (
        "digits high 60 vae",
        "1 of 1 cells finished (1 of them before), 0 failed",
        "Next: augment report runs/study",
    ),
    "dry sweep": ("digits high 60 vae seed 1", "to do", "Nothing was done"),
    "results": ("difference", "no evidence", "Feature studies", "1 seed", "2 seeds"),
    "report": ("○ digits, high, 60 images, vae", "◇ digits, ae", "Written to page.html, without figures beside it."),
    "compare": ("B - A over 1 seed", "Only in A: vae+teacher", "vae", "coverage"),
    "arms": ("balanced-softmax", "strategy (counts)", "--arms quick: real, oversample"),
    "models": ("ae (autoencoder)", "Options every model has", "latent_dim"),
    "datasets list": ("fashionmnist", "comes with scikit-learn", "a folder"),
    "datasets inspect": ("digits 1 x 8 x 8", "train", "Contact sheet: digits-contact-sheet.png"),
    "doctor": ("torch", "devices", "cpu", "model vqvae ok"),
}


@pytest.mark.parametrize("name", WORDS)
def test_without_json_a_person_reads_the_same(place, name):
    place.document(name)  # what takes long is there already
    code, out, err = place.call(*COMMANDS[name].split())
    told = " ".join(out.split())
    assert code == 0, err
    assert [words for words in WORDS[name] if words not in told] == []


def test_train_and_sample_say_where_and_what_next(place):
    place.document("train")
    code, out, _ = place.call(*COMMANDS["train"].split(), "--overwrite", "--quiet")
    assert code == 0 and "saved in generator\nNext: augment sample generator --n 100\n" in out
    assert re.fullmatch(r"ae: 3 steps in \d+\.\d s \([\d,]+ images/s, finished\), saved in generator\n.+\n", out)
    code, out, _ = place.call("sample", "generator", "--n", "10", "--out", "ten", "--quiet")
    assert (code, out) == (0, "10 images in ten, a sheet of them in ten.png\n")
    assert place.files("ten/**/*", "ten.png") == ["ten.png", "ten/CLASS/NUMBER.png", "ten/metadata.jsonl"]


# ---------------------------------------------------------------- files

GENERATOR_FILES = "README.md config.json history.csv model.safetensors training.json".split()

RUN_FILES = [
    ".lock",
    "config.json",
    "gallery.safetensors",
    *(f"generator/{name}" for name in GENERATOR_FILES),
    "history.csv",
    "manifest.json",
    "predictions.safetensors",
    "reconstructions.png",
    "result.json",
    "samples.png",
]

SYNTHETIC_FILES = ["CLASS/NUMBER.png", "metadata.jsonl"]

SEED_FILES = [*(f"generator/{name}" for name in GENERATOR_FILES), "history.csv", "manifest.json"]

FEATURES_FILES = [
    ".lock",
    "accuracy-knn.png",
    "accuracy-knn.svg",
    "config.json",
    *(f"embedding-pca-{dimensions}d.{suffix}" for dimensions in (2, 3) for suffix in ("png", "svg")),
    "embeddings.safetensors",
    "gallery.safetensors",
    *(f"generator/{name}" for name in GENERATOR_FILES),
    "layers.png",
    "layers.svg",
    "reconstructions.png",
    "report.html",
    "result.json",
]

SWEEP_FILES = [".sweep.lock", "cells/HASH.json", "events.jsonl", "logs/worker-1.log", "sweep.json"]

TRAINED_FILES = [
    ".lock",
    *GENERATOR_FILES,
    "checkpoint/best.safetensors",
    "checkpoint/last.safetensors",
    "manifest.json",
]


def below(folder, names):
    return sorted(f"{folder}/{name}" for name in names)


def test_files_of_a_run(place):
    place.document("run")
    kept = {"vae": SYNTHETIC_FILES, "vae_teacher_folds_2_low_0_far_1_rounds_1": ["metadata.jsonl"]}  # it refused all
    names = [*RUN_FILES, *(f"seed-1/{name}" for name in SEED_FILES)]
    for seed in ("", "seed-1/"):
        names += [f"{seed}synthetic/{arm}/{name}" for arm, files in kept.items() for name in files]
    assert place.files("runs/digits-high-*/**/*") == below("runs/digits-high-vae-HASH", names)


def test_files_of_a_feature_study(place):
    place.document("features")
    assert place.files("runs/digits-features-*/**/*") == below("runs/digits-features-ae-HASH", FEATURES_FILES)
    assert place.files("features.*") == ["features.npz"]


def test_files_of_a_sweep(place):
    place.document("sweep")
    runs = [f"digits-high-vae-HASH/{name}" for name in RUN_FILES]
    assert place.files("runs/study/**/*") == below("runs/study", [*SWEEP_FILES, *runs])


def test_files_of_a_training_and_its_samples(place):
    place.document("sample")
    samples = ["samples.png", *(f"samples/{name}" for name in SYNTHETIC_FILES)]
    assert place.files("generator/**/*") == below("generator", [*TRAINED_FILES, *samples])


@pytest.mark.parametrize("name", ["run", "features"])
def test_the_result_in_the_folder_is_the_document(place, name):
    document = place.document(name)
    kept = json.loads((place.folder / document["folder"] / "result.json").read_text())
    assert {**kept, "cached": False} == document


def test_files_of_a_new_plugin_and_of_a_look_at_a_data_set(place):
    code, out, err = place.call("plugins", "new", "mine")
    files = [
        f"mine/{name}" for name in ("pyproject.toml", "README.md", "augment_mine.py", "tests/test_augment_mine.py")
    ]
    assert (code, err) == (0, "")
    assert out.splitlines() == [*files, "Next: pip install -e mine && augment plugins check mine"]
    assert place.files("mine/**/*") == sorted(files)
    assert place.files(place.document("datasets inspect")["contact_sheet"]) == ["digits-contact-sheet.png"]


@pytest.mark.parametrize("kind, rows", [("run", RESULTS["runs"]), ("features", RESULTS["features"])])
def test_columns_of_the_table_for_other_programs(place, kind, rows):
    place.document("results")
    code, out, _ = place.call("results", "runs", "--format", "csv", "--kind", kind, "--quiet")
    header, first, *_ = csv.reader(io.StringIO(out, newline=""))
    assert code == 0 and set(header) == set(rows[0]) - {"settings", "fidelity", "folders"} and len(first) == len(header)


def test_a_dry_run_and_what_only_reads_leave_nothing(place):
    for name in ("dry run", "results", "compare", "arms", "models", "datasets list", "doctor", "layers", "score"):
        place.document(name)
        before = sorted(place.folder.rglob("*"))
        assert place.call(*COMMANDS[name].split(), "--json")[0] == 0
        assert sorted(place.folder.rglob("*")) == before, name
