"""Data of charts: means and intervals are those of scipy, charts stay few, names are unique and safe as file names."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import added_images, dataset_info, generator_info, run_result
from scipy import stats

from augment.evidence.effects import ClassEffect, GroupEffect
from augment.evidence.statistics import compare
from augment.report.chart import Bars, HeatMap, Intervals, Lines, Series, file_name
from augment.report.experiment_charts import experiment_charts
from augment.report.overview_charts import MOST_CHARTS, MOST_ROWS, overview_charts
from augment.report.sections import ACCURACY, SECTIONS
from augment.results.experiments import Experiment, PooledArm
from augment.results.records import RunRecord
from augment.results.run_result import ArmEffects, ScoredOn

CLASSES = ("cat", "dog", "<b>$x$</b>")
COUNTS = (10, 200, 50)


def scores(classifier, arm, family, accuracy, recall=None, classes=CLASSES):
    k = len(classes)
    recall = recall or [[value] * k for value in accuracy]
    confusion = np.full((k, k), 2) + np.diag(range(10, 10 + k))
    return PooledArm(
        classifier,
        arm,
        family,
        tuple(accuracy),
        tuple(accuracy),
        precision=tuple(tuple(value / 2 for value in row) for row in recall),
        recall=tuple(map(tuple, recall)),
        confusion=tuple(map(tuple, confusion.tolist())),
        seconds=1.0,
    )


def experiment(model="m1", *, regime="high", size=1000, dataset="set", arms=None, differs=None, classes=CLASSES,
          counts=COUNTS, folder=None, **result):  # fmt: skip
    """result: fields of the result of its only run."""
    arms = arms or [
        scores("cnn", "real", "classical", [0.5, 0.6, 0.55], classes=classes),
        scores("cnn", "oversample", "classical", [0.7, 0.72, 0.71], classes=classes),
        scores("cnn", model, "generative", [0.7, 0.8, 0.75], classes=classes),
        scores("cnn", f"{model}+x", "generative", [0.6, 0.65, 0.67], classes=classes),
    ]
    best = max((arm for arm in arms if arm.family == "classical"), key=lambda arm: sum(arm.accuracy))
    right = {"correct": [[True, False]], "reference_correct": [[True, True]]} if len(best.accuracy) == 1 else {}
    comparisons = [
        compare(arm.classifier, arm.arm, best.arm, arm.accuracy, best.accuracy, **right)
        for arm in arms
        if arm is not best
    ]
    made = {"generators": (generator_info(model),), "synthetic": (), **result}
    run = RunRecord(folder or Path("nowhere"), run_result(dataset=dataset_info(dataset, classes), **made), {})
    seeds = tuple(range(len(best.accuracy)))
    return Experiment(
        *(dataset, regime, size, model, differs or {}, classes, counts, seeds, (run,), tuple(arms)),
        *(tuple(comparisons), ()),
    )


def t_interval(values):
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def named(charts, start):
    (found,) = [chart for chart in charts if chart.name.startswith(start)]
    return found


# accuracy over size


def test_lines_are_the_best_arms_with_their_t_intervals():
    small = [0.4, 0.5, 0.3]
    other = experiment(size=500, arms=[
        scores("cnn", "real", "classical", [0.3, 0.35, 0.31]),
        scores("cnn", "m1", "generative", [0.1, 0.2, 0.2]), scores("cnn", "m1+x", "generative", small),
    ])  # fmt: skip
    chart = named(overview_charts([experiment(), other]), "accuracy")
    model, classical, real = chart.series
    assert (model.name, model.key, model.rank, model.dashed) == ("m1", "m1", 0, False)
    assert model.x == (500, 1000) and model.notes == ("m1+x", "m1")
    np.testing.assert_allclose(model.y, [0.4, 0.75])
    np.testing.assert_allclose(
        list(zip(model.low, model.high, strict=True)), [t_interval(small), t_interval([0.7, 0.8, 0.75])]
    )
    assert (classical.key, classical.rank, classical.dashed) == (None, None, True)
    assert classical.notes == ("real", "oversample")
    np.testing.assert_allclose(classical.y, [0.32, 0.71])
    np.testing.assert_allclose(real.y, [0.32, 0.55])
    assert (
        chart.percent and not chart.x_log and chart.facets == {"dataset": "set", "regime": "high", "classifier": "cnn"}
    )
    assert ("m1", "500", "m1+x", "40.0", "15.2 to 64.8") in chart.table.rows


def test_one_size_is_rows_and_one_seed_has_no_interval():
    single = [scores("cnn", "real", "classical", [0.5]), scores("cnn", "m1", "generative", [0.6])]
    chart = named(overview_charts([experiment(arms=single)]), "accuracy")
    assert isinstance(chart, Intervals) and not chart.zero and chart.facets["size"] == "1000"
    assert [(row.name, row.value, row.low, row.high, row.key) for row in chart.rows] == [
        ("m1", 0.6, None, None, "m1"), ("real", 0.5, None, None, None),
    ]  # fmt: skip


def test_sizes_that_differ_tenfold_stand_on_a_logarithmic_axis():
    chart = named(overview_charts([experiment(size=100), experiment(size=1000)]), "accuracy")
    assert chart.x_log


def test_a_model_keeps_its_colour_in_all_charts():
    found = overview_charts(
        [experiment("m1", size=1), experiment("m2", size=1), experiment("m2", size=2), experiment("m3", size=2)]
    )
    chart = named(found, "accuracy")
    assert {line.name: line.rank for line in chart.series if line.rank is not None} == {"m1": 0, "m2": 1, "m3": 2}


# runs of a model that differ in their arms alone


def apart_in_arms():
    """Of m1 at 500 images a run of two seeds and one of three, at 1,000 two of two, with other arms; and one of m2."""
    real, smote = scores("cnn", "real", "classical", [0.5, 0.5]), scores("cnn", "smote", "classical", [0.6, 0.62])
    own, balanced = scores("cnn", "m1", "generative", [0.7, 0.72]), scores("cnn", "m1+b", "generative", [0.8, 0.84])
    lucky = scores("cnn", "m1", "generative", [0.9, 0.9])
    three = [scores("cnn", "real", "classical", [0.4] * 3), scores("cnn", "m1+b", "generative", [0.5, 0.6, 0.7])]
    few, many = ({"arms": arms} for arms in ("smote,model", "model+b"))
    return [
        experiment(size=500, arms=[real, smote, lucky], differs=few),
        experiment(size=500, arms=three, differs=many),
        experiment(arms=[real, smote, own], differs=few),
        experiment(arms=[real, own, balanced], differs=many),
        experiment("m2", arms=[real, smote, scores("cnn", "m2", "generative", [0.65, 0.67])]),
    ]


def test_runs_that_differ_in_their_arms_alone_are_one_line():
    """At 500 images the three seeds count, whatever two have; at 1,000 the best arm of either run."""
    chart = named(overview_charts(apart_in_arms()), "accuracy")
    line, other = (each for each in chart.series if each.rank is not None)
    assert (line.name, line.key, line.rank, line.x, line.notes) == ("m1", "m1", 0, (500, 1000), ("m1+b", "m1+b"))
    np.testing.assert_allclose(line.y, [0.6, 0.82])
    np.testing.assert_allclose((line.low[0], line.high[0]), t_interval([0.5, 0.6, 0.7]))
    assert (other.name, other.rank, other.x) == ("m2", 1, (1000,))
    assert "differ only in their arms, those with the most seeds count" in chart.caption


def test_each_arm_of_such_runs_is_one_row_against_its_strongest_reference():
    charts = overview_charts(apart_in_arms())
    forest = named(charts, "arms-set-high-1000").table.rows
    assert [row[:3] for row in forest] == [
        ("m1+b", "real", "+32.0"), ("m1", "smote", "+10.0"), ("m2", "smote", "+5.0"), ("real", "smote", "−11.0"),
    ]  # fmt: skip
    assert named(charts, "recall").y == ("smote", "m1+b", "m2")
    (first, second) = named(charts, "cost").series
    assert (first.name, first.y[0], second.name) == ("m1", pytest.approx(32), "m2")


def test_what_differs_in_more_than_its_arms_stays_apart():
    """Options of a generator that only some runs compare come with their arms; those in which they differ do not."""
    settings = [{"beta": 1}, {"beta": 1, "gan.width": 8}, {"beta": 2, "gan.width": 8}, {"beta": 2, "gan.width": 9}]
    differs = [{"arms": str(index), "gan.width": None, **own} for index, own in enumerate(settings)]
    experiments = [replace(experiment(differs=each), settings=own) for each, own in zip(differs, settings, strict=True)]
    names = [row.name for row in named(overview_charts(experiments), "accuracy").rows if row.emphasis]
    assert set(names) == {"m1 beta=1", "m1 gan.width=8 beta=1", "m1 gan.width=8 beta=2", "m1 gan.width=9 beta=2"}
    names = [row.name for row in named(overview_charts(experiments[:3]), "accuracy").rows if row.emphasis]
    assert set(names) == {"m1 beta=1", "m1 beta=2"}


def test_sizes_with_one_run_each_have_no_word_on_which_counts():
    chart = named(overview_charts([experiment(size=500), experiment(differs={"arms": "real,model"})]), "accuracy")
    assert [line.name for line in chart.series if line.rank is not None] == [
        "m1"
    ] and "seeds count" not in chart.caption


# arms against the best classical one


def test_forest_rows_are_the_comparisons_sorted():
    one, two = experiment("m1"), experiment("m2", differs={"beta": 2})
    chart = named(overview_charts([one, two]), "arms")
    assert [row.name for row in chart.rows] == ["m1", "m2 (beta=2)", "m1+x", "m2+x (beta=2)", "real"]
    deltas = 100 * (np.array([0.7, 0.8, 0.75]) - [0.7, 0.72, 0.71])
    best = chart.rows[0]
    np.testing.assert_allclose((best.value, best.low, best.high), (deltas.mean(), *t_interval(deltas)))
    assert [(row.key, row.emphasis) for row in chart.rows] == [*[("m1", True), ("m2", True)] * 2, (None, False)]
    assert "oversample" in chart.title and chart.zero


def test_classical_arms_are_those_with_the_most_seeds():
    few = experiment("m2", arms=[
        scores("cnn", "real", "classical", [0.9]), scores("cnn", "oversample", "classical", [0.1]),
        scores("cnn", "m2", "generative", [0.5]),
    ])  # fmt: skip
    chart = named(overview_charts([few, experiment("m1")]), "arms")
    (real,) = [row for row in chart.rows if row.name == "real"]
    assert real.value == pytest.approx(-16) and real.low is not None
    assert "oversample" in chart.caption and "real" in chart.caption  # each study has its own reference


def test_long_forests_keep_their_best_rows():
    chart = named(overview_charts([experiment(f"m{index}") for index in range(60)]), "arms")
    assert len(chart.rows) == MOST_ROWS and len(chart.table.rows) == 121 and "of 121 arms" in chart.caption
    assert min(row.value for row in chart.rows) >= max(float(row[2].replace("−", "-")) for row in chart.table.rows[60:])


# classes and cost


def test_heat_maps_hold_the_largest_size_sorted_by_count():
    recall = [[0.1, 0.9, 0.5], [0.3, 0.7, 0.6]]
    arms = [
        scores("cnn", "real", "classical", [0.2, 0.2]), scores("cnn", "over", "classical", [0.3, 0.3]),
        scores("cnn", "m1", "generative", [0.5, 0.5], recall), scores("cnn", "m1+x", "generative", [0.4, 0.4]),
    ]  # fmt: skip
    charts = overview_charts([experiment(size=10), experiment(size=20, arms=arms)])
    chart = named(charts, "recall")
    assert chart.x == ("dog (200)", "<b>$x$</b> (50)", "cat (10)") and chart.y == ("over", "m1")
    np.testing.assert_allclose(chart.values[1], [0.8, 0.55, 0.2])
    assert chart.text[1] == ("80", "55", "20") and chart.facets["size"] == "20"
    np.testing.assert_allclose(named(charts, "precision").values[1], [0.4, 0.275, 0.1])


def test_cost_is_that_of_generator_and_arm_for_a_seed():
    """What all models share, such as arms without a generator, is paid by whichever ran first and counts for none."""
    cost = {"m1": 180.0, "m2": 900.0}
    made = {
        name: (generator_info(name, seconds=each), generator_info("other", seconds=7e3)) for name, each in cost.items()
    }
    found = overview_charts([experiment(name, generators=each, seconds=5e4) for name, each in made.items()])
    chart = named(found, "cost")
    arm = next(one for one in experiment("m1").arms if one.arm == "m1").seconds
    expected = [(((seconds + arm) / 180,), (name,)) for name, seconds in cost.items()]
    assert [(line.x, line.notes) for line in chart.series] == expected
    assert chart.series[0].y[0] == pytest.approx(4) and chart.zero
    assert not [each for each in overview_charts([experiment("m1")]) if each.name.startswith("cost")]


def test_what_was_scored_on_validation_images_says_so_and_stands_apart():
    chosen = experiment("m1", scored_on=ScoredOn("validation", 30))
    charts = [chart for chart in overview_charts([experiment("m1"), chosen]) if chart.section == ACCURACY]
    assert [("validation images" in chart.title, "validation accuracy" == chart.x_title) for chart in charts] == [
        (False, False),
        (True, True),
    ]
    assert "on validation images" in charts[1].caption and "on test images" in charts[0].caption


def test_charts_stay_few_and_say_what_is_missing():
    many = [
        experiment(model, regime=regime, size=size, dataset=dataset)
        for model in ("m1", "m2") for regime in ("a", "b", "c") for size in range(1, 9) for dataset in "pqrs"
    ]  # fmt: skip
    charts = overview_charts(many)
    assert len(charts) == MOST_CHARTS and len({chart.name for chart in charts}) == MOST_CHARTS
    assert sum(isinstance(chart, Lines) for chart in charts) >= 12  # accuracy of every group comes first
    assert re.search(r" \d+ more charts are left out", charts[0].caption)
    assert overview_charts([]) == []


def test_data_sets_of_one_name_and_other_classes_are_apart():
    charts = overview_charts([experiment(), experiment(classes=("a", "b", "c"))])
    names = [chart.name for chart in charts]
    assert len(set(names)) == len(names) and {"accuracy-set-high-1000-cnn", "accuracy-set-high-1000-cnn--2"} <= set(
        names
    )


def test_names_are_safe_and_differ_whenever_the_words_do():
    hostile = ["a/b", "a b", "A b", "../a", "a\x00b", "ä" * 300, "ä" * 301, "$(rm)", "", "-"]
    names = [file_name("accuracy", word) for word in hostile]
    assert all(re.fullmatch("[a-z0-9][a-z0-9-]{0,110}", name) for name in names) and len(set(names)) == len(hostile)
    assert file_name("accuracy", "digits", "high", "cart-pca") == "accuracy-digits-high-cart-pca"


# one study


HISTORY = """step,seconds,lr,loss,kl,grad_norm,val_loss,val_ssim
1,1,1,4.0,0.1,1,,
2,1,1,2.0,9.0,nan,3.0,0.5
3,1,1,1.0,8,oops,2.5,0.6
"""


@pytest.fixture
def run_folder(tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY)
    return tmp_path


def full_study(folder):
    groups = (
        GroupEffect("many", ("dog",), 200, -1.0, (-2.0, 0.5)),
        GroupEffect("few", ("cat",), 10, 7.5, None),
    )
    classes = (ClassEffect("dog", 200, -1.0, None), ClassEffect("cat", 10, 7.5, None))
    added = tuple(
        added_images(arm, counts, strategy="full")
        for arm, counts in (("m1", (190, 0, 150)), ("m1+x", (190, 0, 150)), ("smote", (1, 2, 3)))
    )
    return experiment(folder=folder, effects=(ArmEffects("cnn", "m1", "oversample", groups, classes),), synthetic=added)


def test_a_study_has_every_kind_of_chart_in_sections_of_the_report(run_folder):
    charts = experiment_charts(full_study(run_folder))
    assert len({chart.name for chart in charts}) == len(charts) and {chart.section for chart in charts} <= set(SECTIONS)
    assert all(chart.facets["model"] == "m1" and chart.facets["size"] == "1000" for chart in charts)
    assert [re.sub("-set-high.*", "", chart.name) for chart in charts] == [
        "recall-cnn", "precision-cnn", "effects-cnn", "change-cnn", "confusion-generative-cnn",
        "confusion-classical-cnn", "counts-m1-m1-x", "counts-smote", "training-loss-m1", "training-terms-m1",
        "training-val-ssim-m1",
    ]  # fmt: skip
    assert {type(chart) for chart in charts} == {HeatMap, Intervals, Bars, Lines}


def test_other_studies_have_other_names(run_folder):
    one, two = (
        experiment_charts(experiment(identity=identity, folder=run_folder)) for identity in ("0123456789", "9876543210")
    )
    assert not {chart.name for chart in one} & {chart.name for chart in two}


def test_confusion_is_normalised_by_true_class_and_counts_are_its_text(run_folder):
    chart = named(experiment_charts(full_study(run_folder)), "confusion-generative")
    assert chart.x == chart.y == ("dog", "<b>$x$</b>", "cat") and chart.square
    assert chart.text[0] == ("13", "2", "2")
    np.testing.assert_allclose(
        chart.values, [[13 / 17, 2 / 17, 2 / 17], [2 / 18, 14 / 18, 2 / 18], [2 / 16, 2 / 16, 12 / 16]]
    )
    assert "m1," in chart.title


def test_cells_without_an_image_are_empty():
    arm = replace(scores("cnn", "m1", "generative", [0.5]), confusion=((3, 0, 0), (0, 0, 0), (1, 0, 2)))
    chart = named(
        experiment_charts(experiment(arms=[scores("cnn", "real", "classical", [0.1]), arm])), "confusion-generative"
    )
    assert chart.values[0] == (None, None, None) and chart.text[1] == ("", "2", "1")


def test_counts_add_what_the_arms_add(run_folder):
    chart = named(experiment_charts(full_study(run_folder)), "counts-m1")
    real, added = chart.groups
    assert chart.stacked and chart.categories == ("dog", "<b>$x$</b>", "cat")
    assert (real.name, real.values, real.rank) == ("real", (200, 50, 10), None)
    assert (added.name, added.values, added.rank) == ("synthetic", (0, 150, 190), 0)
    assert chart.table.rows[2] == ("cat", "10", "190", "200")


def test_effects_are_those_of_the_study(run_folder):
    charts = experiment_charts(full_study(run_folder))
    rows = named(charts, "effects").rows
    assert [(row.name, row.value, row.low, row.high, row.emphasis) for row in rows] == [
        ("m1: many", -1.0, -2.0, 0.5, False), ("m1: few", 7.5, None, None, True),
    ]  # fmt: skip
    change = named(charts, "change")
    assert change.values == ((-1.0, None, 7.5),) and change.ends == (-7.5, 7.5) and change.text == (("-1", "", "+8"),)


def test_curves_are_the_finite_values_of_the_history(run_folder):
    charts = experiment_charts(full_study(run_folder))
    loss, checked = named(charts, "training-loss").series
    assert (loss.x, loss.y, loss.dashed) == ((1, 2, 3), (4, 2, 1), False)
    assert (checked.x, checked.y, checked.dashed, checked.rank) == ((2, 3), (3, 2.5), True, loss.rank)
    terms = named(charts, "training-terms")
    assert terms.series[0].y == (0.1, 9, 8) and terms.y_log
    assert named(charts, "training-val-ssim").series[0].y == (0.5, 0.6)


def test_long_histories_become_means(tmp_path):
    rows = "".join(f"{step},{step % 2}\n" for step in range(1, 961))
    (tmp_path / "history.csv").write_text("step,loss\n" + rows)
    line = named(experiment_charts(experiment(folder=tmp_path)), "training-loss").series[0]
    assert len(line.x) == 240 and set(line.y) == {0.5} and line.x[0] == 2.5


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"no,header\n1,2\n", b"step,loss\n1,nan\n"])
def test_damaged_histories_leave_their_charts_out(content, tmp_path):
    (tmp_path / "history.csv").write_bytes(content)
    assert not [chart for chart in experiment_charts(experiment(folder=tmp_path)) if chart.name.startswith("training")]


def test_of_very_many_classes_those_with_the_fewest_images_are_drawn():
    classes, counts = tuple(f"c{index}" for index in range(150)), tuple(range(1000, 1150))
    chart = named(experiment_charts(experiment(classes=classes, counts=counts)), "recall-cnn")
    assert len(chart.x) == 100 and chart.x[-1] == "c0 (1,000)" and "Of 150 classes" in chart.caption


# lines that meet


def test_bars_that_meet_stand_beside_each_other():
    def line(name, rank, low=(0.1, 0.1)):
        return Series(name, (10.0, 1000.0), (0.2, 0.2), low, (0.3, 0.3), rank=rank)

    chart = study_lines([line("a", 0), line("b", 1)])
    assert chart.dodged(0)[0] < 10 < chart.dodged(1)[0] and np.mean(
        [chart.dodged(0), chart.dodged(1)], axis=0
    ).tolist() == [10, 1000]
    assert study_lines([line("a", 0)]).dodged(0) == (10, 1000)
    assert study_lines([line("a", 0, (None, None)), line("b", 1)]).dodged(0) == (10, 1000)  # no bar, nothing to part
    logarithmic = study_lines([line("a", 0), line("b", 1)], x_log=True)
    ratios = np.array(logarithmic.dodged(1)) / logarithmic.dodged(0)
    assert ratios[0] == pytest.approx(ratios[1]) and ratios[0] > 1


def study_lines(series, **more):
    table = named(overview_charts([experiment()]), "accuracy").table
    return Lines("n", SECTIONS[0], "t", "c", {}, table, series=tuple(series), **more)
