"""Markdown with words that come from people: names of classes and data sets stay text, whatever is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

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
