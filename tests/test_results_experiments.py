"""Runs joined over seeds: what is joined, what is not, and the numbers that come of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import with_options, with_settings
from scipy import stats

from augment import run
from augment.results.experiments import experiments
from augment.results.predictions import Predictions
from augment.results.records import RunRecord, load_records
from augment.results.settings import settings_of
from augment.results.study_result import GeneratorIdentity
from augment.storage.typed_json import to_json

GIVEN = ("delta", "p", "p_holm", "p_wilcoxon", "p_permutation")


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A small real run with three seeds; its trees differ from seed to seed."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMENT_HOME", str(base / "augment-home"))
        found = run(
            dataset="digits",
            model="vae",
            size=200,
            seeds=3,
            steps=2,
            options={"width": 8, "latent_dim": 4},
            arms=("real", "oversample", "model", "model+oversample"),
            classifiers=("cart-pixels",),
            fidelity_images=50,
            out=base / "results-run",
        )
    (record,) = load_records([found.folder]).records
    return record


def edited(record: RunRecord, **changes) -> RunRecord:
    """A copy with other fields of its result."""
    return replace(record, result=replace(record.result, **changes))


def asked(record: RunRecord, **settings) -> RunRecord:
    """A copy with other settings."""
    return replace(record, identity=with_settings(record.identity, **settings))


def with_accuracies(record: RunRecord, accuracy) -> RunRecord:
    """A copy whose arms have the accuracies that a function of their names gives."""
    return edited(record, arms=tuple(replace(row, accuracy=accuracy(row.arm)) for row in record.result.arms))


def one_seed(record: RunRecord, index: int) -> RunRecord:
    """The run that would have been made of one seed alone, with the same classes rare."""
    seed = record.result.seeds[index]
    rows = tuple(row for row in record.result.arms if row.seed == seed)
    single = edited(record, arms=rows, seeds=(seed,), comparisons=(), verdicts=(), effects=())
    single = asked(single, seed=seed, seeds=1, regime_seed=0)
    return replace(single, folder=with_predictions(record.folder, index))


def with_predictions(folder: Path, index: int) -> Path:
    """A folder with the predictions of one repetition, as a run of its own leaves them."""
    kept = Predictions.load(folder)
    predicted = {(0, *key[1:]): classes for key, classes in kept.predicted.items() if key[0] == index}
    own = folder.parent / f"{folder.name}-{index}"
    own.mkdir(exist_ok=True)
    Predictions({0: kept.truths[index]}, predicted).save(own)
    return own


def parts(record: RunRecord) -> list[RunRecord]:
    return [one_seed(record, index) for index in range(3)]


def without_failed_guards(record: RunRecord) -> RunRecord:
    return edited(record, guards=tuple(replace(guard, passed=True) for guard in record.result.guards))


def test_a_run_is_a_study_as_its_document_says(whole):
    (experiment,) = experiments([whole])
    document = json.loads((whole.folder / "result.json").read_text())
    assert (experiment.dataset, experiment.regime, experiment.size, experiment.model) == ("digits", "high", 200, "vae")
    assert (experiment.seeds, experiment.runs, experiment.label) == ((0, 1, 2), (whole,), "vae")
    assert [to_json(row) for row in experiment.comparisons] == document["comparisons"] != []
    assert [to_json(row) for row in experiment.verdicts] == document["verdicts"] != []
    assert [to_json(row) for row in experiment.effects] == document["effects"] != []


def test_three_folders_of_a_seed_say_what_one_folder_of_three_says(whole):
    (together,) = experiments([whole])
    (joined,) = experiments(parts(whole))
    assert joined.seeds == (0, 1, 2)
    assert len(joined.runs) == 3
    for ours, theirs in zip(joined.comparisons, together.comparisons, strict=True):
        assert (ours.classifier, ours.arm, ours.against, ours.n, ours.test) == (
            theirs.classifier,
            theirs.arm,
            theirs.against,
            3,
            "paired t over seeds",
        )
        assert ours.deltas == pytest.approx(theirs.deltas)
        assert ours.ci95 == pytest.approx(theirs.ci95)
        assert [getattr(ours, name) for name in GIVEN] == pytest.approx([getattr(theirs, name) for name in GIVEN])
        assert ours.image_variance == pytest.approx(theirs.image_variance) and ours.test_images == theirs.test_images
    assert any(row.image_variance > 0 for row in joined.comparisons)
    assert joined.arms == together.arms
    assert [row.text for row in joined.verdicts] == [row.text for row in together.verdicts]


def test_the_order_of_folders_does_not_matter(whole):
    (first,) = experiments(parts(whole))
    (second,) = experiments(parts(whole)[::-1])
    assert (first.seeds, first.arms, first.comparisons) == (second.seeds, second.arms, second.comparisons)


def test_effects_of_three_folders_are_those_of_one(whole):
    (joined,) = experiments(parts(whole))
    for ours, theirs in zip(joined.effects, whole.result.effects, strict=True):
        assert (ours.classifier, ours.arm, ours.against) == (theirs.classifier, theirs.arm, theirs.against)
        for kind in ("groups", "classes"):
            assert len(getattr(ours, kind)) == len(getattr(theirs, kind)) > 0
            for mine, other in zip(getattr(ours, kind), getattr(theirs, kind), strict=True):
                assert mine.delta == pytest.approx(other.delta)
                assert mine.ci95 == (None if other.ci95 is None else pytest.approx(other.ci95))
                assert replace(mine, delta=other.delta, ci95=other.ci95) == other


def test_intervals_are_those_of_a_paired_t_test(whole):
    wanted = {"real": (0.50, 0.61, 0.52), "oversample": (0.60, 0.62, 0.66), "vae": (0.71, 0.69, 0.80)}
    made = [
        with_accuracies(record, lambda arm, seed=seed: wanted.get(arm, (0.1, 0.2, 0.15))[seed])
        for seed, record in enumerate(parts(whole))
    ]
    (experiment,) = experiments(made)
    row = next(row for row in experiment.comparisons if row.arm == "vae")
    deltas = 100 * (np.array(wanted["vae"]) - np.array(wanted["oversample"]))
    test = stats.ttest_1samp(deltas, 0)
    assert row.against == "oversample"
    assert row.delta == pytest.approx(deltas.mean())
    assert row.ci95 == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert row.p == pytest.approx(test.pvalue)
    other = 100 * (np.array([0.1, 0.2, 0.15]) - np.array(wanted["oversample"]))
    smaller, larger = sorted([test.pvalue, stats.ttest_1samp(other, 0).pvalue])
    held = {smaller: 2 * smaller, larger: max(larger, 2 * smaller)}
    assert row.p_holm == pytest.approx(held[test.pvalue])


def test_a_guard_that_failed_in_any_run_makes_the_verdict_invalid(whole):
    good = [without_failed_guards(record) for record in parts(whole)]
    (experiment,) = experiments(good)
    assert "invalid" not in [verdict.decision for verdict in experiment.verdicts]
    first, *rest = good[1].result.guards
    (experiment,) = experiments([good[0], edited(good[1], guards=(replace(first, passed=False), *rest)), good[2]])
    assert [verdict.decision for verdict in experiment.verdicts] == ["invalid"]
    assert first.name in experiment.verdicts[0].text


def with_arms(identity, *more):
    return replace(identity, decided={**identity.decided, "arms": [*identity.decided["arms"], *more]})


@pytest.mark.parametrize(
    ("change", "label"),
    [
        (lambda identity: with_options(identity, beta=7.0), "vae beta=7.0"),
        (lambda identity: with_settings(with_options(identity, steps=9), steps=9), "vae steps=9"),
        (lambda identity: with_settings(identity, score_on="validation"), "vae score_on=validation"),
        (lambda identity: with_arms(identity, "smote"), "vae arms=smote"),
        (lambda identity: with_settings(identity, strategy="ratio"), "vae strategy=ratio"),
        (lambda identity: with_settings(identity, updates=11), "vae updates=11"),
    ],
)
def test_another_setting_is_another_study_and_named(whole, change, label):
    plain, other = parts(whole)[:2]
    found = experiments([plain, replace(other, identity=change(other.identity))])
    assert len(found) == 2
    assert found[1].label == label
    assert found[0].label != found[1].label


def test_other_data_are_another_study(whole):
    plain, other = parts(whole)[:2]
    first, second = experiments([plain, edited(other, dataset=replace(other.result.dataset, sha256="f" * 64))])
    assert second.label == "vae data=ffffffff"


def test_code_seeds_and_what_seeds_draw_do_not_keep_runs_apart(whole):
    first, second = parts(whole)[:2]
    second = asked(second, spread=True, device="cuda")
    generators = {"vae": replace(second.identity.generators["vae"], version="another", code="another")}
    identity = replace(second.identity, generators=generators, code="another", torch="another")
    (experiment,) = experiments([first, replace(second, identity=identity)])
    assert experiment.seeds == (0, 1)
    assert any("versions of the code" in note for note in experiment.notes)


def test_of_two_results_of_a_seed_the_newest_counts(whole):
    old = edited(one_seed(whole, 0), finished_at="2030-01-01T00:00:00")
    new = edited(with_accuracies(old, lambda arm: 0.25), finished_at="2031-01-01T00:00:00")
    for records in ([old, new], [new, old]):
        (experiment,) = experiments(records)
        assert experiment.seeds == (0,)
        assert {value for row in experiment.arms for value in row.accuracy} == {0.25}
        assert experiment.notes == ("1 older result of the same seeds left out.",)
    (experiment,) = experiments([whole, *parts(whole)[:2], old])
    assert experiment.seeds == (0, 1, 2)


def reordered(record: RunRecord) -> RunRecord:
    """The same with other classes rare, as without ``regime_seed`` another seed draws them."""
    regime = record.result.regime
    other = edited(record, regime=replace(regime, class_counts=regime.class_counts[::-1]))
    return asked(other, regime_seed=record.settings["seed"])


def test_seeds_that_draw_other_rare_classes_are_joined_by_groups_alone(whole):
    first, second = one_seed(whole, 0), reordered(one_seed(whole, 1))
    (experiment,) = experiments([first, second])
    assert not experiment.one_order
    assert "Which classes are rare differs from seed to seed." in experiment.notes
    effect = next(row for row in experiment.effects if row.arm == "vae")
    assert effect.classes == ()
    few = next(row for row in effect.groups if row.group == "few")
    gains = []
    for record, counts in ((first, first.class_counts), (second, second.class_counts)):
        recalls = {row.arm: np.array([one.recall for one in row.per_class]) for row in record.result.arms}
        rare = np.array(counts) < max(counts) / 10
        gains.append(100 * (recalls["vae"] - recalls[effect.against])[rare].mean())
    assert few.delta == pytest.approx(np.mean(gains))
    assert few.ci95 == pytest.approx(tuple(stats.ttest_1samp(gains, 0).confidence_interval(0.95)))


def test_one_seed_with_several_orders_of_classes_is_not_repeated_but_several_studies(whole):
    first, second = one_seed(whole, 0), asked(reordered(one_seed(whole, 0)), regime_seed=5)
    assert [experiment.label for experiment in experiments([first, second])] == [
        "vae regime_seed=0",
        "vae regime_seed=5",
    ]


def test_a_run_without_its_settings_stands_alone(whole, tmp_path):
    bare = [RunRecord(tmp_path / str(index), part.result, None) for index, part in enumerate(parts(whole))]
    assert [experiment.seeds for experiment in experiments(bare)] == [(0,), (1,), (2,)]


def test_without_joining_each_run_is_a_study(whole):
    found = experiments(parts(whole), join=False)
    assert [experiment.seeds for experiment in found] == [(0,), (1,), (2,)]
    assert {experiment.label for experiment in found} == {"vae"}


def test_arms_hold_every_seed_in_order(whole):
    (experiment,) = experiments(parts(whole))
    scores = experiment.scores("cart-pixels", "vae")
    rows = [row for row in whole.result.arms if row.arm == "vae"]
    assert scores.accuracy == tuple(row.accuracy for row in rows)
    assert np.array(scores.confusion).tolist() == sum(np.array(row.confusion) for row in rows).tolist()
    assert np.array(scores.recall).shape == (3, 10)
    assert scores.seconds == pytest.approx(sum(row.seconds for row in rows))
    assert experiment.scores("cart-pixels", "nothing") is None


def test_settings_have_the_names_of_options_and_no_seed(whole):
    found = settings_of(whole)
    assert (found["latent_dim"], found["steps"], found["imbalance_factor"]) == (4, 2, 100.0)
    assert found["arms"] == ["real", "oversample", "model", "model+oversample"]
    assert not {"seed", "seeds", "regime_seed", "size", "model", "code"} & set(found)
    json.dumps(found)
    other = GeneratorIdentity({"width": 3, "steps": 1})
    generators = {**whole.identity.generators, "other": other}
    second = settings_of(replace(whole, identity=replace(whole.identity, generators=generators)))
    assert (second["other.width"], second["other.steps"]) == (3, 1)
    assert (second["width"], second["steps"]) == (8, 2)
