"""What ``augment models`` prints: a row for each generator, or one in full."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from augment.cli.tables import new_table, terminal
from augment.registry.capabilities import EncodeOption, ModelOption

if TYPE_CHECKING:
    from augment.registry.models import ModelInfo

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
