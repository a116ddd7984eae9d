"""``augment results``: rows, conditions, order, columns and formats."""

from __future__ import annotations

import copy
import csv
import io
import json

import pytest

from augment.errors import UsageError
from augment.evidence.statistics import compare, corrected, t_interval
from augment.evidence.verdict import decide
from augment.experiment.plan import SCHEMA as RUN_SCHEMA
from augment.features.plan import SCHEMA as FEATURES_SCHEMA
from augment.results.selection import Condition, select

SEEDS = 3


def row(classifier, arm, family, seed, accuracy):
    return {
        "classifier": classifier,
        "arm": arm,
        "family": family,
        "seed": seed,
        "accuracy": accuracy,
        "balanced_accuracy": accuracy,
        "seconds": 1.0,
        "per_class": [{"class": name, "precision": 0.5, "recall": 0.5} for name in ("a", "b")],
        "confusion": [[3, 1], [2, 2]],
    }


MEASURED = {"extractor": "grey", "extractor_sha256": "ab" * 32, "n": 50, "n_reference": 50}


def document(model, regime, size, gain, *, seeds=tuple(range(SEEDS)), kid=0.25):
    """A run whose generator gains about ``gain`` points with the CNN, and nothing with the tree."""
    accuracies = {
        ("cnn", "oversample"): [0.60 + 0.01 * seed for seed in seeds],
        ("cnn", model): [0.60 + gain / 100 + 0.012 * seed for seed in seeds],
        ("tree", "oversample"): [0.50 for _ in seeds],
        ("tree", model): [0.50 + 0.001 * seed for seed in seeds],
    }
    comparisons = [
        comparison
        for name in ("cnn", "tree")
        for comparison in corrected(
            [compare(name, model, "oversample", accuracies[name, model], accuracies[name, "oversample"])]
        )
    ]
    verdicts = [decide([comparison]) for comparison in comparisons]
    return {
        "schema": RUN_SCHEMA,
        "dataset": {"name": "blobs", "sha256": "ab" * 32, "classes": ["a", "b"]},
        "scored_on": {"part": "test", "images": 8},
        "regime": {"name": regime, "size": size, "class_counts": [size - 10, 10], "manifest_sha256": "cd"},
        "generators": [{"name": model, "device": "cpu"}],
        "seeds": [{"subset": seed, "classifier": 100 + seed} for seed in seeds],
        "arms": [
            row(classifier, arm, "generative" if arm == model else "classical", 100 + seed, values[index])
            for index, seed in enumerate(seeds)
            for (classifier, arm), values in accuracies.items()
        ],
        "comparisons": [comparison.to_json() for comparison in comparisons],
        "effects": [],
        "guards": [{"name": "fair", "passed": True, "detail": ""}],
        "drawn": {"same_images": True, "test_share": 0.0, "overlap": None},
        "fidelity": {"kid": kid, "kid_floor": 0.01, **MEASURED},
        "verdict": verdicts[0].to_json(),
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "seconds": 12.5,
        "finished_at": "2030-01-01T00:00:00+00:00",
    }


def identity(model, seeds, **options):
    return {
        "schema": RUN_SCHEMA,
        "config": {"seed": seeds[0], "seeds": len(seeds), "regime_seed": None, "score_on": "test", "strict": False},
        "strategy": "partial",
        "arms": ["oversample", model],
        "updates": 10,
        "recipes": {model: {"options": {"width": 8, **options}, "steps": 5, "precision": "fp32"}},
    }


def write(folder, found, settings):
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(found))
    (folder / "config.json").write_text(json.dumps(settings))


def features(model):
    rows = [
        {
            "method": method,
            "head": "linear",
            "k": k,
            "accuracy": value,
            "ci95": [value - 0.1, value + 0.1],
            "episodes": 4,
        }
        for method, value in ((model, 0.7), ("pixels", 0.6), ("cnn", 0.65))
        for k in (1, 8)
    ]
    comparisons = [
        {"k": k, "against": against, "delta": delta, "ci95": [delta - 1, delta + 1], "p": 0.01}
        for k in (1, 8)
        for against, delta in (("pixels", 10.0), ("cnn", 5.0))
    ]
    return {
        "schema": FEATURES_SCHEMA,
        "dataset": {"name": "blobs", "sha256": "ab" * 32, "classes": ["a", "b"]},
        "generator": {"name": model},
        "protocol": {"seeds": [0, 1, 2, 3], "heads": ["linear", "mlp"], "pool_images": 90},
        "chosen": {"t": 50, "layer": "mid", "dimensions": 32},
        "rows": rows,
        "comparisons": comparisons,
        "guards": [],
        "verdict": "Worth more.",
        "seconds": 3.0,
    }


@pytest.fixture
def runs(tmp_path):
    """Two regimes with one model each, and a feature study."""
    folder = tmp_path / "runs"
    write(folder / "a", document("vae", "high", 100, 5.0), identity("vae", range(SEEDS)))
    write(folder / "b", document("gan", "balanced", 2000, -5.0, kid=0.5), identity("gan", range(SEEDS)))
    settings = {
        "schema": FEATURES_SCHEMA,
        "config": {"episodes": 4},
        "generator": {"options": {"width": 8}, "steps": 5},
    }
    write(folder / "c", features("vae"), settings)
    return folder


def listed(augment, *arguments):
    code, out, err = augment("results", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_row_per_study_and_classifier_with_the_numbers_of_the_run(augment, runs):
    first, second, *_ = listed(augment, runs)["runs"]
    found = document("vae", "high", 100, 5.0)
    assert (first["classifier"], second["classifier"]) == ("cnn", "tree")
    assert (first["dataset"], first["regime"], first["size"], first["model"]) == ("blobs", "high", 100, "vae")
    assert (first["arm"], first["against"], first["decision"]) == ("vae", "oversample", "helps")
    compared = found["comparisons"][0]
    assert first["difference"] == pytest.approx(compared["delta"])
    assert [first["low"], first["high"]] == pytest.approx(compared["ci95"])
    assert first["accuracy"] == pytest.approx(0.662)
    assert (first["accuracy_low"], first["accuracy_high"]) == pytest.approx(t_interval([0.65, 0.662, 0.674]))
    assert (first["kid"], first["kid_floor"], first["seconds"], first["seeds"]) == (0.25, 0.01, 12.5, 3)
    assert second["decision"] == "no evidence"


def test_runs_of_single_seeds_become_one_row_and_each_shows_them_all(augment, tmp_path):
    whole = document("vae", "high", 100, 5.0)
    for seed in range(SEEDS):
        single = copy.deepcopy(whole) | {"seeds": [whole["seeds"][seed]], "seconds": 2.0, "comparisons": []}
        single["arms"] = [one for one in whole["arms"] if one["seed"] == 100 + seed]
        single["fidelity"] = {"kid": float(seed), "kid_floor": 0.5, **MEASURED}
        write(tmp_path / "runs" / f"s{seed}", single, identity("vae", [seed]))
    joined = listed(augment, tmp_path)["runs"][0]
    assert (joined["seeds"], joined["seconds"], joined["kid"], joined["kid_floor"]) == (3, 6.0, 1.0, 0.5)
    assert joined["difference"] == pytest.approx(whole["comparisons"][0]["delta"])
    assert [joined["low"], joined["high"]] == pytest.approx(whole["comparisons"][0]["ci95"])
    each = [one for one in listed(augment, tmp_path, "--each")["runs"] if one["classifier"] == "cnn"]
    assert [one["seeds"] for one in each] == [1, 1, 1]
    assert [one["accuracy"] for one in each] == pytest.approx([0.65, 0.662, 0.674])
    assert [one["accuracy_low"] for one in each] == [None] * 3


def test_kids_of_different_extractors_are_neither_averaged_nor_below_each_other(augment, tmp_path):
    whole = document("vae", "high", 100, 5.0)
    for seed in range(SEEDS):
        single = copy.deepcopy(whole) | {"seeds": [whole["seeds"][seed]], "comparisons": []}
        single["arms"] = [one for one in whole["arms"] if one["seed"] == 100 + seed]
        single["fidelity"] |= {"n": 100 + seed}
        write(tmp_path / "runs" / f"s{seed}", single, identity("vae", [seed]))
    assert {(one["kid"], one["kid_floor"], one["scored_by"]) for one in listed(augment)["runs"]} == {(None, None, None)}
    each = listed(augment, "--each")["runs"]
    assert [one["kid"] for one in each] == [0.25] * len(each) and len({one["scored_by"] for one in each}) == SEEDS
    table = augment("results", "--each")[1]
    assert all(f"x 1000 [{number}]" in table for number in range(1, SEEDS + 1))
    assert "KID x 1000 [2]: by grey (abababab), 101 samples against 50 real images." in table


def test_a_failed_guard_leaves_no_difference(augment, tmp_path):
    found = document("vae", "high", 100, 5.0)
    found["guards"][0]["passed"] = False
    found["verdicts"] = [decide([], ["fair"]).to_json()]
    write(tmp_path / "runs" / "a", found, identity("vae", range(SEEDS)))
    for one in listed(augment)["runs"]:
        assert (one["decision"], one["difference"], one["low"], one["p"]) == ("invalid", None, None, None)


def test_a_run_without_a_generator_arm_shows_its_best_arm(augment, tmp_path):
    found = document("vae", "high", 100, 5.0) | {"comparisons": [], "verdicts": [decide([]).to_json()]}
    found["arms"] = [one for one in found["arms"] if one["family"] == "classical" and one["classifier"] == "cnn"]
    write(tmp_path / "runs" / "a", found, identity("vae", range(SEEDS)))
    (one,) = listed(augment)["runs"]
    assert (one["arm"], one["against"], one["decision"]) == ("oversample", None, "nothing to compare")
    assert one["accuracy"] == pytest.approx(0.61)


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        (["--where", "regime=high"], {"vae"}),
        (["--where", "regime!=high"], {"gan"}),
        (["--where", "regime=high,balanced"], {"vae", "gan"}),
        (["--where", "model!=vae,gan"], set()),
        (["--where", "size>=100"], {"vae", "gan"}),
        (["--where", "size>100"], {"gan"}),
        (["--where", "size<2000"], {"vae"}),
        (["--where", "size<=2000", "--where", "kid < 0.3"], {"vae"}),
        (["--where", "decision=Helps"], {"vae"}),
        (["--regime", "balanced"], {"gan"}),
        (["--model", "vae,gan", "--size", "2000"], {"gan"}),
        (["--dataset", "other"], set()),
        (["--where", "width=8"], {"vae", "gan"}),
        (["--where", "strict=false"], {"vae", "gan"}),
        (["--where", "arms=model"], {"vae", "gan"}),
    ],
)
def test_conditions(augment, runs, arguments, models):
    assert {one["model"] for one in listed(augment, runs, *arguments)["runs"]} == models


def test_a_condition_on_runs_leaves_feature_studies_out(augment, runs):
    assert len(listed(augment, runs)["features"]) == 2
    assert listed(augment, runs, "--regime", "high")["features"] == []
    assert [one["k"] for one in listed(augment, runs, "--where", "k=8")["features"]] == [8]
    assert listed(augment, runs, "--where", "k=8")["runs"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "sise=3"], "Unknown column 'sise'. Did you mean 'size'?"),
        (["--sort", "-acuracy"], "Did you mean 'accuracy'?"),
        (["--columns", "modle"], "Did you mean 'model'?"),
        (["--where", "regime"], "write it as regime=high"),
        (["--where", "regime>high"], "regime is no number"),
        (["--where", "size=big"], "size is a number"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(augment, runs, arguments, message):
    code, out, err = augment("results", runs, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    if "column" in message:
        assert "decision" in err


def test_order(augment, runs):
    def order(key):
        return [(one["model"], one["classifier"]) for one in listed(augment, runs, "--sort", key)["runs"]]

    assert order("accuracy")[-1] == ("vae", "cnn")
    assert order("-accuracy")[0] == ("vae", "cnn")
    assert order("classifier,-size") == [("gan", "cnn"), ("vae", "cnn"), ("gan", "tree"), ("vae", "tree")]
    assert order("model,-classifier")[0] == ("gan", "tree")


def test_rows_without_a_value_come_last_either_way():
    rows = [{"x": None, "settings": {}}, {"x": 2, "settings": {}}, {"x": 10, "settings": {}}]
    assert [one["x"] for one in select(rows, [], ["x"])] == [2, 10, None]
    assert [one["x"] for one in select(rows, [], ["-x"])] == [10, 2, None]
    assert select(rows, [Condition.parse("x>5")], []) == [rows[2]]
    assert select(rows, [Condition.parse("x!=2")], []) == [rows[0], rows[2]]
    with pytest.raises(UsageError, match="write it as"):
        Condition.parse("=3")


def test_csv_is_read_back_by_any_reader(augment, runs):
    found = document('v"a,e', "high", 100, 5.0)
    write(runs / "odd", found, identity('v"a,e', range(SEEDS)))
    code, out, err = augment("results", runs, "--format", "csv")
    assert code == 0
    assert out.count("\r\n") == 7
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [one["model"] for one in rows] == ["vae", "vae", "gan", "gan", 'v"a,e', 'v"a,e']
    assert float(rows[0]["accuracy"]) == pytest.approx(0.662)
    assert "settings" not in rows[0]
    assert "--kind features" in err
    _, out, _ = augment("results", runs, "--format", "csv", "--kind", "features", "--columns", "k,against,difference,t")
    assert out == "k,against,difference,t\r\n1,cnn,5.0,50\r\n8,cnn,5.0,50\r\n"


def test_columns_are_shown_in_the_order_asked_for(augment, runs):
    code, out, _ = augment("results", runs, "--columns", "width,model,classifier", "--kind", "run")
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert lines[1] == ["width", "model", "classifier"]
    assert lines[3] == ["8", "vae", "cnn"]


def test_the_table_fits_eighty_columns_and_shows_what_counts(augment, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = augment("results", runs)
    assert code == 0
    assert max(len(line) for line in out.splitlines()) <= 80
    for text in ("helps", "hurts", "+5.2", "oversample", "250.0", "(10.0)", "mid", "±3.0"):
        assert text in out
    assert err == ""


def test_what_is_unfinished_or_damaged_is_said_on_stderr(augment, runs):
    (runs / "b" / "result.json").write_text("{")
    write(runs / "d", {}, identity("vae", [0]))
    (runs / "d" / "result.json").unlink()
    code, out, err = augment("results", runs, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["schema"] == "augment.results/2"
    assert [one.rsplit("/")[-1] for one in found["unfinished"]] == ["d"]
    assert "no JSON" in found["damaged"][0]["reason"]
    assert "no JSON" in err
    assert "not finished (d)" in err
    assert augment("results", runs, "--quiet")[2] == ""


def test_nothing_there_ends_with_advice(augment):
    code, out, err = augment("results")
    assert (code, out) == (3, "")
    assert "There is no runs" in err


def test_two_equals_signs_are_no_condition():
    with pytest.raises(UsageError, match="regime==high"):
        Condition.parse("regime==high")
