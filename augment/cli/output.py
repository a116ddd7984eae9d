"""What commands share in talking back: one JSON document on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augment.progress import Reporter


def print_json(document: object) -> None:
    """The one document of ``--json``; NaN and infinities are refused, as JSON has none."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Reporter]:
    """Progress while a command works, or none."""
    from augment.progress import reporter

    with reporter(quiet=quiet) as report:
        yield report
