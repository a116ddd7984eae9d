"""Jobs side by side: results in order, errors where they belong, the same numbers however many processes there are."""

from __future__ import annotations

import operator
import os
import pickle
import time

import pytest
import torch

from augment.compute.device import Compute
from augment.compute.workers import Workers, side_by_side, threads


@pytest.fixture
def two():
    workers = Workers(2)
    yield workers
    workers.close()


def test_who_helps_has_no_helpers():
    compute = Compute("cpu", "bf16", Workers(3))
    sent = pickle.loads(pickle.dumps(compute))
    assert (sent.device, sent.precision, sent.workers.count) == ("cpu", "bf16", 0)
    alone = Compute()
    assert alone.queue.results([alone.queue.submit(pow, 2, 3)]) == [8]  # one queue, or the call would wait for ever


def test_without_processes_everything_runs_here():
    workers = Workers(0)
    jobs = [workers.submit(operator.mul, number, number) for number in range(5)]
    assert workers.results(jobs) == [0, 1, 4, 9, 16]


def test_results_come_in_order_from_processes_and_from_here(two):
    jobs = [two.submit(pow, number, 2) for number in range(12)]
    assert two.results(jobs) == [number**2 for number in range(12)]
    assert two.results([two.submit(pow, 3, 3)]) == [27]


def test_waiting_jobs_are_run_by_the_one_who_asks(two):
    jobs = [two.submit(os.getpid) for _ in range(2)]
    assert os.getpid() not in two.results(jobs[:0]) + [job.future.result() for job in jobs]
    slow = [two.submit(time.sleep, 3) for _ in range(2)]
    assert two.results([two.submit(os.getpid)]) == [os.getpid()]
    assert not all(job.future.done() for job in slow)


@pytest.mark.parametrize("count", [0, 1])
def test_an_error_reaches_the_one_who_asks(count):
    workers = Workers(count)
    try:
        job = workers.submit(operator.truediv, 1, 0)
        with pytest.raises(ZeroDivisionError):
            workers.results([job])
        assert workers.results([workers.submit(pow, 2, 2)]) == [4]
    finally:
        workers.close()


def test_a_gpu_is_not_shared():
    with side_by_side(4, "cuda") as workers:
        assert workers.count == 0


def test_threads_are_divided_and_come_back():
    before = torch.get_num_threads()
    with threads(4):
        with side_by_side(2, "cpu") as workers:
            assert (workers.count, torch.get_num_threads()) == (2, 2)
        with side_by_side(9, "cpu") as workers:
            assert (workers.count, torch.get_num_threads()) == (3, 1)
        assert torch.get_num_threads() == 4
    assert torch.get_num_threads() == before


def test_a_run_gives_the_same_numbers_with_and_without_workers(tmp_path):
    from augment import RunConfig, run

    def accuracies(folder):
        settings = {"dataset": "digits", "size": 300, "model": "vae", "steps": 5, "updates": 20, "resume": False}
        result = run(RunConfig(**settings, device="cpu", precision="fp32", out=folder))
        return [row["accuracy"] for row in result.to_json()["arms"]]

    alone = accuracies(tmp_path / "alone")
    with threads(2):
        assert accuracies(tmp_path / "together") == alone


def test_a_finished_arm_is_kept_before_anyone_asks_for_it(tmp_path, monkeypatch):
    from augment.arms import Arm, Budget, evaluation
    from augment.datasets import load_dataset

    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    workers, data = Workers(1), load_dataset("digits")
    try:
        budget = Budget(2, 0, "cpu", "fp32")
        pending = evaluation.begin(Arm("real", data.train), ["cart-pixels"], data, budget, workers, reuse=True)
        expected = pending.job.future.result(timeout=600)
        workers.close()  # its thread, which keeps the result, has ended
        (file,) = (tmp_path / "arms").glob("*.json")
        again = evaluation.begin(Arm("real", data.train), ["cart-pixels"], data, budget, workers, reuse=True)
        assert file.exists() and again.job is None
        (kept,) = evaluation.collect([again], data, workers)
        assert kept.cached and kept.predictions == expected[0].predictions
    finally:
        workers.close()
