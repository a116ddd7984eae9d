"""The card of a trained generator, ``README.md`` in its folder: what it learnt from, how it scored, how to load it.

It begins with the YAML block that model hubs read. A license is not ours to state.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.generator import Generator
from augment.model_card.markdown import code, escaped, json_block, prose, table
from augment.recipe import TrainingRecord
from augment.regimes import Manifest
from augment.storage import files
from augment.training.state import OUT_OF_TIME

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
    known = generator.spec.num_classes
    labels = ", labels=labels" if generator.tags.conditional and known > 1 else ""
    choice = [f"labels = torch.arange(16) % {known}  # classes by number, see below"] if labels else []
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


def _data(manifest: Manifest, classes: Sequence[str], known: int) -> str:
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
    found = table(("what", "value"), rows)
    if known != len(classes):
        return f"{found}\n\nIt learnt from the images alone, without their classes."
    counts = [f"{count:,}" for count in manifest.class_counts]
    if not _labelled(manifest, classes):
        counts = ["not counted"] * len(classes)  # few of the images have a label
    per_class = [
        (str(number), escaped(name), count) for number, (name, count) in enumerate(zip(classes, counts, strict=True))
    ]
    return f"{found}\n\n{table(('class', 'name', 'images'), per_class, numbers=1)}"


def _labelled(manifest: Manifest, classes: Sequence[str]) -> bool:
    """Was the draw made class by class? Otherwise all images were taken for one class."""
    return len(manifest.class_counts) == len(classes)


def _draw(manifest: Manifest, *, labelled: bool) -> str:
    if manifest.regime == "all" or not labelled:
        return f"all training images, split with seed {manifest.seed}"
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
    found = [*evidence.limits, BIAS]
    if _labelled(manifest, classes):
        counts = zip(classes, manifest.class_counts, strict=True)
        few = [f"{escaped(name)} ({count})" for name, count in counts if count < FEW_IMAGES]
        if few:
            found.append(f"Classes learnt from fewer than {FEW_IMAGES} images: {', '.join(few)}.")
    if training is not None and training.stopped != "finished":
        found.append(f"Its training ended before the last step: {escaped(_ended(training))}.")
    return "\n".join(f"- {sentence}" for sentence in found)
