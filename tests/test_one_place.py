"""An option and a score are stated in one place: added to a copy of the package, each is found wherever it belongs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RUN = "run --dataset digits --model ae --size 120 --steps 2 --arm real --arm model --classifier cart-pixels".split()
RUN += "--fidelity-images 60 --set width=8 --set latent_dim=4 --device cpu --precision fp32".split()


class Copy:
    """The package in a folder of its own, to be changed and run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "augment", folder / "augment", ignore=shutil.ignore_patterns("__pycache__", "plugins"))
        shutil.copytree(ROOT / "plugins", folder / "augment" / "plugins", ignore=shutil.ignore_patterns("__pycache__"))

    def change(self, file: str, before: str, after: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(before) == 1
        path.write_text(text.replace(before, after))

    def python(self, script: str) -> str:
        home = {"PYTHONPATH": str(self.folder), "AUGMENT_HOME": str(self.folder / "home"), "COLUMNS": "200"}
        found = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **home}, cwd=self.folder, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    def augment(self, *commands: list[str]) -> list[str]:
        """What each command prints; one process for all, as loading PyTorch takes longer than most of them."""
        words = [[*one, *([] if "--help" in one else ["--quiet"])] for one in commands]
        return json.loads(self.python(COMMANDS.format(words=words)).rpartition("\n")[2])


COMMANDS = """
import contextlib, io, json, sys
from augment.cli import main

told = []
for words in {words}:
    sys.argv = ["augment", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as end:
            assert not end.code, words
    told.append(out.getvalue())
print(json.dumps(told), end="")
"""


@pytest.fixture(scope="module")
def with_a_field(tmp_path_factory):
    """`RunConfig` has one field more, of which four commands have told."""
    copy = Copy(tmp_path_factory.mktemp("field"))
    copy.change(
        "augment/studies/run/config.py",
        "    save_images: Annotated[",
        '    patience: Annotated[int | None, Field(ge=1), Option("Epochs to wait.")] = None\n'
        "    save_images: Annotated[",
    )
    sweep = "sweep --dataset digits --model ae --size 120 --arm real --patience 3,4 --dry-run --json".split()
    copy.told = copy.augment(["run", "--help"], ["sweep", "--help"], sweep, [*RUN, "--patience", "7", "--json"])
    return copy


def test_a_new_option_is_in_the_help_with_its_limits(with_a_field):
    (line,) = [line for line in with_a_field.told[0].splitlines() if "--patience" in line]
    assert "Epochs to wait." in line and "x>=1" in line
    assert "--patience" in with_a_field.told[1]


def test_a_new_option_is_an_axis_of_sweeps_and_part_of_the_key(with_a_field):
    cells = json.loads(with_a_field.told[2])["cells"]
    assert [cell["coordinates"]["patience"] for cell in cells] == ["3", "4"]
    assert len({cell["key"] for cell in cells}) == 2


def test_a_new_option_is_in_python_in_the_result_and_in_the_command_that_repeats_it(with_a_field):
    folder = Path(json.loads(with_a_field.told[3])["folder"])
    kept = json.loads((with_a_field.folder / folder / "config.json").read_text())
    assert kept["settings"]["patience"] == kept["decided"]["patience"] == 7
    script = (
        "from pathlib import Path; from augment import RunConfig; from augment.report.page_content import command;"
        "from augment.results.records import read_record;"
        "assert RunConfig(dataset='digits', model='ae', patience=2).patience == 2;"
        f"print(command(read_record(Path({str(folder)!r}))))"
    )
    assert "--patience 7" in with_a_field.python(script)


@pytest.fixture(scope="module")
def with_a_score(tmp_path_factory):
    """The table of scores has one row more, of which four commands have told."""
    copy = Copy(tmp_path_factory.mktemp("score"))
    copy.change(
        "augment/metrics/scores.py",
        '    ScoreKind(\n        *("ssim_diversity"',
        '    ScoreKind(\n        *("glow", "Glow", "lower", "brightness gap"),\n'
        "        lambda images: Score(float(images.fake.float().mean() - images.real.float().mean()), 0.5),\n"
        '        by="pixels",\n        parts=("floor",),\n    ),\n    ScoreKind(\n        *("ssim_diversity"',
    )
    saved = "saved --model ae --steps 2 --set width=8 --set latent_dim=4 --device cpu --precision fp32".split()
    copy.told = copy.augment(
        RUN,
        ["train", "--dataset", "digits", "--out", *saved],
        "score --real digits --fake saved --n 60 --device cpu".split(),
        "report runs --figures none -o page.html".split(),
        "results runs --columns model,glow --json".split(),
    )
    return copy


def test_a_new_score_is_in_the_tables_of_run_and_score(with_a_score):
    for text in (with_a_score.told[0], with_a_score.told[2]):
        (line,) = [line for line in text.splitlines() if "Glow" in line]
        assert "0.500" in line and "brightness gap" in line


def test_a_new_score_is_in_the_result_the_report_the_list_and_the_card(with_a_score):
    (result,) = with_a_score.folder.glob("runs/*/result.json")
    value = json.loads(result.read_text())["fidelity"]["glow"]
    assert "Glow ↓" in (with_a_score.folder / "page.html").read_text("utf-8")
    assert [row["glow"] for row in json.loads(with_a_score.told[4])["runs"]] == [value]
    card = (result.parent / "generator" / "README.md").read_text("utf-8")
    assert f"| Glow, lower is better | {value:.3f} | 0.500 |" in card
