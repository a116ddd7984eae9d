"""The commands ``augment results`` and ``augment compare``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augment.cli.options import A_PATH, Json, Quiet, names
from augment.cli.output import print_json, reporting
from augment.studies.config import complete_dataset, complete_model

if TYPE_CHECKING:
    from augment.results.selection import Condition
    from augment.results.table import Listing


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    csv = "csv"
    json = "json"


class Kind(StrEnum):
    """What left the run folder."""

    run = "run"
    features = "features"


def results_command(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, or folders above some.", show_default="runs", **A_PATH)
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep rows where a column or setting is so: regime=high, size>=2000, decision=helps,hurts; repeatable."
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="As --where dataset=.", autocompletion=complete_dataset)] = None,
    regime: Annotated[str | None, typer.Option(help="As --where regime=.")] = None,
    size: Annotated[str | None, typer.Option(help="As --where size=.")] = None,
    model: Annotated[str | None, typer.Option(help="As --where model=.", autocompletion=complete_model)] = None,
    sort: Annotated[
        str | None, typer.Option(help="Columns or settings separated by commas; -accuracy puts the highest first.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How rows are written.")] = Format.table,
    columns: Annotated[str | None, typer.Option(help="Columns or settings to show, separated by commas.")] = None,
    each: Annotated[bool, typer.Option("--each", help="A row for each run, instead of one over its seeds.")] = False,
    kind: Annotated[Kind | None, typer.Option(help="Runs alone, or feature studies alone.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List finished runs, joined over their seeds.

    Accuracy, the difference to the best cheap trick, and the verdict.
    """
    from augment.results.records import load_records
    from augment.results.table import listing

    with reporting(quiet=quiet or as_json) as reporter:
        found = load_records(paths or [Path("runs")], reporter)
    conditions = _conditions(where or [], {"dataset": dataset, "regime": regime, "size": size, "model": model})
    shown = names(columns)
    rows = listing(found, conditions, sort, each=each, columns=shown)
    if not quiet:
        _say(found.problems())
    _write(rows, Format.json if as_json else format_, shown, kind)


def _conditions(where: Sequence[str], shortcuts: dict[str, str | None]) -> list[Condition]:
    from augment.results.selection import Condition

    texts = [f"{name}={value}" for name, value in shortcuts.items() if value is not None]
    return [Condition.parse(text) for text in (*texts, *where)]


def _write(rows: Listing, form: Format, columns: Sequence[str], kind: Kind | None) -> None:
    from augment.cli import results_tables as tables

    if form is Format.json:
        print_json(rows.to_json(columns, kind))
    elif form is Format.csv:
        chosen = kind or (Kind.run if rows.runs or not rows.features else Kind.features)
        if kind is None and rows.runs and rows.features:
            _say(["Feature studies have other columns: --kind features writes theirs."])
        tables.write_csv(rows.features if chosen is Kind.features else rows.runs, columns)
    else:
        if kind is Kind.run or (kind is None and (rows.runs or not rows.features)):
            tables.show_runs(rows.runs, columns)
        if kind is Kind.features or (kind is None and rows.features):
            tables.show_features(rows.features, columns)


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        sys.stderr.write(line + "\n")


def compare_command(
    first: Annotated[Path, typer.Argument(help="A run folder, or one with one study.", **{**A_PATH, "metavar": "A"})],
    second: Annotated[Path, typer.Argument(help="Another one.", **{**A_PATH, "metavar": "B"})],
    as_json: Json = False,
) -> None:
    """Put two runs side by side.

    What differs in their settings, and B minus A for every arm, paired by seed.
    """
    from augment.results.comparison import compare_folders

    found = compare_folders(first, second)
    if as_json:
        print_json(found.to_json())
    else:
        from augment.cli.results_tables import show_comparison

        show_comparison(found)
