"""The pages for users: their commands exist, their examples run, their links lead somewhere, and the map is true."""

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
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
LINE = re.compile(r"^ {4,}(?:\.venv/bin/|accelerate launch .*-m )?(augment .+)$", re.MULTILINE)
LINES = [line.split("#")[0].strip() for page in PAGES.values() for line in LINE.findall(page)]
INLINE = [text for page in PAGES.values() for text in re.findall(r"`(augment [^`\n]+)`", page) if "..." not in text]


def option_names(words):
    """Walk down to the command that ``words`` name; returns its options."""
    command = get_command(app)
    while getattr(command, "commands", None) and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    return {"--help", *(name for parameter in command.params for name in parameter.opts)}


@pytest.mark.parametrize("line", sorted({*LINES, *INLINE}))
def test_command_and_its_options_exist(line):
    words = shlex.split(line)[1:]
    used = {word for word in words if word.startswith("--")}
    assert used <= option_names(words), line


def test_every_command_has_a_line():
    """In the README's table, so that a new command is found; and the reader of lines sees what it must."""
    top = get_command(app)
    table = re.findall(r"^\| (`augment [^|]+)\|", PAGES["README.md"], re.MULTILINE)
    assert {name for row in table for name in re.findall(r"`augment (\w+)", row)} == set(top.commands)
    assert len(LINES) > 30 and len(INLINE) > 30
    assert "--resume" in option_names(["train"]) and "--resume" not in option_names(["sample", "--resume"])


def test_study_files_are_grids():
    """The one that is shown, and the one that its command runs."""
    (shown,) = re.findall(r"```yaml\n(.+?)```", PAGES["docs/sweeps.md"], re.DOTALL)
    for name, text in (("shown", shown), ("study", (ROOT / "examples" / "study.yaml").read_text(encoding="utf-8"))):
        config = SweepConfig.parse({"name": name, **yaml.safe_load(text)})
        assert config.axes == ("regime", "size", "model")
        assert len(list(combinations(config))) == 36


def run_example(page, contains, **replaced):
    """Carry out the page's one Python example with these words, made short; returns its names."""
    (code,) = [code for code in re.findall(r"```python\n(.+?)```", PAGES[page], re.DOTALL) if contains in code]
    for name, short in replaced.items():
        code = re.sub(rf"{name}=\d+", short, code)
    names: dict[str, object] = {}
    exec(compile(code, page, "exec"), names)
    return names


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_example("README.md", "load_generator", steps="steps=5, updates=5")
    assert tuple(names["images"].shape) == (16, 1, 8, 8)
    assert "vae+balanced-softmax against oversample" in capsys.readouterr().out


def test_features_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    run_example("docs/scikit-learn.md", "FeatureExtractor", steps="steps=5")
    assert float(capsys.readouterr().out) > 0.5


def test_sampler_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    run_example("docs/scikit-learn.md", "SyntheticSampler", steps="steps=5")
    scores = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert float(scores["SMOTE"]) > float(scores["NoneType"])
    assert float(scores["SyntheticSampler"]) > 0.3


def anchors(text):
    """Names of a page's headings, as GitHub makes them, and those that the page gives itself."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        place = (ROOT / page).parent / path if path else ROOT / page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place.read_text(encoding="utf-8")), target


def test_the_index_lists_every_page():
    pages = {Path(name).name for name in PAGES if name.startswith("docs/")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)\)", PAGES["docs/README.md"]))


def test_the_map_is_of_this_tree():
    """CONTRIBUTING has a row for everything in augment/, and every path that it names is there."""
    text = PAGES["CONTRIBUTING.md"]
    rows = re.findall(r"^\| (`[^|]+)\|", text.partition("| in `augment/` |")[2].partition("\n\n")[0], re.MULTILINE)
    mapped = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    folder = ROOT / "augment"
    rooms = (path.parent for path in folder.glob("*/__init__.py") if not path.parent.is_symlink())
    first_level = {*folder.glob("*.py"), *rooms}
    assert {name for name in mapped if "/" not in name} == {path.name for path in first_level}
    assert all((folder / name).exists() for name in mapped)
    named = re.findall(r"`((?:augment|plugins|tests|docs|benchmarks|examples)/[\w./-]*)`", text)
    assert len(named) > 30 and not [name for name in named if not (ROOT / name).exists()]
