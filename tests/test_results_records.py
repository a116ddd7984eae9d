"""Run folders read again: which are found, in what order, and what is said of those that cannot be shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from augment.errors import DataError
from augment.experiment.plan import SCHEMA as RUN_SCHEMA
from augment.features.plan import SCHEMA as FEATURES_SCHEMA
from augment.results.records import NEEDED, READABLE, load_records


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def write(folder: Path, *, schema: str = RUN_SCHEMA, finished: bool = True, **changes) -> Path:
    """A run folder with the least a record needs."""
    document = {name: {} for name in NEEDED["run"]}
    document |= {
        "schema": schema,
        "dataset": {"name": "digits", "sha256": "00", "classes": ["a", "b"]},
        "regime": {"name": "high", "size": 30, "class_counts": [20, 10]},
        "generators": [{"name": "first"}, {"name": "second"}],
        "seeds": [{"subset": 4, "classifier": 7}, {"subset": 5, "classifier": 8}],
        "guards": [{"name": "fair", "passed": False}, {"name": "other", "passed": True}],
        "seconds": 2.5,
        **changes,
    }
    folder.mkdir(parents=True)
    identity = {"schema": schema, "config": {"seed": 4, "seeds": 2}, "strategy": "partial", "dataset": "digits"}
    (folder / "config.json").write_text(json.dumps(identity))
    if finished:
        (folder / "result.json").write_text(json.dumps(document))
    return folder


def names(found) -> list[str]:
    return [record.folder.name for record in found.records]


def test_this_version_reads_what_it_writes():
    assert READABLE[RUN_SCHEMA] == "run"
    assert READABLE[FEATURES_SCHEMA] == "features"


def test_a_record_says_what_was_run(runs):
    (record,) = load_records([write(runs / "one")]).records
    assert (record.kind, record.dataset, record.regime, record.size) == ("run", "digits", "high", 30)
    assert (record.model, record.seeds, record.classes) == ("first", (4, 5), ("a", "b"))
    assert (record.class_counts, record.strategy, record.seconds) == ((20, 10), "partial", 2.5)
    assert record.failed_guards == ("fair",)
    assert record.config == {"seed": 4, "seeds": 2}


def test_folders_are_found_at_any_depth_by_name_and_once(runs):
    write(runs / "b")
    write(runs / "a")
    write(runs / "deeper" / "still" / "c")
    found = load_records([runs, runs / "a", runs / "a" / "result.json"])
    assert names(found) == ["a", "b", "c"]
    assert names(load_records([runs / "b", runs])) == ["b", "a", "c"]


@pytest.mark.parametrize(
    "inner", ["generator", "synthetic", "synthetic-1", "seed-1", "checkpoint", "cells", "logs", "spread", ".hidden"]
)
def test_folders_of_a_run_or_a_sweep_are_not_searched(runs, inner):
    write(runs / "kept")
    write(runs / inner / "not")
    write(runs / "kept" / "nested")
    assert names(load_records([runs])) == ["kept"]


def test_a_link_back_up_does_not_turn_in_circles(runs):
    write(runs / "a")
    (runs / "loop").symlink_to(runs, target_is_directory=True)
    assert names(load_records([runs])) == ["a"]


def test_unfinished_runs_are_named_and_strange_folders_are_not(runs):
    write(runs / "done")
    write(runs / "begun", finished=False)
    (runs / "model").mkdir()
    (runs / "model" / "config.json").write_text('{"latent_dim": 3}')
    found = load_records([runs])
    assert (names(found), found.unfinished, found.damaged) == (["done"], (runs / "begun",), ())
    (text,) = found.problems()
    assert "1 run not finished (begun)" in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"schema": "augment.run/99"}', "made by another version (augment.run/99"),
        ('{"schema": "theirs/1"}', "not written by augment"),
        (json.dumps({"schema": RUN_SCHEMA, "dataset": {}}), "has no regime, generators"),
    ],
)
def test_a_damaged_result_is_named_with_its_reason_and_hides_no_other(runs, content, reason):
    write(runs / "good")
    bad = write(runs / "bad")
    (bad / "result.json").write_text(content)
    found = load_records([runs])
    assert names(found) == ["good"]
    ((folder, why),) = found.damaged
    assert folder == bad
    assert reason in why


def test_a_folder_copied_without_its_settings_is_read(runs):
    folder = write(runs / "a")
    (folder / "config.json").unlink()
    (record,) = load_records([runs]).records
    assert (record.config, record.identity, record.strategy) == ({}, {}, None)


def sweep(folder: Path, keys: list[str], outcomes: dict[str, str]) -> None:
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps({"cells": [{"key": key} for key in keys]}))
    for key, name in outcomes.items():
        outcome = {"key": key, "status": "finished", "folder": name, "identity": key}
        (folder / "cells" / f"{key}.json").write_text(json.dumps(outcome))


def test_a_sweep_gives_the_order_and_names_what_it_left_behind(runs):
    """Also a result whose record was never written: it may be of other settings than the sweep now has."""
    for name in ("a", "b", "c", "never-recorded"):
        write(runs / name)
    sweep(runs, ["k3", "k1"], {"k1": "a", "k2": "b", "k3": "c"})
    found = load_records([runs])
    assert names(found) == ["c", "a"]
    assert found.stale == (runs / "b", runs / "never-recorded")
    assert "2 results left out (b, never-recorded)" in found.problems()[0]
    assert names(load_records([runs / "b"])) == ["b"]


def test_a_damaged_sweep_file_leaves_the_runs_visible(runs):
    write(runs / "a")
    sweep(runs, ["k1"], {"k1": "a"})
    (runs / "sweep.json").write_text("{")
    found = load_records([runs])
    assert (names(found), found.stale) == (["a"], ())


def test_what_is_not_there_is_an_error_that_says_what_to_do(runs):
    with pytest.raises(DataError, match="There is no .*runs"):
        load_records([runs])
    runs.mkdir()
    with pytest.raises(DataError, match="augment run"):
        load_records([runs])
    write(runs / "begun", finished=False)
    with pytest.raises(DataError, match=r"No result .* 1 run not finished \(begun\)"):
        load_records([runs])


@pytest.mark.parametrize("url", ["s3://bucket/runs", "file:///runs", "https://example.org/runs"])
def test_a_url_is_refused_by_its_name(url):
    with pytest.raises(DataError, match="is a URL") as error:
        load_records([Path(url)])
    assert url.partition("://")[0] + "://" in str(error.value)


def test_a_file_that_is_no_result_is_refused(runs):
    folder = write(runs / "a")
    with pytest.raises(DataError, match="is no result"):
        load_records([folder / "config.json"])


def test_age_is_the_document_s_or_the_file_s(runs):
    old, new = write(runs / "a"), write(runs / "b", finished_at="2031-01-01T00:00:00+00:00")
    os.utime(old / "result.json", (0, 0))
    first, second = load_records([old, new]).records
    assert first.finished_at == "1970-01-01T00:00:00+00:00"
    assert second.finished_at == "2031-01-01T00:00:00+00:00"


def test_reading_waits_for_no_heavy_library():
    code = (
        "import sys, augment.results.records, augment.results.table, augment.results.comparison;"
        "print([name for name in ('torch', 'scipy', 'pydantic', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "[]"
