"""The command ``augment report``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.cli.options import A_FILE, A_PATH, Json, Quiet
from augment.cli.output import print_json, reporting

if TYPE_CHECKING:
    from augment.report.page import ReportResult


class FigureFiles(StrEnum):
    """Which charts are drawn as files beside the page."""

    auto = "auto"
    all = "all"
    none = "none"


def report_command(
    paths: Annotated[list[Path], typer.Argument(help="Run folders, folders above them such as a sweep's.", **A_PATH)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.", **A_FILE)] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    figures: Annotated[
        FigureFiles,
        typer.Option(help="PNG and SVG beside the page: all charts, none, or auto: the overview's where many."),
    ] = FigureFiles.auto,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only runs for which this holds, as in regime=high or size>=2000; repeatable."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one self-contained page about runs and sweeps.

    The verdict first, then every chart behind it.
    """
    from augment.report.page import write_report
    from augment.report.page_parts import chosen, sweep_folders
    from augment.results.records import load_records
    from augment.results.selection import Condition

    conditions = [Condition.parse(text) for text in where or []]
    with reporting(quiet=quiet or as_json) as reporter:
        found = chosen(load_records(paths, reporter), conditions)
        made = write_report(
            found, out, title=title, figures=figures.value, sweeps=sweep_folders(paths, found), reporter=reporter
        )
    print_json(_document(made)) if as_json else _show(made)
    if open_:
        import webbrowser

        webbrowser.open(made.path.resolve().as_uri())


def _document(made: ReportResult) -> dict[str, Any]:
    return {
        "page": str(made.path),
        "runs": made.records,
        "experiments": made.experiments,
        "charts": made.charts,
        "figures": [str(file) for file in made.figures],
        "charts_without_files": made.left_out,
        "problems": [{"title": title, "count": count} for title, count in made.problems],
        "verdicts": [
            {**row.facets, "label": row.label, "classifier": row.classifier, "decision": row.decision, "text": row.text}
            for row in made.verdicts
        ],
        "features": list(made.features),
    }


SHOWN_VERDICTS = 12
"""Verdicts that are printed with their sentence; of more the tally is enough."""


def _show(made: ReportResult) -> None:
    from rich.markup import escape

    from augment.cli.tables import terminal

    console = terminal()
    for title, count in made.problems:
        console.print(f"[bold]{escape(title)}[/]: {count:,}", soft_wrap=True)
    if len(made.verdicts) <= SHOWN_VERDICTS:
        for row in made.verdicts:
            size = int(row.facets["size"])
            head = f"{row.facets['dataset']}, {row.facets['regime']}, {size:,} images, {row.label}"
            console.print(f"{row.symbol} {escape(head)}: {escape(row.text)}", soft_wrap=True)
    else:
        for line in made.summary:
            console.print(escape(line), soft_wrap=True)
    for line in made.features:
        console.print(f"◇ {escape(line)}", soft_wrap=True)
    console.print(f"\nWritten to {escape(str(made.path))}{_beside(made)}.", soft_wrap=True)


def _beside(made: ReportResult) -> str:
    from rich.markup import escape

    if not made.figures:
        return ", without figures beside it"
    kept = f", with {len(made.figures):,} figures in {escape(str(made.figures[0].parent))}/"
    return kept + (f" ({made.left_out:,} charts are on the page alone; --figures all)" if made.left_out else "")
