"""Options of a command made from the fields of a config, so that an option is stated in one place."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from augment.errors import LARGEST_COUNT, LARGEST_SEED, UsageError
from augment.storage.locations import local_file, local_path
from augment.studies.config import Setting, StudyConfig, split_names


class Shell(StrEnum):
    """Shells with completion."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


A_PATH: dict[str, Any] = {"parser": local_path, "metavar": "PATH"}
A_FILE: dict[str, Any] = {"parser": local_file, "metavar": "FILE"}
"""What an option or argument that is a path has, so that impossible ones are told in one way."""


help_of = {one.name: one.option.help for one in StudyConfig.settings()}.__getitem__
"""The help of an option that a study has, too."""


DataDir = Annotated[Path | None, typer.Option(help=help_of("data_dir"), **A_PATH)]
ImageSize = Annotated[int | None, typer.Option(help=help_of("image_size"))]
Strict = Annotated[bool, typer.Option("--strict", help=help_of("strict"))]
ClassCounts = Annotated[str | None, typer.Option(help="Explicit counts per class, separated by commas.")]
Set = Annotated[list[str] | None, typer.Option("--set", help=help_of("options"))]
Seed = Annotated[int, typer.Option(help=help_of("seed"), min=0, max=LARGEST_SEED)]
Device = Annotated[str, typer.Option(help=help_of("device"))]
Precision = Annotated[str, typer.Option(help=help_of("precision"))]


def stay_offline(value: bool) -> bool:
    """``--offline`` for the libraries that plugins load weights with, too: they read this variable."""
    if value:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return value


Offline = Annotated[bool, typer.Option("--offline", help=help_of("offline"), callback=stay_offline)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]


def model_options(pairs: list[str] | None, flag: str = "--set") -> dict[str, Any]:
    """``key=value`` pairs of ``flag``; values are JSON where they parse as JSON, text otherwise."""
    options: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{flag} {pair!r}: write it as key=value, for example {flag} latent_dim=64.")
        try:
            options[key] = json.loads(value)
        except (ValueError, RecursionError):
            options[key] = value
    return options


def parse_counts(text: str | None) -> tuple[int, ...] | None:
    """Counts per class from ``400,200,100``; raises UsageError for anything else."""
    if text is None:
        return None
    return whole_numbers(text, "--class-counts", "400,200,100")


def whole_numbers(text: str, flag: str, example: str) -> tuple[int, ...]:
    """Whole numbers separated by commas; raises UsageError for anything else."""
    try:
        return tuple(int(part) for part in text.replace(" ", "").split(","))
    except ValueError:
        raise UsageError(f"{flag} {text!r}: write whole numbers separated by commas, like {example}.") from None


def names(text: str | None) -> tuple[str, ...]:
    """Names separated by commas, each once; ``none`` and nothing are no names."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(dict.fromkeys(part for part in parts if part and part != "none"))


SEVERAL = "; several by commas."

Settings = dict[str, Any]
"""What was given, by the name of a field; the others have their defaults."""


def with_settings(
    config: type[StudyConfig], *, only: Collection[str] = (), without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a config (``only`` some, or all ``without`` some) besides its own.

    Its first argument is what was given of them, by the names of the fields.
    """
    chosen = [one for one in config.settings() if (one.name in only if only else one.name not in without)]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def given(values: Settings) -> Settings:
            return {one.name: found for one in chosen if (found := _value(one, values.pop(one.name))) is not None}

        return _with_parameters(function, [_parameter(one) for one in chosen], given)

    return decorate


def with_axes(
    configs: Mapping[str, type[StudyConfig]], *, without: Collection[str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the settings of several configs as axes: each takes several values in turn.

    configs: by what a person calls them; what only the others have says so. The command's first argument is what was
    given, by the keys of a study file.
    """
    first = next(iter(configs))
    found: dict[str, tuple[Setting, str]] = {}
    for called, config in configs.items():
        for one in config.settings():
            if one.name not in without and not one.option.refused:
                found.setdefault(one.key, (one, "" if called == first else f" (of {called})"))

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def given(values: Settings) -> Settings:
            said = {key: _several(one, values.pop(key)) for key, (one, _) in found.items()}
            return {key: value for key, value in said.items() if value not in (None, False, [], {})}

        return _with_parameters(function, [_axis(one, of) for one, of in found.values()], given)

    return decorate


def _with_parameters(
    function: Callable[..., None], more: Iterable[inspect.Parameter], given: Callable[[Settings], Settings]
) -> Callable[..., None]:
    """The command with further parameters, of which it gets what ``given`` takes out as its first argument."""
    hints = get_type_hints(function, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    parameters = [*more, *(one.replace(annotation=hints[one.name], kind=one.KEYWORD_ONLY) for one in own)]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        settings = given(values)
        function(settings, **values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    del command.__wrapped__
    return command


def _parameter(setting: Setting) -> inspect.Parameter:
    """One option with the type, limits, default and help of its field."""
    kind, default, more = _kind(setting)
    option, required = setting.option, setting.field.is_required()
    if option.default and default is None:
        more["show_default"] = option.default
    flags = [f"{setting.flag}/--no-{setting.flag[2:]}"] if default is True else [setting.flag]
    told = typer.Option(*flags, help=option.help, autocompletion=option.complete, **more)
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else default,
        annotation=Annotated[kind if required or default is not None else kind | None, told],
    )


def _kind(setting: Setting) -> tuple[Any, Any, dict[str, Any]]:
    """What the command line takes as a setting: type, default, and what typer should know besides."""
    option = setting.option
    fallback = None if setting.field.is_required() else setting.field.get_default(call_default_factory=True)
    if option.given in ("repeated", "pairs"):
        return list[str], None, {"show_default": ", ".join(fallback)} if fallback else {}
    if option.given == "commas":
        return str, ",".join(fallback) or None if fallback is not None else None, {}
    (kind, *_) = setting.kinds
    if kind is Path:
        return Path, fallback, dict(A_FILE if option.file else A_PATH)
    if kind in (int, float):
        low, high = setting.limit("ge"), setting.limit("le")
        worth_telling = high is not None and high < LARGEST_COUNT
        return kind, fallback, {"min": low, "max": high if worth_telling else None}
    return bool if kind is bool else str, fallback or None if kind is str else fallback, {}


def _axis(setting: Setting, of: str) -> inspect.Parameter:
    """An option that takes several values, each as text."""
    option = setting.option
    told = option.help.removesuffix(".") + of
    kind: Any = str
    if setting.kinds == (bool,):
        kind = bool
    elif setting.is_list or option.whole or option.given == "pairs":
        kind, told = list[str], f"{told}; repeatable." if "repeatable" not in told else f"{told}."
    else:
        told = f"{told}{SEVERAL}"
    more = typer.Option(setting.flag, help=told, autocompletion=option.complete, show_default=_shown(setting) or False)
    default, wanted = (False, kind) if kind is bool else (None, kind | None)
    return inspect.Parameter(
        setting.key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[wanted, more]
    )


def _several(setting: Setting, value: Any) -> Any:
    """What the command line gave, as a study file has it: several lists of names are lists in a list."""
    if setting.option.given == "pairs":
        return model_options(value, flag=setting.flag)
    if setting.option.given == "commas" and not setting.numbers:
        return [list(split_names(text)) for text in value or ()]
    return value


def _shown(setting: Setting) -> str:
    """The default, for the help."""
    if setting.option.default:
        return setting.option.default
    value = None if setting.field.is_required() else setting.field.get_default(call_default_factory=True)
    if value is None or value in (False, "", (), {}):
        return ""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _value(setting: Setting, value: Any) -> Any:
    """What the command line gave, as the config takes it; None where nothing was."""
    if setting.option.given == "pairs":
        return model_options(value, flag=setting.flag) or None
    if setting.option.given == "repeated":
        return tuple(value) if value else None
    return value
