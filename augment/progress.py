"""What long work tells the person who waits: stages, progress within one, and notes worth keeping.

Parts call a :class:`Reporter`; the command line decides between a bar on a terminal and a line every few seconds.
Of the processes of one launch (``accelerate launch``, torchrun, mpirun), the main one alone reports.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
INDICES = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
"""Environment variables of launchers, in the order in which Accelerate reads them."""


def process_count() -> int:
    """Processes of this launch; 1 without a launcher."""
    return max(1, _number(COUNTS, 1))


def process_index() -> int:
    """Which of them this is; 0 is the main process."""
    return _number(INDICES, 0) if process_count() > 1 else 0


def is_main_process() -> bool:
    """Whether this process reports, prints results and writes what is written once."""
    return process_index() == 0


def _number(names: tuple[str, ...], default: int) -> int:
    """The first of these variables that is a whole number, 0 or more."""
    texts = (os.environ.get(name, "") for name in names)
    return next((int(text) for text in texts if text.isdecimal()), default)


class Reporter:
    """Silent base: a library call prints nothing."""

    def stage(self, title: str) -> None:
        """A new stage begins; the one before it is done."""

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Progress within the current stage."""

    def note(self, text: str) -> None:
        """Something a person should know, kept on the screen."""

    def metrics(self, values: Mapping[str, float], step: int, folder: Path | None = None) -> None:
        """Numbers for a tracker: of a training's ``step``, with the folder it writes to; without one, of a result."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LineReporter(Reporter):
    """A line when a stage begins and one every ``every`` seconds within it, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None, every: float = 5.0) -> None:
        self.stream = stream or sys.stderr
        self.every = every
        self.start = self.last = time.monotonic()

    def _line(self, text: str) -> None:
        self.last = time.monotonic()
        try:
            self.stream.write(f"[{self.last - self.start:6.1f} s] {text}\n")
            self.stream.flush()
        except BrokenPipeError:  # whoever reads has gone, and the work with them
            raise
        except OSError:  # a full disk under a log is no reason to stop
            return

    def stage(self, title: str) -> None:
        """Print the stage's title."""
        self._line(title)

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Print a line when ``every`` seconds have gone by."""
        if time.monotonic() - self.last >= self.every:
            self._line(f"  {done:.0f} of {total:.0f}  {detail}".rstrip())

    def note(self, text: str) -> None:
        """Print the note."""
        self._line(text)


class BarReporter(Reporter):
    """A rich progress bar per stage, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.bars = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=Console(stderr=True),
        )
        self.current: Any = None

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self.bars.stop()

    def _finish(self) -> None:
        if self.current is not None:
            total = self.bars.tasks[self.current].total or 1
            self.bars.update(self.current, completed=total, total=total)
            self.bars.stop_task(self.current)

    def stage(self, title: str) -> None:
        """Complete the bar before and begin one."""
        from rich.markup import escape

        self._finish()
        self.current = self.bars.add_task(escape(title), total=None, detail="")

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Move the bar."""
        if self.current is not None:
            self.bars.update(self.current, completed=done, total=total, detail=detail)

    def note(self, text: str) -> None:
        """Print above the bars."""
        from rich.markup import escape

        self.bars.console.print(escape(text), highlight=False)


def choose_reporter(*, quiet: bool) -> Reporter:
    """The reporter for this process: silent, bars on a terminal, lines elsewhere."""
    if quiet or not is_main_process():
        return Reporter()
    return BarReporter() if sys.stderr.isatty() else LineReporter()
