"""Run folders read again: which are found, in what order, and what is said of those that cannot be shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_results import (
    added_images,
    arm_scores,
    dataset_info,
    features_identity,
    features_result,
    few_label_scores,
    fidelity_scores,
    generator_info,
    identity,
    run_result,
)

from augment.errors import DataError
from augment.evidence.effects import ClassEffect, GroupEffect
from augment.evidence.spread import spread
from augment.evidence.statistics import Drawn, compare
from augment.evidence.verdict import Guard, decide
from augment.metrics.scores import Score
from augment.results.features_result import Candidate, Chosen, ComparisonAtK, FeaturesResult, SearchMap
from augment.results.records import load_records
from augment.results.run_result import ArmEffects, ArmSpread, RunResult
from augment.results.study_result import Identity
from augment.storage.typed_json import to_json
from augment.synthesis.filter_outcome import FilteredClass, FilterOutcome, FilterSeconds

RUN_SCHEMA = RunResult.schema


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def made(**changes) -> RunResult:
    """A run with two generators, two seeds and a guard that failed."""
    result = run_result(
        dataset=dataset_info("digits"),
        generators=(generator_info("first"), generator_info("second")),
        seeds=(4, 5),
        guards=(Guard("fair", False, "it is not"), Guard("other", True, "as it should be")),
    )
    regime = replace(result.regime, size=30, class_counts=(20, 10))
    return replace(result, **{"regime": regime, **changes})


def asked(result) -> Identity:
    """What was asked of a run with two seeds, or of a feature study."""
    kind = identity if isinstance(result, RunResult) else features_identity
    return kind("first", dataset="digits", seed=4, seeds=2)


def write(folder: Path, result=None, *, finished: bool = True) -> Path:
    """A run folder with what a record is read from."""
    result = made() if result is None else result
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(to_json(asked(result))))
    if finished:
        rewrite(folder, result.to_json())
    return folder


def rewrite(folder: Path, document) -> None:
    (folder / "result.json").write_text(json.dumps(document))


def names(found) -> list[str]:
    return [record.folder.name for record in found.records]


def everything() -> RunResult:
    """A run with something in every section."""
    accuracies, others = [0.5, 0.7], [0.4, 0.5]
    compared = replace(compare("cnn", "m", "real", accuracies, others), p_holm=0.25)
    filtered = FilteredClass("b", 2, 4, 3, 2, 0.75, {"too far": 1}, None)
    outcome = FilterOutcome(2, 4, 3, 2, 0.75, 1, FilterSeconds(1.5, 0.5, 0.25), (filtered,))
    effect = ArmEffects(
        *("cnn", "m", "real"),
        groups=(GroupEffect("many", ("a", "b"), 40, 1.5, (1.0, 2.0)),),
        classes=(ClassEffect("a", 20, 1.5, None),),
    )
    found = spread(accuracies, others, [0.2, 0.6])
    return made(
        synthetic=(added_images(filter=(outcome,)), added_images("m+mixup", adds="mixup", generator=None)),
        drawn=Drawn(same_images=False, test_share=0.25, overlap=0.125),
        arms=(arm_scores("real", updates=None, seed=7), arm_scores("m", family="generative", trainings=(0.5, 0.25))),
        fidelity=fidelity_scores(kid=Score(0.5, 0.25, (0.125, 0.375), 0.0625), fid=Score(reason="too few"), ssim=0.75),
        comparisons=(compared,),
        effects=(effect,),
        spread=(ArmSpread("cnn", "m", 2.5, found, found.text()),),
        verdicts=(decide([compared]), decide([], ["fair"])),
    )


def studied() -> FeaturesResult:
    """A feature study with something in every section."""
    compared = compare("linear", "m", "pixels", [0.5, 0.7], [0.4, 0.5])
    best = Candidate(50, "mid", 0.75)
    return features_result(
        chosen=Chosen(50, "mid", 32),
        map=SearchMap((best, Candidate(None, None, 0.5)), best, 4, 20),
        rows=(few_label_scores(t=50, layer="mid", ci95=(0.25, 0.75), chosen=(0.1,)), few_label_scores("cnn", None)),
        comparisons=(ComparisonAtK(**vars(compared), k=8),),
    )


def test_this_version_reads_what_it_writes(runs):
    results = [everything(), studied()]
    found = load_records([write(runs / str(index), result) for index, result in enumerate(results)])
    assert [record.kind for record in found.records] == ["run", "features"]
    assert [record.result for record in found.records] == results
    assert [record.result.folder for record in found.records] == [runs / "0", runs / "1"]
    assert [[record.result for record in kind] for kind in (found.runs, found.features)] == [[one] for one in results]


def test_a_record_says_what_was_run(runs):
    (record,) = load_records([write(runs / "one")]).records
    assert (record.kind, record.dataset, record.regime, record.size) == ("run", "digits", "high", 30)
    assert (record.model, record.seeds, record.classes) == ("first", (4, 5), ("a", "b"))
    assert (record.class_counts, record.seconds) == ((20, 10), 2.5)
    assert record.failed_guards == ("fair",)
    assert record.identity == asked(made())
    assert (record.settings["seed"], record.settings["seeds"]) == (4, 2)
    assert (record.settings["strategy"], record.code) == ("partial:share=0.3", "c0de")


def test_a_record_says_what_was_studied(runs):
    (record,) = load_records([write(runs / "one", studied())]).records
    assert (record.kind, record.dataset, record.size, record.model) == ("features", "toy", 100, "m")
    assert (record.seeds, record.classes, record.seconds) == ((0,), ("a", "b"), 2.5)
    assert record.failed_guards == ()
    assert record.identity == asked(studied())


def test_folders_are_found_at_any_depth_by_name_and_once(runs):
    write(runs / "b")
    write(runs / "a")
    write(runs / "deeper" / "still" / "c")
    found = load_records([runs, runs / "a", runs / "a" / "result.json"])
    assert names(found) == ["a", "b", "c"]
    assert names(load_records([runs / "b", runs])) == ["b", "a", "c"]


@pytest.mark.parametrize(
    "inner", ["generator", "synthetic", "synthetic-1", "seed-1", "checkpoint", "cells", "logs", "spread", ".hidden"]
)
def test_folders_of_a_run_or_a_sweep_are_not_searched(runs, inner):
    write(runs / "kept")
    write(runs / inner / "not")
    write(runs / "kept" / "nested")
    assert names(load_records([runs])) == ["kept"]


def test_a_link_back_up_does_not_turn_in_circles(runs):
    write(runs / "a")
    (runs / "loop").symlink_to(runs, target_is_directory=True)
    assert names(load_records([runs])) == ["a"]


def test_unfinished_runs_are_named_and_strange_folders_are_not(runs):
    write(runs / "done")
    write(runs / "begun", finished=False)
    (runs / "model").mkdir()
    (runs / "model" / "config.json").write_text('{"latent_dim": 3}')
    found = load_records([runs])
    assert (names(found), found.unfinished, found.damaged) == (["done"], (runs / "begun",), ())
    (text,) = found.problems()
    assert "1 run not finished (begun)" in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"schema": "augment.run/99"}', "made by another version (augment.run/99"),
        ('{"schema": "theirs/1"}', "not written by augment"),
        (json.dumps({"schema": RUN_SCHEMA, "dataset": {}}), "has no dataset.name, dataset.sha256"),
        (json.dumps({**run_result().to_json(), "seconds": "long"}), "damaged at seconds"),
    ],
)
def test_a_damaged_result_is_named_with_its_reason_and_hides_no_other(runs, content, reason):
    write(runs / "good")
    bad = write(runs / "bad")
    (bad / "result.json").write_text(content)
    found = load_records([runs])
    assert names(found) == ["good"]
    ((folder, why),) = found.damaged
    assert folder == bad
    assert reason in why


def place_of(document, place):
    """The dictionary or list that holds a value, and its name or number there."""
    *outer, last = place
    for part in outer:
        document = document[part]
    return document, last


def reason_of(folder: Path) -> str:
    """Why the result there cannot be read, while another beside it can."""
    write(folder.parent / "good")
    found = load_records([folder.parent])
    ((damaged, why),) = found.damaged
    assert (damaged, names(found)) == (folder, ["good"])
    return why


SECTIONS = (
    *("dataset", "guards", "scored_on", "regime", "generators", "synthetic", "seeds", "drawn"),
    *("arms", "fidelity", "comparisons", "effects", "spread", "verdicts"),
)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_missing_section_is_named(runs, section):
    folder, document = write(runs / "bad"), everything().to_json()
    del document[section]
    rewrite(folder, document)
    assert reason_of(folder) == f"result.json has no {section}: run it again"


@pytest.mark.parametrize(
    ("make", "place", "written"),
    [
        (everything, ("dataset", "sha256"), "dataset.sha256"),
        (everything, ("arms", 1, "accuracy"), "arms[1].accuracy"),
        (everything, ("arms", 0, "per_class", 1, "class"), "arms[0].per_class[1].class"),
        (everything, ("synthetic", 0, "filter", 0, "seconds", "judging"), "synthetic[0].filter[0].seconds.judging"),
        (everything, ("effects", 0, "groups", 0, "delta"), "effects[0].groups[0].delta"),
        (everything, ("comparisons", 0, "ci95", 1), "comparisons[0].ci95[1]"),
        (everything, ("spread", 0, "sd", "n", "together"), "spread[0].sd.n.together"),
        (everything, ("fidelity", "extractor"), "fidelity.extractor"),
        (everything, ("verdicts", 1, "decision"), "verdicts[1].decision"),
        (studied, ("rows", 1, "accuracies"), "rows[1].accuracies"),
        (studied, ("map", "grid", 1, "accuracy"), "map.grid[1].accuracy"),
    ],
)
def test_a_missing_value_is_named_with_its_place(runs, make, place, written):
    folder, document = write(runs / "bad", make()), make().to_json()
    holder, last = place_of(document, place)
    del holder[last]
    rewrite(folder, document)
    assert reason_of(folder) == f"result.json has no {written}: run it again"


def test_all_missing_values_are_named(runs):
    folder, document = write(runs / "bad"), everything().to_json()
    del document["arms"][0]["seed"], document["arms"][1]["family"], document["regime"]
    rewrite(folder, document)
    assert reason_of(folder) == "result.json has no regime, arms[0].seed, arms[1].family: run it again"


@pytest.mark.parametrize(
    ("make", "place", "value", "written"),
    [
        (everything, ("arms", 1, "accuracy"), "high", "arms[1].accuracy"),
        (everything, ("arms", 1, "accuracy"), None, "arms[1].accuracy"),
        (everything, ("arms", 0, "family"), "magical", "arms[0].family"),
        (everything, ("arms", 0, "confusion", 1), 3, "arms[0].confusion[1]"),
        (everything, ("arms", 0, "per_class", 1, "support"), 1.5, "arms[0].per_class[1].support"),
        (everything, ("regime", "class_counts", 1), "ten", "regime.class_counts[1]"),
        (everything, ("scored_on", "part"), "train", "scored_on.part"),
        (everything, ("comparisons", 0, "ci95"), "wide", "comparisons[0].ci95"),
        (everything, ("verdicts", 0, "decision"), "perhaps", "verdicts[0].decision"),
        (everything, ("dataset", "name"), 3, "dataset.name"),
        (everything, ("fidelity", "n"), None, "fidelity.n"),
        (everything, ("fidelity",), 3, "fidelity"),
        (everything, ("generators",), [], "generators"),
        (everything, ("verdicts",), [], "verdicts"),
        (studied, ("rows", 0, "k"), "many", "rows[0].k"),
        (studied, ("protocol", "probes"), "linear", "protocol.probes"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_place(runs, make, place, value, written):
    folder, document = write(runs / "bad", make()), make().to_json()
    holder, last = place_of(document, place)
    holder[last] = value
    rewrite(folder, document)
    why = reason_of(folder)
    assert why.startswith(f"result.json is damaged at {written} (") and why.endswith("): run it again")


@pytest.mark.parametrize(("name", "value"), [("kid", "low"), ("kid_floor_range", [0.5]), ("kid_floor_range", 3)])
def test_a_damaged_score_of_samples_is_said_to_be_one(runs, name, value):
    folder, document = write(runs / "bad"), everything().to_json()
    document["fidelity"][name] = value
    rewrite(folder, document)
    why = reason_of(folder)
    assert why.startswith("result.json ") and "fidelity." in why and "kid" in why and why.endswith(": run it again")


def test_a_folder_copied_without_its_settings_is_read(runs):
    folder = write(runs / "a")
    (folder / "config.json").unlink()
    (record,) = load_records([runs]).records
    assert (record.identity, record.settings, record.code) == (None, {}, None)


EARLIER = {
    **{"schema": RUN_SCHEMA, "config": {"seed": 4, "seeds": 2}, "counts": [20, 10], "strategy": "partial"},
    **{"arms": ["real", "m"], "trees_only": [], "updates": 20, "code": "c0de"},
    "recipes": {"m": {"model": "m", "options": {"lr": 0.1}, "steps": 20}},
}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", r"config.json is no JSON \(.*\): run it again"),
        ("[1]", "config.json is no JSON object: run it again"),
        (json.dumps(EARLIER), "config.json has no settings, decided, data, generators, torch: run it again"),
        (
            json.dumps({**to_json(identity()), "generators": {"m": {"version": "0"}}}),
            "config.json has no generators.m.options: run it again",
        ),
        (
            json.dumps({**to_json(identity()), "settings": "all"}),
            r"config.json is damaged at settings \(.*\): run it again",
        ),
    ],
)
@pytest.mark.parametrize("make", [made, studied])
def test_damaged_settings_are_named_with_their_reason_and_hide_no_other(runs, make, content, reason):
    folder = write(runs / "bad", make())
    (folder / "config.json").write_text(content)
    assert re.fullmatch(reason, reason_of(folder))


def sweep(folder: Path, keys: list[str], outcomes: dict[str, str]) -> None:
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps({"cells": [{"key": key} for key in keys]}))
    for key, name in outcomes.items():
        outcome = {"key": key, "status": "finished", "folder": name, "identity": key}
        (folder / "cells" / f"{key}.json").write_text(json.dumps(outcome))


def test_a_sweep_gives_the_order_and_names_what_it_left_behind(runs):
    """Also a result whose record was never written: it may be of other settings than the sweep now has."""
    for name in ("a", "b", "c", "never-recorded"):
        write(runs / name)
    sweep(runs, ["k3", "k1"], {"k1": "a", "k2": "b", "k3": "c"})
    found = load_records([runs])
    assert names(found) == ["c", "a"]
    assert found.stale == (runs / "b", runs / "never-recorded")
    assert "2 results left out (b, never-recorded)" in found.problems()[0]
    assert names(load_records([runs / "b"])) == ["b"]


def test_a_damaged_sweep_file_leaves_the_runs_visible(runs):
    write(runs / "a")
    sweep(runs, ["k1"], {"k1": "a"})
    (runs / "sweep.json").write_text("{")
    found = load_records([runs])
    assert (names(found), found.stale) == (["a"], ())


def test_what_is_not_there_is_an_error_that_says_what_to_do(runs):
    with pytest.raises(DataError, match="There is no .*runs"):
        load_records([runs])
    runs.mkdir()
    with pytest.raises(DataError, match="augment run"):
        load_records([runs])
    write(runs / "begun", finished=False)
    with pytest.raises(DataError, match=r"No result .* 1 run not finished \(begun\)"):
        load_records([runs])


@pytest.mark.parametrize("url", ["s3://bucket/runs", "file:///runs", "https://example.org/runs"])
def test_a_url_is_refused_by_its_name(url):
    with pytest.raises(DataError, match="is a URL") as error:
        load_records([Path(url)])
    assert url.partition("://")[0] + "://" in str(error.value)


def test_a_file_that_is_no_result_is_refused(runs):
    folder = write(runs / "a")
    with pytest.raises(DataError, match="is no result"):
        load_records([folder / "config.json"])


def test_age_is_the_document_s_or_the_file_s(runs):
    old, silent = write(runs / "a", made(finished_at="")), write(runs / "b")
    write(runs / "c", made(finished_at="2031-01-01T00:00:00+00:00"))
    document = made().to_json()
    del document["finished_at"]
    rewrite(silent, document)
    os.utime(old / "result.json", (0, 0))
    os.utime(silent / "result.json", (60, 60))
    ages = [record.finished_at for record in load_records([runs]).records]
    assert ages == ["1970-01-01T00:00:00+00:00", "1970-01-01T00:01:00+00:00", "2031-01-01T00:00:00+00:00"]


def test_reading_waits_for_no_heavy_library():
    code = (
        "import sys, augment.results.records, augment.results.table, augment.results.comparison;"
        "print([name for name in ('torch', 'scipy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "[]"
