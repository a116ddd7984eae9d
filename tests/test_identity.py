"""What decides a result is said once: a changed option changes the key exactly when it changes the result."""

from __future__ import annotations

from dataclasses import replace

import pytest

from augment.datasets import load_dataset
from augment.progress import Reporter
from augment.results.study_result import Identity
from augment.storage.typed_json import from_json, to_json
from augment.studies.features.config import FeaturesConfig
from augment.studies.features.study import STUDY as FEATURES
from augment.studies.identity import DataFacts
from augment.studies.run.config import RunConfig
from augment.studies.run.study import STUDY as RUN
from augment.studies.sweep.config import SweepConfig
from augment.studies.sweep.grid import cells

ASKED = {
    RUN: {"dataset": "digits", "model": "vae", "size": 120, "device": "cpu", "precision": "fp32", "steps": 3},
    FEATURES: {"dataset": "digits", "model": "ddpm", "device": "cpu", "precision": "fp32", "steps": 3},
}

OF_ALL = {
    "image_size": 16,
    "classes": ("1", "2", "3", "4", "5", "6", "7", "8", "9"),
    "merge_classes": {"odd": ("1", "3")},
    "options": {"lr": 0.5},
    "seed": 1,
    "steps": 4,
    "max_minutes": 2.0,
    "device": "cuda",
    "precision": "bf16",
}
"""Another value of each setting that decides."""

CHANGES = {
    RUN: {
        **OF_ALL,
        "model": "ae",
        "regime": "balanced",
        "size": 100,
        "imbalance_factor": 20.0,
        "class_counts": (20, 10, 9, 8, 7, 6, 5, 4, 3, 2),
        "regime_seed": 3,
        "arms": ("real", "model"),
        "arm_set": "full",
        "classifiers": ("cnn",),
        "strategy": "ratio",
        "seeds": 2,
        "split": "holdout:0.3",
        "spread": True,
        "updates": 7,
        "score_on": "validation",
        "fidelity_images": 50,
    },
    FEATURES: {
        **OF_ALL,
        "options": {"channels": (8, 16)},
        "model": "vae",
        "generator": None,
        "t": (5,),
        "layer": "mid",
        "encode": {"noise_draws": 2},
        "labels_per_class": (1, 2),
        "probes": ("knn",),
        "second_stage": ("propagation",),
        "baselines": ("pixels",),
        "episodes": 2,
        "plots": ("pca",),
    },
}

WITHOUT_EFFECT = {
    "data_dir": "somewhere",
    "strict": True,
    "tracker": "tensorboard",
    "out": "elsewhere",
    "resume": False,
    "offline": True,
    "save_images": True,
    "export": "features.npz",
}
"""Another value of each setting that does not."""


@pytest.fixture(scope="module")
def facts():
    return DataFacts.of(load_dataset("digits"))


def identity(study, facts, **changes) -> Identity:
    config = study.config.parse(**{**ASKED[study], **changes})
    return study.identity(config, facts).on(config.device, config.precision)


@pytest.mark.parametrize("study", [RUN, FEATURES], ids=lambda study: study.name)
def test_every_setting_is_among_those_that_decide_or_those_that_do_not(study):
    names = {one.name for one in study.config.settings()}
    assert set(CHANGES[study]) == study.config.deciding()
    assert names - study.config.deciding() <= {*WITHOUT_EFFECT, "dataset"}


@pytest.mark.parametrize(
    "study, name",
    [(study, name) for study, changes in CHANGES.items() for name, value in changes.items() if value is not None],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_what_decides_changes_the_key(study, name, facts):
    more = {"size": None} if name == "class_counts" else {}
    assert identity(study, facts, **{name: CHANGES[study][name]}, **more).key != identity(study, facts).key


@pytest.mark.parametrize("study", [RUN, FEATURES], ids=lambda study: study.name)
def test_what_does_not_decide_keeps_the_key_as_do_defaults_that_are_spelled_out(study, facts):
    before = identity(study, facts)
    for name in WITHOUT_EFFECT.keys() & set(study.config.model_fields):
        assert identity(study, facts, **{name: WITHOUT_EFFECT[name]}).key == before.key, name
    assert identity(study, facts, **{name: value for name, value in before.settings.items() if value}).key == before.key
    assert replace(before, settings={}).key == before.key


def test_arms_of_a_set_by_their_names_are_others_where_the_set_has_some_for_trees_alone(facts):
    quick = identity(RUN, facts)
    named = identity(RUN, facts, arms=tuple(quick.decided["arms"]))
    assert named.decided["arms"] == quick.decided["arms"] and named.key != quick.key
    assert identity(RUN, facts, arms=("real", "vae")).key == identity(RUN, facts, arms=("real", "model")).key


@pytest.mark.parametrize("changes", [{"save_images": True}, {"strict": True}, {"resume": False}], ids=str)
def test_what_keeps_the_key_keeps_the_result(changes, tmp_path):
    def carried_out(folder, **more):
        asked = {**ASKED[RUN], "out": tmp_path / folder, "classifiers": ("cart-pixels",), "fidelity_images": 50}
        options = {"width": 8, "latent_dim": 4}
        return RUN.complete(RunConfig.parse(**asked, arms=("real", "model"), options=options, **more), Reporter())

    first, second = carried_out("a"), carried_out("b", **changes)
    assert first.identity == second.identity
    for name in ("verdicts", "comparisons", "fidelity", "regime", "seeds"):
        assert getattr(first, name) == getattr(second, name), name


@pytest.mark.parametrize("study", [RUN, FEATURES], ids=lambda study: study.name)
def test_an_identity_is_the_same_when_read_again(study, facts):
    found = identity(study, facts)
    again = from_json(Identity, to_json(found), "config.json")
    assert again.key == found.key and to_json(again) == to_json(found)


def test_the_key_of_a_cell_is_that_of_the_study_but_for_the_device(facts):
    config = SweepConfig.parse({"dataset": "digits", "model": "vae", "size": "120", "steps": "3", "seed": 2})
    (cell,) = cells(config, Reporter())
    asked = RunConfig.parse(dataset="digits", model="vae", size=120, steps=3, seed=2, regime_seed=2)
    assert cell.key == RUN.identity(asked, facts).key != RUN.identity(asked, facts).on("cpu", "fp32").key


def test_the_folder_of_a_plan_has_the_key_of_its_identity(facts, tmp_path):
    for study, config in ((RUN, RunConfig), (FEATURES, FeaturesConfig)):
        plan = study.prepare(config.parse(**ASKED[study], out=tmp_path), Reporter())
        assert plan.identity.key == identity(study, facts).key and plan.folder.name.endswith(plan.identity.key[:10])
