"""Sections of a model card on what was found out about a generator: its samples, its use, its features."""

from __future__ import annotations

from collections.abc import Sequence

from augment.evidence.statistics import Comparison, signed
from augment.metrics.scores import SCORES, FidelityScores
from augment.model_card.markdown import code, escaped, table
from augment.results.features_result import FeaturesResult, FewLabelScores

SAMPLES, HELPED, FEATURES = "How its samples scored", "What it did for a classifier", "What its features are worth"
"""Titles of the sections."""

ONE_SEED = "This is one seed, which is no evidence: another draw of images may turn it round."


def unscored(reason: str) -> str:
    """The section of a generator whose samples nobody scored: why, and how to."""
    return f"Not scored: {reason} To do it:\n\n{code('augment score --real DATASET --fake FOLDER', 'sh')}"


def fidelity_section(fidelity: FidelityScores, *, part: str, other_training: bool) -> str:
    """Scores of samples beside those of real images.

    part: of the data set that samples were compared with.  other_training: the scores are of another generator by the
    same recipe.
    """
    rows = [
        (f"{kind.scaled_title}, {kind.better} is better", kind.text(score.value), kind.floor_text(score))
        for kind, score in fidelity.known()
    ]
    whose = "a generator by the same recipe from another draw of images, not of this one" if other_training else "it"
    told = (
        f"{fidelity.n:,} samples of {whose}, compared with {fidelity.n_reference:,} {part} images by the "
        f"extractor {escaped(fidelity.extractor)} (SHA-256 `{fidelity.extractor_sha256}`). Scores by another one "
        "or of another number of images are not comparable."
    )
    lines = [told, table(("score", "samples", "real images"), rows, numbers=2)]
    lines += [
        f"No {kind.title}: {escaped(reason.rstrip('.'))}." for kind in SCORES if (reason := fidelity[kind.name].reason)
    ]
    return "\n\n".join(lines)


def near_copies(fidelity: FidelityScores | None) -> str:
    """Does it repeat its training images? A sentence of the section on limits; None where nothing was scored."""
    if fidelity is None or fidelity["near_copies"].value is None:
        return "Whether it repeats its training images was not looked at."
    copies, exact, nearer = (fidelity[name] for name in ("near_copies", "exact_copies", "memorisation"))
    return (
        f"Of {fidelity.n:,} samples {exact.value:,} are a training image in every pixel, {copies.value:.1%} "
        f"are near copies of one (of unseen real images {copies.floor:.1%} are). A sample is nearer to its nearest "
        f"training image than an unseen real image is to its own in {nearer.value:.0%} of cases; 50% is what a "
        "generator that copies nothing has, but blurry samples are near to everything."
    )


def helped_section(comparisons: Sequence[Comparison], verdicts: Sequence[str]) -> str:
    """Arms with its images against the best arm without, and verdicts as sentences.

    comparisons: of arms with this generator.
    """
    told = [escaped(sentence) for sentence in verdicts]
    if not comparisons:
        return "\n\n".join([*told, "It was not compared: no arm used its images beside one that did without."])
    rows = [
        (escaped(row.arm), escaped(row.classifier), escaped(row.against), signed(row.delta), _interval(row))
        for row in comparisons
    ]
    seeds = comparisons[0].n
    found = table(("arm with its images", "classifier", "best arm without", "points", "95% interval"), rows, numbers=2)
    told.append(
        ONE_SEED
        if seeds == 1
        else f"Points of accuracy, over {seeds} seeds, each with a generator of its own made by this recipe:"
    )
    return "\n\n".join([*told, found])


def features_section(result: FeaturesResult) -> str:
    """Accuracy on few labels, by features of this model and of the baselines."""
    rows = [
        (escaped(row.method), escaped(row.head or "none"), str(row.k), f"{row.accuracy:.1%}", _spread(row))
        for row in result.rows
    ]
    protocol = result.protocol
    told = (
        f"Accuracy on {protocol.test_images:,} test images by heads that were fitted on exactly k labels per class, "
        f"in {protocol.episodes} draws. Labels that the generator saw: {escaped(result.generator.labels_seen)}."
    )
    found = table(("features", "head", "k", "accuracy", "95% interval"), rows, numbers=3)
    return "\n\n".join([escaped(result.verdict), told, found])


def _interval(row: Comparison) -> str:
    return "none" if row.ci95 is None else " to ".join(map(signed, row.ci95))


def _spread(row: FewLabelScores) -> str:
    return "none" if row.ci95 is None else f"{row.ci95[0]:.1%} to {row.ci95[1]:.1%}"
