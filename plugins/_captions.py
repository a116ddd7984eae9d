"""Class captions: what a text-conditioned generator is told of each class.

Given as nothing (four templates around the class names), a template with ``{class}``, one caption or several per class
in class order, a mapping from class to captions, or the path of a file that holds any of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augment.errors import ConfigError
from augment.generator import ImageSpec

TEMPLATES = (
    "a photo of a {class}",
    "a picture of a {class}",
    "an image of the {class}",
    "a small photo of one {class}",
)
"""Used where no captions are given; several, so that what is learned is the class's name and not the sentence."""

PLACE = "{class}"

Captions = str | tuple[tuple[str, ...], ...] | dict[str, tuple[str, ...]]
"""A template, captions in class order, or captions by class."""

HOW = (
    'Write a template with {class} in it, one caption per class in class order, as in ["a boot", "a bag"], captions by '
    'class, as in {"boot": ["a boot", "a shoe"]}, or the path of a file: JSON of that kind, or text with one caption '
    "per line"
)


def parse_captions(value: Any) -> Captions | None:
    """The captions a person gave, with a file replaced by what it holds; raises ValueError that says what to write."""
    if isinstance(value, str) and PLACE not in value:
        value = _read(Path(value))
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _several(texts) for name, texts in value.items()}
    if isinstance(value, Sequence):
        return tuple(_several(texts) for texts in value)
    raise ValueError(f"{value!r} is no captions. {HOW}.")


def _several(texts: Any) -> tuple[str, ...]:
    """One caption or several, as a tuple of texts that say something."""
    texts = (texts,) if isinstance(texts, str) else texts
    words = isinstance(texts, Sequence) and all(isinstance(text, str) and text.strip() for text in texts)
    if not words or not texts:
        raise ValueError(f"{texts!r} is not a caption, nor a list of some. {HOW}.")
    return tuple(text.strip() for text in texts)


def _read(path: Path) -> Any:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # a home folder that is not there is a RuntimeError
        raise ValueError(f"no captions can be read from a file {str(path)!r} ({error}). {HOW}") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return [line for line in text.splitlines() if line.strip()]
    if not isinstance(found, list | dict):
        raise ValueError(f"the file {path} holds {found!r}. {HOW}")
    return found


def class_captions(captions: Captions | None, spec: ImageSpec) -> tuple[tuple[str, ...], ...]:
    """The captions of each class, in class order; raises ConfigError unless every class has one of its own."""
    names = spec.class_names or tuple(f"class {label}" for label in range(spec.num_classes))
    if captions is None or isinstance(captions, str):
        templates = TEMPLATES if captions is None else (captions,)
        found = tuple(tuple(text.replace(PLACE, _spoken(name)) for text in templates) for name in names)
    elif isinstance(captions, dict):
        found = _by_class(captions, names)
    else:
        found = captions
    if len(found) != len(names):
        raise ConfigError(
            f"Option captions has {len(found)} entries for {len(names)} classes. "
            f"Write one per class, in this order: {', '.join(names)}."
        )
    _require_distinct(found, names)
    return found


def _spoken(name: str) -> str:
    return name.replace("_", " ").strip()


def _by_class(captions: Mapping[str, tuple[str, ...]], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Captions by name, or by number, in class order."""
    by_number = {str(label) for label in range(len(names))} == set(captions)
    keys = [str(label) for label in range(len(names))] if by_number else list(names)
    missing, unknown = [key for key in keys if key not in captions], sorted(set(captions) - set(keys))
    if missing or unknown:
        problems = [f"none for {missing}"] * bool(missing) + [f"{unknown} are no classes"] * bool(unknown)
        raise ConfigError(
            f"Option captions: {' and '.join(problems)}. Write one entry for each of: {', '.join(names)}; or for each "
            f"number from 0 to {len(names) - 1}."
        )
    return tuple(captions[key] for key in keys)


def _require_distinct(captions: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """Captions are all that tells classes apart."""
    owner: dict[str, int] = {}
    for label, texts in enumerate(captions):
        for text in texts:
            other = owner.setdefault(" ".join(text.lower().split()), label)
            if other != label:
                raise ConfigError(
                    f"Option captions: {names[other]!r} and {names[label]!r} have the same caption {text!r}, so the "
                    "model could not tell them apart. Give each class captions of its own."
                )
