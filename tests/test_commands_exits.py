"""Exit codes of every command, with one message on stderr, nothing on stdout and no traceback.

2 usage, 3 configuration or data, 4 data or weights are missing, 5 a plugin, 6 a part of a sweep, 7 too little gain, 143
stopped after a checkpoint.
"""

from __future__ import annotations

import json
import sys

import pytest

SITE = {
    "commands_fakes.py": '''
"""Generators that keep the contract, break it, or are stopped."""
import os, signal
from augment.testing import MinimalGenerator

class Good(MinimalGenerator):
    """Keeps the contract."""

class Dull(MinimalGenerator):
    """Makes one image again and again."""
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(1, rng=rng).expand(n, -1, -1, -1).clone() * 3

class Stopped(MinimalGenerator):
    """Is stopped in its first step, once."""
    def loss(self, images, labels):
        if not os.path.exists("stopped before"):
            open("stopped before", "w").close()
            signal.raise_signal(signal.SIGTERM)
        return super().loss(images, labels)
''',
    "commands_broken.py": '"""Cannot be imported."""\nraise RuntimeError("no luck today")\n',
    "commands_fakes-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: commands-fakes\nVersion: 0.1\n",
    "commands_fakes-0.1.dist-info/entry_points.txt": "[augment.generators]\ngood_one = commands_fakes:Good\n"
    "dull_one = commands_fakes:Dull\nstopped_one = commands_fakes:Stopped\nbroken_one = commands_broken:Mine\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A package with generators of its own."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in SITE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(autouse=True)
def fakes(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    yield
    for name in ("commands_fakes", "commands_broken"):
        sys.modules.pop(name, None)


@pytest.fixture
def there(tmp_path):
    """Files that mistakes meet."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "study.yaml").write_text("dataset: digits\nmodel: vae\nsize: [100, many]\n")
    (tmp_path / "odd.yaml").write_text("dataset: [digits\n")
    return tmp_path


ON = "--dataset digits --device cpu"
SHORT = f"{ON} --steps 3 --updates 3 --size 60 --classifier cart-pixels --precision fp32"
AWAY = "--dataset fashionmnist --data-dir empty --offline"

CASES = {
    # unknown names and contradictions
    "run --dataset digits --model vae --tracker paper": (2, "tensorboard"),
    f"features {ON} --model ae --encode layer=stem": (2, "--layer"),
    f"features {ON} --model ae --probe linear --second-stage magic": (3, "propagation"),
    f"train {ON} --model dvea --out g": (2, "Did you mean 'dvae'"),
    f"train {ON} --model vae --out g --regime hihg": (2, "Did you mean 'high'"),
    "score --real digts --fake empty": (2, "Did you mean 'digits'"),
    "sample empty --n 0": (2, "--n"),
    "models dvea": (2, "Did you mean 'dvae'"),
    "datasets inspect digts": (2, "Did you mean 'digits'"),
    "plugins check dvea": (2, "Did you mean 'dvae'"),
    "plugins new class": (2, "cannot be a model's name"),
    "completion tcsh": (2, "fish"),
    "results --format xml": (2, "csv"),
    "results --kind cell": (2, "features"),
    "report empty --figures some": (2, "auto"),
    "sweep --dataset digits --model vae --executor slurm": (2, "ray"),
    "sweep --dataset digits --model vae --workers 0": (2, "--workers"),
    # values and files that cannot be used
    f"run {ON} --model vae --seeds many": (2, "--seeds"),
    f"features {ON} --model ae --episodes 0": (2, "--episodes"),
    f"train {ON} --model vae --out g --set latent_dim=0": (3, "latent_dim=0"),
    f"train {ON} --model vae --out file --steps 2": (3, "file"),
    "sample empty": (3, "not a saved generator"),
    "score --real digits --fake empty": (3, "empty"),
    "score --real digits --fake nowhere": (3, "nowhere"),
    "datasets inspect empty": (3, "empty"),
    "results nowhere": (3, "There is no nowhere"),
    "results empty": (3, "empty"),
    "report empty": (3, "empty"),
    "compare empty empty": (3, "empty"),
    "plugins new mine --folder full": (3, "is not empty"),
    "sweep study.yaml": (3, "many"),
    "sweep odd.yaml": (3, "odd.yaml"),
    "sweep nowhere.yaml": (3, "nowhere.yaml"),
    # data that are not here
    f"run --model vae {AWAY}": (4, "fashionmnist"),
    f"features --model ae {AWAY}": (4, "fashionmnist"),
    f"train --model ae --out g {AWAY}": (4, "fashionmnist"),
    "score --real fashionmnist --data-dir empty --fake empty --offline": (4, "fashionmnist"),
    "datasets inspect fashionmnist --data-dir empty --offline": (4, "fashionmnist"),
    f"sweep --model vae {AWAY}": (4, "fashionmnist"),
    # plugins
    f"run {ON} --model broken_one": (5, "no luck today"),
    f"features {ON} --model broken_one": (5, "no luck today"),
    f"train {ON} --model broken_one --out g": (5, "no luck today"),
    f"sweep {ON} --model broken_one": (5, "no luck today"),
    "models broken_one": (5, "no luck today"),
    "plugins check broken_one": (5, "no luck today"),
}


@pytest.mark.parametrize("line", CASES)
def test_a_mistake_ends_with_its_code(augment, there, monkeypatch, line):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # so that what --offline sets goes again
    before = sorted(there.rglob("*"))
    expected, words = CASES[line]
    code, out, err = augment(*line.split(), *(["--quiet"] if " --model " in line else []))
    assert (code, out) == (expected, ""), err
    assert words in err and "Traceback" not in err
    assert expected == 2 or sum("Error: " in text for text in err.splitlines()) == 1
    assert sorted(there.rglob("*")) == before or "train" in line  # a training may have begun its folder


def test_a_plugin_that_breaks_the_contract_is_told_by_check_and_by_code(augment):
    code, out, err = augment("plugins", "check", "dull_one", "--json", "--quiet")
    document = json.loads(out)
    assert (code, err, set(document)) == (5, "", {"passed", "checks"})
    assert {key for row in document["checks"] for key in row} == {"generator", "check", "outcome", "message", "seconds"}
    assert not document["passed"] and {row["outcome"] for row in document["checks"]} >= {"passed", "failed"}


def test_the_checks_of_a_good_plugin_are_counted_for_people(augment):
    code, out, _ = augment("plugins", "check", "good_one", "--quiet")
    assert code == 0 and "good_one:" in out and "checks passed" in out


def test_a_stopped_training_goes_on_with_resume(augment, tmp_path):
    command = ("train", *ON.split(), "--model", "stopped_one", "--steps", "4", "--out", "g", "--quiet")
    code, out, err = augment(*command)
    assert (code, out) == (143, "") and "training stopped after step 1 of 4" in err and "Traceback" not in err
    assert (tmp_path / "g" / "checkpoint" / "last.safetensors").exists()
    code, out, err = augment(*command, "--resume", "--json")
    assert (code, json.loads(out)["steps"]) == (0, 4), err


@pytest.mark.parametrize("command", [f"run {SHORT}", f"features {ON} --steps 3 --labels-per-class 1 --plot none"])
def test_a_stopped_study_goes_on_with_the_same_command(augment, tmp_path, command):
    more = ("--arm", "oversample") if command.startswith("run") else ("--probe", "knn", "--baseline", "none")
    words = (*command.split(), *more, "--model", "stopped_one", "--quiet")
    code, out, err = augment(*words)
    assert (code, out) == (143, "") and "training stopped after step 1 of 3" in err and "Traceback" not in err
    (folder,) = (tmp_path / "runs").iterdir()
    assert not (folder / "result.json").exists()
    code, out, err = augment(*words, "--json")
    assert code == 0, err
    assert json.loads(out)["folder"] == f"runs/{folder.name}" and (folder / "result.json").exists()


def test_the_gain_that_is_asked_for_is_not_reached(augment):
    words = ("run", *SHORT.split(), "--model", "vae", "--arm", "oversample", "--json", "--quiet")
    code, out, err = augment(*words, "--fail-under", "90")
    assert (code, err) == (7, "") and json.loads(out)["verdict"]["decision"] == "no evidence"
    assert augment(*words)[0] == 0
