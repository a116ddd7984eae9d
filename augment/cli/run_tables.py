"""What ``augment run`` prints: the images, every arm against the best cheap one, what the seeds do, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from augment.cli.tables import fidelity_table, new_table, terminal
from augment.evidence.statistics import signed

if TYPE_CHECKING:
    from augment.experiment.estimate import Estimate
    from augment.experiment.study import Result

Row = Mapping[str, Any]

SHOWN_CLASSES = 20
"""Classes with a line of their own."""


def show_run(result: Result) -> None:
    """The whole answer: data, arms, fidelity, spread, guards, verdict, folder."""
    document, console = result.document, terminal()
    console.print(_headline(document))
    for note in document["dataset"]["notes"]:
        console.print(f"  {escape(note)}")
    console.print(_counts_table(document))
    for classifier in dict.fromkeys(row["classifier"] for row in document["arms"]):
        console.print(_arms_table(document, classifier))
    for line in _filters(document):
        console.print(line, soft_wrap=True)
    console.print(fidelity_table(document["fidelity"]))
    for row in document["spread"]:
        console.print(f"{row['classifier']}, {escape(row['arm'])}: {row['text']}", soft_wrap=True)
    for line in (*_groups(document), *_guards(document["guards"])):
        console.print(line, soft_wrap=True)
    for verdict in document["verdicts"]:
        console.print(f"\n[bold]{escape(verdict['text'])}[/]", soft_wrap=True)
    console.print()
    console.print(_costs(result), soft_wrap=True)


def _headline(document: Row) -> str:
    data, regime = document["dataset"], document["regime"]
    made = "; ".join(map(_generator, document["generators"]))
    return (
        f"[bold]{escape(data['name'])}[/] {data['channels']} x {data['height']} x {data['width']}, "
        f"{len(data['classes'])} classes, regime [bold]{regime['name']}[/] with {regime['size']:,} training images; "
        f"generator{'s' if len(document['generators']) > 1 else ''} {made}"
    )


def _generator(row: Row) -> str:
    stopped = "" if row["stopped"] == "finished" else f", cut short: {row['stopped']}"
    return f"[bold]{row['name']}[/] ({row['steps']:,} steps{stopped}, {row['precision']} on {row['device']})"


def _counts_table(document: Row) -> Table:
    """Real images, and what the first arm with a generator adds (the first with anything, where none has)."""
    real, classes = document["regime"]["class_counts"], document["dataset"]["classes"]
    made = [row for row in document["synthetic"] if row["adds"] == "synthetic"] or document["synthetic"]
    added = made[0]["class_counts"] if made else [0] * len(real)
    columns = ("class", "real", f"added in {made[0]['arm']}" if made else "added")
    table = new_table("Training images", *map(escape, columns), right=tuple(map(escape, columns[1:])))
    order = sorted(range(len(classes)), key=lambda index: -real[index])
    for index in order[:SHOWN_CLASSES]:
        table.add_row(escape(classes[index]), f"{real[index]:,}", f"{added[index]:,}")
    if rest := order[SHOWN_CLASSES:]:
        totals = (sum(counts[index] for index in rest) for counts in (real, added))
        table.add_row(f"{len(rest)} more", *(f"{total:,}" for total in totals))
    return table


def _arms_table(document: Row, classifier: str) -> Table:
    """Arms without a generator, then those with one; differences are to the best of the former."""
    groups: dict[str, list[Row]] = {}
    for row in document["arms"]:
        if row["classifier"] == classifier:
            groups.setdefault(row["arm"], []).append(row)
    compared = {row["arm"]: row for row in document["comparisons"] if row["classifier"] == classifier}
    title = f"Accuracy of {classifier} on the {document['scored_on']['part']} images"
    if compared:
        title += f"; differences to {next(iter(compared.values()))['against']}, the best arm without a generator"
    tested = any(row["ci95"] is not None for row in compared.values())  # one run knows the luck of its images alone
    numeric = ("%", "difference", "p") if tested else ("%", "difference")
    table = new_table(escape(title), "arm", *numeric, "lowest recall %", right=numeric)
    for family in ("classical", "generative"):
        for arm, rows in groups.items():
            if rows[0]["family"] == family:
                accuracy = f"{100 * _mean([row['accuracy'] for row in rows]):.1f}"
                found = _compared(compared.get(arm))[: len(numeric) - 1]
                table.add_row(escape(arm.replace("+", " + ")), accuracy, *found, _lowest(rows))
        table.add_section()
    return table


def _compared(row: Row | None) -> tuple[str, str]:
    """The difference with its interval over seeds, and p corrected for the number of arms of its kind."""
    if row is None:
        return "-", "-"
    interval = "" if row["ci95"] is None else f" ({' to '.join(map(signed, row['ci95']))})"
    return signed(row["delta"]) + interval, f"{row['p'] if row['p_holm'] is None else row['p_holm']:.2g}"


def _lowest(rows: Sequence[Row]) -> str:
    """The class with the lowest mean recall."""
    names = [entry["class"] for entry in rows[0]["per_class"]]
    recalls = [_mean([row["per_class"][index]["recall"] for row in rows]) for index in range(len(names))]
    lowest = min(range(len(names)), key=lambda index: recalls[index])
    return escape(f"{names[lowest]} {100 * recalls[lowest]:.0f}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _filters(document: Row) -> list[str]:
    """A line per arm with a filter, of the first repetition."""
    lines = []
    for row in (row for row in document["synthetic"] if row["filter"]):
        found = row["filter"][0]
        accepted = found["acceptance"]
        share = "none drawn" if accepted is None else f"{100 * accepted:.0f}% of drawn images pass"
        lines.append(
            f"{escape(row['arm'])}: {share}, {found['kept']:,} of {found['wanted']:,} wanted kept; "
            f"teachers {found['seconds']['teachers']:.0f} s, drawing {found['seconds']['drawing']:.0f} s"
        )
    return lines


def _groups(document: Row) -> list[str]:
    """What the verdict's arm does to classes with many, medium and few images."""
    verdict = document["verdict"]
    rows = [
        row
        for row in document["effects"]
        if (row["arm"], row["classifier"]) == (verdict["arm"], verdict["classifier"]) and len(row["groups"]) > 1
    ]
    return [
        f"Recall of {row['classifier']}, {escape(row['arm'])} against {escape(row['against'])}: classes with "
        + ", ".join(f"{group['group']} images {signed(group['delta'])}" for group in row["groups"])
        + " points"
        for row in rows
    ]


def _guards(guards: Sequence[Row]) -> list[str]:
    failed = [guard for guard in guards if not guard["passed"]]
    if not failed:
        return [f"Guards: all {len(guards)} passed."]
    return [f"[bold]Guard failed[/]: {escape(guard['name'])} ({escape(guard['detail'])})." for guard in failed]


def _costs(result: Result) -> str:
    document = result.document
    reused = " (all of it cached)" if result.cached else ""
    made = ", ".join(f"{row['name']} {row['seconds']:.0f} s ({_speed(row)})" for row in document["generators"])
    return (
        f"{document['seconds']:.0f} s in all{reused}; training {made}.\n"
        f"Written to {escape(str(result.folder))}: result.json, samples.png, generator/"
    )


def _speed(generator: Row) -> str:
    return "cached" if generator["cached"] else f"{generator['images_per_second']:,.0f} images/s"


def show_components(components: Sequence[Row], sets: Mapping[str, Sequence[str]]) -> None:
    """What arms are made of, and the named sets of arms."""
    console = terminal()
    table = new_table(
        "Components of arms, joined by +; any registered generator is one, too",
        "name",
        "kind",
        "about, options with their defaults",
    )
    for row in components:
        table.add_row(escape(row["name"]), row["kind"], escape(row["about"].replace("``", "")))
    console.print(table)
    for name, arms in sets.items():
        console.print(f"--arms {name}: {', '.join(arms)}")
    console.print("model stands for the generator of --model; options are written strategy:key=value,key=value.")


def show_estimate(found: Estimate) -> None:
    """The stages of a run that was not carried out."""
    table = new_table("What would be done", "stage", "work", "core minutes", right=("core minutes",))
    for stage in found.stages:
        table.add_row(escape(stage.name), stage.work, f"{stage.seconds / 60:.1f}")
    console = terminal()
    console.print(table)
    console.print(f"About {found.seconds / 60:.1f} minutes on {found.cores} core(s), by a timed warm-up of each stage.")
    console.print(f"Nothing was done; the result would be in {escape(found.folder)}.", soft_wrap=True)
