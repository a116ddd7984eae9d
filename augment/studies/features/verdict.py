"""The verdict of a feature study: one sentence that names every baseline."""

from __future__ import annotations

from collections.abc import Sequence

from augment.evidence.statistics import Comparison, signed
from augment.evidence.verdict import LEVEL
from augment.results.features_result import ComparisonAtK

WORDS = {"pixels": "pixels", "cnn": "a CNN from scratch", "untrained": "an untrained net of the same shape"}
"""How baselines are called in a sentence."""


def verdict(model: str, probe: str, baselines: Sequence[str], found: Sequence[ComparisonAtK]) -> str:
    """At which k are the features worth more than each baseline, and at which less?

    found: comparisons of the model's probe with a baseline, for every k and baseline.
    """
    if not found:
        return "Nothing to compare with: add --baseline pixels or --baseline cnn."
    subject = f"features of {model} with a {probe} probe"
    parts = [_against(name, [row for row in found if row.against == name]) for name in baselines]
    if all(not better for better, _, _ in parts):
        rivals = " or ".join(WORDS[name] for name in baselines)
        sentence = f"No evidence that {subject} are worth more than {rivals} at any k"
    else:
        sentence = f"{subject} are worth more than " + ", than ".join(gain for better, gain, _ in parts if better)
        equal = " or ".join(name for better, name, _ in parts if not better)
        sentence += f"; no evidence of more than {equal} at any k" if equal else ""
    losses = [loss for _, _, loss in parts if loss]
    sentence += f"; they are worth less than {', than '.join(losses)}" if losses else ""
    if found[0].n == 1:
        return f"{sentence[0].upper()}{sentence[1:]}: one episode cannot tell; repeat with --episodes 5."
    pairs = f", corrected for {len(found)} comparisons" if len(found) > 1 else ""
    return f"{sentence[0].upper()}{sentence[1:]} (p < .05 over draws of the labels{pairs}; of one generator)."


def _against(name: str, rows: Sequence[ComparisonAtK]) -> tuple[bool, str, str]:
    """Is there a gain over this baseline; the gains in words; the losses in words, empty where there are none."""
    gains = [(row.k, row.delta) for row in rows if _surely(row) and row.delta > 0]
    losses = [(row.k, row.delta) for row in rows if _surely(row) and row.delta < 0]
    ks = [row.k for row in rows]
    return bool(gains), _spanned(WORDS[name], gains, ks), _spanned(WORDS[name], losses, ks) if losses else ""


def _spanned(name: str, changes: Sequence[tuple[int, float]], ks: Sequence[int]) -> str:
    """``pixels at k = 8 and 32 to 512 (+2.0 to +2.4 points)``; the name alone where there are no changes."""
    points = [signed(delta) for _, delta in sorted(changes, key=lambda one: abs(one[1]))]
    span = " to ".join(dict.fromkeys([*points[:1], *points[-1:]]))
    return f"{name} at k = {_listed(_runs([k for k, _ in changes], ks))} ({span} points)" if changes else name


def _runs(some: Sequence[int], ks: Sequence[int]) -> list[str]:
    """Three or more in a row, as they follow each other in ``ks``, become ``first to last``."""
    runs: list[list[int]] = []
    for k in some:
        if runs and ks.index(k) == ks.index(runs[-1][-1]) + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return [text for run in runs for text in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))]


def _surely(comparison: Comparison) -> bool:
    """Is the sign known, all comparisons of the study considered? One episode has no interval, and tells nothing."""
    p = comparison.p if comparison.p_holm is None else comparison.p_holm
    return comparison.ci95 is not None and p < LEVEL


def _listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
