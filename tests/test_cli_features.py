"""The command `augment features`: what it prints, writes and exports, and how it ends."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from augment import load_dataset, load_generator
from augment.compute.device import Compute
from augment.compute.encoding import encode_set

QUICK = ("--dataset", "digits", "--model", "ae", "--steps", "3", "--episodes", "2", "--plot", "none", "--device", "cpu")
SMALL = ("--labels-per-class", "1,4", "--probe", "linear", "--baseline", "pixels")


def test_one_json_document_with_the_promised_fields(augment):
    code, out, err = augment("features", *QUICK, *SMALL, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert set(document["rows"][0]) >= {"method", "probe", "t", "layer", "k", "accuracy", "ci95", "episodes"}
    assert [(row["method"], row["k"]) for row in document["rows"]] == [
        *(("ae", k) for k in (1, 4)),
        *(("pixels", k) for k in (1, 4)),
    ]
    assert set(document["chosen"]) == {"t", "layer", "dimensions"} and document["baselines"] == ["pixels"]
    assert not document["cached"]
    again = json.loads(augment("features", *QUICK, *SMALL, "--json")[1])
    assert again == {**document, "cached": True}


def test_the_table_names_methods_heads_and_the_verdict(augment):
    code, out, err = augment("features", *QUICK, *SMALL, "--second-stage", "propagation,pseudo-labels")
    assert code == 0
    for word in (
        "k = 1",
        "k = 4",
        "linear",
        "propagation",
        "pseudo-labels",
        "pixels",
        "labels seen: none",
        "result.json",
    ):
        assert word in out
    assert "worth" in out and "Train ae without labels" in err and "Traceback" not in err


def test_features_of_all_images_are_exported(augment, tmp_path):
    file = tmp_path / "features.npz"
    assert augment("features", *QUICK, *SMALL, "--export", file, "--quiet")[0] == 0
    with np.load(file) as arrays:
        features, classes, split, about = (arrays[name] for name in ("features", "classes", "split", "metadata"))
    metadata = json.loads(str(about))
    assert features.shape == (1797, 32) and len(classes) == 10
    assert split.tolist().count("test") == 359 and metadata["model"] == "ae"
    (folder,) = (tmp_path / "runs").iterdir()
    images = load_dataset("digits").test.images
    (expected,) = encode_set(
        load_generator(folder / "generator"), images, compute=Compute(precision=metadata["precision"])
    )
    assert torch.allclose(torch.as_tensor(features[-359:]), expected, rtol=1e-4, atol=1e-4)


def test_layers_are_listed(augment):
    code, out, _ = augment("features", "--dataset", "digits", "--model", "ddpm", "--layer", "list")
    assert code == 0 and "down0, down1, mid, up0, up1" in out and "999" in out
    code, out, _ = augment("features", "--dataset", "digits", "--model", "ae", "--layer", "list", "--json")
    assert (code, json.loads(out)["layers"]) == (0, ["stem", "encoder", "latent"])


@pytest.mark.parametrize(
    "words, code, message",
    [
        (("--model", "ae", "--t", "50"), 2, "no option 't'"),
        (("--model", "ddpm", "--t", "1000"), 2, "from 0 to 999"),
        (("--model", "ddpm", "--t", "many"), 3, "whole numbers"),
        (("--model", "ae", "--layer", "laten"), 2, "Did you mean 'latent'"),
        (("--model", "ae", "--labels-per-class", "2,1000"), 3, "k = 1000 labels per class"),
        (("--model", "ae", "--probe", "lineal"), 3, "Did you mean 'linear'"),
        (("--model", "ae", "--encode", "layer=stem"), 2, "--layer"),
        (("--model", "ae", "--export", "features.parquet"), 2, ".npz"),
        (("--generator", "nowhere"), 3, "not a saved generator"),
        ((), 2, "--model"),
    ],
)
def test_wrong_words_end_with_one_message(augment, words, code, message):
    found, out, err = augment("features", "--dataset", "digits", "--quiet", *words)
    assert (found, out) == (code, "")
    assert message in err and "Traceback" not in err
