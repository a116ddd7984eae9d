"""Every command's ``--help``: which commands there are, and exactly which options each of them has."""

from __future__ import annotations

import re

import pytest

COMMANDS = {
    "": "run arms features sweep report train sample score results compare models doctor completion datasets plugins",
    "datasets": "list inspect",
    "plugins": "check new",
}

DATA = "--dataset --data-dir --image-size --classes --merge-classes --strict --offline"
PLACE = "--device --precision"
TALK = "--json --quiet --help"
REGIME = "--regime --size --imbalance-factor --class-counts"

OPTIONS = {
    "run": f"{DATA} {REGIME} {PLACE} {TALK} --regime-seed --model --set --arm --arms --classifier --strategy --seeds "
    "--seed --split --spread --steps --max-minutes --updates --score-on --fail-under --fail-under-mean "
    "--dry-run --tracker --out --save-images --fidelity-images "
    "--resume --no-resume",
    "arms": "--json --help",
    "features": f"{DATA} {PLACE} {TALK} --model --generator --t --layer --noise-draws --encode --labels-per-class "
    "--probe --second-stage --baseline --episodes --plot --export --set --seed --steps --max-minutes --tracker --out "
    "--resume --no-resume",
    "sweep": f"--dataset --data-dir --image-size --classes --merge-classes --offline {REGIME} {PLACE} {TALK} --model "
    "--seeds --seed --set --arm --arms --classifier --strategy --steps --updates --max-minutes --score-on --command "
    "--out --name --split --workers "
    "--retries --executor --address --cpus-per-cell --gpus-per-cell --dry-run --save-images --fidelity-images "
    "--tracker --generator --t --layer --encode --labels-per-class --probe --second-stage --baseline --episodes --plot",
    "report": f"{TALK} --out --title --figures --where --open",
    "train": f"{DATA} {REGIME} {PLACE} {TALK} --model --out --set --seed --steps --max-minutes --resume --overwrite "
    "--tracker",
    "sample": f"{PLACE} {TALK} --n --class-counts --out --seed",
    "score": f"{TALK} --data-dir --image-size --strict --offline --real --fake --n --seed --device --inception",
    "results": f"{TALK} --where --dataset --regime --size --model --sort --format --columns --each --kind",
    "compare": "--json --help",
    "models": "--json --help",
    "doctor": "--json --help",
    "completion": "--help",
    "datasets list": "--json --help",
    "datasets inspect": f"{TALK} --data-dir --image-size --strict --offline --out",
    "plugins check": TALK,
    "plugins new": "--help --folder",
}


def named(text):
    """Names of the options that a help text explains: what its lines begin with."""
    lines = re.findall(r"^  ((?:-\w, )?--[\w-]+(?: / --[\w-]+)?)", text, re.MULTILINE)
    return {name for line in lines for name in re.findall(r"--[\w-]+", line)}


@pytest.mark.parametrize("group", COMMANDS)
def test_these_are_the_commands(augment, group):
    code, out, err = augment(*group.split(), "--help")
    listed = out[out.index("Commands:") :]
    assert (code, err) == (0, "")
    assert set(re.findall(r"^  (\w+)  ", listed, re.MULTILINE)) == set(COMMANDS[group].split())


def test_every_command_has_its_options_here():
    groups = [group for group in COMMANDS if group]
    alone = {name for name in COMMANDS[""].split() if name not in groups}
    assert set(OPTIONS) == alone | {f"{group} {name}" for group in groups for name in COMMANDS[group].split()}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_explains_these_options_and_no_others(augment, command):
    code, out, err = augment(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert re.match(rf"Usage: .*augment {command} ", out)
    assert named(out) == set(OPTIONS[command].split())


@pytest.mark.parametrize("command", OPTIONS)
def test_an_unknown_option_is_a_mistake_in_usage(augment, command):
    code, out, err = augment(*command.split(), "--no-such-option")
    assert (code, out) == (2, "")
    assert "No such option: --no-such-option" in err and "Traceback" not in err


NEEDED = {
    "run": "option '--dataset'",
    "train": "option '--dataset'",
    "score": "option '--real'",
    **dict.fromkeys(("report", "sample", "compare", "completion", "plugins check", "plugins new"), "argument '"),
    "datasets inspect": "argument '",
}


@pytest.mark.parametrize("command", NEEDED)
def test_what_must_be_given_is_asked_for(augment, command):
    code, out, err = augment(*command.split())
    assert (code, out) == (2, "") and f"Missing {NEEDED[command]}" in err


@pytest.mark.parametrize("group", COMMANDS)
def test_a_group_without_a_command_shows_its_help(augment, group):
    code, out, err = augment(*group.split())
    assert (code, out) == (2, "") and re.match(rf"Usage: .*augment {group}", err) and "Commands:" in err
