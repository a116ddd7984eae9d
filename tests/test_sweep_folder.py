"""The folder of a sweep: what it takes for finished, on a path, on ``file://`` and on an object store (``memory://``)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace

import fsspec
import pytest

from augment.errors import DataError, UsageError
from augment.storage import files
from augment.studies.sweep.cell import Outcome
from augment.studies.sweep.folder import SweepFolder


def outcome(key, **changes):
    one = Outcome(key, "finished", folder=f"digits-high-{key}", identity=f"{key}-identity", seconds=1.5, worker="h:1")
    return replace(one, **changes)


def run_folder(root, one, **changes):
    """A finished run as a cell leaves it: result.json with its own fields last."""
    document = {"schema": "x", "arms": [{"identity": "of an arm", "x": 1}], "identity": one.identity, **changes}
    files.write_json(root / one.folder / "config.json", {"seed": 0})
    files.write_json(root / one.folder / "generator" / "config.json", {"steps": 1})
    files.write_json(root / one.folder / "result.json", document)


@pytest.fixture(params=["path", "file", "memory"])
def folder(request, tmp_path):
    if request.param == "memory":
        memory = fsspec.filesystem("memory")
        memory.store.clear()
        yield SweepFolder("memory://bucket/study")
        memory.store.clear()
    else:
        yield SweepFolder(tmp_path / "study" if request.param == "path" else f"file://{tmp_path}/my%20study")


def finish(folder, one):
    """What the worker and the sweep do when a cell is finished."""
    run_folder(folder.run_root(), one)
    published = folder.publish(one)
    folder.record(published)
    return published


def files_of(folder):
    """All files that another machine sees, with their contents."""
    if folder.location.startswith("memory"):
        return {name.removeprefix("/bucket/study/"): file.getvalue() for name, file in memory_store().items()}
    root = folder.run_root()
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def memory_store():
    return fsspec.filesystem("memory").store


def overwrite(folder, name, content):
    if folder.location.startswith("memory"):
        fsspec.filesystem("memory").pipe_file(f"/bucket/study/{name}", content)
    else:
        (folder.run_root() / name).write_bytes(content)


def test_records_of_finished_and_failed_cells_come_back_whole(folder):
    done, failed = outcome("a"), Outcome("b", "failed", error="No such model.", detail="Traceback", attempt=3)
    assert finish(folder, done) == done
    folder.record(failed)
    assert folder.records() == {"a": done, "b": failed}
    assert SweepFolder(folder.location).records() == {"a": done, "b": failed}


def test_an_empty_place_has_no_records_and_no_grid(folder):
    assert folder.records() == {}
    assert folder.grid() is None


def test_other_machines_see_the_whole_run_folder(folder):
    finish(folder, outcome("a"))
    names = {name for name in files_of(folder) if "lock" not in name}
    run = "digits-high-a"
    assert names == {f"{run}/config.json", f"{run}/generator/config.json", f"{run}/result.json", "cells/a.json"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\x00" * 300,
        b"\xff\xfe{}",
        json.dumps({**outcome("a").to_json(), "status": "running"}).encode(),
        json.dumps({**outcome("a").to_json(), "unknown": 1}).encode(),
        json.dumps({**outcome("a").to_json(), "folder": None}).encode(),
        json.dumps(outcome("other").to_json()).encode(),
    ],
)
def test_damaged_records_are_no_records(folder, content):
    finish(folder, outcome("a"))
    finish(folder, outcome("b"))
    overwrite(folder, "cells/a.json", content)
    assert set(folder.records()) == {"b"}


@pytest.mark.parametrize("content", [b"", b'{"identity": ', b"null", b'{\n  "identity": "another"\n}\n'])
def test_a_record_without_its_result_is_stale(folder, content):
    finish(folder, outcome("a"))
    assert set(folder.records()) == {"a"}
    overwrite(folder, "digits-high-a/result.json", content)
    assert folder.records() == {}


def test_a_truncated_result_is_stale_even_where_its_identity_is_still_there(folder):
    finish(folder, outcome("a"))
    whole = files_of(folder)["digits-high-a/result.json"]
    assert b"a-identity" in whole[:-3]
    overwrite(folder, "digits-high-a/result.json", whole[:-3])
    assert folder.records() == {}


def test_the_identity_of_something_inside_a_result_does_not_count(folder):
    one = outcome("a", identity="of an arm")
    finish(folder, one)
    overwrite(folder, "digits-high-a/result.json", b'{"arms": [{"identity": "of an arm"}], "identity": "another"}')
    assert folder.records() == {}


def test_a_result_in_another_layout_is_read_whole(folder):
    one = outcome("a")
    finish(folder, one)
    document = {"identity": one.identity, "arms": ["x" * 10_000]}
    overwrite(folder, "digits-high-a/result.json", json.dumps(document).encode())
    assert set(folder.records()) == {"a"}


def test_a_record_whose_run_folder_is_gone_is_stale(tmp_path):
    folder = SweepFolder(tmp_path)
    finish(folder, outcome("a"))
    (tmp_path / "digits-high-a").rename(tmp_path / "elsewhere")
    assert folder.records() == {}


def test_half_written_records_are_not_seen(folder):
    finish(folder, outcome("a"))
    overwrite(folder, "cells/.b.json.x1y2", json.dumps(outcome("b").to_json()).encode())
    assert set(folder.records()) == {"a"}


def test_a_grid_comes_back(folder):
    folder.save_grid({"cells": ["a"], "settings": {"dataset": "digits"}})
    assert folder.grid() == {"cells": ["a"], "settings": {"dataset": "digits"}}


def test_events_of_many_threads_are_whole_lines(folder):
    def write(worker):
        for index in range(50):
            folder.event("begin", f"{worker}-{index}", detail="x" * 500)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [json.loads(line) for line in (folder.run_root() / "events.jsonl").read_text().splitlines()]
    assert {row["key"] for row in rows} == {f"{worker}-{index}" for worker in range(4) for index in range(50)}
    assert {row["event"] for row in rows} == {"begin"}


def test_logs_are_in_a_folder_of_this_machine(folder):
    assert folder.logs().is_dir()


def test_one_sweep_at_a_time(folder):
    with folder.locked():
        with (
            pytest.raises(DataError, match="Another sweep is at work in .*--name"),
            SweepFolder(folder.location).locked(),
        ):
            pass
    with folder.locked():
        pass


def test_the_lock_of_a_killed_sweep_is_free(tmp_path):
    script = (
        "import sys, time; from augment.studies.sweep.folder import SweepFolder\n"
        "with SweepFolder(sys.argv[1]).locked():\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataError, match="Another sweep"), SweepFolder(tmp_path).locked():
            pass
        holder.kill()
    with SweepFolder(tmp_path).locked():
        pass


def test_a_path_needs_no_copy(tmp_path):
    folder = SweepFolder(tmp_path)
    assert folder.run_root() == tmp_path
    one = outcome("a")
    run_folder(tmp_path, one)
    assert folder.publish(one) == one
    assert folder.records() == {}


@pytest.fixture
def bucket():
    memory_store().clear()
    yield SweepFolder("memory://bucket/study")
    memory_store().clear()


def test_publishing_removes_the_copy_and_needs_no_driver_to_live_on(bucket):
    """A sweep that dies between the copy and its own record has lost nothing."""
    one = outcome("a")
    run_folder(bucket.run_root(), one)
    bucket.publish(one)
    assert not (bucket.run_root() / one.folder).exists()
    assert bucket.records() == {"a": one}


def test_the_result_arrives_last(bucket, monkeypatch):
    sent = []
    original = bucket._remote.files.put_file

    def put_file(source, target, **more):
        sent.append(target)
        original(source, target, **more)

    monkeypatch.setattr(bucket._remote.files, "put_file", put_file)
    one = outcome("a")
    run_folder(bucket.run_root(), one)
    (bucket.run_root() / one.folder / ".lock").touch()
    (bucket.run_root() / one.folder / "zzz.png").write_bytes(b"z")
    bucket.publish(one)
    assert len(sent) == 4
    assert sent[-1].endswith("result.json")


def test_a_store_that_refuses_loses_nothing(bucket, monkeypatch):
    one = outcome("a")
    run_folder(bucket.run_root(), one)

    def refuse(*_, **__):
        raise PermissionError("no access")

    with monkeypatch.context() as broken:
        broken.setattr(bucket._remote.files, "put_file", refuse)
        failed = bucket.publish(one)
    assert (failed.status, failed.folder, failed.identity) == ("failed", None, None)
    assert "no access" in failed.error and "run the same sweep again" in failed.error
    assert bucket.records() == {}
    assert bucket.publish(one) == one
    assert bucket.records() == {"a": one}


def test_a_failed_cell_leaves_its_parts_on_the_machine(bucket):
    (bucket.run_root() / "unfinished").mkdir(parents=True)
    failed = Outcome("a", "failed", error="why")
    assert bucket.publish(failed) == failed
    assert (bucket.run_root() / "unfinished").is_dir()
    assert memory_store() == {}


def test_two_urls_share_no_staging_folder():
    roots = {SweepFolder(f"memory://{bucket}/study").run_root() for bucket in ("one", "two")}
    assert len(roots) == 2
    assert SweepFolder("memory://one/study/").run_root() in roots


def test_unknown_urls_are_an_error_that_says_what_to_do():
    with pytest.raises(UsageError, match="nosuch://bucket/x cannot be used: .*s3://"):
        SweepFolder("nosuch://bucket/x")
