"""A generator is trained once per recipe; what was interrupted goes on, what is damaged is not taken for one."""

import shutil
import sys
from dataclasses import fields, replace
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
import torch

from augment import registry
from augment.datasets import LabelledImages
from augment.datasets.regimes import draw_split
from augment.errors import ConfigError, DataError, UsageError
from augment.generator import ImageSpec
from augment.progress import Reporter
from augment.seeds import derived_seed
from augment.storage.hashing import imported_sources
from augment.training import fit, trained
from augment.training.trained import KEPT, fit_into, generator_parts, make_recipe, obtain, plugin_code

MODULE = '''"""A small generator that counts its updates."""
from augment.testing import MinimalGenerator

class Tiny(MinimalGenerator):
    updates = 0

    def training_step(self, images, labels, optimizers):
        Tiny.updates += 1
        return super().training_step(images, labels, optimizers)
'''
SPEC = ImageSpec(1, 4, 4, 3)
STEPS = 8


def entry(name, value):
    point = EntryPoint(name, value, registry.GROUP)
    vars(point)["dist"] = SimpleNamespace(name="acme", version="1.2")
    return point


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Folder of two registered plugins: ``tiny``, a module, and ``packed``, in a package."""
    folder = tmp_path / "site"
    (folder / "acme_package").mkdir(parents=True)
    (folder / "acme_tiny.py").write_text(MODULE)
    (folder / "acme_package" / "__init__.py").write_text("")
    packed = "from acme_tiny import Tiny\nfrom . import layers\nclass Packed(Tiny):\n    pass\n"
    (folder / "acme_package" / "model.py").write_text(packed)
    (folder / "acme_package" / "layers.py").write_text("width = 1\n")
    monkeypatch.syspath_prepend(folder)
    imported_sources.cache_clear()
    for module in [name for name in sys.modules if name.startswith("acme_")]:
        monkeypatch.delitem(sys.modules, module)
    points = (entry("tiny", "acme_tiny:Tiny"), entry("packed", "acme_package.model:Packed"))
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points)
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture
def data():
    labels = torch.arange(3).repeat(20)
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(0, 60, (60, 1, 4, 4), dtype=torch.uint8, generator=rng) + 60 * labels[:, None, None, None]
    return LabelledImages(images.to(torch.uint8), labels)


class Notes(Reporter):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def recipe_of(model="tiny", options=None, **changes):
    given = {"classes": ("a", "b", "c"), "data_sha256": "ab", "seed": 5, "steps": STEPS, "max_minutes": None}
    return make_recipe(model, options or {}, **{**given, "device": "cpu", "precision": "fp32", **changes})


def get(folder, data, recipe=None, notes=None):
    return obtain(recipe or recipe_of(), SPEC, data, data, folder, notes or Notes())


def updates():
    return registry.get("tiny").updates


def same_weights(one, other):
    first, second = one.generator.state_dict(), other.generator.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def names(folder):
    return {path.name for path in folder.iterdir()}


# ---------------------------------------------------------------- trained once


def test_trained_once_then_cached(sources, data, tmp_path):
    notes = Notes()
    first = get(tmp_path / "one" / "generator", data, notes=notes)
    assert (first.cached, first.steps, first.stopped) == (False, STEPS, "finished")
    assert updates() == STEPS and notes.texts == []
    second = get(tmp_path / "two" / "generator", data, notes=notes)
    assert second.cached and updates() == STEPS
    assert len(notes.texts) == 1 and "cached" in notes.texts[0]
    assert same_weights(first, second)
    assert (second.seconds, second.images_per_second) == (first.seconds, first.images_per_second)
    assert names(tmp_path / "two" / "generator") == set(KEPT)
    assert type(second.generator) is registry.get("tiny") and not second.generator.training


def test_the_same_folder_is_reused_without_the_cache(sources, data, tmp_path):
    first = get(tmp_path / "generator", data)
    shutil.rmtree(tmp_path / "home")
    again = get(tmp_path / "generator", data)
    assert again.cached and updates() == STEPS and same_weights(first, again)


def test_another_recipe_is_trained_anew(sources, data, tmp_path):
    first = get(tmp_path / "one", data)
    other = get(tmp_path / "two", data, recipe_of(seed=6))
    assert not other.cached and updates() == 2 * STEPS and not same_weights(first, other)


def test_a_recipe_fixes_the_weights(sources, data, tmp_path):
    torch.manual_seed(1)
    first = get(tmp_path / "one", data)
    shutil.rmtree(tmp_path / "home")
    torch.manual_seed(2)
    again = get(tmp_path / "two", data)
    assert not again.cached and same_weights(first, again)


def test_training_leaves_the_callers_random_state(sources, data, tmp_path):
    before = torch.get_rng_state()
    fit_into(recipe_of(), SPEC, data, data, tmp_path / "g", Notes(), resume=False)
    assert torch.equal(before, torch.get_rng_state())


def test_progress_names_the_terms(sources, data, tmp_path, monkeypatch):
    monkeypatch.setattr("augment.training.loop.PROGRESS_SECONDS", 0.0)
    told = []
    report = Notes()
    report.advance = lambda *args: told.append(args)
    obtain(recipe_of(), SPEC, data, data, tmp_path / "g", report)
    assert [args[:2] for args in told] == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert all("loss " in args[2] and "mse " in args[2] and "images/s" in args[2] for args in told)


# ---------------------------------------------------------------- interrupted


def interrupted(folder, data, recipe, stop_at):
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(recipe.seed, "weights"))
        generator = registry.create(recipe.model, SPEC, dict(recipe.options))
    given = {"seed": recipe.seed, "steps": recipe.steps, "device": "cpu", "precision": "fp32"}
    fit(generator, data, data, folder=folder, stop_at=stop_at, **given)


def test_an_interrupted_folder_is_resumed(sources, data, tmp_path):
    whole = get(tmp_path / "whole", data)
    shutil.rmtree(tmp_path / "home")
    folder = tmp_path / "generator"
    interrupted(folder, data, recipe_of(), stop_at=5)
    assert "training.json" not in names(folder)
    before = updates()
    resumed = get(folder, data)
    assert updates() - before == STEPS - 5
    assert not resumed.cached and resumed.steps == STEPS and same_weights(whole, resumed)
    assert get(tmp_path / "other", data).cached  # and it is in the cache now


def test_a_training_that_was_not_finished_is_no_generator(sources, data, tmp_path, monkeypatch):
    folder = tmp_path / "generator"
    fit_into(recipe_of(), SPEC, data, data, folder, Notes(), resume=False)
    registry.load_generator(folder)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("augment.training.fitting.fit", stop)
    with pytest.raises(KeyboardInterrupt):
        fit_into(recipe_of(seed=6), SPEC, data, data, folder, Notes(), resume=False)
    assert not trained.reusable(folder, recipe_of()) and not trained.reusable(folder, recipe_of(seed=6))
    with pytest.raises(DataError, match="not a saved generator"):
        registry.load_generator(folder)


def test_a_disk_that_fills_while_saving_is_no_generator(sources, data, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("augment.training.recipe.write_json", full)
    with pytest.raises(DataError, match="No space left"):
        get(tmp_path / "generator", data)
    assert not trained.reusable(tmp_path / "generator", recipe_of())


def test_a_time_limit_is_noted(sources, data, tmp_path):
    notes = Notes()
    found = get(tmp_path / "g", data, recipe_of(steps=100_000, max_minutes=0.2 / 60), notes)
    assert found.stopped == "max_seconds" and 0 < found.steps < 100_000
    assert notes.texts == [f"tiny: stopped after {found.steps} of 100000 steps (max_seconds)."]


# ---------------------------------------------------------------- damage


def cut(file):
    file.write_bytes(file.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [cut, lambda file: file.unlink(), lambda file: file.write_bytes(b"\x80\x04.")])
def test_a_damaged_cache_is_trained_again_and_repaired(sources, data, tmp_path, damage):
    first = get(tmp_path / "one", data)
    damage(tmp_path / "home" / "generators" / recipe_of().key / "model.safetensors")
    notes = Notes()
    again = get(tmp_path / "two", data, notes=notes)
    assert not again.cached and same_weights(first, again)
    assert len(notes.texts) == 1 and "trained again" in notes.texts[0] and "model.safetensors" in notes.texts[0]
    assert get(tmp_path / "three", data).cached


def test_a_damaged_folder_is_mended_from_the_cache(sources, data, tmp_path):
    first = get(tmp_path / "one", data)
    cut(tmp_path / "one" / "model.safetensors")
    notes = Notes()
    again = get(tmp_path / "one", data, notes=notes)
    assert again.cached and same_weights(first, again) and updates() == STEPS
    assert "model.safetensors" in notes.texts[0]


@pytest.mark.parametrize("content", ["", "[]", '{"key": "other"}', "{"])
def test_a_folder_without_a_sound_record_is_not_reusable(sources, tmp_path, content):
    (tmp_path / "training.json").write_text(content)
    assert not trained.reusable(tmp_path, recipe_of())
    assert not trained.reusable(tmp_path / "nowhere", recipe_of())


def test_a_cache_that_cannot_be_written(sources, data, tmp_path):
    (tmp_path / "home").write_text("a file in the way")
    notes = Notes()
    assert get(tmp_path / "g", data, notes=notes).steps == STEPS  # the work is not lost
    assert any("not kept in the cache" in text for text in notes.texts)


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"lr": 0.5}},
        {"options": {"batch_size": 7}},
        {"steps": 9},
        {"seed": 6},
        {"max_minutes": 1.0},
        {"data_sha256": "cd"},
        {"classes": ("a", "b", "d")},
        {"device": "cuda"},
        {"precision": "bf16"},
        {"model": "packed"},
    ],
)
def test_the_key_follows_what_was_asked(sources, change):
    assert recipe_of(**change).key != recipe_of().key


def test_the_key_covers_every_field(sources):
    recipe = recipe_of()
    for field in fields(recipe):
        assert replace(recipe, **{field.name: "changed"}).key != recipe.key, field.name


def test_the_key_does_not_depend_on_how_it_was_asked(sources):
    assert recipe_of(options={"lr": 1e-3}).key == recipe_of().key  # a default written out
    assert recipe_of(options={"steps": STEPS}, steps=None).key == recipe_of().key
    assert recipe_of(options={"steps": 99}).key == recipe_of().key  # ``steps`` overrides the option
    assert recipe_of(options={"lr": 0.1, "batch_size": 7}).key == recipe_of(options={"batch_size": 7, "lr": 0.1}).key


def test_options_are_complete(sources):
    recipe = recipe_of(options={"lr": 0.5}, max_minutes=2.5)
    assert recipe.options["lr"] == 0.5 and recipe.options["steps"] == recipe.steps == STEPS
    assert set(recipe.options) == set(registry.get("tiny").Config.model_fields)
    assert (recipe.max_seconds, recipe.version) == (150.0, "acme 1.2")


def test_the_key_follows_the_plugins_code(sources):
    tiny, packed = recipe_of().key, recipe_of("packed").key
    with (sources / "acme_package" / "layers.py").open("a") as file:
        file.write("width = 2\n")
    assert recipe_of("packed").key != packed  # what it imports counts
    assert recipe_of().key == tiny  # another plugin's do not
    packed = recipe_of("packed").key
    with (sources / "acme_tiny.py").open("a") as file:
        file.write("# changed\n")
    assert recipe_of().key != tiny  # a module that is no package counts
    assert recipe_of("packed").key != packed  # a parent's code counts


def test_the_code_of_a_single_module_is_that_file_alone(sources):
    before = plugin_code(registry.get("tiny"))
    (sources / "neighbour.py").write_text("anything = 1\n")
    assert plugin_code(registry.get("tiny")) == before


def test_the_cores_code_counts(sources, monkeypatch):
    seen = []
    monkeypatch.setattr(trained, "code_fingerprint", lambda found: seen.extend(found) or "x")
    plugin_code(registry.get("tiny"))
    names = {file.name for file in seen}
    assert {"generator.py", "loop.py", "trained.py"} <= names
    assert not {"app.py", "study.py", "tables.py"} & names  # they decide nothing in a training


def test_models_and_options_are_checked_first(sources):
    trained.check_model("tiny", {"lr": 0.1}, 5)
    with pytest.raises(UsageError, match="Did you mean 'tiny'"):
        trained.check_model("tyni", {}, None)
    with pytest.raises(ConfigError, match="Did you mean 'batch_size'"):
        trained.check_model("tiny", {"batchsize": 3}, None)
    with pytest.raises(ConfigError, match="steps=0"):
        trained.check_model("tiny", {}, 0)
    with pytest.raises(ConfigError, match="lr='fast'"):
        recipe_of(options={"lr": "fast"})


# ---------------------------------------------------------------- what it is trained on


def manifest_of(data, counts):
    described = {"dataset": "toy", "dataset_sha256": "ab", "regime": "explicit", "imbalance_factor": None}
    return draw_split(data.labels, counts, seed=2, **described)


def test_validation_images_are_not_trained_on(data):
    manifest = manifest_of(data, (20, 20, 10))
    fit_part, validation = generator_parts(manifest, data)
    assert fit_part.counts(3) == (19, 19, 10) and validation.counts(3) == (1, 1, 0)
    pixels = [{row.numpy().tobytes() for row in part.images} for part in (fit_part, validation)]
    assert not pixels[0] & pixels[1]
    drawn = {row.numpy().tobytes() for row in data.images[list(manifest.train)]}
    assert pixels[0] | pixels[1] == drawn


def test_too_few_images_leave_none_to_validate(data):
    fit_part, validation = generator_parts(manifest_of(data, (19, 5, 1)), data)
    assert validation is None and fit_part.counts(3) == (19, 5, 1)
