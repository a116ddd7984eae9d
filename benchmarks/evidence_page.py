"""A section of docs/evidence.md from the document of its run; no number is typed by hand."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch

from augment.evidence.statistics import mean_with_interval, signed

Row = dict[str, Any]

BASE = "+balanced-softmax"
"""What ends the name of the arm that every change of the first experiment is compared with."""


@dataclass(frozen=True)
class Study:
    """One run: its name, its title on the page, its document."""

    name: str
    title: str
    document: Row

    def arms(self, classifier: str) -> dict[str, list[Row]]:
        """Rows of each arm in order of seeds, arms in the run's order."""
        found: dict[str, list[Row]] = {}
        for row in self.document["arms"]:
            if row["classifier"] == classifier:
                found.setdefault(row["arm"], []).append(row)
        return found

    @property
    def classifiers(self) -> list[str]:
        """Classifiers in order."""
        return list(dict.fromkeys(row["classifier"] for row in self.document["arms"]))


def section(study: Study) -> str:
    """What the page says of one run."""
    document = study.document
    regime = document["regime"]
    seeds = len(document["seeds"])
    updates = next((f" {row['updates']:,} updates," for row in document["arms"] if row["updates"] is not None), "")
    models = ", ".join(f"`{row['name']}` ({row['steps']:,} steps)" for row in document["generators"])
    lines = [
        f"## {study.title}\n",
        f"Regime `{regime['name']}`, {seeds} seeds,{updates} generator {models}, scored on "
        f"{document['scored_on']['images']:,} {document['scored_on']['part']} images. Images per class, sorted: "
        f"{', '.join(map(str, sorted(regime['class_counts'], reverse=True)))}.\n",
        *(f"**{text}**\n" for text in _verdicts(study)),
    ]
    for classifier in study.classifiers:
        lines += [_arms_table(study, classifier), ""]
    if study.name == "choice":
        lines += [_changes_table(study), ""]
    lines += [*_filters(document), *_spread(document), *_guards(document), *_cost(document), _machine(document)]
    return "\n".join(lines)


def _verdicts(study: Study) -> list[str]:
    """The verdict of every classifier, as the run gives it."""
    return list(dict.fromkeys(row["text"] for row in study.document["verdicts"]))


def _arms_table(study: Study, classifier: str) -> str:
    document = study.document
    compared = {row["arm"]: row for row in document["comparisons"] if row["classifier"] == classifier}
    groups = {
        row["arm"]: {group["group"]: group["delta"] for group in row["groups"]}
        for row in document["effects"]
        if row["classifier"] == classifier
    }
    names = list(dict.fromkeys(name for found in groups.values() for name in found))
    names = names if len(names) > 1 else []
    against = next(iter(compared.values()))["against"] if compared else "-"
    header = [f"arm ({classifier})", "accuracy %", f"difference to {against}", "p", *names, "lowest recall %"]
    lines = [f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
    for arm, rows in sorted(study.arms(classifier).items(), key=lambda item: -_accuracy(item[1])):
        mark = "**" if rows[0]["family"] == "generative" else ""
        shares = [signed(groups[arm][name]) if arm in groups and name in groups[arm] else "" for name in names]
        cells = [f"{mark}{arm}{mark}", _with_interval(rows), *_difference(compared.get(arm)), *shares, _lowest(rows)]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("\nBold: arms with a generator.")
    return "\n".join(lines)


def _accuracy(rows: Sequence[Row]) -> float:
    return float(mean(row["accuracy"] for row in rows))


def _with_interval(rows: Sequence[Row]) -> str:
    value, interval = mean_with_interval([100 * row["accuracy"] for row in rows])
    return f"{value:.1f}" if interval is None else f"{value:.1f} ± {(interval[1] - interval[0]) / 2:.1f}"


def _difference(row: Row | None) -> tuple[str, str]:
    if row is None:
        return "-", "-"
    interval = "" if row["ci95"] is None else f" ({signed(row['ci95'][0])} to {signed(row['ci95'][1])})"
    return f"{signed(row['delta'])}{interval}", f"{row['p'] if row['p_holm'] is None else row['p_holm']:.2g}"


def _lowest(rows: Sequence[Row]) -> str:
    names = [entry["class"] for entry in rows[0]["per_class"]]
    recalls = [mean(row["per_class"][index]["recall"] for row in rows) for index in range(len(names))]
    lowest = min(range(len(names)), key=recalls.__getitem__)
    return f"{names[lowest]} {100 * recalls[lowest]:.0f}"


def _changes_table(study: Study) -> str:
    """What each change does to the arm it changes, by pairs over seeds."""
    arms = study.arms("cnn")
    model = study.document["generators"][0]["name"]
    base = f"{model}{BASE}"
    lines = ["| change | of | points |", "|---|---|---:|"]
    for arm in (arm for arm in arms if arm.startswith(f"{base}+")):
        parent = max((other for other in arms if arm.startswith(f"{other}+")), key=len)
        change = arm.removeprefix(f"{parent}+")
        pairs = zip(arms[arm], arms[parent], strict=True)
        value, interval = mean_with_interval([100 * (ours["accuracy"] - theirs["accuracy"]) for ours, theirs in pairs])
        half = "" if interval is None or math.isnan(interval[0]) else f" ± {(interval[1] - interval[0]) / 2:.1f}"
        lines.append(f"| {change} | {parent} | {signed(value)}{half} |")
    return "What each change added to the arm it changes:\n\n" + "\n".join(lines)


def _filters(document: Row) -> list[str]:
    lines = []
    for row in (row for row in document["synthetic"] if row["filter"]):
        found = row["filter"]
        accepted = ", ".join(
            f"{entry['class']} {100 * entry['acceptance']:.0f}"
            for entry in found[0]["per_class"]
            if entry["acceptance"] is not None
        )
        teachers, drawing = (mean(one["seconds"][name] for one in found) for name in ("teachers", "drawing"))
        lines.append(
            f"Filter of `{row['arm']}`: {100 * mean(one['acceptance'] for one in found):.0f}% of the drawn images pass "
            f"(first seed, % by class: {accepted}); teachers {teachers:.0f} s and drawing {drawing:.0f} s a seed.\n"
        )
    return lines


def _spread(document: Row) -> list[str]:
    return [f"Spread of `{row['arm']}` ({row['classifier']}): {row['text']}\n" for row in document["spread"]]


def _guards(document: Row) -> list[str]:
    failed = [guard for guard in document["guards"] if not guard["passed"]]
    told = "; ".join(f"**{guard['name']}**: {guard['detail']}" for guard in failed)
    return [f"Guards failed: {told}.\n" if failed else f"All {len(document['guards'])} guards passed.\n"]


def _cost(document: Row) -> list[str]:
    """What one CNN took, and what that makes of ten arms and five seeds on two cores."""
    seconds = [row["seconds"] / len(row["trainings"]) for row in document["arms"] if row["classifier"] == "cnn"]
    made = ", ".join(f"{row['name']} {row['seconds'] / len(document['seeds']):.0f} s" for row in document["generators"])
    networks = (
        f"{mean(seconds):.1f} s for one CNN on one core with another training beside it: ten arms and five seeds take "
        f"{50 * mean(seconds) / 2 / 60:.1f} minutes on two cores; "
        if seconds
        else ""
    )
    return [f"Cost: {networks}generators a seed: {made}.\n"]


def _machine(document: Row) -> str:
    return (
        f"Schema `{document['schema']}`, torch {torch.__version__} on {platform.machine()}, {torch.get_num_threads()} "
        "threads. The same seeds, code and thread count give the same figures on a CPU.\n"
    )
