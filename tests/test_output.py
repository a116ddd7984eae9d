"""Streams as people have them: without some signs, without a width, full, closed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from augment.cli.output import prepare_streams
from augment.progress import LineReporter

FULL = Path("/dev/full")


def run(*arguments, env=None, **streams):
    command = [sys.executable, "-m", "augment", *map(str, arguments)]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(command, env={**os.environ, **(env or {})}, **given)


@pytest.fixture
def streams(monkeypatch):
    """Stdout and stderr of one encoding; returns what was written to stdout."""

    def with_encoding(encoding):
        raw = {name: io.BytesIO() for name in ("stdout", "stderr")}
        for name, buffer in raw.items():
            monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, encoding=encoding))
        prepare_streams()

        def written():
            sys.stdout.flush()
            return raw["stdout"].getvalue().decode(encoding)

        return written

    return with_encoding


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "−0.3 ± 2 × 3 ◇ café ?"),
        ("cp1252", "-0.3 ± 2 × 3 * café ?"),
        ("latin-1", "-0.3 ± 2 × 3 * café ?"),
        ("ascii", "-0.3 +- 2 x 3 * caf? ?"),
    ],
)
def test_signs_that_an_output_does_not_have_are_replaced(streams, encoding, shown):
    written = streams(encoding)
    sys.stdout.write("−0.3 ± 2 × 3 ◇ café \udce9")
    assert written() == shown


@pytest.mark.parametrize(("given", "kept"), [("0", None), ("", None), ("-3", None), ("wide", None), ("72", "72")])
def test_a_width_that_is_none_is_not_believed(monkeypatch, given, kept):
    monkeypatch.setenv("COLUMNS", given)
    prepare_streams()
    assert os.environ.get("COLUMNS") == kept


def test_streams_closed_before_the_start_take_everything(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    prepare_streams()
    sys.stdout.write("a table")
    sys.stderr.write("a line")
    sys.stdout.close(), sys.stderr.close()


def test_tables_are_printed_in_ascii_and_without_a_width():
    done = run("models", env={"COLUMNS": "0", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert b"vae" in done.stdout and max(done.stdout) < 128


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [("models", "--json"), ("datasets", "list"), ("completion", "bash"), ("arms",)])
def test_a_full_disk_under_the_output_is_one_line(command):
    with FULL.open("w") as full:
        done = run(*command, stdout=full)
    assert done.returncode == 3
    assert b"No space left" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_progress_stops_nothing(tmp_path):
    with FULL.open("w") as full:
        done = run("datasets", "inspect", "digits", "--out", tmp_path / "sheet.png", stderr=full)
    assert done.returncode == 0 and b"sheet.png" in done.stdout.replace(b"\n", b"")


def test_progress_without_a_reader_ends_the_work():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        LineReporter(Gone()).stage("Train")


def test_version(augment):
    code, out, _ = augment("--version")
    assert code == 0 and out.startswith("augment 0.")


@pytest.mark.parametrize("group", [(), ("datasets",), ("plugins",)])
def test_no_command_has_a_summary_that_is_cut(augment, group):
    _, out, _ = augment(*group, "--help")
    listed = out.partition("Commands:")[2].strip().splitlines()
    assert listed and not [line for line in listed if line.endswith("...")]
