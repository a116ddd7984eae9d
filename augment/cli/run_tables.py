"""What ``augment run`` prints: the images, every arm against the best cheap one, what the seeds do, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from statistics import fmean
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from augment.cli.tables import fidelity_table, guard_text, new_table, terminal
from augment.evidence.statistics import Comparison, signed
from augment.evidence.verdict import Guard

if TYPE_CHECKING:
    from augment.results.run_result import ArmScores, RunResult
    from augment.studies.run.estimate import Estimate

UNEVEN_TEST = (
    "Some classes have many more images to score on than others. The verdict is on accuracy, in which they count for "
    "more; in balanced % every class counts alike."
)

SHOWN_CLASSES = 20
"""Classes with a line of their own."""


def show_run(result: RunResult) -> None:
    """The whole answer: data, arms, fidelity, spread, guards, verdict, folder."""
    console = terminal()
    console.print(_headline(result))
    for note in result.dataset.notes:
        console.print(f"  {escape(note)}")
    console.print(_counts_table(result))
    for classifier in result.classifiers:
        console.print(_arms_table(result, classifier))
    for line in _filters(result):
        console.print(line, soft_wrap=True)
    console.print(fidelity_table(result.fidelity))
    for row in result.spread:
        console.print(f"{row.classifier}, {escape(row.arm)}: {row.text}", soft_wrap=True)
    if result.uneven_test:
        console.print(UNEVEN_TEST, soft_wrap=True)
    for line in (*_groups(result), *_guards(result.guards)):
        console.print(line, soft_wrap=True)
    for verdict in result.verdicts:
        console.print(f"\n[bold]{escape(verdict.text)}[/]", soft_wrap=True)
    console.print()
    console.print(_costs(result), soft_wrap=True)


def _headline(result: RunResult) -> str:
    made = "; ".join(
        f"[bold]{row.name}[/] ({row.steps:,} steps{row.cut_short}, {row.precision} on {row.device})"
        for row in result.generators
    )
    return (
        f"[bold]{escape(result.dataset.name)}[/] {result.dataset.headline}, "
        f"regime [bold]{result.regime.name}[/] with {result.regime.drawn} training images; "
        f"generator{'s' if len(result.generators) > 1 else ''} {made}"
    )


def _counts_table(result: RunResult) -> Table:
    """Real images, and what the first arm with a generator adds (the first with anything, where none has)."""
    real, classes = result.regime.class_counts, result.dataset.classes
    made = [row for row in result.synthetic if row.adds == "synthetic"] or result.synthetic
    added = made[0].class_counts if made else (0,) * len(real)
    columns = ("class", "real", f"added in {made[0].arm}" if made else "added")
    table = new_table("Training images", *map(escape, columns), right=tuple(map(escape, columns[1:])))
    order = sorted(range(len(classes)), key=lambda index: -real[index])
    for index in order[:SHOWN_CLASSES]:
        table.add_row(escape(classes[index]), f"{real[index]:,}", f"{added[index]:,}")
    if rest := order[SHOWN_CLASSES:]:
        totals = (sum(counts[index] for index in rest) for counts in (real, added))
        table.add_row(f"{len(rest)} more", *(f"{total:,}" for total in totals))
    return table


def _arms_table(result: RunResult, classifier: str) -> Table:
    """Arms without a generator, then those with one; differences are to the best of the former."""
    compared = {row.arm: row for row in result.comparisons if row.classifier == classifier}
    title = f"Accuracy of {classifier} on the {result.scored_on.part} images"
    if compared:
        title += f"; differences to {next(iter(compared.values())).against}, the best arm without a generator"
    tested = any(row.ci95 is not None for row in compared.values())  # one run knows the luck of its images alone
    balanced = ("balanced %",) if result.uneven_test else ()
    numeric = ("%", "difference", "p") if tested else ("%", "difference")
    columns = (*numeric[:1], *balanced, *numeric[1:])
    table = new_table(escape(title), "arm", *columns, "lowest recall %", right=columns)
    for family in ("classical", "generative"):
        for arm, rows in result.of(classifier).items():
            if rows[0].family == family:
                scores = [f"{100 * fmean(row.accuracy for row in rows):.1f}"]
                if balanced:
                    scores.append(f"{100 * fmean(row.balanced_accuracy for row in rows):.1f}")
                found = _compared(compared.get(arm))[: len(numeric) - 1]
                table.add_row(escape(arm.replace("+", " + ")), *scores, *found, _lowest(rows))
        table.add_section()
    return table


def _compared(row: Comparison | None) -> tuple[str, str]:
    """The difference with its interval over seeds, and p corrected for the number of arms of its kind."""
    if row is None:
        return "-", "-"
    interval = "" if row.ci95 is None else f" ({' to '.join(map(signed, row.ci95))})"
    return signed(row.delta) + interval, f"{row.p if row.p_holm is None else row.p_holm:.2g}"


def _lowest(rows: Sequence[ArmScores]) -> str:
    """The class with the lowest mean recall."""
    by_class = [each for each in zip(*(row.per_class for row in rows), strict=True) if any(one.support for one in each)]
    recall, name = min(((fmean(one.recall for one in each), each[0].name) for each in by_class), key=itemgetter(0))
    return escape(f"{name} {100 * recall:.0f}")


def _filters(result: RunResult) -> list[str]:
    """A line per arm with a filter, of the first repetition."""
    lines = []
    for row in result.synthetic:
        for found in (row.filter or ())[:1]:
            accepted = found.acceptance
            share = "none drawn" if accepted is None else f"{100 * accepted:.0f}% of drawn images pass"
            lines.append(
                f"{escape(row.arm)}: {share}, {found.kept:,} of {found.wanted:,} wanted kept; "
                f"teachers {found.seconds.teachers:.0f} s, drawing {found.seconds.drawing:.0f} s"
            )
    return lines


def _groups(result: RunResult) -> list[str]:
    """What the verdict's arm does to classes with many, medium and few images."""
    named = (result.verdict.arm, result.verdict.classifier)
    rows = [row for row in result.effects if (row.arm, row.classifier) == named and len(row.groups) > 1]
    return [
        f"Recall of {row.classifier}, {escape(row.arm)} against {escape(row.against)}: classes with "
        + ", ".join(f"{group.group} images {signed(group.delta)}" for group in row.groups)
        + " points"
        for row in rows
    ]


def _guards(guards: Sequence[Guard]) -> list[str]:
    failed = [guard_text(guard) for guard in guards if not guard.passed]
    return failed or [f"Guards: all {len(guards)} passed."]


def _costs(result: RunResult) -> str:
    reused = " (all of it cached)" if result.cached else ""
    made = ", ".join(f"{row.name} {row.seconds:.0f} s ({row.speed})" for row in result.generators)
    return (
        f"{result.seconds:.0f} s in all{reused}; training {made}.\n"
        f"Written to {escape(str(result.folder))}: result.json, samples.png, generator/"
    )


def show_components(components: Sequence[Mapping[str, str]], sets: Mapping[str, Sequence[str]]) -> None:
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
