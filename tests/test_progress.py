"""Reporters: silent by default, lines in logs, bars on a terminal."""

import io
import re
import sys

import pytest

from augment.progress import BarReporter, LineReporter, Reporter, choose_reporter

pytestmark = pytest.mark.libraries


def test_the_base_prints_nothing(capsys):
    with Reporter() as report:
        report.stage("Train")
        report.advance(1, 2, "loss 3")
        report.note("cached")
    assert capsys.readouterr() == ("", "")


def test_lines_for_stages_and_notes():
    stream = io.StringIO()
    with LineReporter(stream) as report:
        report.stage("Load digits")
        report.note("cached")
    lines = stream.getvalue().splitlines()
    assert [re.sub(r"^\[ *\d+\.\d s\] ", "", line) for line in lines] == ["Load digits", "cached"]


def test_progress_lines_are_rare(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("augment.progress.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    report = LineReporter(stream, every=5)
    report.stage("Train")
    for second in range(1, 13):
        clock[0] = 100.0 + second
        report.advance(second, 100, "loss 0.5")
    assert stream.getvalue().splitlines() == [
        "[   0.0 s] Train",
        "[   5.0 s]   5 of 100  loss 0.5",
        "[  10.0 s]   10 of 100  loss 0.5",
    ]


def test_a_progress_line_without_detail_ends_with_the_numbers():
    stream = io.StringIO()
    LineReporter(stream, every=0).advance(3, 4)
    assert stream.getvalue().endswith("3 of 4\n")


class Terminal(io.StringIO):
    """A stream that claims to be a terminal, in which rich draws."""

    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """Make it the process's stderr; not a fixture, as pytest sets its own stderr after those."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_the_reporter_fits_the_stream(monkeypatch):
    on_terminal(monkeypatch)
    assert type(choose_reporter(quiet=True)) is Reporter
    assert type(choose_reporter(quiet=False)) is BarReporter
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    found = choose_reporter(quiet=False)
    assert type(found) is LineReporter and found.stream is sys.stderr


def test_a_bar_per_stage_and_the_earlier_ones_complete(monkeypatch):
    on_terminal(monkeypatch)
    with BarReporter() as report:
        report.stage("Load")
        report.stage("Train")
        report.advance(30, 120, "loss 0.5")
        load, train = report.bars.tasks
        assert load.finished and not train.finished
        assert (train.completed, train.total, train.fields["detail"]) == (30, 120, "loss 0.5")
    assert all(task.finished for task in report.bars.tasks)


def test_a_failed_stage_is_not_shown_as_complete(monkeypatch):
    on_terminal(monkeypatch)
    report = BarReporter()
    with pytest.raises(KeyError), report:
        report.stage("Train")
        report.advance(30, 120)
        raise KeyError
    assert not report.bars.tasks[0].finished


def test_text_is_never_read_as_markup(monkeypatch):
    stream = on_terminal(monkeypatch)
    with BarReporter() as report:
        report.stage("Load [red]folder[/red]")
        report.advance(1, 2, "[bold]0.5")
        report.note("skipped [/some/a] and [b]")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "Load [red]folder[/red]" in shown
    assert "[bold]0.5" in shown
    assert "skipped [/some/a] and [b]" in shown


def test_advance_before_any_stage_is_harmless(monkeypatch):
    on_terminal(monkeypatch)
    with BarReporter() as report:
        report.advance(1, 2)
    assert report.bars.tasks == []
