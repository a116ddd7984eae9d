"""A sentence and a decision for each outcome; what may and what may not be called help."""

import json
from dataclasses import replace

import numpy as np
import pytest

from augment.evidence.statistics import Comparison, compare, paired_interval
from augment.evidence.verdict import decide, reached

SEEDS = Comparison("cnn", "gen", "oversample", 1.26, (0.4, 2.1), 0.01, 5, "paired t over seeds")
ONE = Comparison("cnn", "gen", "oversample", 1.26, None, 0.012, 1, "McNemar")
PAIR = "gen against oversample, the best arm without synthetic images"
LUCK = "One subset cannot tell a method from luck: repeat with --seeds 5."


def of_deltas(deltas, arm="gen", classifier="cnn"):
    """A comparison with these differences in points."""
    return compare(classifier, arm, "classical", [0.8 + delta / 100 for delta in deltas], [0.8] * len(deltas))


@pytest.mark.parametrize(
    ("comparison", "decision", "text"),
    [
        (SEEDS, "helps", f"It helps: {PAIR}: +1.3 points of cnn accuracy (95% interval +0.4 to +2.1, 5 seeds)."),
        (
            replace(SEEDS, delta=-1.26, ci95=(-2.1, -0.4)),
            "hurts",
            f"It hurts: {PAIR}: −1.3 points of cnn accuracy (95% interval −2.1 to −0.4, 5 seeds).",
        ),
        (
            replace(SEEDS, delta=0.9, ci95=(-0.3, 2.1), p=0.2),
            "no evidence",
            f"No evidence that it helps: {PAIR}: +0.9 points of cnn accuracy (95% interval −0.3 to +2.1, 5 seeds).",
        ),
        (
            ONE,
            "no evidence",
            f"It helped here: {PAIR}: +1.3 points of cnn accuracy on one seed (McNemar p = 0.012). {LUCK}",
        ),
        (
            replace(ONE, delta=-1.26),
            "no evidence",
            f"It hurt here: {PAIR}: −1.3 points of cnn accuracy on one seed (McNemar p = 0.012). {LUCK}",
        ),
        (
            replace(ONE, p=0.3),
            "no evidence",
            f"No evidence that it helps: {PAIR}: +1.3 points of cnn accuracy on one seed (McNemar p = 0.3). {LUCK}",
        ),
    ],
)
def test_the_verdict_in_each_case(comparison, decision, text):
    found = decide([comparison])
    assert (found.decision, found.text) == (decision, text)
    assert (found.classifier, found.arm, found.against) == ("cnn", "gen", "oversample")
    assert (found.delta, found.ci95, found.p, found.n) == (
        comparison.delta,
        comparison.ci95,
        comparison.p,
        comparison.n,
    )


def test_without_evidence_the_verdict_says_what_it_would_take():
    found = decide([of_deltas([2.0, -0.5, 0.4, 1.3, -0.7])])
    assert found.text == (
        "No evidence that it helps: gen against classical, the best arm without synthetic images: +0.5 points of cnn "
        "accuracy (95% interval −0.9 to +1.9, 5 seeds). A difference of 0.5 points would take about 44 seeds."
    )
    assert (found.decision, found.seeds_needed) == ("no evidence", 44)


def test_a_small_difference_is_not_chased():
    found = decide([of_deltas([0.6, -0.5, 0.4, 0.3, -0.7])])  # 0.02 points: thousands of seeds, for nothing
    assert found.text.endswith("A difference of 0.5 points would take about 13 seeds.")
    precise = decide([of_deltas([0.1, -0.1, 0.1, -0.05, 0.0, 0.02])])
    assert precise.text.endswith("A difference of 0.5 points would have shown with about 3 seeds.")


def test_what_no_one_can_afford_is_said():
    found = decide([of_deltas([9.0, -9.0, 5.0, -5.0])])
    assert found.text.endswith("A difference of 0.5 points would take more than 1,000 seeds.")
    assert found.seeds_needed is None


FIRM = [1.0, 1.4, 0.7, 1.2, 0.9]
"""Mean 1.04, p = 0.001 alone."""
FAINT = [1.7, 0.2, 1.5, 0.7, 2.1]
"""Mean 1.24, p = 0.023 alone."""
NOTHING = [0.3, -0.5, 0.4, -0.2, 0.1]


def test_of_several_arms_the_best_is_judged_with_a_corrected_p():
    alone = decide([of_deltas(FAINT, "ddpm")])
    assert alone.decision == "helps" and alone.p < 0.05
    found = decide([of_deltas(NOTHING, "vae"), of_deltas(FAINT, "ddpm"), of_deltas(NOTHING, "gan")])
    assert (found.arm, found.decision) == ("ddpm", "no evidence")
    assert found.ci95 == alone.ci95 and found.ci95[0] > 0
    assert found.p == pytest.approx(3 * alone.p)
    assert found.text == (
        "No evidence that it helps: ddpm, the best of 3 generator arms, against classical, the best arm without "
        "synthetic images: +1.2 points of cnn accuracy (95% interval +0.3 to +2.2, 5 seeds; p = 0.069 corrected for "
        "3 arms). A difference of 1.2 points would take about 8 seeds."
    )


def test_a_firm_difference_survives_the_correction():
    found = decide([of_deltas(NOTHING, "vae"), of_deltas(FIRM, "ddpm"), of_deltas(NOTHING, "gan")])
    assert found.decision == "helps"
    assert found.text == (
        "It helps: ddpm, the best of 3 generator arms, against classical, the best arm without synthetic images: "
        "+1.0 points of cnn accuracy (95% interval +0.7 to +1.4, 5 seeds; p = 0.003 corrected for 3 arms)."
    )
    assert found.seeds_needed is None


def test_the_best_of_several_is_the_one_with_the_largest_mean():
    found = decide([of_deltas(FIRM, "ddpm"), of_deltas(FAINT, "vae")])
    assert found.arm == "vae"  # not the one with the smallest p


def test_if_even_the_best_loses_it_hurts():
    losses = [of_deltas([-delta - worse for delta in FIRM], arm) for arm, worse in [("vae", 2), ("ddpm", 0)]]
    found = decide(losses)
    assert (found.arm, found.decision) == ("ddpm", "hurts")
    assert found.text.startswith("It hurts: ddpm, the best of 2 generator arms, against classical")


def test_several_arms_on_one_seed():
    found = decide([replace(ONE, arm="vae", delta=0.2, p=0.8), ONE, replace(ONE, arm="gan", delta=-3.0, p=0.001)])
    assert (found.arm, found.decision) == ("gen", "no evidence")
    assert found.text == (
        "It helped here: gen, the best of 3 generator arms, against oversample, the best arm without synthetic images: "
        f"+1.3 points of cnn accuracy on one seed (McNemar p = 0.024 corrected for 3 arms). {LUCK}"
    )


def test_only_the_first_classifier_is_judged():
    found = decide([of_deltas(FAINT, classifier="cart-pca"), of_deltas(FIRM, arm="other")])
    assert (found.classifier, found.arm, found.decision) == ("cart-pca", "gen", "helps")


def test_corrections_of_another_family_are_not_used():
    assert decide([replace(SEEDS, p_holm=0.9)]).decision == "helps"


def test_the_best_of_many_useless_arms_seldom_helps():
    rng = np.random.default_rng(0)

    def useless(deltas):
        low, high, p = paired_interval(deltas)
        return replace(SEEDS, delta=sum(deltas) / 5, ci95=(low, high), p=p)

    sets = [[useless(deltas) for deltas in arms] for arms in rng.normal(0, 1, (400, 6, 5)).tolist()]
    helped = sum(decide(arms).decision == "helps" for arms in sets)
    best = sum(decide([max(arms, key=lambda arm: arm.delta)]).decision == "helps" for arms in sets)
    assert helped < 0.05 * 400 < best  # uncorrected, the best of six often seems to help


@pytest.mark.parametrize("bounds", [(0.0, 0.0), (0.0, 1.0), (-1.0, 0.0)])
def test_an_interval_that_touches_zero_is_no_evidence(bounds):
    assert decide([replace(SEEDS, ci95=bounds)]).text.startswith("No evidence that it helps:")


def test_a_difference_that_rounds_to_zero_has_no_sign():
    text = decide([replace(SEEDS, delta=-0.02, ci95=(-0.04, 0.01))]).text
    assert "0.0 points" in text and "−0.0" not in text and "-0.0" not in text


def test_equal_differences_decide_nothing():
    correct = [[True] * 100, [True] * 100]
    reference = [[True] * 88 + [False] * 12] * 2
    found = decide([compare("cnn", "gen", "real", [1.0, 1.0], [0.88, 0.88], correct, reference)])
    assert (found.decision, found.ci95) == ("no evidence", None)
    assert found.text == (
        "It helped here: gen against real, the best arm without synthetic images: +12.0 points of cnn accuracy on each "
        "of 2 seeds (McNemar over seeds p = 0.00049). Seeds that all differ by the same amount do not show how far "
        "luck goes: repeat with more --seeds."
    )
    assert not reached(found, 0.0)


def test_equal_arms_did_not_hurt():
    assert decide([replace(ONE, delta=0.0, p=0.01)]).text.startswith("No evidence that it helps:")


def test_a_failed_guard_makes_every_number_worthless():
    found = decide([SEEDS], ["no test image in training"])
    assert found.text == (
        "Invalid: the guard 'no test image in training' failed. No number here can be trusted: mend the cause and run "
        "again."
    )
    assert (found.decision, found.delta, found.p) == ("invalid", None, None)
    assert "the guards 'a', 'b' and 'c' failed" in decide([], ["a", "b", "c"]).text
    assert not reached(found, -100)


def test_without_arms_there_is_nothing_to_compare():
    found = decide([])
    assert (found.decision, found.delta) == ("nothing to compare", None)
    assert "--arm oversample" in found.text
    assert not reached(found, -100)


def test_what_is_reached():
    assert reached(decide([SEEDS]), 1.26) and not reached(decide([SEEDS]), 1.27)
    assert not reached(decide([ONE]), 0.5)  # one subset
    assert not reached(decide([replace(SEEDS, delta=5.0, ci95=(-1.0, 11.0))]), 0.5)
    assert not reached(decide([replace(SEEDS, delta=-1.26, ci95=(-2.1, -0.4))]), -2.0)


@pytest.mark.parametrize("comparisons", [[SEEDS], [ONE], []])
def test_a_verdict_is_equal_when_read_again(comparisons):
    section = decide(comparisons).to_json()
    assert json.loads(json.dumps(section)) == section
