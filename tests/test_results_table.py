"""``augment results``: rows, conditions, order, columns and formats."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from made_results import (
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

from augment.errors import UsageError
from augment.evidence.statistics import compare, corrected, t_interval
from augment.evidence.verdict import decide
from augment.metrics.scores import SCORES, Score
from augment.results.features_result import Chosen, ComparisonAtK, FeaturesResult, Protocol
from augment.results.run_result import RunResult
from augment.results.selection import Condition, select
from augment.results.study_result import Identity
from augment.storage.typed_json import to_json

SEEDS = 3

MEASURED = {"extractor": "grey", "extractor_sha256": "ab" * 32, "n": 50, "n_reference": 50}


def scored(kid=0.25, floor=0.01, **more):
    """Scores of samples by one extractor; more: other scores, or another extractor or number of images."""
    return fidelity_scores(**{**MEASURED, **more}, kid=Score(kid, floor))


def made(model, regime, size, gain, *, kid=0.25, **scores) -> RunResult:
    """A run whose generator gains about ``gain`` points with the CNN, and nothing with the tree."""
    seeds = range(SEEDS)
    accuracies = {
        ("cnn", "oversample"): [0.60 + 0.01 * seed for seed in seeds],
        ("cnn", model): [0.60 + gain / 100 + 0.012 * seed for seed in seeds],
        ("tree", "oversample"): [0.50 for _ in seeds],
        ("tree", model): [0.50 + 0.001 * seed for seed in seeds],
    }
    comparisons = tuple(
        comparison
        for name in ("cnn", "tree")
        for comparison in corrected(
            [compare(name, model, "oversample", accuracies[name, model], accuracies[name, "oversample"])]
        )
    )
    result = run_result(
        dataset=dataset_info("blobs"),
        generators=(generator_info(model),),
        seeds=tuple(seeds),
        arms=tuple(
            arm_scores(arm, classifier, "generative" if arm == model else "classical", seed=seed, accuracy=values[seed])
            for seed in seeds
            for (classifier, arm), values in accuracies.items()
        ),
        comparisons=comparisons,
        verdicts=tuple(decide([comparison]) for comparison in comparisons),
        fidelity=scored(kid, **scores),
        seconds=12.5,
    )
    return replace(result, regime=replace(result.regime, name=regime, size=size, class_counts=(size - 10, 10)))


def one_seed(whole, seed, **changes):
    """The run that would have been made of one seed alone."""
    rows = tuple(one for one in whole.arms if one.seed == seed)
    return replace(whole, seeds=(whole.seeds[seed],), arms=rows, comparisons=(), **changes)


def asked(model, seeds) -> Identity:
    """What was asked of a run that :func:`made` makes."""
    repeated = {"seed": seeds[0], "seeds": len(seeds), "regime_seed": seeds[0]}
    options = {"width": 8, "conditional": False}
    return identity(model, options=options, arms=("oversample", model), dataset="blobs", **repeated)


def write(folder, result, given: Identity):
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result.to_json()))
    (folder / "config.json").write_text(json.dumps(to_json(given)))


def features(model) -> FeaturesResult:
    return features_result(
        model=model,
        dataset=dataset_info("blobs"),
        protocol=Protocol((1, 8), 4, (0, 1, 2, 3), 90, 20, ("linear", "mlp"), (), "inside", "validation", "all images"),
        chosen=Chosen(50, "mid", 32),
        rows=tuple(
            few_label_scores(
                *(method, probe, k, value + more),
                ci95=(value + more - 0.1, value + more + 0.1),
                episodes=4,
            )
            for method, value in ((model, 0.7), ("pixels", 0.6), ("cnn", 0.65))
            for probe, more in (("linear", 0.0), ("mlp", 0.1))
            for k in (1, 8)
        ),
        comparisons=tuple(
            ComparisonAtK("linear", model, against, delta, (delta - 1, delta + 1), 0.01, 4, "t", k=k)
            for k in (1, 8)
            for against, delta in (("pixels", 10.0), ("cnn", 5.0))
        ),
        verdict="Worth more.",
        guards=(),
        seconds=3.0,
    )


@pytest.fixture
def runs(tmp_path):
    """Two regimes with one model each, and a feature study."""
    folder = tmp_path / "runs"
    write(folder / "a", made("vae", "high", 100, 5.0, coverage=0.75), asked("vae", range(SEEDS)))
    write(folder / "b", made("gan", "balanced", 2000, -5.0, kid=0.5, coverage=0.25), asked("gan", range(SEEDS)))
    write(folder / "c", features("vae"), features_identity("vae", options={"width": 8}, dataset="blobs", episodes=4))
    return folder


def listed(augment, *arguments):
    code, out, err = augment("results", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_row_per_study_and_classifier_with_the_numbers_of_the_run(augment, runs):
    first, second, *_ = listed(augment, runs)["runs"]
    compared = made("vae", "high", 100, 5.0).comparisons[0]
    assert (first["classifier"], second["classifier"]) == ("cnn", "tree")
    assert (first["dataset"], first["regime"], first["size"], first["model"]) == ("blobs", "high", 100, "vae")
    assert (first["arm"], first["against"], first["decision"]) == ("vae", "oversample", "helps")
    assert first["difference"] == pytest.approx(compared.delta)
    assert (first["low"], first["high"]) == pytest.approx(compared.ci95)
    assert first["accuracy"] == pytest.approx(0.662)
    assert (first["accuracy_low"], first["accuracy_high"]) == pytest.approx(t_interval([0.65, 0.662, 0.674]))
    assert (first["kid"], first["kid_floor"], first["seconds"], first["seeds"]) == (0.25, 0.01, 12.5, 3)
    assert second["decision"] == "no evidence"


def test_runs_of_single_seeds_become_one_row_and_each_shows_them_all(augment, tmp_path):
    whole = made("vae", "high", 100, 5.0)
    for seed in range(SEEDS):
        single = one_seed(whole, seed, seconds=2.0, fidelity=scored(float(seed), 0.5))
        write(tmp_path / "runs" / f"s{seed}", single, asked("vae", [seed]))
    joined = listed(augment, tmp_path)["runs"][0]
    assert (joined["seeds"], joined["seconds"], joined["kid"], joined["kid_floor"]) == (3, 6.0, 1.0, 0.5)
    assert joined["difference"] == pytest.approx(whole.comparisons[0].delta)
    assert (joined["low"], joined["high"]) == pytest.approx(whole.comparisons[0].ci95)
    each = [one for one in listed(augment, tmp_path, "--each")["runs"] if one["classifier"] == "cnn"]
    assert [one["seeds"] for one in each] == [1, 1, 1]
    assert [one["accuracy"] for one in each] == pytest.approx([0.65, 0.662, 0.674])
    assert [one["accuracy_low"] for one in each] == [None] * 3


def test_kids_of_different_extractors_are_neither_averaged_nor_below_each_other(augment, tmp_path):
    whole = made("vae", "high", 100, 5.0)
    for seed in range(SEEDS):
        single = one_seed(whole, seed, fidelity=scored(n=100 + seed))
        write(tmp_path / "runs" / f"s{seed}", single, asked("vae", [seed]))
    assert {(one["kid"], one["kid_floor"], one["scored_by"]) for one in listed(augment)["runs"]} == {(None, None, None)}
    each = listed(augment, "--each")["runs"]
    assert [one["kid"] for one in each] == [0.25] * len(each) and len({one["scored_by"] for one in each}) == SEEDS
    table = augment("results", "--each")[1]
    assert all(f"x 1000 [{number}]" in table for number in range(1, SEEDS + 1))
    assert "KID x 1000 [2]: by grey (abababab), 101 samples against 50 real images." in table


def test_a_row_holds_every_score_of_samples_by_its_name(augment, tmp_path):
    whole = made("vae", "high", 100, 5.0)
    for seed in range(SEEDS):
        single = one_seed(whole, seed, fidelity=scored(float(seed), coverage=0.25 * seed, near_copies=0.5))
        write(tmp_path / "runs" / f"s{seed}", single, asked("vae", [seed]))
    found = listed(augment)["runs"][0]["fidelity"]
    assert set(found) == {kind.name for kind in SCORES}
    assert (found["kid"], found["coverage"], found["near_copies"], found["fid"]) == (1.0, 0.25, 0.5, None)
    row, _ = listed(augment, "--columns", "coverage,fid,model")["runs"]
    assert row == {"coverage": 0.25, "fid": None, "model": "vae"}


def test_scores_by_different_extractors_are_not_averaged_and_those_without_one_are(augment, tmp_path):
    whole = made("vae", "high", 100, 5.0)
    for seed, extractor in enumerate(("grey", "grey", "inception")):
        fidelity = scored(coverage=0.5, near_copies=0.25 * seed, ssim=0.5, extractor=extractor)
        write(tmp_path / "runs" / f"s{seed}", one_seed(whole, seed, fidelity=fidelity), asked("vae", [seed]))
    found = listed(augment)["runs"][0]["fidelity"]
    assert not {"kid", "coverage", "fid"} & set(found)
    assert (found["near_copies"], found["ssim"]) == (0.25, 0.5)


def test_a_failed_guard_leaves_no_difference(augment, tmp_path):
    whole = made("vae", "high", 100, 5.0)
    guards = tuple(replace(guard, passed=False) for guard in whole.guards)
    failed = replace(whole, guards=guards, verdicts=(decide([], ["fair"]),))
    write(tmp_path / "runs" / "a", failed, asked("vae", range(SEEDS)))
    for one in listed(augment)["runs"]:
        assert (one["decision"], one["difference"], one["low"], one["p"]) == ("invalid", None, None, None)


def test_a_run_without_a_generator_arm_shows_its_best_arm(augment, tmp_path):
    whole = made("vae", "high", 100, 5.0)
    rows = tuple(one for one in whole.arms if (one.family, one.classifier) == ("classical", "cnn"))
    classical = replace(whole, arms=rows, comparisons=(), verdicts=(decide([]),))
    write(tmp_path / "runs" / "a", classical, asked("vae", range(SEEDS)))
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
        (["--where", "conditional=false"], {"vae", "gan"}),
        (["--where", "arms=model"], {"vae", "gan"}),
        (["--where", "coverage>=0.5"], {"vae"}),
        (["--where", "fid<1000"], set()),
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
    assert order("coverage,classifier") == [("gan", "cnn"), ("gan", "tree"), ("vae", "cnn"), ("vae", "tree")]
    assert order("-coverage,classifier") == [("vae", "cnn"), ("vae", "tree"), ("gan", "cnn"), ("gan", "tree")]


def test_rows_without_a_value_come_last_either_way():
    rows = [{"x": None, "settings": {}}, {"x": 2, "settings": {}}, {"x": 10, "settings": {}}]
    assert [one["x"] for one in select(rows, [], ["x"])] == [2, 10, None]
    assert [one["x"] for one in select(rows, [], ["-x"])] == [10, 2, None]
    assert select(rows, [Condition.parse("x>5")], []) == [rows[2]]
    assert select(rows, [Condition.parse("x!=2")], []) == [rows[0], rows[2]]
    with pytest.raises(UsageError, match="write it as"):
        Condition.parse("=3")


def test_csv_is_read_back_by_any_reader(augment, runs):
    write(runs / "odd", made('v"a,e', "high", 100, 5.0), asked('v"a,e', range(SEEDS)))
    code, out, err = augment("results", runs, "--format", "csv")
    assert code == 0
    assert out.count("\r\n") == 7
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [one["model"] for one in rows] == ["vae", "vae", "gan", "gan", 'v"a,e', 'v"a,e']
    assert float(rows[0]["accuracy"]) == pytest.approx(0.662)
    assert not {"settings", "fidelity", "folders"} & set(rows[0])
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
    write(runs / "d", made("vae", "high", 100, 5.0), asked("vae", [0]))
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


def test_precision_of_samples_is_reached_by_its_full_name_and_the_setting_by_the_plain_one(augment, tmp_path):
    write(tmp_path / "runs" / "a", made("vae", "high", 100, 5.0, precision=0.75), asked("vae", range(SEEDS)))
    row, *_ = listed(augment, "--columns", "fidelity.precision,precision", "--where", "fidelity.precision>0.5")["runs"]
    assert row == {"fidelity.precision": 0.75, "precision": "fp32"}
