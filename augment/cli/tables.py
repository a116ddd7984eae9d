"""What a person reads at the end of a command: tables on stdout, by rich."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from augment.metrics.scores import SCORES, FidelityScores

if TYPE_CHECKING:
    from augment.evidence.verdict import Guard
    from augment.scoring import ScoreReport

TELLING = 4
"""Options of a model that its line in the list names."""


def terminal() -> Console:
    """Where tables go: stdout."""
    return Console(soft_wrap=False, highlight=False)


def new_table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table in the style of all; where room is short, words are broken and numbers stay whole."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        number = column in right
        table.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=number)
    return table


INDISTINGUISHABLE = "as real images are: not to be told from them at this n"
"""Of a distance that halves of the real images have, too."""


def fidelity_table(fidelity: FidelityScores) -> Table:
    """Scores of samples beside those of as many real images."""
    title = f"Samples against held-out images (n = {fidelity.n:,}, extractor {fidelity.extractor})"
    table = new_table(title, "score", "samples", "real images", "read as", right=("samples", "real images"))
    for kind in SCORES:
        score = fidelity[kind.name]
        if score.value is not None or kind.by != "reconstructions":
            meaning = INDISTINGUISHABLE if score.like_real else kind.meaning
            table.add_row(kind.scaled_title, kind.text(score.value), kind.floor_text(score), meaning)
    return table


def guard_text(guard: Guard) -> str:
    """A guard that failed, for the terminal."""
    return f"[bold]Guard failed[/]: {escape(guard.name)} ({escape(guard.detail)})."


def show_score(found: ScoreReport) -> None:
    """The scores of ``augment score``, and guards."""
    console = terminal()
    console.print(fidelity_table(found.fidelity))
    for guard in found.guards:
        mark = "passed" if guard.passed else "[bold]failed[/]"
        console.print(f"Guard {mark}: {escape(guard.name)} ({escape(guard.detail)})", soft_wrap=True)


def show_models(models: Sequence[Mapping[str, Any]]) -> None:
    """Registered generators: what each is, what it can do, how large it is, its first options."""
    table = new_table("", "model", "family", "parameters", "description, capabilities, options", right=("parameters",))
    several = len({row["package"] for row in models}) > 1
    for row in models:
        text = _in_short(row) if row["available"] else f"unavailable: {row['problem']}"
        if several:
            text += f"\nfrom {row['package']} {row['version']}"
        table.add_row(row["name"], row["family"], _millions(row["parameters"]), escape(text))
    console = terminal()
    console.print(table)
    console.print(
        "Parameters of the default model for 1 x 28 x 28 images of 10 classes. Every model samples\n"
        "and encodes; encode(...) names options of the latter. One in full: augment models NAME",
        soft_wrap=True,
    )


def _in_short(row: Mapping[str, Any]) -> str:
    """Three lines: description, capabilities, the first of its own options with their defaults."""
    able = [name for name, value in row["tags"].items() if value]
    encode = ", ".join(option["name"] for option in row["encode_options"])
    own = [option for option in row["options"] if not option["common"]]
    shown = [f"{option['name']}={_default(option)}" for option in own[:TELLING]]
    more = [f"{len(row['options']) - len(shown)} more"]
    can = ", ".join([*able, *([f"encode({encode})"] if encode else [])]) or "sample, encode"
    return f"{row['summary']}\ncan: {can}\nset: {', '.join([*shown, *more])}"


def _millions(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.2f} M"


def show_model(card: Mapping[str, Any]) -> None:
    """One generator in full: what it is and can do, parameters, options of ``encode``, then all of its options."""
    console = terminal()
    family = f" ({card['family']})" if card["family"] else ""
    console.print(f"[bold]{escape(card['name'])}[/]{escape(family)} from {escape(card['package'])} {card['version']}")
    console.print(escape(f"{card['summary']}\n\n{_prose(card['description'])}\n"))
    able = [name for name, value in card["tags"].items() if value]
    console.print(f"Capabilities: {', '.join(['samples', 'encodes', *able])}")
    count = card["parameters"]
    size = f"unknown ({card['parameters_problem']})" if count is None else f"{count:,}"
    console.print(escape(f"Parameters: {size} (default options, 1 x 28 x 28 images, 10 classes)"))
    console.print(escape(f"encode: {_prose(card['encode'])}"))
    own = [option for option in card["options"] if not option["common"]]
    common = [option for option in card["options"] if option["common"]]
    for title, options, columns in (
        ("Options of encode", card["encode_options"], ("type",)),
        ("Options of its own (--set key=value)", own, ("type", "meaning")),
        ("Options every model has, with its defaults", common, ("type", "meaning")),
    ):
        if options:
            console.print(_options_table(title, options, columns))


def _prose(text: str) -> str:
    """A docstring as paragraphs that wrap by themselves."""
    return "\n\n".join(" ".join(part.split()) for part in text.replace("``", "`").split("\n\n"))


def _options_table(title: str, options: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    table = new_table(title, "option", "default", *columns)
    for option in options:
        kind = ", ".join(text for text in (option["type"], option.get("allowed")) if text)
        cells = (option["name"], _default(option), kind, option.get("description", ""))
        table.add_row(*map(escape, cells[: 2 + len(columns)]))
    return table


def _default(option: Mapping[str, Any]) -> str:
    """As one writes it on the command line."""
    value = option["default"]
    return "(must be given)" if option["required"] else value if isinstance(value, str) else json.dumps(value)


def show_datasets(descriptions: Mapping[str, str]) -> None:
    """Named data sets."""
    table = new_table("", "data set", "what it is")
    for name, text in descriptions.items():
        table.add_row(name, text)
    table.add_row("a folder", "train/ and test/ with one folder per class, or one folder of class folders")
    terminal().print(table)


def show_dataset(document: Mapping[str, Any]) -> None:
    """Classes and counts of one data set."""
    console = terminal()
    console.print(
        f"[bold]{escape(document['name'])}[/] {document['channels']} x {document['height']} x {document['width']}, "
        f"sha256 {document['sha256'][:16]}"
    )
    for note in document["notes"]:
        console.print(f"  {escape(note)}")
    table = new_table("", "class", "train", "test", right=("train", "test"))
    for row in document["classes"]:
        table.add_row(escape(row["class"]), f"{row['train']:,}", f"{row['test']:,}")
    console.print(table)
    console.print(f"Contact sheet: {escape(document['contact_sheet'])}")


def show_checks(document: Mapping[str, Any]) -> None:
    """Results of the conformance kit: a line per generator, and every failure in full."""
    console = terminal()
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in document["checks"]:
        by_name.setdefault(row["generator"], []).append(row)
    for name, rows in by_name.items():
        failed = [row for row in rows if row["outcome"] == "failed"]
        console.print(f"{name}: {len(rows) - len(failed)} of {len(rows)} checks passed")
        for row in failed:
            console.print(f"  [bold]{row['check']}[/]: {escape(row['message'])}")


def show_doctor(document: Mapping[str, Any]) -> None:
    """The state of this machine."""
    table = new_table("", "what", "found")
    for key, value in document.items():
        if key == "packages":
            for name, found in value.items():
                table.add_row(name, found or "missing: pip install " + name)
        elif key == "models":
            for row in value:
                table.add_row(f"model {row['name']}", escape(row["problem"] or "ok"))
        else:
            text = ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
            table.add_row(key.replace("_", " "), escape(text))
    terminal().print(table)
