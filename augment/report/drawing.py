"""What a finished study draws into its own folder: its charts as pictures, and a page with all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from augment.report.features_charts import features_charts
from augment.report.page import write_report
from augment.report.sections import CURVES
from augment.report.static_charts import begin_static
from augment.results.features_result import FeaturesResult
from augment.results.records import FeaturesRecord, Found
from augment.results.study_result import StudyResult
from augment.storage import files

PAGE = "report.html"


def draw_study(folder: Path, result: StudyResult) -> None:
    """Draw what a study has found; of a run ``augment report`` draws, and nothing is drawn here.

    A feature study gets ``accuracy-<probe>.png``, ``layers.png``, ``timesteps.png``, ``embedding-<method>-<n>d.png``,
    each as SVG, too, and ``report.html``, where maps turn and show the image behind each point. Raises DataError where
    the folder cannot be written.
    """
    if not isinstance(result, FeaturesResult):
        return
    record = FeaturesRecord(folder, replace(result, folder=folder), None)
    charts = [chart for chart in features_charts(record, alone=True) if chart.section != CURVES]
    with files.writing(folder):
        begin_static(charts, folder, workers=0)()
    write_report(Found((record,)), folder / PAGE, figures="none")
