"""What a person reads at the end of a command: tables on stdout, by rich."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from augment.metrics.scores import SCORES, FidelityScores
from augment.registry.capabilities import EncodeOption, ModelOption

if TYPE_CHECKING:
    from pathlib import Path

    from augment.cli.listing import Machine
    from augment.datasets import ImageSet
    from augment.evidence.verdict import Guard
    from augment.generators.scoring import ScoreResult
    from augment.registry.models import ModelInfo
    from augment.testing.kit import CheckResult


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


def show_score(found: ScoreResult) -> None:
    """The scores of ``augment score``, and guards."""
    console = terminal()
    console.print(fidelity_table(found.fidelity))
    for guard in found.guards:
        mark = "passed" if guard.passed else "[bold]failed[/]"
        console.print(f"Guard {mark}: {escape(guard.name)} ({escape(guard.detail)})", soft_wrap=True)


def show_datasets(descriptions: Mapping[str, str]) -> None:
    """Named data sets."""
    table = new_table("", "data set", "what it is")
    for name, text in descriptions.items():
        table.add_row(name, text)
    table.add_row("a folder", "train/ and test/ with one folder per class, or one folder of class folders")
    terminal().print(table)


def show_dataset(data: ImageSet, sheet: Path) -> None:
    """Classes and counts of one data set; sheet: the picture of its images."""
    console = terminal()
    spec = data.spec
    console.print(
        f"[bold]{escape(data.name)}[/] {spec.channels} x {spec.height} x {spec.width}, sha256 {data.sha256[:16]}"
    )
    for note in data.notes:
        console.print(f"  {escape(note)}")
    table = new_table("", "class", "train", "test", right=("train", "test"))
    counts = (part.counts(spec.num_classes) for part in (data.train, data.test))
    for name, in_train, in_test in zip(data.classes, *counts, strict=True):
        table.add_row(escape(name), f"{in_train:,}", f"{in_test:,}")
    console.print(table)
    console.print(f"Contact sheet: {escape(str(sheet))}")


def show_checks(results: Sequence[CheckResult]) -> None:
    """Results of the conformance kit: a line per generator, and every failure in full."""
    console = terminal()
    by_name: dict[str, list[CheckResult]] = {}
    for result in results:
        by_name.setdefault(result.generator, []).append(result)
    for name, found in by_name.items():
        failed = [result for result in found if result.outcome == "failed"]
        console.print(f"{name}: {len(found) - len(failed)} of {len(found)} checks passed")
        for result in failed:
            console.print(f"  [bold]{result.check}[/]: {escape(result.message)}")


def show_doctor(found: Machine) -> None:
    """The state of this machine."""
    table = new_table("", "what", "found")
    for key, value in vars(found).items():
        if key == "packages":
            for name, release in found.packages.items():
                table.add_row(name, release or "missing: pip install " + name)
        elif key == "models":
            for model in found.models:
                table.add_row(f"model {model.name}", escape(model.problem or "ok"))
        elif key == "cache":
            table.add_row(key, escape(found.cache.folder + ("" if found.cache.writable else " (cannot be written)")))
        else:
            text = ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
            table.add_row(key.replace("_", " "), escape(text))
    terminal().print(table)


TELLING = 4
"""Options of a model that its line in the list names."""


def show_models(models: Sequence[ModelInfo]) -> None:
    """Registered generators: what each is, what it can do, how large it is, its first options."""
    table = new_table("", "model", "family", "parameters", "description, capabilities, options", right=("parameters",))
    several = len({info.entry.distribution for info in models}) > 1
    for info in models:
        text = _in_short(info) if info.problem is None else f"unavailable: {info.problem}"
        if several:
            text += f"\nfrom {info.entry.distribution} {info.entry.version}"
        table.add_row(info.name, info.capabilities.family, _millions(info.capabilities.parameters), escape(text))
    console = terminal()
    console.print(table)
    console.print(
        "Parameters of the default model for 1 x 28 x 28 images of 10 classes. Every model samples\n"
        "and encodes; encode(...) names options of the latter. One in full: augment models NAME",
        soft_wrap=True,
    )


def _in_short(info: ModelInfo) -> str:
    """Three lines: description, capabilities, the first of its own options with their defaults."""
    found = info.capabilities
    encode = ", ".join(option.name for option in found.encode_options)
    own = [option for option in found.options if not option.common]
    shown = [f"{option.name}={_default(option)}" for option in own[:TELLING]]
    more = [f"{len(found.options) - len(shown)} more"]
    can = ", ".join([*found.able(), *([f"encode({encode})"] if encode else [])]) or "sample, encode"
    return f"{info.entry.summary}\ncan: {can}\nset: {', '.join([*shown, *more])}"


def _millions(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.2f} M"


def show_model(info: ModelInfo) -> None:
    """One generator in full: what it is and can do, parameters, options of ``encode``, then all of its options."""
    console = terminal()
    entry, found = info.entry, info.capabilities
    family = f" ({found.family})" if found.family else ""
    console.print(f"[bold]{escape(info.name)}[/]{escape(family)} from {escape(entry.distribution)} {entry.version}")
    console.print(escape(f"{entry.summary}\n\n{_prose(found.description)}\n"))
    console.print(f"Capabilities: {', '.join(['samples', 'encodes', *found.able()])}")
    count = found.parameters
    size = f"unknown ({found.parameters_problem})" if count is None else f"{count:,}"
    console.print(escape(f"Parameters: {size} (default options, 1 x 28 x 28 images, 10 classes)"))
    console.print(escape(f"encode: {_prose(found.encode)}"))
    own = [_model_option(option) for option in found.options if not option.common]
    common = [_model_option(option) for option in found.options if option.common]
    encode = [(option.name, _default(option), option.type) for option in found.encode_options]
    _print_options("Options of encode", encode)
    _print_options("Options of its own (--set key=value)", own, "meaning")
    _print_options("Options every model has, with its defaults", common, "meaning")


def _prose(text: str) -> str:
    """A docstring as paragraphs that wrap by themselves."""
    return "\n\n".join(" ".join(part.split()) for part in text.replace("``", "`").split("\n\n"))


def _model_option(option: ModelOption) -> tuple[str, ...]:
    kind = ", ".join(text for text in (option.type, option.allowed) if text)
    return option.name, _default(option), kind, option.description


def _print_options(title: str, rows: Sequence[tuple[str, ...]], *further: str) -> None:
    if rows:
        table = new_table(title, "option", "default", "type", *further)
        for row in rows:
            table.add_row(*map(escape, row))
        terminal().print(table)


def _default(option: EncodeOption | ModelOption) -> str:
    """As one writes it on the command line."""
    value = option.default
    return "(must be given)" if option.required else value if isinstance(value, str) else json.dumps(value)
