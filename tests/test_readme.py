"""The README's commands exist, and those on embedded data run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from augment.cli import app

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
LINES = [line.split("#")[0].strip() for line in re.findall(r"^    (?:\.venv/bin/)?(augment .+)$", README, re.MULTILINE)]
INLINE = [text for text in re.findall(r"`(augment [^`]+)`", README) if "..." not in text]


def option_names(words):
    """Walk down to the command that ``words`` name; returns its options."""
    command = get_command(app)
    while getattr(command, "commands", None):
        command = command.commands[words.pop(0)]
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("line", sorted({*LINES, *INLINE}))
def test_command_and_its_options_exist(line):
    words = shlex.split(line)[1:]
    used = {word for word in words if word.startswith("--")}
    assert used <= option_names(words), line


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code.replace("steps=50", "steps=5, updates=5"), "README.md", "exec"), names)
    assert tuple(names["images"].shape) == (16, 1, 8, 8)
    assert "vae against" in capsys.readouterr().out
