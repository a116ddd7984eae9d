"""How often a verdict is wrong: studies of arms whose truth is known, judged by the program's own functions.

Whether a classifier is right on a test image depends on the image, on what the arm does with this image whatever the
seed, on the subset that was drawn, and on the luck of the training: normal variables whose sum is compared with a
threshold. Arms are equal in truth, or the generators are better by ``--gain`` points. Printed are the shares of studies
that say "helps" and "hurts", the coverage of intervals, and the same under the rule that was used before: the best arm
without synthetic images chosen on the test images, no correction of "hurts", no variance of the test images.

    python benchmarks/verdict_errors.py --studies 2000 --page docs/evidence.md
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from page_part import write_part
from scipy.special import ndtri

from augment.evidence.judgement import Scored, judged, pairs
from augment.evidence.statistics import holm, paired_interval

ACCURACY = 0.85
IMAGE, SUBSET, HABIT, REST = 0.7, 0.15, 0.1, 0.05
"""Shares of the variance: of the image, of the subset with this image, of the arm's habit with it, of the rest."""

LUCK = 0.03
"""Standard deviation of a training's luck, of the threshold's unit: about 0.7 points of accuracy."""


@dataclass(frozen=True)
class Setting:
    """One kind of study: repetitions, arms with and without a generator, test images, true gain in points."""

    seeds: int
    arms: int
    rivals: int
    images: int
    gain: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What one study said: now, and by the rule before; whether intervals hold the truth (None without one)."""

    decision: str
    before: str
    first_covers: bool | None
    named_covers: bool | None


def study(setting: Setting, rng: np.random.Generator) -> list[Scored]:
    """The scores of one study's arms."""
    total = setting.arms + setting.rivals
    images = np.sqrt(IMAGE) * rng.standard_normal(setting.images)
    subset = np.sqrt(SUBSET) * rng.standard_normal((setting.seeds, setting.images))
    habit = np.sqrt(HABIT) * rng.standard_normal((total, 1, setting.images))
    rest = np.sqrt(REST) * rng.standard_normal((total, setting.seeds, setting.images))
    luck = LUCK * rng.standard_normal((total, setting.seeds, 1))
    spread = np.sqrt(1 + LUCK**2)
    accuracy = np.where(np.arange(total) < setting.arms, ACCURACY + setting.gain / 100, ACCURACY)
    correct = images + subset + habit + rest + luck < spread * ndtri(accuracy)[:, None, None]
    return [
        Scored("cnn", f"arm {index}", "generative" if index < setting.arms else "classical", rows.mean(1), rows)
        for index, rows in enumerate(correct)
    ]


def judge(setting: Setting, seed: int) -> Outcome:
    """One study judged."""
    arms = study(setting, np.random.default_rng([seed, setting.seeds, setting.arms, setting.rivals, setting.images]))
    (verdict,) = judged(arms, [])
    first = pairs(arms, "cnn")[0].ci95
    return Outcome(verdict.decision, before(arms), _holds(first, setting.gain), _holds(verdict.ci95, setting.gain))


def _holds(interval: tuple[float, float] | None, truth: float) -> bool | None:
    return None if interval is None else interval[0] <= truth <= interval[1]


def before(arms: Sequence[Scored]) -> str:
    """The decision by the rule that was used before, in a word."""
    best = max((arm for arm in arms if arm.family == "classical"), key=lambda arm: float(np.mean(arm.accuracy)))
    others = [arm for arm in arms if arm.family == "generative"]
    deltas = [[100 * (a - b) for a, b in zip(arm.accuracy, best.accuracy, strict=True)] for arm in others]
    if len(deltas[0]) == 1:
        return "no evidence"
    found = [paired_interval(row) for row in deltas]
    named = max(range(len(deltas)), key=lambda index: float(np.mean(deltas[index])))
    low, high, _ = found[named]
    p = holm([row[2] for row in found])[named]
    return "helps" if low > 0 and p < 0.05 else "hurts" if high < 0 else "no evidence"


@dataclass(frozen=True)
class Row:
    """Shares over all studies of a setting."""

    setting: Setting
    helps: float
    hurts: float
    helped_before: float
    hurt_before: float
    first_covers: float | None
    named_covers: float | None


def measure(setting: Setting, studies: int, first: int = 0) -> Row:
    """Judge ``studies`` studies of one setting, with seeds from ``first`` on."""
    found = [judge(setting, seed) for seed in range(first, first + studies)]

    def share(values: Sequence[bool | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return Row(
        setting,
        float(np.mean([one.decision == "helps" for one in found])),
        float(np.mean([one.decision == "hurts" for one in found])),
        float(np.mean([one.before == "helps" for one in found])),
        float(np.mean([one.before == "hurts" for one in found])),
        share([one.first_covers for one in found]),
        share([one.named_covers for one in found]),
    )


def settings(gain: float) -> Iterator[Setting]:
    """Equal arms in every size of study, then generators that are better."""
    for images in (359, 2000):
        for seeds in (1, 3, 5, 10):
            for arms, rivals in ((1, 1), (1, 3), (2, 5), (3, 14)):
                yield Setting(seeds, arms, rivals, images)
    for images in (359, 2000):
        for seeds in (3, 5, 10):
            for arms, rivals in ((1, 3), (3, 14)):
                yield Setting(seeds, arms, rivals, images, gain)


def table(rows: Sequence[Row], studies: int) -> str:
    """The rows as Markdown."""
    names = ("test images", "seeds", "arms", "true gain", "helps", "hurts", "before: helps", "hurts")
    lines = [f"| {' | '.join((*names, 'a pair holds', 'the named one'))} |", "|---" * 10 + "|"]
    for row in rows:
        one = row.setting
        shares = (row.helps, row.hurts, row.helped_before, row.hurt_before, row.first_covers, row.named_covers)
        cells = " | ".join("-" if share is None else f"{100 * share:.1f}" for share in shares)
        lines.append(f"| {one.images:,} | {one.seeds} | {one.arms} against {one.rivals} | {one.gain:g} | {cells} |")
    return (
        "\n".join(lines) + f"\n\nShares in % of {studies:,} simulated studies a row (`benchmarks/verdict_errors.py`).\n"
    )


def main() -> None:
    """Measure every setting, print the table, and write it into a page where one is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument(
        "--gain", type=float, default=1.0, help="points by which generators are better in the last rows"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", type=Path, help="a page with the marks `verdict errors`")
    given = parser.parse_args()
    begin, every = time.perf_counter(), list(settings(given.gain))
    with ProcessPoolExecutor(given.workers) as pool:
        rows = list(pool.map(measure, every, [given.studies] * len(every)))
    text = table(rows, given.studies)
    print(text)
    print(f"{time.perf_counter() - begin:.0f} s")
    if given.page is not None:
        write_part(given.page, "verdict errors", text)


if __name__ == "__main__":
    main()
