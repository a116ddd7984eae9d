"""Charts as PNG and SVG files, the same numbers and looks as on the page."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.report import static_heat_map, static_lines, static_maps
from augment.report.chart import Bars, Chart, HeatMap, Intervals, Lines, Scatter
from augment.report.figures import DPI, SUFFIXES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORTH_A_PROCESS = 12
"""Charts for which a process is started: with fewer it would draw for less long than it takes to start."""

SVG: dict[Any, str] = {"svg.hashsalt": "augment", "svg.fonttype": "none"}
"""Text stays text, which can be searched and read aloud; equal figures give equal files."""


def begin_static(charts: Sequence[Chart], folder: Path, *, workers: int | None = None) -> Callable[[], list[Path]]:
    """Begin to write every chart into ``folder`` as ``<name>.png`` and ``<name>.svg``; call the result for the paths.

    workers: processes that draw meanwhile; 0 draws only when the result is called, None takes as many as pay for these
    charts on this machine's cores. Equal charts give equal files, in the order of the charts. The folder is made when
    missing; raises OSError where it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = _worth(len(charts)) if workers is None else workers
    if count < 1:
        return lambda: [path for chart in charts for path in _save(chart, folder)]
    from loky import ProcessPoolExecutor  # a script that calls this needs no main guard

    pool = ProcessPoolExecutor(count, env={"OMP_NUM_THREADS": "1"})
    parts = pool.map(_save, charts, [folder] * len(charts), chunksize=4)

    def paths() -> list[Path]:
        with pool:
            return [path for part in parts for path in part]

    return paths


def draw(chart: Chart) -> Figure:
    """The figure of a chart; raises TypeError for a chart of another kind."""
    kinds: Mapping[type[Chart], Any] = {
        **{Lines: static_lines.lines, Intervals: static_lines.intervals, HeatMap: static_heat_map.heat_map},
        **{Bars: static_heat_map.bars, Scatter: static_maps.scatter},
    }
    if type(chart) not in kinds:
        raise TypeError(f"{type(chart).__name__} is no chart that can be drawn.")
    figure: Figure = kinds[type(chart)](chart)
    return figure


def _worth(charts: int) -> int:
    """Processes for so many charts; none where this one has the only core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return min(cores, charts // WORTH_A_PROCESS) if cores > 1 else 0


def _save(chart: Chart, folder: Path) -> list[Path]:
    from matplotlib import rc_context

    paths = [folder / f"{chart.name}{suffix}" for suffix in SUFFIXES]
    with warnings.catch_warnings(), rc_context(SVG):
        # a name in a script that the font lacks is shown as boxes: that is no reason to stop, or to warn per letter
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        figure = draw(chart)
        # a map has equal scales, so its room is only known once it is drawn; all others have theirs worked out
        room: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.15} if isinstance(chart, Scatter) else {}
        figure.savefig(paths[0], dpi=DPI, facecolor="white", pil_kwargs={"compress_level": 3}, **room)
        figure.savefig(paths[1], facecolor="white", metadata={"Date": None}, **room)
    return paths
