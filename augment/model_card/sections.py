"""Sections of a model card on what was found out about a generator: its samples, its use, its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from augment.evidence.statistics import signed
from augment.model_card.markdown import code, escaped, table

SAMPLES, HELPED, FEATURES = "How its samples scored", "What it did for a classifier", "What its features are worth"
"""Titles of the sections."""

ONE_SEED = "This is one seed, which is no evidence: another draw of images may turn it round."

MEASURES = {
    "kid": "KID, lower is better",
    "fid": "FID, lower is better",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "ssim_diversity": "SSIM within a class, lower is more diverse",
    "ssim": "SSIM of reconstructions",
    "psnr": "PSNR of reconstructions, dB",
}
"""Scores of ``fidelity`` in ``result.json``, and what they are called."""


def unscored(reason: str) -> str:
    """The section of a generator whose samples nobody scored: why, and how to."""
    return f"Not scored: {reason} To do it:\n\n{code('augment score --real DATASET --fake FOLDER', 'sh')}"


def fidelity_section(fidelity: Mapping[str, Any], *, part: str, other_training: bool) -> str:
    """Scores of samples beside those of real images.

    part: of the data set that samples were compared with.  other_training: the scores are of another generator by the
    same recipe.
    """
    rows = [
        (label, _number(fidelity[name]), _floor(fidelity, name))
        for name, label in MEASURES.items()
        if fidelity.get(name) is not None
    ]
    whose = "a generator by the same recipe from another draw of images, not of this one" if other_training else "it"
    told = (
        f"{fidelity['n']:,} samples of {whose}, compared with {fidelity['n_reference']:,} {part} images by the "
        f"extractor {escaped(fidelity['extractor'])} (SHA-256 `{fidelity['extractor_sha256']}`). Scores by another one "
        "or of another number of images are not comparable."
    )
    lines = [told, table(("score", "samples", "real images"), rows, numbers=2)]
    if fidelity.get("fid") is None and fidelity.get("fid_reason"):
        lines.append(f"No FID: {escaped(fidelity['fid_reason'])}.")
    return "\n\n".join(lines)


def _floor(fidelity: Mapping[str, Any], name: str) -> str:
    """The score of real images where there is one, with the range of 95% of their halvings where there are several."""
    if f"{name}_floor" not in fidelity:
        return ""
    mean, bounds = _number(fidelity[f"{name}_floor"]), fidelity.get(f"{name}_floor_range")
    return mean if bounds is None else f"{mean} ({' to '.join(map(_number, bounds))})"


def near_copies(fidelity: Mapping[str, Any]) -> str:
    """Does it repeat its training images? A sentence of the section on limits."""
    if fidelity.get("near_copies") is None:
        return "Whether it repeats its training images was not looked at."
    share, floor = fidelity["near_copies"], fidelity["near_copies_floor"]
    return (
        f"Of {fidelity['n']:,} samples {fidelity['exact_copies']:,} are a training image in every pixel, {share:.1%} "
        f"are near copies of one (of unseen real images {floor:.1%} are). A sample is nearer to its nearest training "
        f"image than an unseen real image is to its own in {fidelity['memorisation']:.0%} of cases; 50% is what a "
        "generator that copies nothing has, but blurry samples are near to everything."
    )


def helped_section(comparisons: Sequence[Mapping[str, Any]], verdicts: Sequence[str]) -> str:
    """Arms with its images against the best arm without, and verdicts as sentences.

    comparisons: rows of ``result.json``, of arms with this generator.
    """
    told = [escaped(sentence) for sentence in verdicts]
    if not comparisons:
        return "\n\n".join([*told, "It was not compared: no arm used its images beside one that did without."])
    rows = [
        (escaped(row["arm"]), escaped(row["classifier"]), escaped(row["against"]), signed(row["delta"]), _interval(row))
        for row in comparisons
    ]
    seeds = comparisons[0]["n"]
    found = table(("arm with its images", "classifier", "best arm without", "points", "95% interval"), rows, numbers=2)
    told.append(
        ONE_SEED
        if seeds == 1
        else f"Points of accuracy, over {seeds} seeds, each with a generator of its own made by this recipe:"
    )
    return "\n\n".join([*told, found])


def features_section(document: Mapping[str, Any]) -> str:
    """Accuracy on few labels, by features of this model and of the baselines, from a feature study's document."""
    rows = [
        (escaped(row["method"]), escaped(row["head"] or "none"), str(row["k"]), f"{row['accuracy']:.1%}", _spread(row))
        for row in document["rows"]
    ]
    protocol, seen = document["protocol"], document["generator"]["labels_seen"]
    told = (
        f"Accuracy on {protocol['test_images']:,} test images by heads that were fitted on exactly k labels per class, "
        f"in {protocol['episodes']} draws. Labels that the generator saw: {escaped(seen)}."
    )
    found = table(("features", "head", "k", "accuracy", "95% interval"), rows, numbers=3)
    return "\n\n".join([escaped(str(document["verdict"])), told, found])


def _interval(row: Mapping[str, Any]) -> str:
    if row["ci95"] is None:
        return "none"
    low, high = row["ci95"]
    return f"{signed(low)} to {signed(high)}"


def _spread(row: Mapping[str, Any]) -> str:
    return "none" if row["ci95"] is None else f"{row['ci95'][0]:.1%} to {row['ci95'][1]:.1%}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
