"""The command ``augment sweep``, with real workers: failures, dry runs, mistakes, SIGKILL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from augment.studies.sweep.folder import SweepFolder

FAKES = '''
"""Generators that fail."""
import os, signal
from augment.testing.minimal import MinimalGenerator

class Raising(MinimalGenerator):
    """Raises."""
    def loss(self, images, labels):
        raise RuntimeError("no luck today")

class Once(MinimalGenerator):
    """Kills its process the first time, and prints where it should not."""
    def loss(self, images, labels):
        print("printed by a plugin", flush=True)
        if not os.path.exists(os.environ["FAKES_MARK"]):
            open(os.environ["FAKES_MARK"], "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(images, labels)
'''

TINY = ("--steps", "5", "--updates", "5", "--classifier", "cart-pixels", "--size", "200", "--imbalance-factor", "10")
HERE = ("--dataset", "digits", "--device", "cpu", "--precision", "fp32")


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """A package of generators that fail, registered for this process and those it starts."""
    site = tmp_path / "site"
    info = site / "sweep_fakes-0.1.dist-info"
    info.mkdir(parents=True)
    (site / "sweep_fakes.py").write_text(FAKES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sweep-fakes\nVersion: 0.1\n")
    lines = [f"{name} = sweep_fakes:{name.title()}\n" for name in ("raising", "once")]
    (info / "entry_points.txt").write_text("[augment.generators]\n" + "".join(lines))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("FAKES_MARK", str(tmp_path / "mark"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    sys.modules.pop("sweep_fakes", None)


def test_failures_are_reported_with_their_reason_and_the_rest_goes_on(augment, fakes, tmp_path):
    command = ("sweep", *HERE, *TINY, "--model", "raising,once", "--name", "s", "--workers", "1")
    code, out, err = augment(*command, "--json")
    assert (code, err) == (6, "")
    document = json.loads(out)
    rows = {row["coordinates"]["model"]: row for row in document["cells"]}
    assert rows["raising"]["status"] == "failed" and "RuntimeError: no luck today" in rows["raising"]["error"]
    assert (rows["once"]["status"], rows["once"]["attempt"]) == ("finished", 2)
    assert document["counts"] == {"cells": 2, "finished": 1, "failed": 1, "left": 0, "before": 0}
    record = json.loads((Path(document["folder"]) / "cells" / f"{rows['raising']['key']}.json").read_text())
    assert "in loss" in record["detail"]  # the traceback is kept for who wrote the plugin
    assert "printed by a plugin" in (Path(document["folder"]) / "logs" / "worker-1.log").read_text()


@pytest.fixture
def timed(monkeypatch):
    """Warm-ups that take ten seconds."""
    from augment.studies.run import estimate
    from augment.studies.run.estimate import Estimate, Stage

    def instead(plan, report):
        return Estimate("f", (Stage("all", "", 10.0),), 1)

    monkeypatch.setattr(estimate, "estimate_plan", instead)


def test_a_dry_run_shows_the_cells_and_writes_nothing(augment, timed, tmp_path):
    code, out, _ = augment("sweep", *HERE, *TINY, "--model", "vae", "--seeds", "2", "--dry-run", "--workers", "2")
    assert code == 0
    assert "digits high 200 vae seed 1" in out and "to do" in out
    assert "with 2 workers" in out and "Nothing was done" in out
    assert not (tmp_path / "runs").exists()


def test_a_mistake_is_one_error_and_nothing_begins(augment, tmp_path):
    code, out, err = augment("sweep", *HERE, "--model", "vae,dvaee")
    assert (code, out) == (2, "")
    assert "Unknown model 'dvaee'. Did you mean 'dvae'" in err and "Traceback" not in err
    (tmp_path / "study.yaml").write_text("dataset: digits\nmodle: vae\n")
    code, _, err = augment("sweep", "study.yaml")
    assert code == 3 and "Unknown key of a sweep 'modle'. Did you mean 'model'" in err
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------- SIGKILL


def events(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def launch(tmp_path, workers, *more):
    code = "import sys; from augment.cli import main; sys.exit(main())"
    arguments = ("sweep", *HERE, *TINY, "--model", "vae", "--seeds", "6", "--name", "s", "--workers", workers)
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments, *more],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def wait_for(condition):
    limit = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def ended_cells(folder):
    rows = events(folder) if (folder / "events.jsonl").exists() else []
    return [row["key"] for row in rows if row["event"] == "finished"]


def workers_of(tmp_path):
    """Processes that work for this sweep, found by their command and the folder they are in."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                if b"augment.cli.sweep_worker" in command and Path(os.readlink(entry / "cwd")) == tmp_path:
                    found.append(int(entry.name))
            except OSError:  # it has ended, or is another user's
                continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_sweep_that_is_killed_twice_ends_complete_with_every_cell_once(tmp_path):
    folder = tmp_path / "runs" / "s"
    kept = {}
    for finished, workers in ((1, "2"), (3, "1")):
        process = launch(tmp_path, workers)
        wait_for(lambda finished=finished: len(ended_cells(folder)) >= finished)
        assert workers_of(tmp_path)
        process.kill()
        process.communicate()
        wait_for(lambda: not workers_of(tmp_path))
        assert len(ended_cells(folder)) < 6
        for record in SweepFolder(str(folder)).records().values():
            file = folder / record.folder / "result.json"
            kept.setdefault(file, file.stat().st_mtime_ns)
    process = launch(tmp_path, "1", "--json")
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    document = json.loads(out)
    assert document["counts"]["finished"] == 6
    assert document["counts"]["before"] >= 3
    assert set(SweepFolder(str(folder)).records()) == {cell["key"] for cell in document["cells"]}
    assert set(Counter(ended_cells(folder)).values()) == {1}
    results = list(folder.glob("*/result.json"))
    assert {file.parent.name for file in results} == {cell["folder"] for cell in document["cells"]}
    assert len(results) == 6
    assert len(kept) >= 3 and all(file.stat().st_mtime_ns == changed for file, changed in kept.items())


def test_a_sweep_that_is_asked_to_stop_says_how_to_go_on(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    process.terminate()
    out, err = process.communicate(timeout=600)
    assert process.returncode == 143
    assert out == "closed\n" and err.startswith("Error: Stopped: 0 of 1 cells finished, 1 left. The same command")


STOPPED = """
import sys, time
from importlib import import_module
from augment.studies.sweep import study
from augment.studies.sweep.cell import Cell
from augment.studies.sweep.config import SweepConfig

class Stuck:
    free = 1
    def begin(self, cell):
        Stuck.free = 0
        print("begun", flush=True)
    def wait(self, seconds):
        time.sleep(600)
    def close(self):
        print("closed", flush=True)

study.cells_of = lambda config, report: [Cell("k", "run", {}, {"model": "m"})]
config = SweepConfig.parse({"dataset": "d", "model": "m", "out": sys.argv[1]})
cli = import_module("augment.cli.app")
cli.app = lambda: study.sweep(config, lambda folder, todo: Stuck())
cli.main()
"""
