"""Parts of the spread: by hand, and from simulated random effects with known variances."""

import json

import numpy as np
import pytest

from augment.errors import DataError
from augment.evidence.spread import spread
from augment.storage.typed_json import to_json

SUBSET, GENERATOR, CLASSIFIER = 0.006, 0.004, 0.003
"""Standard deviations of the simulated effects."""


def simulated(rng, n, subset=SUBSET, generator=GENERATOR, classifier=CLASSIFIER):
    """Accuracies of three kinds of redrawing, with ``n`` draws each; fixed effects are drawn once."""

    def effect(deviation, redrawn):
        return rng.normal(0, deviation, n if redrawn else 1)

    def accuracies(new_subset, new_generator):
        effects = effect(subset, new_subset) + effect(generator, new_generator) + effect(classifier, True)
        return (0.85 + effects).tolist()

    return accuracies(True, True), accuracies(False, False), accuracies(False, True)


def test_known_variances_are_found():
    found = spread(*simulated(np.random.default_rng(0), 20_000))
    assert found.classifier == pytest.approx(100 * CLASSIFIER, rel=0.03)
    assert found.generator == pytest.approx(100 * GENERATOR, rel=0.03)
    assert found.subset == pytest.approx(100 * SUBSET, rel=0.03)
    assert found.total == pytest.approx(100 * np.sqrt(SUBSET**2 + GENERATOR**2 + CLASSIFIER**2), rel=0.03)
    assert found.subset_and_generator is None and found.below_zero == ()


def test_few_draws_find_the_variances_on_average():
    # only where no estimate is cut off at 0 is the mean unbiased, so the effects are far apart here
    rng = np.random.default_rng(1)
    found = [spread(*simulated(rng, 20, subset=0.02, generator=0.005, classifier=0.001)) for _ in range(2000)]
    kept = [row for row in found if not row.below_zero]
    assert len(kept) > 1990
    assert np.mean([row.subset**2 for row in kept]) == pytest.approx(4.0, rel=0.05)
    assert np.mean([row.generator**2 for row in kept]) == pytest.approx(0.25, rel=0.05)
    assert np.mean([row.classifier**2 for row in kept]) == pytest.approx(0.01, rel=0.05)


def test_by_hand():
    # variances in squared points: 32, 2, 8
    found = spread([0.80, 0.88], [0.82, 0.84], [0.80, 0.84])
    assert found.total**2 == pytest.approx(32) and found.classifier**2 == pytest.approx(2)
    assert found.generator**2 == pytest.approx(6) and found.subset**2 == pytest.approx(24)
    assert found.total**2 == pytest.approx(found.subset**2 + found.generator**2 + found.classifier**2)
    assert (found.n.together, found.n.same_data, found.n.same_subset) == (2, 2, 2)


def test_parts_that_were_not_told_apart_stay_together():
    found = spread([0.80, 0.88], [0.82, 0.84])
    assert found.subset_and_generator**2 == pytest.approx(30)
    assert (found.subset, found.generator, found.n.same_subset) == (None, None, 0)


def test_without_a_generator_the_rest_is_the_subset():
    found = spread([0.80, 0.88], [0.82, 0.84], generator=False)
    assert found.subset**2 == pytest.approx(30)
    assert (found.subset_and_generator, found.generator) == (None, None)


def test_a_variance_below_zero_is_zero_and_said():
    found = spread([0.84, 0.85], [0.82, 0.86], [0.83, 0.84])
    assert (found.subset, found.generator) == (0.0, 0.0)
    assert found.below_zero == ("generator",)  # the subset's is 0 itself
    assert "the generator's seed by too little to measure" in found.text()
    assert spread([0.84, 0.85], [0.82, 0.86]).below_zero == ("subset_and_generator",)
    assert spread([0.84, 0.85], [0.82, 0.86], generator=False).below_zero == ("subset",)


def test_a_variance_of_zero_up_to_rounding_is_not_below_zero():
    assert spread([0.1 + 0.2, 0.4], [0.3, 0.4]).below_zero == ()


def test_the_sentence():
    found = spread([0.80, 0.88, 0.84], [0.82, 0.84], [0.80, 0.84], generator=True)
    assert found.text() == (
        "With all seeds redrawn accuracy varies by ±4.0 points (standard deviation); alone, the subset by ±2.8, the "
        "generator's seed by ±2.4 and the classifier's seed by ±1.4 (3, 2 and 2 draws)."
    )
    assert spread([0.80, 0.88, 0.84], [0.82, 0.84]).text() == (
        "With all seeds redrawn accuracy varies by ±4.0 points (standard deviation); alone, the subset with its "
        "generator by ±3.7 and the classifier's seed by ±1.4 (3 and 2 draws)."
    )


def test_the_section_is_json():
    document = to_json(spread([0.80, 0.88, 0.84], [0.82, 0.84], generator=False))
    assert json.loads(json.dumps(document)) == document
    assert document["n"] == {"together": 3, "same_data": 2, "same_subset": 0}
    assert document["generator"] is None and document["below_zero"] == []


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (([0.8], [0.8, 0.9]), "spread of together has 1 accuracies"),
        (([0.8, 0.9], []), "spread of same_data has 0"),
        (([0.8, 0.9], [0.8, 0.9], [0.8]), "spread of same_subset has 1"),
    ],
)
def test_one_draw_has_no_spread(kinds, message):
    with pytest.raises(DataError, match=message):
        spread(*kinds)


def test_without_a_generator_there_are_no_draws_of_it():
    with pytest.raises(DataError, match="leave same_subset out"):
        spread([0.8, 0.9], [0.8, 0.9], [0.8, 0.9], generator=False)
