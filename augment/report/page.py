"""The report: one self-contained HTML page about runs and feature studies, with a picture of each chart beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from augment.progress import Reporter
from augment.report import page_parts as parts
from augment.report.chart import Chart
from augment.report.page_content import MOST_DETAILED, detailed, render
from augment.report.static_charts import begin_static
from augment.results.experiments import Experiment, experiments
from augment.results.records import FeaturesRecord, Found
from augment.storage.files import is_stream, write_text, writing

Figures = Literal["auto", "all", "none"]

MOST_STATIC = 60
"""Charts up to which all are drawn beside the page unless a person decides otherwise."""

MOST_OVERVIEW = 16
"""Charts of the overview that are drawn where there are more; drawing them all would take longer than reading the
runs and writing the page."""

MOST_NAMED = 12
"""Problems of one kind that are named at once; the others can be opened."""


@dataclass(frozen=True)
class ReportResult:
    """What was written. figures: files beside the page; left_out: charts without such files.

    verdicts: of every experiment and classifier.  problems: title and number of what a reader must know first.
    """

    path: Path
    records: int
    experiments: int
    charts: int
    figures: tuple[Path, ...]
    left_out: int
    verdicts: tuple[parts.VerdictRow, ...]
    features: tuple[str, ...]
    summary: tuple[str, ...]
    problems: tuple[tuple[str, int], ...]


def write_report(
    found: Found,
    out: str | Path,
    *,
    title: str | None = None,
    figures: Figures = "auto",
    sweeps: Sequence[Path] = (),
    reporter: Reporter | None = None,
) -> ReportResult:
    """Write the page to ``out`` and its figures to ``<out without suffix>-figures/``.

    Where ``out`` is a device or a pipe, the page alone is written.

    figures: ``all`` charts as PNG and SVG, ``none``, or ``auto``: all when there are at most 60, else the first 16 of
    the overview.  sweeps: folders of sweeps whose failed cells are named.  The page is replaced at once or not at all.
    Raises DataError where it cannot be written.
    """
    reporter = reporter or Reporter()
    out = Path(out)
    reporter.stage("Join seeds")
    joined = experiments(found.runs)
    reporter.stage("Make the charts")
    overview, details = _charts(joined, found.features, reporter)
    charts = [*overview, *details]
    alarms = _alarms(found, joined, sweeps)
    rows = parts.verdict_rows(joined)
    drawn = charts if figures == "all" or len(charts) <= MOST_STATIC else overview[:MOST_OVERVIEW]
    drawn = [] if figures == "none" or is_stream(out) else drawn  # nothing lies beside a device
    folder = out.with_name(f"{out.stem}-figures")
    with writing(folder):
        files_of = begin_static(drawn, folder) if drawn else list[Path]
    reporter.stage("Write the page")
    page = render(found, joined, charts, rows, alarms, title)
    with writing(out.parent):
        write_text(out, page)
    reporter.stage(f"Draw {len(drawn)} charts as PNG and SVG")
    with writing(folder):
        files = files_of()
    return ReportResult(
        path=out,
        records=len(found.records),
        experiments=len(joined),
        charts=len(charts),
        figures=tuple(files),
        left_out=len(charts) - len(drawn),
        verdicts=tuple(rows),
        features=tuple(f"{run.dataset}, {run.model}: {run.result.verdict}" for run in found.features),
        summary=tuple(filter(None, [*(tally.sentence for tally in parts.tallies(rows)), parts.by_luck(rows)])),
        problems=tuple((alarm.title, alarm.count) for alarm in alarms),
    )


def _alarms(found: Found, joined: Sequence[Experiment], sweeps: Sequence[Path]) -> list[parts.Alarm]:
    """What a reader must know before the first number, the worst first."""
    unreadable = [parts.Problem(str(folder), reason) for folder, reason in found.damaged]
    counted = {folder.resolve() for folder in sweeps}  # their open cells are told together
    alone = [folder for folder in found.unfinished if folder.resolve().parent not in counted]
    begun = [parts.Problem(str(folder), "begun, no result yet") for folder in alone]
    failed, waiting = parts.sweep_problems(sweeps)
    stale = [parts.Problem(str(folder), "recorded for no cell of the sweep as it is now") for folder in found.stale]
    kinds = (
        ("✕", "Guards failed: these numbers cannot be trusted", True, parts.failed_guards(joined, found.features)),
        ("✕", "Cells that failed", False, failed),
        ("!", "Results that cannot be read", False, unreadable),
        ("…", "Not finished", False, [*waiting, *begun]),
        ("!", "Results left out as out of date", False, stale),
    )
    return [
        parts.Alarm(symbol, title, loud, tuple(problems[:MOST_NAMED]), tuple(problems[MOST_NAMED:]))
        for symbol, title, loud, problems in kinds
        if problems
    ]


def _charts(
    joined: Sequence[Experiment], features: Sequence[FeaturesRecord], reporter: Reporter
) -> tuple[list[Chart], list[Chart]]:
    from augment.report.experiment_charts import experiment_charts
    from augment.report.features_charts import features_charts
    from augment.report.overview_charts import overview_charts

    overview = list(overview_charts(joined))
    shown, details = detailed(joined), []
    for done, experiment in enumerate(shown):
        reporter.advance(done, len(shown), experiment.label)
        details += experiment_charts(experiment)
    for run in features[:MOST_DETAILED]:
        details += features_charts(run)
    return overview, details
