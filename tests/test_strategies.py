"""Strategies: closed forms of their counts, how they are written, and what they refuse."""

import pytest

from augment.arms.grammar import STRATEGIES, Usage, parse_strategy
from augment.classifiers.learning import Decay, RealLast
from augment.errors import ConfigError, UsageError
from augment.synthesis.strategies import Balance, Even, Partial, Ratio


def test_counts_are_those_of_the_docstrings():
    real = (100, 60, 3, 0)
    assert Balance().counts(real) == (0, 40, 97, 100)
    assert Partial(share=0.5, cap=5).counts(real) == (0, 20, 15, 0)
    assert Partial(share=1, cap=1000).counts(real) == (0, 40, 97, 0)
    assert Ratio(ratio=1.5).counts(real) == (150, 90, 4, 0)
    assert Even(ratio=2).counts(real) == (109, 109, 109, 0)  # 2 x 163 images over three classes


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_read_by_its_name_and_says_what_it_is_and_where_from(name):
    strategy = parse_strategy(name)
    assert str(strategy) == name and type(strategy) is STRATEGIES[name]
    text = type(strategy).__doc__ or ""
    assert text.partition("\n")[0].endswith((".", ","))
    if name != "balance":
        assert "arXiv" in text or "ICML" in text


@pytest.mark.parametrize(
    "text", ["partial:share=0.25,cap=3", "teacher:folds=5,low=0.4", "real-last:layers=classifier", "decay:end=0.2"]
)
def test_options_are_kept_and_written_again(text):
    assert str(parse_strategy(text)) == text
    assert parse_strategy(str(parse_strategy(text))) == parse_strategy(text)


def test_options_that_are_the_default_are_not_written():
    assert str(parse_strategy("partial:share=0.5,cap=7")) == "partial:cap=7"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("balnce", UsageError, "Did you mean 'balance'"),
        ("partial:shar=1", UsageError, "Did you mean 'share'"),
        ("partial:share=2", ConfigError, "share='2'"),
        ("partial:share=much", ConfigError, "share='much'"),
        ("partial:share=0.1,share=0.2", UsageError, "more than once"),
        ("partial:share=nan", ConfigError, "share"),
        ("teacher:low=0.9,high=0.4", ConfigError, "low=0.9 must be below high=0.4"),
        ("teacher:folds=1", ConfigError, "folds"),
        ("real-last:layers=head", ConfigError, "'classifier' or 'all'"),
        ("balance:share=1", UsageError, "Unknown option"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, error, words):
    with pytest.raises(error, match=words):
        parse_strategy(text)


def test_a_usage_has_one_strategy_per_slot_in_one_order():
    usage = Usage.parse("real-last + decay:end=0.5+balance")
    assert str(usage) == "balance+decay:end=0.5+real-last"
    assert usage.counts == Balance() and usage.weight == Decay(end=0.5) and usage.filter is None
    assert usage.last == RealLast()
    with pytest.raises(UsageError, match="'balance' and 'ratio' exclude each other"):
        Usage.parse("balance+ratio")


def test_defaults_fill_only_what_is_not_said():
    given = Usage.parse("ratio+weight")
    assert str(given.or_else(Usage.parse("partial+teacher+decay"))) == "ratio+teacher+weight"
    assert given.or_else(Usage()) == given
