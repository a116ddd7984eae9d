"""Command line: parse, call one function, print. Nothing here imports torch before a command needs it.

Results go to stdout, progress and messages to stderr; ``--json`` prints one document and nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from augment.cli.features import features_command
from augment.cli.generators import sample_command, score_command, train_command
from augment.cli.launch import refuse_to_repeat
from augment.cli.options import (
    A_FILE,
    A_PATH,
    DataDir,
    ImageSize,
    Json,
    Offline,
    Quiet,
    Shell,
    Strict,
)
from augment.cli.output import drop_output, prepare_streams, print_json, reporting
from augment.cli.report import report_command
from augment.cli.results import compare_command, results_command
from augment.cli.run import arms_command, run_command
from augment.cli.sweep import sweep_command
from augment.errors import AugmentError, ConfigError, DataError, ProcessLost, Stopped, UsageError, no_room
from augment.progress import is_main_process, process_index
from augment.studies.config import complete_dataset, complete_model

DISTRIBUTION = "augment-toolkit"

MET_BY_ALL = (UsageError, ConfigError, Stopped, ProcessLost)
"""Errors that every process of a launch meets, or that another one caused: the main process tells them."""

app = typer.Typer(
    name="augment",
    help="Does synthetic data help my classifier, and by how much more than the cheap tricks?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
datasets_app = typer.Typer(help="List and look at data sets.", no_args_is_help=True)
plugins_app = typer.Typer(help="Check a generator against the contract, or begin a new one.", no_args_is_help=True)
app.add_typer(datasets_app, name="datasets")
app.add_typer(plugins_app, name="plugins")


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"augment {version(DISTRIBUTION)}\n")
        raise typer.Exit


@app.callback()
def _begin(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    refuse_to_repeat(context.invoked_subcommand)


app.command("run")(run_command)
app.command("arms")(arms_command)
app.command("features")(features_command)
app.command("sweep")(sweep_command)
app.command("report")(report_command)
app.command("train")(train_command)
app.command("sample")(sample_command)
app.command("score")(score_command)
app.command("results")(results_command)
app.command("compare")(compare_command)


@app.command("models")
def models_command(
    name: Annotated[str | None, typer.Argument(help="Show this one in full.", autocompletion=complete_model)] = None,
    as_json: Json = False,
) -> None:
    """List the registered generators, or show one in full."""
    from augment.progress import LineReporter, Reporter
    from augment.registry.models import all_models, model_info

    reporter = Reporter() if as_json else LineReporter(every=1.0)
    models = [model_info(name)] if name else all_models(reporter)
    if as_json:
        documents = [info.document() for info in models]
        print_json(documents[0] if name else {"models": documents})
    else:
        from augment.cli.tables import show_model, show_models

        show_model(models[0]) if name else show_models(models)


@datasets_app.command("list")
def datasets_list_command(as_json: Json = False) -> None:
    """List the named data sets."""
    from augment.datasets.catalogue import DESCRIPTIONS

    if as_json:
        print_json({"datasets": [{"name": name, "description": text} for name, text in DESCRIPTIONS.items()]})
    else:
        from augment.cli.tables import show_datasets

        show_datasets(DESCRIPTIONS)


@datasets_app.command("inspect")
def datasets_inspect_command(
    dataset: Annotated[str, typer.Argument(help="A named data set or a folder.", autocompletion=complete_dataset)],
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    strict: Strict = False,
    out: Annotated[
        Path | None, typer.Option(help="Contact sheet. [default: <name>-contact-sheet.png]", **A_FILE)
    ] = None,
    offline: Offline = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what is in a data set.

    Classes, counts, sizes and channels, and a contact sheet.
    """
    from augment.cli.listing import inspect_dataset

    with reporting(quiet=quiet or as_json) as reporter:
        data, sheet = inspect_dataset(
            dataset,
            data_dir=data_dir,
            image_size=image_size,
            strict=strict,
            out=out,
            offline=offline,
            reporter=reporter,
        )
    if as_json:
        from augment.datasets import describe

        print_json({**describe(data), "contact_sheet": str(sheet)})
    else:
        from augment.cli.tables import show_dataset

        show_dataset(data, sheet)


@plugins_app.command("check")
def plugins_check_command(
    names: Annotated[list[str], typer.Argument(help="Registered generators.", autocompletion=complete_model)],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the conformance kit; exit 5 when a check fails."""
    from augment.cli.listing import check

    with reporting(quiet=quiet or as_json) as reporter:
        results = check(names, reporter)
    passed = all(result.outcome != "failed" for result in results)
    if as_json:
        print_json({"passed": passed, "checks": [asdict(result) for result in results]})
    else:
        from augment.cli.tables import show_checks

        show_checks(results)
    if not passed:
        raise typer.Exit(5)


@plugins_app.command("new")
def plugins_new_command(
    name: Annotated[str, typer.Argument(help="Name of the generator, a Python identifier.")],
    folder: Annotated[Path | None, typer.Option(help="Where to write the package. [default: ./NAME]", **A_PATH)] = None,
) -> None:
    """Write a small package with a working generator to start from."""
    from augment.generators.scaffold import write_plugin

    files = write_plugin(folder or Path(name), name)
    for file in files:
        sys.stdout.write(f"{file}\n")
    sys.stdout.write(f"Next: pip install -e {folder or name} && augment plugins check {name}\n")


@app.command("doctor")
def doctor_command(as_json: Json = False) -> None:
    """Report what this machine has and what is missing.

    Versions, device, precision and caches, for a bug report or a new machine.
    """
    from augment.cli.listing import doctor

    found = doctor()
    if as_json:
        print_json(asdict(found))
    else:
        from augment.cli.tables import show_doctor

        show_doctor(found)


@app.command("completion")
def completion_command(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the completion script of a shell.

    Used as in `eval "$(augment completion bash)"`.
    """
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="augment", complete_var="_AUGMENT_COMPLETE", shell=shell.value)
    sys.stdout.write(script + "\n")


def _stop_on_signals() -> None:
    """Outside the training loop, which has handlers of its own, SIGTERM and SIGINT end the work with one message."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped("Stopped. Finished parts are kept; the same command goes on from there.", number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def main() -> None:
    """Entry point: run the command line, and turn expected errors into one message and an exit code."""
    prepare_streams()
    _stop_on_signals()
    try:
        with _quiet_unless_main():
            try:
                app()
            finally:
                sys.stdout.flush()  # what cannot be written is told here, not by the interpreter at its end
    except AugmentError as error:
        _fail(error, error)
    except BrokenPipeError:
        drop_output()
        raise SystemExit(141) from None
    except OSError as error:
        _fail(_of_the_system(error), error)
    except (MemoryError, RuntimeError) as error:
        if not no_room(error):
            raise
        _fail(_of_memory(error), error)


def _of_the_system(error: OSError) -> AugmentError:
    """What no part had a better message for: a disk that is full, a folder that is closed to this user."""
    reason = error.strerror or str(error)
    place = error.filename2 or error.filename
    if place is not None:
        return DataError(f"{place}: {reason}. Check the path, its permissions and the space there.")
    drop_output()
    return DataError(f"The output, or another process, takes nothing more: {reason}. What was finished before is kept.")


def _of_memory(error: BaseException) -> AugmentError:
    first = (str(error).splitlines() or [""])[0]
    return ConfigError(
        f"There is not enough memory for this{f' ({first})' if first else ''}. Take smaller images (--image-size), a "
        "smaller batch (--set batch_size=32), a smaller model, or fewer images."
    )


def _fail(told: AugmentError, cause: BaseException) -> NoReturn:
    _ignore_signals()  # a launcher ends its other processes when one has failed
    with suppress(OSError):
        if is_main_process() or not isinstance(cause, MET_BY_ALL):
            kind = type(cause).__name__ if _debugging() else "Error"
            where = "" if is_main_process() else f" in process {process_index()}"
            sys.stderr.write(f"{kind}{where}: {told}\n")
            sys.stderr.flush()
    raise SystemExit(told.exit_code) from (cause if _debugging() else None)


@contextmanager
def _quiet_unless_main() -> Iterator[None]:
    """Of several processes of a launch the main one prints results."""
    if is_main_process():
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def _ignore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _debugging() -> bool:
    return bool(os.environ.get("AUGMENT_DEBUG"))


if __name__ == "__main__":
    main()
