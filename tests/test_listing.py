"""Cards of generators: what they say, that they are kept without imports, and that a broken plugin breaks nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from augment import registry
from augment.cli import tables
from augment.errors import PluginError, UsageError
from augment.generator import GeneratorConfig
from augment.progress import Reporter
from augment.registry import PluginEntry, models
from augment.registry.capabilities import REQUIRED, ModelOption, count_parameters, describe, encode_options
from augment.registry.models import ModelInfo, all_models, known_models, model_info
from augment.storage.typed_json import to_json
from augment.testing import MinimalGenerator

pytestmark = pytest.mark.libraries

MINIMAL_PARAMETERS = 784 * 4 + 4 + 10 * 4 + 4 * 784 + 784
"""Two linear maps between 784 pixels and 4 latents with their biases, and 4 numbers for each of 10 classes."""

GOOD = '''"""A generator for tests."""
from augment.testing import MinimalGenerator
print("imported")

class Mine(MinimalGenerator):
    """Mine, all mine."""

    family = "toy"

    def encode(self, images, *, t: int = 3, layer: str = "mid"):
        return super().encode(images)
'''


class LayeredConfig(GeneratorConfig):
    """Options of every sort."""

    steps: int = Field(7, ge=1, description="optimizer updates")
    width: int = Field(64, ge=8, multiple_of=4, description="channels")
    share: float = Field(0.5, ge=0, le=1, description="a share")
    name: str | None = Field(None, description="a name")
    must: float = Field(gt=0, description="has no default")


class DeepConfig(LayeredConfig):
    """Declares one more and redeclares one."""

    must: float = Field(2.0, gt=0, description="has a default here")
    depth: int = Field(1, le=9, description="layers")


class Deep(MinimalGenerator):
    """A child whose own options are the telling ones."""

    Config: ClassVar[type[GeneratorConfig]] = DeepConfig


class Layered(MinimalGenerator):
    """Has options of ``encode``."""

    Config: ClassVar[type[GeneratorConfig]] = LayeredConfig
    family = "toy"

    def encode(self, images: Tensor, *, t: int, layer: str = "mid", blocks: tuple[int, ...] = (1, 2)) -> Tensor:
        """Pooled activations."""
        return super().encode(images)


class Watching(Reporter):
    """Remembers the stages it was told of."""

    def __init__(self):
        self.stages = []

    def stage(self, title):
        self.stages.append(title)


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Modules of tests on the path, a cache of their own, and only the given entry points seen."""
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "cards_good.py").write_text(GOOD)
    (modules / "cards_broken.py").write_text('"""Cannot be imported."""\nraise RuntimeError("no luck today")\n')
    (modules / "cards_lacking.py").write_text('"""Lacks a package."""\nimport no_such_module_anywhere\n')
    monkeypatch.syspath_prepend(modules)

    def forget():
        for module in ("cards_good", "cards_broken", "cards_lacking"):
            sys.modules.pop(module, None)

    def put(*names, version="1.2"):
        points = []
        for name in names:
            points.append(EntryPoint(name, f"cards_{name}:Mine", registry.GROUP))
            vars(points[-1])["dist"] = SimpleNamespace(name="acme", version=version)
        monkeypatch.setattr(registry, "entry_points", lambda *, group: points)
        return modules

    forget()
    yield put
    forget()


@pytest.fixture
def no_imports(monkeypatch):
    """From when it is called, a plugin that is imported is an error."""

    def refuse(name):
        raise AssertionError(f"{name} was imported")

    return lambda: monkeypatch.setattr(registry, "get", refuse)


def test_a_card_says_all_there_is():
    card = describe(Layered)
    assert (card.family, card.description) == ("toy", "Has options of ``encode``.")
    able = ("conditional", "reconstructs", "decodes", "likelihood")
    assert card.tags == {**dict.fromkeys(able, True), "semi_supervised": False, "edits": False}
    assert card.encode == "Pooled activations."
    assert [(one.name, one.type, one.default, one.required) for one in card.encode_options] == [
        ("t", "int", None, True),
        ("layer", "str", "mid", False),
        ("blocks", "tuple[int, ...]", [1, 2], False),
    ]
    options = {one.name: one for one in card.options}
    assert list(options)[:4] == ["width", "share", "name", "must"]
    assert set(list(options)[4:]) == set(GeneratorConfig.model_fields)
    assert (options["steps"].default, options["steps"].common) == (7, True)
    assert options["width"] == ModelOption(
        name="width",
        type="int",
        allowed="at least 8, a multiple of 4",
        default=64,
        required=False,
        common=False,
        description="channels",
    )
    assert options["share"].allowed == "0 to 1"
    assert options["ema_decay"].allowed == "at least 0, below 1"
    assert (options["name"].type, options["name"].default) == ("str", None)
    assert options["must"].required
    assert card.parameters is None
    assert "must" in card.parameters_problem
    json.dumps(to_json(card), allow_nan=False)


def test_options_of_the_class_itself_come_before_its_parents():
    options = describe(Deep).options
    assert [one.name for one in options][:5] == ["must", "depth", "width", "share", "name"]
    assert (options[0].allowed, options[1].allowed) == ("above 0", "at most 9")


def test_parameters_are_counted_without_weights_or_random_numbers():
    before = torch.get_rng_state()
    assert count_parameters(MinimalGenerator) == (MINIMAL_PARAMETERS, None)
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_of_a_constructor_that_needs_values_are_counted_on_the_cpu():
    class Measuring(MinimalGenerator):
        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.extra = nn.Linear(1 + int(self.spread.sum().item()), 1, bias=False)

    assert count_parameters(Measuring) == (MINIMAL_PARAMETERS + 5, None)


def test_encode_options_are_the_keyword_only_ones():
    assert encode_options(MinimalGenerator) == {}
    assert encode_options(Layered) == {"t": REQUIRED, "layer": "mid", "blocks": (1, 2)}


def test_cards_are_kept_and_then_need_no_import(register, no_imports, capsys):
    register("good")
    assert known_models() == []
    watching = Watching()
    (first,) = all_models(watching)
    assert watching.stages == ["Look at good, once"]
    assert (first.name, first.entry.distribution, first.entry.version, first.problem) == ("good", "acme", "1.2", None)
    assert (first.capabilities.family, first.entry.summary) == ("toy", "A generator for tests.")
    assert (first.capabilities.parameters, [one.default for one in first.capabilities.encode_options]) == (
        MINIMAL_PARAMETERS,
        [3, "mid"],
    )
    out, err = capsys.readouterr()
    assert (out, err) == ("", "imported\n")  # a document on stdout stays whole

    no_imports()
    watching = Watching()
    assert all_models(watching) == [first] == known_models() == [model_info("good")]
    assert watching.stages == []


@pytest.mark.parametrize("change", ["code", "version", "contract", "damage"])
def test_a_card_is_made_anew_when_it_may_no_longer_hold(register, monkeypatch, tmp_path, change):
    modules = register("good")
    all_models()
    if change == "code":
        (modules / "cards_good.py").write_text(GOOD.replace("t: int = 3", "t: int = 4"))
    elif change == "version":
        register("good", version="1.3")
    elif change == "contract":
        (tmp_path / "other.py").write_text("# another contract")
        monkeypatch.setattr(models, "CORE", (*models.CORE, tmp_path / "other.py"))
    else:
        (file,) = (tmp_path / "home" / "models").glob("*.json")
        file.write_text(file.read_text()[:20])
    assert known_models() == []
    (made,) = all_models()
    assert made.problem is None
    assert known_models() == [made]


def test_broken_plugins_are_unavailable_with_the_reason_and_are_looked_at_again(register):
    modules = register("good", "broken", "lacking")
    found = {card.name: card for card in all_models()}
    assert {name for name, card in found.items() if card.problem is None} == {"good"}
    assert found["broken"].problem == "RuntimeError: no luck today"
    assert "no_such_module_anywhere" in found["lacking"].problem
    assert {frozenset(card.document()) for card in found.values()} == {frozenset(found["broken"].document())}
    with pytest.raises(PluginError, match="'broken' is unavailable: RuntimeError: no luck today .from acme"):
        model_info("broken")
    (modules / "cards_broken.py").write_text(GOOD)
    sys.modules.pop("cards_broken", None)
    assert {card.name for card in all_models() if card.problem is None} == {"good", "broken"}


def test_a_plugin_that_exits_is_no_end_of_the_listing(register):
    modules = register("good", "broken")
    (modules / "cards_broken.py").write_text('"""Exits."""\nraise SystemExit(3)\n')
    assert {card.name: card.problem is None for card in all_models()} == {"good": True, "broken": False}


def test_a_cache_that_cannot_be_written_only_costs_time(register, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "file"))
    register("good")
    assert [card.problem for card in all_models()] == [None]
    assert known_models() == []


def test_an_unknown_name_is_a_mistake_with_a_hint(register):
    register("good")
    with pytest.raises(UsageError, match="Unknown model 'god'. Did you mean 'good'"):
        model_info("god")


def test_the_table_shows_each_model_and_why_one_is_unavailable(register, capsys):
    register("good", "broken")
    found = all_models()
    capsys.readouterr()
    tables.show_models(found)
    text = " ".join(capsys.readouterr().out.split())
    for words in ("good toy 0.01 M A generator for tests.", "likelihood, encode(t, layer)", "set: 8 more"):
        assert words in text
    assert "unavailable: RuntimeError: no luck today" in text


def test_one_in_full_shows_its_own_options_first(capsys):
    tables.show_model(ModelInfo(PluginEntry("layered", "", "acme", "1", "Short.", ""), describe(Layered)))
    text = capsys.readouterr().out
    order = ["layered (toy) from acme 1", "Options of encode", "blocks", "Options of its own", "width", "batch_size"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "[1, 2]" in text
    assert "(must be given)" in text


def test_every_registered_model_says_what_it_is_and_is_then_listed_without_torch():
    found = all_models()
    rows = [card.document() for card in found]
    assert {card.name: card.problem for card in found if card.problem} == {}
    told = ("family", "summary", "description", "encode", "parameters")
    assert {row["name"]: [key for key in told if not row[key]] for row in rows} == {row["name"]: [] for row in rows}
    assert [(row["name"], one["name"]) for row in rows for one in row["options"] if not one["description"]] == []
    code = (
        "import sys; from augment.cli import main; sys.argv = ['augment', 'models', '--json']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"models": rows}
