"""What commands share in talking back: results on stdout, progress on stderr, whatever these streams can take."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augment.progress import Reporter

PLAIN = str.maketrans(
    {
        **{"−": "-", "–": "-", "×": "x", "±": "+-", "≥": ">=", "≤": "<=", "…": "...", "─": "-", "◇": "*"},
        **{"↓": "v", "↑": "^"},
    }
)
"""What stands for a sign in an output that does not have it; anything else becomes a question mark."""


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    """Error handler of the codecs: old locales, Windows pipes, and file names that are no text."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(PLAIN)
    return signs.encode("ascii", "replace").decode("ascii"), error.end


def prepare_streams() -> None:
    """Let stdout and stderr take any text, and tables have a width, whatever the environment says of them.

    A stream that was closed before the start takes everything and keeps nothing.
    """
    codecs.register_error("augment.plain", _in_plain_signs)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - it lives as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="augment.plain")
    for name in ("COLUMNS", "LINES"):  # 0, as some shells have it, means that nobody knows
        text = os.environ.get(name, "")
        if not (text.isdecimal() and int(text) > 0):
            os.environ.pop(name, None)


def drop_output() -> None:
    """Send what is still to be written to stdout nowhere: its reader is gone, or its disk is full."""
    with suppress(OSError):  # a stream that stands for stdout may have no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(document: object) -> None:
    """The one document of ``--json``; NaN and infinities are refused, as JSON has none."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Reporter]:
    """Progress while a command works, or none."""
    from augment.progress import choose_reporter

    with choose_reporter(quiet=quiet) as reporter:
        yield reporter
