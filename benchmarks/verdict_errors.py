"""How often a verdict is wrong: studies of arms whose truth is known, judged by the program's own functions.

Whether a classifier is right on a test image depends on the image, on what the arm does with this image whatever the
seed, on the subset that was drawn, and on the luck of the training: normal variables whose sum is compared with a
threshold. Arms are equal in truth, or the generators are better by ``--gain`` points. Arms that the verdict names are
trained twice, as in a run. Subsets may overlap, and then the arm's luck with them does, too: the truth is that of all
pools. Printed are the shares of studies that say "helps" and "hurts", the coverage of intervals, and the same under the
rule that was used before: the best arm without synthetic images chosen on the test images, no correction of "hurts", no
variance of the test images.

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
from numpy.typing import NDArray
from page_part import write_part
from scipy.special import ndtri

from augment.evidence.statistics import Drawn, holm, paired_interval
from augment.evidence.verdict import Scored, judged, pairs

ACCURACY = 0.85
IMAGE, SUBSET, HABIT, REST = 0.7, 0.15, 0.1, 0.05
"""Shares of the variance: of the image, of the subset with this image, of the arm's habit with it, of the rest."""

LUCK = 0.03
"""Standard deviation of a training's luck, of the threshold's unit: about 0.7 points of accuracy."""

SUITED = 0.3
"""Share of that variance which is the arm's luck with the subset; the rest is of the single training."""


@dataclass(frozen=True)
class Setting:
    """One kind of study: repetitions, arms with and without a generator, test images, true gain in points.

    overlap: share of its training images that a repetition has in common with another.  pool: images of which each
    repetition draws its own test images; 0 for one test part.  folds: they are cut into as many folds as seeds instead.
    """

    seeds: int
    arms: int
    rivals: int
    images: int
    gain: float = 0.0
    overlap: float = 0.0
    pool: int = 0
    folds: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one study said: now, and by the rule before; whether intervals hold the truth (None without one)."""

    decision: str
    before: str
    first_covers: bool | None
    named_covers: bool | None


@dataclass(frozen=True)
class Trained:
    """An arm of a study: on which images two trainings of it were right, ``(J, n)``."""

    name: str
    family: str
    first: NDArray[np.bool_]
    second: NDArray[np.bool_]

    def scored(self, drawn: Drawn, *, twice: bool) -> Scored:
        """By the first training, or as the mean of both."""
        right = (self.first.astype(float) + self.second) / 2 if twice else self.first.astype(float)
        return Scored("cnn", self.name, self.family, right.mean(1), right, drawn)


def study(setting: Setting, rng: np.random.Generator) -> list[Trained]:
    """The arms of one study, each trained twice."""
    total, seeds = setting.arms + setting.rivals, setting.seeds
    test = _test_images(setting, rng)
    count = max(setting.pool, setting.images)
    images = np.sqrt(IMAGE) * rng.standard_normal(count)[test]
    subset = np.sqrt(SUBSET) * _shared(setting.overlap, (1, seeds, setting.images), rng)
    habit = np.sqrt(HABIT) * rng.standard_normal((total, count))[:, test]
    suits = LUCK * np.sqrt(SUITED) * _shared(setting.overlap, (total, seeds, 1), rng)
    spread = np.sqrt(1 + LUCK**2)
    accuracy = np.where(np.arange(total) < setting.arms, ACCURACY + setting.gain / 100, ACCURACY)
    known = images + subset + habit + suits

    def training() -> NDArray[np.bool_]:
        rest = np.sqrt(REST) * rng.standard_normal((total, seeds, setting.images))
        luck = LUCK * np.sqrt(1 - SUITED) * rng.standard_normal((total, seeds, 1))
        right: NDArray[np.bool_] = known + rest + luck < spread * ndtri(accuracy)[:, None, None]
        return right

    families = ["generative"] * setting.arms + ["classical"] * setting.rivals
    pairs = zip(families, training(), training(), strict=True)
    return [Trained(f"arm {index}", family, *both) for index, (family, *both) in enumerate(pairs)]


def _test_images(setting: Setting, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which images each repetition is scored on, ``(J, n)``."""
    every = np.arange(setting.images)
    if setting.folds:
        return rng.permutation(setting.pool)[: setting.seeds * setting.images].reshape(setting.seeds, -1)
    drawn = [rng.permutation(setting.pool)[every] if setting.pool else every for _ in range(setting.seeds)]
    return np.stack(drawn)


def _shared(overlap: float, shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Standard normal effects of subsets, which two repetitions (the second axis) share as they share images."""
    common = rng.standard_normal((shape[0], 1, shape[2]))
    effects: NDArray[np.float64] = np.sqrt(overlap) * common + np.sqrt(1 - overlap) * rng.standard_normal(shape)
    return effects


def judge(setting: Setting, seed: int) -> Outcome:
    """One study judged, as a run does it: the arms that a verdict names are trained again until they all have been."""
    named = [seed, setting.seeds, setting.arms, setting.rivals, setting.images, round(100 * setting.overlap)]
    trained = study(setting, np.random.default_rng(named))
    share = setting.images / (setting.pool - setting.images) if setting.pool else 0.0
    drawn, twice = Drawn(not setting.pool, share, setting.overlap), set[str]()
    while True:
        arms = [arm.scored(drawn, twice=arm.name in twice) for arm in trained]
        (verdict,) = judged(arms, [])
        new = {str(verdict.arm), str(verdict.against)} - twice
        if not new or setting.seeds == 1:
            break
        twice |= new
    once = [arm.scored(drawn, twice=False) for arm in trained]
    first = pairs(once, "cnn")[0].ci95
    return Outcome(verdict.decision, before(once), _holds(first, setting.gain), _holds(verdict.ci95, setting.gain))


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
    """Equal arms in every size of study, in subsets that overlap, with test images of their own; then better ones."""
    for images in (359, 2000):
        for seeds in (1, 3, 5, 10):
            for arms, rivals in ((1, 1), (1, 3), (2, 5), (3, 14)):
                yield Setting(seeds, arms, rivals, images)
    for seeds in (3, 5, 10):
        for overlap in (0.5, 0.9):
            yield Setting(seeds, 2, 5, 2000, overlap=overlap)
        yield Setting(seeds, 2, 5, 359, overlap=0.8, pool=1795)
        yield Setting(seeds, 2, 5, 1795 // seeds, overlap=(seeds - 2) / (seeds - 1), pool=1795, folds=True)
    for images in (359, 2000):
        for seeds in (3, 5, 10):
            for arms, rivals in ((1, 3), (3, 14)):
                yield Setting(seeds, arms, rivals, images, gain)


def table(rows: Sequence[Row], studies: int) -> str:
    """The rows as Markdown."""
    names = ("test images", "seeds", "overlap", "arms", "true gain", "helps", "hurts", "before: helps", "hurts")
    lines = [f"| {' | '.join((*names, 'a pair holds', 'the named one'))} |", "|---" * 11 + "|"]
    for row in rows:
        one = row.setting
        shares = (row.helps, row.hurts, row.helped_before, row.hurt_before, row.first_covers, row.named_covers)
        cells = " | ".join("-" if share is None else f"{100 * share:.1f}" for share in shares)
        test = f"{one.images:,}" + (f" of {one.pool:,}" if one.pool else "") + (", folds" if one.folds else "")
        arms = f"{one.arms} against {one.rivals}"
        lines.append(f"| {test} | {one.seeds} | {100 * one.overlap:.0f}% | {arms} | {one.gain:g} | {cells} |")
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
