"""The card of a trained generator, ``README.md`` in its folder: what it learnt from, how it scored, how to load it.

It begins with the YAML block that model hubs read. A license is not ours to state.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.datasets.catalogue import NATURAL
from augment.datasets.regimes import Manifest
from augment.evidence.statistics import Comparison, signed
from augment.generator import Generator
from augment.metrics.scores import SCORES, FidelityScores
from augment.results.features_result import FeaturesResult, FewLabelScores
from augment.storage import files
from augment.training.recipe import TrainingRecord
from augment.training.state import OUT_OF_TIME

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
    description = (
        f"{fidelity.n:,} samples of {whose}, compared with {fidelity.n_reference:,} {part} images by the "
        f"extractor {escaped(fidelity.extractor)} (SHA-256 `{fidelity.extractor_sha256}`). Scores by another one "
        "or of another number of images are not comparable."
    )
    lines = [description, table(("score", "samples", "real images"), rows, numbers=2)]
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
    paragraphs = [escaped(sentence) for sentence in verdicts]
    if not comparisons:
        return "\n\n".join([*paragraphs, "It was not compared: no arm used its images beside one that did without."])
    rows = [
        (escaped(row.arm), escaped(row.classifier), escaped(row.against), signed(row.delta), _interval(row))
        for row in comparisons
    ]
    seeds = comparisons[0].n
    points_table = table(
        ("arm with its images", "classifier", "best arm without", "points", "95% interval"), rows, numbers=2
    )
    paragraphs.append(
        ONE_SEED
        if seeds == 1
        else f"Points of accuracy, over {seeds} seeds, each with a generator of its own made by this recipe:"
    )
    return "\n\n".join([*paragraphs, points_table])


def features_section(result: FeaturesResult) -> str:
    """Accuracy on few labels, by features of this model and of the baselines."""
    rows = [
        (escaped(row.method), escaped(row.probe or "none"), str(row.k), f"{row.accuracy:.1%}", _spread(row))
        for row in result.rows
    ]
    protocol = result.protocol
    description = (
        f"Accuracy on {protocol.test_images:,} test images by probes that were fitted on exactly k labels per class, "
        f"in {protocol.episodes} draws. Labels that the generator saw: {escaped(result.generator.labels_seen)}."
    )
    accuracy_table = table(("features", "probe", "k", "accuracy", "95% interval"), rows, numbers=3)
    return "\n\n".join([escaped(result.verdict), description, accuracy_table])


def _interval(row: Comparison) -> str:
    return "none" if row.ci95 is None else " to ".join(map(signed, row.ci95))


def _spread(row: FewLabelScores) -> str:
    return "none" if row.ci95 is None else f"{row.ci95[0]:.1%} to {row.ci95[1]:.1%}"


ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$@]|:(?=//)|(?<=\bwww)\.)", re.IGNORECASE)
"""What begins markup, links and mentions in CommonMark and its usual extensions; a backslash before it undoes that."""
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what follows."""


def escaped(text: str) -> str:
    """``text`` as one line that shows as it is, in a sentence or a cell of a table."""
    return _plain(INVISIBLE.sub("", " ".join(text.split())))


def _plain(line: str) -> str:
    for character, entity in ENTITIES.items():
        line = line.replace(character, entity)
    return SPECIAL.sub(r"\\\1", line)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """A table of cells that are Markdown already; the last ``numbers`` columns are flush right."""
    words = len(header) - numbers
    marks = ["---" if index < words else "---:" for index in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, marks, *rows))


def prose(docstring: str) -> str:
    """The first line of a docstring: its literals in two backticks become code, the rest shows as it is."""
    parts = re.split("``([^`]+)``", docstring.partition("\n")[0])
    return "".join(f"`{part}`" if index % 2 else _plain(part) for index, part in enumerate(parts))


def code(text: str, language: str) -> str:
    """A fenced block whose text cannot end it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def json_block(document: Any) -> str:
    """A JSON document as a fenced block."""
    return code(json.dumps(document, indent=2, ensure_ascii=True), "json")


FILE = "README.md"
FEW_IMAGES = 20
"""A class learnt from fewer images is named among the limits."""

TAGS = ("image-generation", "synthetic-data", "data-augmentation")

BIAS = (
    "It repeats the biases of its training images: what is rare, missing or mislabelled there is so in its samples. "
    "Samples hold no knowledge of the classes beyond those images, and do not stand in for new ones when a classifier "
    "is tested."
)


@dataclass(frozen=True)
class Evidence:
    """What is known of a generator besides its training, as Markdown.

    sections: text by title, in order.  limits: further sentences of the section on limits.
    """

    sections: dict[str, str]
    limits: tuple[str, ...] = ()


def write_card(
    folder: Path, generator: Generator, manifest: Manifest, classes: Sequence[str], evidence: Evidence
) -> None:
    """Write the card into ``folder``, where :meth:`Generator.save` and the training left their files.

    manifest: of the images it was trained on; one class where labels were not used.  classes: names of the data set's
    classes. Raises DataError where the folder cannot be written.
    """
    training = TrainingRecord.read(folder)
    parts = [
        _front_matter(generator),
        _heading(generator, manifest),
        f"## How to use it\n\n{_use(generator)}",
        f"## What it was trained on\n\n{_data(manifest, classes, generator.spec.num_classes)}",
        f"## How it was trained\n\n{_training(training, generator)}",
        *(f"## {title}\n\n{text}" for title, text in evidence.sections.items()),
        f"## Limits\n\n{_limits(manifest, classes, training, evidence)}",
    ]
    with files.writing(folder):
        files.write_text(folder / FILE, "\n\n".join(parts) + "\n")


def _front_matter(generator: Generator) -> str:
    """JSON strings are YAML strings, so that no name can add a key."""
    tags = [json.dumps(tag) for tag in dict.fromkeys([*TAGS, generator.family.lower(), generator.name]) if tag]
    return "\n".join(["---", "library_name: augment", "tags:", *(f"- {tag}" for tag in tags), "---"])


def _heading(generator: Generator, manifest: Manifest) -> str:
    spec = generator.spec
    colours = {1: "grey", 3: "RGB"}.get(spec.channels, f"{spec.channels} channels")
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    summary = prose(inspect.getdoc(type(generator)) or "")
    facts = f"Images of {spec.height} x {spec.width} pixels, {colours}; {parameters:,} parameters."
    lines = [f"# {escaped(generator.name)}, trained on {escaped(manifest.dataset)}", summary, facts]
    return "\n\n".join(line for line in lines if line)


def _use(generator: Generator) -> str:
    """Where the class can be chosen, samples of each class in turn."""
    num_classes = generator.spec.num_classes
    labels = ", labels=labels" if generator.tags.conditional and num_classes > 1 else ""
    choice = [f"labels = torch.arange(16) % {num_classes}  # classes by number, see below"] if labels else []
    lines = [
        "import torch",
        "from augment import load_generator",
        "",
        'generator = load_generator(".")  # the path of this folder',
        "rng = torch.Generator().manual_seed(0)",
        *choice,
        f"images = generator.sample(16{labels}, rng=rng)  # float32 {(16, *generator.spec.shape)} in [0, 1]",
    ]
    shell = code("augment sample FOLDER --n 100", "sh")
    return f"{code(chr(10).join(lines), 'python')}\n\nor, for PNG files in class folders:\n\n{shell}"


def _data(manifest: Manifest, classes: Sequence[str], num_classes: int) -> str:
    """``known``: classes of the generator; one where it learnt from the images alone."""
    held = len(manifest.validation)
    images = f"{len(manifest.train):,}"
    if held:
        images += f", of which {held:,} were held back to validate it and the others learnt from"
    rows = [
        ("data set", escaped(manifest.dataset)),
        ("its SHA-256", f"`{manifest.dataset_sha256}`"),
        ("draw", _draw(manifest, labelled=_labelled(manifest, classes))),
        ("images", images),
        ("SHA-256 of the draw", f"`{manifest.sha256}`"),
    ]
    summary = table(("what", "value"), rows)
    if num_classes != len(classes):
        return f"{summary}\n\nIt learnt from the images alone, without their classes."
    counts = [f"{count:,}" for count in manifest.class_counts]
    if not _labelled(manifest, classes):
        counts = ["not counted"] * len(classes)  # few of the images have a label
    per_class = [
        (str(number), escaped(name), count) for number, (name, count) in enumerate(zip(classes, counts, strict=True))
    ]
    return f"{summary}\n\n{table(('class', 'name', 'images'), per_class, numbers=1)}"


def _labelled(manifest: Manifest, classes: Sequence[str]) -> bool:
    """Was the draw made class by class? Otherwise all images were taken for one class."""
    return len(manifest.class_counts) == len(classes)


def _draw(manifest: Manifest, *, labelled: bool) -> str:
    if not labelled:
        return f"all training images, split with seed {manifest.seed}"
    if manifest.regime == NATURAL:
        return f"{manifest.size:,} training images, the classes as they come, split with seed {manifest.seed}"
    factor = "" if manifest.imbalance_factor is None else f", imbalance factor {manifest.imbalance_factor:g}"
    return f"regime {escaped(manifest.regime)}{factor}, seed {manifest.seed}"


def _training(training: TrainingRecord | None, generator: Generator) -> str:
    options = json_block(generator.config.model_dump(mode="json"))
    if training is None:
        return f"Options:\n\n{options}"
    recipe = training.recipe
    rows = [
        ("steps", f"{training.steps:,} of {recipe.steps:,} ({escaped(_ended(training))})"),
        ("weights", _weights(training)),
        ("seconds", f"{training.seconds:,.1f} ({training.images_per_second:,.0f} images per second)"),
        ("device, precision", f"{recipe.device}, {recipe.precision}"),
        ("seed", str(recipe.seed)),
        ("plugin", escaped(recipe.version)),
    ]
    return f"{table(('what', 'value'), rows)}\n\nOptions:\n\n{options}"


def _weights(training: TrainingRecord) -> str:
    step = training.best_step
    return "of the last step" if step is None else f"of step {step:,}, where the validation loss was lowest"


def _ended(training: TrainingRecord) -> str:
    return "out of time" if training.stopped == OUT_OF_TIME else training.stopped.rstrip(".")


def _limits(manifest: Manifest, classes: Sequence[str], training: TrainingRecord | None, evidence: Evidence) -> str:
    limits = [*evidence.limits, BIAS]
    if _labelled(manifest, classes):
        counts = zip(classes, manifest.class_counts, strict=True)
        few = [f"{escaped(name)} ({count})" for name, count in counts if count < FEW_IMAGES]
        if few:
            limits.append(f"Classes learnt from fewer than {FEW_IMAGES} images: {', '.join(few)}.")
    if training is not None and training.stopped != "finished":
        limits.append(f"Its training ended before the last step: {escaped(_ended(training))}.")
    return "\n".join(f"- {sentence}" for sentence in limits)
