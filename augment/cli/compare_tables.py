"""What ``augment compare`` prints: settings that differ, arms, fidelity, both verdicts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from augment.cli.tables import new_table, terminal
from augment.evidence.statistics import signed

if TYPE_CHECKING:
    from augment.results.comparison import Difference, SideBySide
    from augment.results.experiments import Experiment
    from augment.results.pairing import ArmPair


def show_comparison(found: SideBySide) -> None:
    """The whole answer."""
    out = terminal()
    for name, experiment in (("A", found.a), ("B", found.b)):
        out.print(f"[bold]{name}[/]  {escape(_headline(experiment))}", soft_wrap=True)
    out.print(_settings_table(found) if found.settings else "\nNo setting differs.")
    if found.class_counts:
        out.print(_counts_table(found))
    if found.unpaired:
        out.print(f"[bold]Not paired[/]: {escape(found.unpaired)}. Accuracies stand side by side, untested.\n")
    for classifier in dict.fromkeys(pair.classifier for pair in found.arms):
        out.print(_arms_table(found, classifier))
    for reason in dict.fromkeys(pair.why for pair in found.arms if pair.why and not found.unpaired):
        out.print(f"No test: {escape(reason)}.", soft_wrap=True)
    for name, arms in (("A", found.only_a), ("B", found.only_b)):
        if arms:
            out.print(f"Only in {name}: {escape(', '.join(arms))}", soft_wrap=True)
    out.print(_fidelity_table(found))
    if found.unlike:
        out.print(
            f"[bold]KID, FID and their kin are not put side by side[/]: {escape(found.unlike)}.\n", soft_wrap=True
        )
    for name, experiment in (("A", found.a), ("B", found.b)):
        for verdict in experiment.verdicts:
            out.print(f"[bold]{name}[/]  {escape(verdict.text)}", soft_wrap=True)


def _headline(experiment: Experiment) -> str:
    seeds = f"seed{'s' if len(experiment.seeds) > 1 else ''} {', '.join(map(str, experiment.seeds))}"
    more = f" and {len(experiment.runs) - 1} more" if len(experiment.runs) > 1 else ""
    about = f"{experiment.dataset}, {experiment.regime}, {experiment.size:,} images, {experiment.model}, {seeds}"
    return f"{about}: {experiment.runs[0].folder}{more}"


def _settings_table(found: SideBySide) -> Table:
    table = new_table("Settings that differ", "setting", "A", "B")
    table.columns[0].no_wrap = True
    for row in found.settings:
        table.add_row(escape(row.name), *(escape(_text(value)) for value in (row.a, row.b)))
    return table


def _counts_table(found: SideBySide) -> Table:
    """Classes with other numbers of images."""
    table = new_table("Training images", "class", "A", "B", right=("A", "B"))
    for row in found.class_counts:
        if row.a != row.b:
            table.add_row(escape(row.name), *("-" if value is None else f"{value:,}" for value in (row.a, row.b)))
    return table


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _arms_table(found: SideBySide, classifier: str) -> Table:
    seeds = "" if found.unpaired else f"; B - A over {len(found.seeds)} seed{'s' if len(found.seeds) > 1 else ''}"
    title = f"Accuracy of {classifier}, means over all seeds of each{seeds}"
    numeric = ("A %", "B %", "B - A", "p")
    table = new_table(escape(title), "arm", *numeric, right=numeric)
    for pair in found.arms:
        if pair.classifier == classifier:
            accuracies = (f"{100 * value:.1f}" for value in (pair.accuracy_a, pair.accuracy_b))
            table.add_row(escape(pair.arm.replace("+", " + ")), *accuracies, *_difference(pair))
    return table


def _difference(pair: ArmPair) -> tuple[str, str]:
    """B - A with its interval over seeds and p corrected for the arms; without a test the plain difference."""
    row = pair.comparison
    if row is None:
        return f"{signed(100 * (pair.accuracy_b - pair.accuracy_a))}, untested", "-"
    interval = "" if row.ci95 is None else f" ({' to '.join(map(signed, row.ci95))})"
    return signed(row.delta) + interval, f"{row.p if row.p_holm is None else row.p_holm:.2g}"


def _fidelity_table(found: SideBySide) -> Table:
    columns = ("A", "real images", "B", "real images ")
    table = new_table("Samples of the first seed, beside as many real images", "score", *columns, right=columns)
    for row in found.fidelity:
        table.add_row(row.name, *_scores(row))
    return table


def _scores(row: Difference) -> list[str]:
    values = (row.a, row.floor_a, row.b, row.floor_b)
    return ["-" if value is None else f"{value:.4g}" for value in values]
