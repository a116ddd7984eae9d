"""What a person asks of a sweep: sweep files, options, grids, and every way to get them wrong."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from augment.errors import AugmentError, ConfigError, DataError, UsageError
from augment.progress import Reporter
from augment.studies.sweep.config import SweepConfig, overridden, read_sweep_file
from augment.studies.sweep.grid import cells, combinations

SMALL = {"dataset": "digits", "model": "vae", "size": 200, "imbalance_factor": 10}


def parse(**given):
    return SweepConfig.parse({**SMALL, **given})


def grid(**given):
    return cells(parse(**given), Reporter())


# ---------------------------------------------------------------- reading


def test_lists_are_axes_and_text_is_split_at_commas():
    config = parse(model="vae, dvae", size=[200, 300], regime="balanced,high", seeds=3, strategy="cap:n=3,x=4")
    assert config.values["model"] == ("vae", "dvae")
    assert config.values["size"] == (200, 300)
    assert config.values["strategy"] == ("cap:n=3,x=4",)  # a strategy's own commas stay
    assert set(config.axes) == {"model", "size", "regime"}
    assert config.seeds == 3


def test_settings_that_are_lists_are_one_value_and_lists_of_lists_are_axes():
    assert parse(classifier=["cnn", "cart-pca"]).values["classifiers"] == (("cnn", "cart-pca"),)
    assert parse(classifier="cnn,cart-pca").values["classifiers"] == (("cnn", "cart-pca"),)
    assert parse(arm=[["real"], ["real", "oversample"]]).values["arms"] == (("real",), ("real", "oversample"))
    assert parse(arms=["quick", "full"]).values["arm_set"] == ("quick", "full")
    counts = parse(class_counts="3,2,1")
    assert counts.values["class_counts"] == ((3, 2, 1),)
    assert counts.values["regime"] == ("explicit",)
    assert parse(class_counts=["3,2", "4,1"]).values["class_counts"] == ((3, 2), (4, 1))
    assert parse(class_counts=[[3, 2], [4, 1]]).values["class_counts"] == ((3, 2), (4, 1))


def test_feature_studies_have_keys_of_their_own():
    given = {
        "command": "features",
        "dataset": "digits",
        "model": "vae",
        "probe": "linear,knn",
        "labels-per-class": "1,4",
    }
    config = SweepConfig.parse({**given, "baseline": "none", "t": "auto"})
    assert config.values["probes"] == (("linear", "knn"),)
    assert config.values["labels_per_class"] == ((1, 4),)
    assert config.values["baselines"] == ((),) and config.values["t"] == ("auto",)
    with pytest.raises(ConfigError, match="Unknown key of a sweep 'regime'"):
        SweepConfig.parse({**given, "regime": "high"})


def test_equal_values_are_one():
    assert parse(size=[200, 300, 200]).values["size"] == (200, 300)


def test_the_name_follows_from_the_grid_and_not_from_where_it_lies():
    assert parse().name == parse(out="elsewhere").name != parse(seeds=2).name
    assert parse(out="a", name="b").location == str(Path("a") / "b")
    assert parse(out="s3://bucket/x/", name="b").location == "s3://bucket/x/b"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": 3}, r"Unknown key of a sweep 'sizes'\. Did you mean 'size'\?"),
        ({"classifiers": ["cnn"]}, r"Unknown key of a sweep 'classifiers'\. Did you mean 'classifier'\?"),
        ({"workers": 2}, "workers is no key of a sweep. Give --workers on the command line"),
        ({"resume": False}, "resume is no key of a sweep. A sweep always goes on"),
        ({"size": []}, r"size: \[\]: give at least one value"),
        ({"size": [[200]]}, r"size: \[200\]: a single value is needed"),
        ({"model": {"vae": 1}}, r"model: \{'vae': 1\}: a single value"),
        ({"arm": {"a": 1}}, r"arm: \{'a': 1\}: a list is needed"),
        ({"class_counts": "3,x"}, "class_counts: 3,x: whole numbers separated by commas"),
        ({"class_counts": "3,2", "regime": "high"}, "class_counts go with regime explicit"),
        ({"seeds": 0}, "seeds: 0: .*greater than or equal to 1"),
        ({"seeds": "many"}, "seeds: many: .*valid integer"),
        ({"command": "train"}, "Unknown command of a sweep 'train'"),
        ({"name": "a/b"}, "name: a/b: letters, digits.*as in a_b"),
        ({"set": ["a=1"]}, r"set: \['a=1'\]: options are needed as key: value"),
        ({"set": {"vae.steps": 1, "vae": {"steps": 2}}}, "set: vae.steps is given twice"),
        ({"dataset": None}, "A sweep needs a dataset"),
        ({"data-dir": "x", "data_dir": "y"}, "comes twice"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_can(given, message):
    with pytest.raises(ConfigError, match=message):
        parse(**given)


# ---------------------------------------------------------------- sweep files


def study(tmp_path, text):
    file = tmp_path / "my study.yaml"
    file.write_text(text)
    return read_sweep_file(file)


def test_a_study_file_gives_its_name(tmp_path):
    found = study(tmp_path, "dataset: digits\nsize: [500, 1000]\nset:\n  vae: {latent_dim: 8}\n")
    assert found == {"name": "my_study", "dataset": "digits", "size": [500, 1000], "set": {"vae": {"latent_dim": 8}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: digits\nsize: [500\nmodel: vae\n", "line 3, column .*this is no YAML"),
        ("dataset: digits\n\tsize: 3\n", "line 2"),
        ("dataset: digits\nsize: 1\nsize: 2\n", "line 3: size comes twice"),
        ("dataset: digits\nset:\n  a: 1\n  a: 2\n", "line 4: a comes twice"),
        ("- digits\n", "a sweep file has keys and values"),
        ("", "a sweep file has keys and values"),
        ("a: !!python/object/apply:os.getcwd []\n", "line 1"),
    ],
)
def test_a_broken_study_file_is_told_with_its_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        study(tmp_path, text)


def test_a_study_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.yaml cannot be read: No such file"):
        read_sweep_file(tmp_path / "no.yaml")


def test_options_replace_keys_and_single_options_of_models():
    found = overridden(
        {"size": [1, 2], "data-dir": "x", "set": {"vae": {"latent_dim": 8, "lr": 0.1}, "steps": 3}},
        {"size": "5", "data_dir": "y", "seeds": None, "set": {"vae.latent_dim": 9}},
    )
    assert found == {"size": "5", "data_dir": "y", "set": {"vae.latent_dim": 9, "vae.lr": 0.1, "steps": 3}}


# ---------------------------------------------------------------- the grid


def test_the_grid_is_the_product_of_its_axes_with_the_model_outermost():
    axes = {"model": ("vae", "dvae"), "dataset": ("digits",), "regime": ("balanced", "semi"), "size": (100, 200)}
    found = grid(**{name: list(values) for name, values in axes.items()}, seeds=3, seed=5)
    expected = itertools.product(*axes.values(), (5, 6, 7))
    assert [tuple(cell.coordinates[name] for name in (*axes, "seed")) for cell in found] == list(expected)
    assert len({cell.key for cell in found}) == len(found) == 24
    assert found[0].name == "digits balanced 100 vae seed 5"


def test_every_cell_has_one_seed_and_the_same_classes_are_rare_in_all():
    found = grid(seeds=3, seed=4)
    assert [cell.settings["seed"] for cell in found] == [4, 5, 6]
    assert {cell.settings["regime_seed"] for cell in found} == {4}
    assert all(cell.settings["seeds"] == 1 and "out" not in cell.settings for cell in found)


def test_other_axes_are_told_by_name_and_change_slower_than_the_data():
    found = grid(steps=[5, 6], size=[100, 200])
    assert [(cell.coordinates["steps"], cell.coordinates["size"]) for cell in found] == [
        *((5, 100), (5, 200)),
        *((6, 100), (6, 200)),
    ]
    assert found[0].name == "digits high 100 vae steps 5 seed 0"


def test_what_a_regime_does_not_use_makes_no_more_cells():
    found = grid(regime=["balanced", "high"], imbalance_factor=[5, 10])
    assert [(cell.coordinates["regime"], cell.coordinates.get("imbalance_factor")) for cell in found] == [
        ("balanced", None),
        ("high", 5),
        ("high", 10),
    ]


def test_sizes_that_are_not_given_are_known_from_the_data():
    (cell,) = grid(size=None, class_counts="9,8,7,6,5,4,3,2,1,1")
    assert cell.coordinates["size"] == 46 and cell.coordinates["regime"] == "explicit"


def test_options_reach_the_models_they_are_for():
    given = {"vae.latent_dim": 4, "dvae": {"latent_dim": 5}, "lr": 0.01}
    ours, theirs = grid(model=["vae", "dvae"], set=given)
    assert ours.settings["options"] == {"lr": 0.01, "latent_dim": 4}
    assert theirs.settings["options"] == {"lr": 0.01, "latent_dim": 5}


def test_options_of_a_generator_that_arms_use_reach_it_there():
    ours, theirs = grid(model=["vae", "dvae"], arm=["real", "model", "dvae"], set={"dvae.latent_dim": 5})
    assert ours.settings["options"] == {"dvae.latent_dim": 5}
    assert theirs.settings["options"] == {"latent_dim": 5}


def test_relative_paths_mean_the_same_for_every_worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (chosen,) = combinations(parse(data_dir="files"))
    assert chosen["data_dir"] == "files"
    (cell,) = grid(data_dir="files")
    assert cell.settings["data_dir"] == str(tmp_path / "files")


# ---------------------------------------------------------------- keys


def keys(**given):
    return [cell.key for cell in grid(**given)]


def test_a_key_is_that_of_the_work_and_not_of_how_it_was_asked_for():
    assert keys() == keys(out="elsewhere", name="other", data_dir="files", arms="quick", device="auto")
    assert keys(seeds=3)[:2] == keys(seeds=2)
    assert keys(size=[100, 200]) == [*keys(size=100), *keys(size=200)]


@pytest.mark.parametrize(
    "other",
    [
        {"steps": 7},
        {"arm": ["real", "oversample"]},
        {"strategy": "balance"},
        {"set": {"lr": 0.01}},
        {"precision": "fp32"},
        {"seed": 1},
        {"score_on": "validation"},
        {"classifier": ["cnn"]},
    ],
)
def test_whatever_changes_a_result_changes_the_key(other):
    assert keys() != keys(**other)


def test_other_code_changes_the_key(monkeypatch):
    from augment.training import trained

    before = keys()
    monkeypatch.setattr(trained, "plugin_code", lambda cls: "edited")
    assert keys() != before


# ---------------------------------------------------------------- checked before anything begins


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (UsageError, {"model": ["vae", "vea"]}, "In the cells of digits high 200 vea: Unknown model 'vea'"),
        (UsageError, {"regime": ["high", "hgih"]}, "digits hgih 200 vae: Unknown regime 'hgih'. Did you mean 'high'"),
        (UsageError, {"dataset": ["digits", "digist"]}, "Unknown data set 'digist'. Did you mean 'digits'"),
        (ConfigError, {"size": [200, "many"]}, "--size many: .*valid integer"),
        (ConfigError, {"steps": [0, 5]}, "--steps 0: "),
        (ConfigError, {"size": [200, 5]}, "--size 5 is less than one image for each"),
        (
            DataError,
            {"regime": ["balanced", "high"], "size": 1400},
            "digits balanced 1400 vae: Too few training images",
        ),
        (ConfigError, {"imbalance_factor": 0.1}, "imbalance factor is 0.1"),
        (UsageError, {"arm": ["real", "oversampel"]}, "oversampel"),
        (UsageError, {"arms": ["quick", "ful"]}, "Unknown set of arms 'ful'"),
        (UsageError, {"classifier": ["cnm"]}, "cnm"),
        (ConfigError, {"set": {"latent_dims": 3}}, "Unknown option of .*'latent_dims'"),
        (ConfigError, {"set": {"vae.latent_dims": 3}}, "Unknown option of .*'latent_dims'"),
        (UsageError, {"set": {"dvae.latent_dim": 3}}, "No arm uses 'dvae'"),
        (ConfigError, {"model": ["vae", "cgan"], "set": {"ramp": 3}}, r"'ramp'.*is given as MODEL\.ramp"),
        (UsageError, {"strategy": ["nonsense"]}, "nonsense"),
    ],
)
def test_one_bad_value_is_one_error_before_anything_begins(kind, given, message):
    with pytest.raises(AugmentError, match=message) as caught:
        grid(**given)
    assert type(caught.value) is kind


def test_a_data_set_is_loaded_once(monkeypatch):
    from augment import datasets

    loaded = []
    load = datasets.load_dataset

    def counting(name, **more):
        loaded.append(name)
        return load(name, **more)

    monkeypatch.setattr(datasets, "load_dataset", counting)
    assert len(grid(model=["vae", "dvae"], size=[100, 200], seeds=2)) == 8
    assert loaded == ["digits"]


@pytest.mark.parametrize("text", ["? [a, b]\n: 1", "a: &a {b: *a}", "d: 2024-13-45", "command: [run]", "out: [a, b]"])
def test_odd_yaml_is_a_mistake_and_no_crash(tmp_path, text):
    file = tmp_path / "study.yaml"
    file.write_text(f"dataset: digits\nmodel: vae\n{text}\n")
    with pytest.raises(ConfigError):
        SweepConfig.parse(read_sweep_file(file))


def test_zero_on_the_command_line_replaces_what_the_file_says(augment, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("dataset: digits\nmodel: vae\nseed: 5\n")
    code, out, _ = augment("sweep", file, "--seed", "0", "--dry-run", "--json", "--steps", "1", "--updates", "1")
    assert code == 0 and [cell["coordinates"]["seed"] for cell in json.loads(out)["cells"]] == [0]
    code, _, err = augment("sweep", file, "--seeds", "0", "--dry-run")
    assert code == 3 and "seeds" in err


@pytest.mark.parametrize(
    "options", [("--cpus-per-cell", "2"), ("--address", "auto"), ("--executor", "ray", "--workers", "2")]
)
def test_an_option_of_the_other_executor_is_refused(augment, options):
    code, _, err = augment("sweep", "--dataset", "digits", "--model", "vae", *options)
    assert code == 2 and "goes with --executor" in err
