"""A sentence and a decision for each outcome; what may and what may not be called help."""

import json
from dataclasses import replace

import numpy as np
import pytest

from augment.evidence.statistics import compare, holm, paired_interval
from augment.evidence.verdict import Scored, Verdict, against_best, decide, judged, pairs
from augment.storage.typed_json import from_json, to_json

PAIR = "gen against classical, the best arm without synthetic images"
LUCK = "Another subset, or another training, moves such differences as well: repeat with --seeds 5."
FIRM = [1.0, 1.4, 0.7, 1.2, 0.9]
"""Mean 1.04, p = 0.001 alone."""
FAINT = [1.7, 0.2, 1.5, 0.7, 2.1]
"""Mean 1.24, p = 0.023 alone."""
NOTHING = [0.3, -0.5, 0.4, -0.2, 0.1]


def of_deltas(deltas, arm="gen", against="classical", classifier="cnn"):
    """A comparison with these differences in points."""
    return compare(classifier, arm, against, [0.8 + delta / 100 for delta in deltas], [0.8] * len(deltas))


def on_one_seed(gained, lost, arm="gen", against="classical"):
    """A comparison of one seed on 1,000 test images."""
    ours = [True] * gained + [False] * lost + [True] * (1000 - gained - lost)
    theirs = [False] * gained + [True] * lost + [True] * (1000 - gained - lost)
    return compare("cnn", arm, against, [sum(ours) / 1000], [sum(theirs) / 1000], [ours], [theirs])


@pytest.mark.parametrize(
    ("deltas", "decision", "text"),
    [
        (FIRM, "helps", f"It helps: {PAIR}: +1.0 points of cnn accuracy (95% interval +0.7 to +1.4, 5 seeds)."),
        (
            [-delta for delta in FIRM],
            "hurts",
            f"It hurts: {PAIR}: −1.0 points of cnn accuracy (95% interval −1.4 to −0.7, 5 seeds).",
        ),
        (
            [2.0, -0.5, 0.4, 1.3, -0.7],
            "no evidence",
            f"No evidence that it helps: {PAIR}: +0.5 points of cnn accuracy (95% interval −0.9 to +1.9, 5 seeds). A "
            "difference of 0.5 points would take about 24 to 160 seeds.",
        ),
        (
            [1.0, 0.8],
            "no evidence",
            f"No evidence that it helps: {PAIR}: +0.9 points of cnn accuracy (95% interval −0.4 to +2.2, 2 seeds). So "
            "few seeds do not show how far luck goes: repeat with --seeds 5.",
        ),
    ],
)
def test_the_verdict_over_seeds(deltas, decision, text):
    row = of_deltas(deltas)
    found = decide([row])
    assert (found.decision, found.text) == (decision, text)
    assert (found.classifier, found.arm, found.against, found.arms, found.rivals) == ("cnn", "gen", "classical", 1, 1)
    assert (found.delta, found.n) == (row.delta, row.n)
    assert found.ci95 == pytest.approx(row.ci95) and found.p == pytest.approx(row.p)


@pytest.mark.parametrize(("gained", "lost", "points"), [(80, 10, "+7.0"), (10, 80, "−7.0"), (9, 9, "0.0")])
def test_one_run_cannot_tell_however_small_the_p_of_its_test_images(gained, lost, points):
    found = decide([on_one_seed(gained, lost)])
    assert found.text == (
        f"One run cannot tell whether it helps: {PAIR}: {points} points of cnn accuracy on one seed. {LUCK}"
    )
    assert (found.decision, found.ci95, found.p, found.n) == ("no evidence", None, None, 1)
    assert not found.reached(-100.0) and not found.reached_on_average(-100.0)


# several arms on either side


def table(rows):
    """Comparisons from ``{(arm, rival): deltas}``."""
    return [of_deltas(deltas, *pair) for pair, deltas in rows.items()]


def test_an_arm_helps_when_it_beats_every_rival_at_its_share_of_the_level():
    rows = table({("ddpm", "real"): FIRM, ("ddpm", "oversample"): FAINT})
    alone = decide(rows)
    assert (alone.decision, alone.against, alone.p) == ("helps", "real", pytest.approx(rows[1].p))
    others = table({(arm, rival): NOTHING for arm in ("vae", "gan") for rival in ("real", "oversample")})
    found = decide([*others, *rows])
    assert (found.decision, found.arms, found.rivals) == ("no evidence", 3, 2)  # three could have been named
    assert found.p == pytest.approx(3 * rows[1].p)
    firm = decide([*others, *table({("ddpm", "real"): FIRM, ("ddpm", "oversample"): FIRM})])
    assert firm.decision == "helps" and firm.text.startswith(
        "It helps: ddpm, the best of 3 generator arms, against real, the best of 2 arms without synthetic images: +1.0 "
        "points of cnn accuracy (95% interval +0."
    )
    assert firm.text.endswith("5 seeds; p = 0.003 over all pairs).")


def test_one_rival_that_is_not_beaten_is_enough_against_it():
    found = decide(table({("ddpm", "real"): FIRM, ("ddpm", "oversample"): NOTHING}))
    assert (found.decision, found.against) == ("no evidence", "oversample")


def test_it_hurts_when_one_rival_beats_every_arm_at_its_share_of_the_level():
    worse = [-delta for delta in FIRM]
    rows = {("vae", "real"): worse, ("ddpm", "real"): worse}
    assert decide(table(rows)).decision == "hurts"
    weak = {(arm, f"weak {index}"): NOTHING for arm in ("vae", "ddpm") for index in range(60)}
    assert decide(table({**rows, **weak})).decision == "no evidence"  # one of 61 rivals is the best by luck
    assert decide(table({**rows, ("ddpm", "real"): NOTHING})).decision == "no evidence"


def test_bounds_of_the_named_pair_are_corrected_as_the_decision_is():
    for factor in (0.2, 0.35, 0.5, 1.0):
        deltas = [factor * delta + 0.1 * index for index, delta in enumerate(FAINT)]
        names = [(arm, rival) for arm in ("a", "b") for rival in ("x", "y", "z")]
        helps = decide(table(dict.fromkeys(names, deltas)))
        assert (helps.decision == "helps") == (helps.ci95[0] > 0)
        hurts = decide(table(dict.fromkeys(names, [-delta for delta in deltas])))
        assert (hurts.decision == "hurts") == (hurts.ci95[1] < 0)


def test_the_pair_that_is_named_is_the_best_of_either_side():
    rows = {("vae", "x"): [0.1, 0.3, 0.2, 0.0, 0.1], ("vae", "y"): [0.6, 0.8, 0.7, 0.5, 0.6]}
    rows |= {("gan", "x"): [-0.9, -0.7, -0.8, -1.0, -0.9], ("gan", "y"): [-0.4, -0.2, -0.3, -0.5, -0.4]}
    found = decide(table(rows))
    assert (found.arm, found.against) == ("vae", "x")


def test_an_arm_that_is_named_for_its_evidence_is_not_called_the_best():
    wild = [-9.0, 1.0, -1.5, 3.0, -4.0]  # against the best rival, whose lead is too unsteady to be evidence
    hurts = decide(table({("gen", "steady"): [-delta for delta in FIRM], ("gen", "best"): wild}))
    assert (hurts.decision, hurts.against) == ("hurts", "steady")
    assert hurts.text.startswith("It hurts: gen against steady, one of 2 arms without synthetic images: −1.0 points")
    helps = decide(table({("steady", "real"): FIRM, ("best", "real"): [-delta for delta in wild]}))
    assert (helps.decision, helps.arm) == ("helps", "steady")
    assert helps.text.startswith("It helps: steady, one of 2 generator arms, against real, the best arm without synth")


def test_only_the_first_classifier_is_judged():
    found = decide([of_deltas(FAINT, classifier="cart-pca"), of_deltas(FIRM, arm="other")])
    assert (found.classifier, found.arm, found.decision) == ("cart-pca", "gen", "helps")


def arms_of(values, generators):
    names = [f"arm {index}" for index in range(len(values))]
    families = ["generative"] * generators + ["classical"] * (len(values) - generators)
    return [Scored("cnn", name, family, row) for name, family, row in zip(names, families, values, strict=True)]


def test_of_equal_arms_neither_side_wins_more_often_than_it_may():
    """The rule before chose the best rival on the images it was judged by, and found twice as many to hurt."""
    rng = np.random.default_rng(0)
    sets = [arms_of(values, 1) for values in 0.8 + 0.01 * rng.standard_normal((1000, 4, 5))]
    said = [judged(arms, [])[0].decision for arms in sets]
    assert said.count("helps") <= 10  # 0 to 2 over six seeds of this test
    assert said.count("hurts") <= 45  # 2.5% are 25; 15 to 31 over six seeds
    before = [paired_interval(against_best(arms)[0].deltas) for arms in sets]
    assert sum(high < 0 for _, high, _ in before) > 1.5 * said.count("hurts")  # 1.7 to 2.7 times as many


def test_every_pair_is_compared_and_tables_show_the_best_rival():
    arms = arms_of([[0.80, 0.83], [0.81, 0.85], [0.79, 0.80], [0.82, 0.80]], 2)
    assert {(row.arm, row.against) for row in pairs(arms, "cnn")} == {
        (arm, rival) for arm in ("arm 0", "arm 1") for rival in ("arm 2", "arm 3")
    }
    assert {row.against for row in against_best(arms)} == {"arm 3"}
    generative = [row for row in against_best(arms) if row.arm in ("arm 0", "arm 1")]
    assert [row.p_holm for row in generative] == holm([row.p for row in generative])
    assert judged(arms[:2], [])[0].decision == "nothing to compare"


# words


def test_a_small_difference_is_not_chased():
    found = decide([of_deltas([0.6, -0.5, 0.4, 0.3, -0.7])])  # 0.02 points: thousands of seeds, for nothing
    assert "A difference of 0.5 points would take about" in found.text
    assert found.seeds_needed[0] < 13 < found.seeds_needed[1]  # 13 by the deviation that was seen
    precise = decide([of_deltas([0.1, -0.1, 0.1, -0.05, 0.0, 0.02])])
    assert precise.text.endswith("A difference of 0.5 points would have shown.")


def test_what_no_one_can_afford_is_said():
    found = decide([of_deltas([9.0, -9.0, 5.0, -5.0])])
    assert found.text.endswith("A difference of 0.5 points would take more than 1,000 seeds.")
    assert found.seeds_needed is None


def test_too_few_test_images_are_said():
    rng = np.random.default_rng(0)
    habits = rng.random((2, 1, 100)) < 0.15  # each arm errs on images of its own, whatever the seed
    ours, theirs = ~(habits ^ (rng.random((2, 6, 100)) < 0.01))
    found = decide([compare("cnn", "gen", "real", ours.mean(1), theirs.mean(1), ours, theirs)])
    assert found.decision == "no evidence" and found.seeds_needed is None
    assert found.images_needed > 100
    assert f"with any number of seeds on 100 test images; it would take about {found.images_needed:,}." in found.text


def test_a_difference_that_rounds_to_zero_has_no_sign():
    text = decide([of_deltas([-0.04, 0.01, -0.02, 0.03])]).text
    assert "0.0 points" in text and "−0.0" not in text and "-0.0" not in text


def test_equal_differences_decide_nothing():
    correct = [[True] * 100, [True] * 100]
    reference = [[True] * 88 + [False] * 12] * 2
    found = decide([compare("cnn", "gen", "real", [1.0, 1.0], [0.88, 0.88], correct, reference)])
    assert (found.decision, found.ci95, found.p) == ("no evidence", None, None)
    assert found.text == (
        "No evidence that it helps: gen against real, the best arm without synthetic images: +12.0 points of cnn "
        "accuracy on each of 2 seeds. Seeds that all differ by the same amount do not show how far luck goes: repeat "
        "with more --seeds."
    )
    assert not found.reached(0.0)


def test_a_failed_guard_makes_every_number_worthless():
    found = decide([of_deltas(FIRM)], ["no test image in training"])
    assert found.text == (
        "Invalid: the guard 'no test image in training' failed. No number here can be trusted: mend the cause and run "
        "again."
    )
    assert (found.decision, found.delta, found.p) == ("invalid", None, None)
    assert "the guards 'a', 'b' and 'c' failed" in decide([], ["a", "b", "c"]).text
    assert not found.reached(-100)


def test_without_arms_there_is_nothing_to_compare():
    found = decide([])
    assert (found.decision, found.delta) == ("nothing to compare", None)
    assert "--arm oversample" in found.text
    assert not found.reached(-100)


def test_what_is_reached_is_the_lower_end_of_the_interval():
    found = decide([of_deltas(FIRM)])
    low, mean = found.ci95[0], found.delta
    assert found.reached(low - 0.01) and not found.reached(low + 0.01)
    assert found.reached_on_average(mean - 0.01) and not found.reached_on_average(mean + 0.01)
    losing = decide([of_deltas([-delta for delta in FIRM])])
    assert not losing.reached(-2.0) and not losing.reached_on_average(-2.0)


@pytest.mark.parametrize("comparisons", [[of_deltas(FIRM)], [of_deltas(NOTHING)], [on_one_seed(8, 2)], []])
def test_a_verdict_is_equal_when_read_again(comparisons):
    found = decide(comparisons)
    section = json.loads(json.dumps(to_json(found)))
    assert section == to_json(found) and from_json(Verdict, section, "result.json") == found


def test_what_one_run_saw_twice_is_said():
    found = decide([replace(on_one_seed(80, 10), again=-0.31)])
    assert "+7.0 points of cnn accuracy on one seed, and −0.3 when both are trained again" in found.text
    assert found.again == -0.31 and found.decision == "no evidence"


@pytest.mark.parametrize(
    ("overlap", "words"),
    [
        (0.2, "Two seeds share 20% of their training images."),
        (0.61, "Two seeds share 61% of their training images: with another pool of such images it would vary more."),
    ],
)
def test_what_seeds_have_in_common_is_said(overlap, words):
    found = decide([replace(of_deltas(FIRM), overlap=overlap)])
    assert found.decision == "helps" and found.text.endswith(words)
    assert "share" not in decide([of_deltas(FIRM)]).text
