"""The kit as a tool: which checks it chooses, what it reports, and that it leaves no trace.

That it catches what it says is tested in test_testing_outputs.py and test_testing_conduct.py.
"""

import random

import numpy as np
import pytest
import torch

from augment.errors import ConfigError, UsageError
from augment.generator import ImageSpec, Tags
from augment.testing import MinimalGenerator, check_generator, checks_for, parametrize_with_checks


class FlatImages(MinimalGenerator):
    def decode(self, z):
        return super().decode(z).flatten(1)


class ChangesDtype(MinimalGenerator):
    def log_prob(self, images):
        torch.set_default_dtype(torch.float64)
        return super().log_prob(images)


class FailsInTheEnd(MinimalGenerator):
    def after_training(self, images, labels):
        raise ZeroDivisionError("no images to divide by")


@pytest.fixture
def one_small_size(monkeypatch):
    monkeypatch.setattr("augment.testing.kit.SPECS", (ImageSpec(1, 8, 8, 3),))


@parametrize_with_checks([MinimalGenerator])
def test_minimal_generator(check):
    check()


def test_tags_choose_the_checks():
    class Bare(MinimalGenerator):
        tags = Tags()

        def training_step(self, images, labels, optimizers):
            return super().training_step(images, labels, optimizers)

    full, bare = ({check.__name__ for check in checks_for(cls)} for cls in (MinimalGenerator, Bare))
    assert full - bare == {
        "check_labels_change_sample",
        "check_reconstruct",
        "check_decode",
        "check_log_prob",
        "check_loss_falls",
    }


def test_failed_training_is_told_once(one_small_size):
    failed = {result.check: result.message for result in check_generator(FailsInTheEnd) if result.outcome == "failed"}
    assert "ZeroDivisionError: no images to divide by" in failed["check_training"]
    assert "see check_training" in failed["check_sample"]


def test_expected_failures(one_small_size):
    reasons = {"check_decode": "flat on purpose", "check_log_prob": "it was wrong once"}
    results = {result.check: result for result in check_generator(FlatImages, expected_failures=reasons)}
    assert (results["check_decode"].outcome, results["check_decode"].message) == ("xfailed", "flat on purpose")
    assert results["check_log_prob"].outcome == "failed"
    assert "passes now" in results["check_log_prob"].message
    with pytest.raises(UsageError, match="Did you mean 'check_decode'"):
        check_generator(MinimalGenerator, expected_failures={"check_decodes": "no such check"})


@parametrize_with_checks([FlatImages], expected_failures={"FlatImages": {"check_decode": "flat on purpose"}})
def test_expected_failures_in_pytest(check):
    check()


def test_results_come_as_they_are_found(one_small_size):
    heard = []
    results = check_generator(MinimalGenerator, on_result=heard.append)
    assert heard == results
    assert [result.check for result in results] == [check.__name__ for check in checks_for(MinimalGenerator)]


def test_unknown_option_is_the_callers_mistake():
    with pytest.raises(ConfigError, match="Unknown option of GeneratorConfig 'stepz'. Did you mean 'steps'"):
        check_generator(MinimalGenerator, options={"stepz": 3})


def test_the_kit_leaves_no_trace(one_small_size):
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[2], random.getstate(), torch.get_num_threads()
    check_generator(ChangesDtype)
    after = torch.get_rng_state(), np.random.get_state()[2], random.getstate(), torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert torch.get_default_dtype() == torch.float32
