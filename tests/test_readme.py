"""The README's commands exist, and those on embedded data run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from augment.cli import app
from augment.studies.sweep.config import SweepConfig
from augment.studies.sweep.grid import combinations

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
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


def test_study_files_are_grids():
    """The README's, and the one that it runs."""
    (shown,) = re.findall(r"```yaml\n(.+?)```", README, re.DOTALL)
    for name, text in (("shown", shown), ("study", (ROOT / "examples" / "study.yaml").read_text(encoding="utf-8"))):
        config = SweepConfig.parse({"name": name, **yaml.safe_load(text)})
        assert config.axes == ("regime", "size", "model")
        assert len(list(combinations(config))) == 36


def run_example(contains, **replaced):
    """Carry out the one Python example with these words, made short; returns its names."""
    (code,) = [code for code in re.findall(r"```python\n(.+?)```", README, re.DOTALL) if contains in code]
    for name, short in replaced.items():
        code = re.sub(rf"{name}=\d+", short, code)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_example("load_generator", steps="steps=5, updates=5")
    assert tuple(names["images"].shape) == (16, 1, 8, 8)
    assert "vae+balanced-softmax against oversample" in capsys.readouterr().out


def test_features_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    run_example("FeatureExtractor", steps="steps=5")
    assert float(capsys.readouterr().out) > 0.5


def test_sampler_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    run_example("SyntheticSampler", steps="steps=5")
    scores = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert float(scores["SMOTE"]) > float(scores["NoneType"])
    assert float(scores["SyntheticSampler"]) > 0.3
