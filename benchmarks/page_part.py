"""Tables of a page that a script owns: what stands between two markers is replaced, the prose around it stays."""

from __future__ import annotations

import re
from pathlib import Path

from augment.storage.files import write_text


def write_part(page: Path, name: str, text: str) -> None:
    """Put ``text`` between ``<!-- name -->`` and ``<!-- /name -->``; ValueError where they are not there once."""
    marked = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    content, found = marked.subn(lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", page.read_text("utf-8"))
    if found != 1:
        raise ValueError(f"{page} has the markers of {name!r} {found} times; it needs them once.")
    write_text(page, content)
