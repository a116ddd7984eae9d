"""Whole commands, in this process: what they print, what they write, and how they end."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from PIL import Image

from augment.results.run_result import RunResult

pytestmark = pytest.mark.libraries

QUICK = ["--steps", "8", "--updates", "8", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture
def rgb_folder(tmp_path):
    """Three classes of coloured noise, 12 x 12, each around a colour of its own."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 12)):
        for label, colour in enumerate(((200, 40, 40), (40, 200, 40), (40, 40, 200))):
            folder = tmp_path / "shapes" / part / f"kind {label + 8}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(rng.normal(colour, 30, (12, 12, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "shapes"


def test_run_prints_one_json_document_with_equal_updates(augment):
    code, out, err = augment("run", "--dataset", "digits", "--regime", "high", "--model", "dvae", "--json", *QUICK)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema"] == "augment.run/8"
    assert document["dataset"] | {"sha256": "", "notes": []} == {
        "name": "digits",
        "sha256": "",
        "channels": 1,
        "height": 8,
        "width": 8,
        "classes": [str(digit) for digit in range(10)],
        "notes": [],
    }
    assert sum(document["regime"]["class_counts"]) == document["regime"]["size"]
    assert {(row["arm"], row["classifier"]) for row in document["arms"]} == {
        *((arm, classifier) for arm in ("real", "oversample", "dvae") for classifier in ("cnn", "cart-pca")),
        ("smote", "cart-pca"),  # the tree's rivals; the CNN has stronger ones
        ("copies:randaugment", "cart-pca"),
        ("balanced-softmax", "cnn"),  # a tree has neither logits nor batches
        ("balanced-softmax+randaugment", "cnn"),
        ("dvae+balanced-softmax+randaugment", "cnn"),
    }
    assert {(row["classifier"], row["updates"]) for row in document["arms"]} == {("cnn", 8), ("cart-pca", None)}
    for row in document["arms"]:
        assert sum(entry["support"] for entry in row["per_class"]) == 359
        recalls = [entry["recall"] for entry in row["per_class"]]
        assert row["balanced_accuracy"] == pytest.approx(sum(recalls) / 10)
        assert row["accuracy"] == pytest.approx(sum(row["confusion"][c][c] for c in range(10)) / 359)
        assert row["trainings"][0] == row["accuracy"]
    fidelity = document["fidelity"]
    assert set(fidelity) >= set(
        "extractor n fid fid_floor kid is precision recall density coverage ssim memorisation".split()
    )
    assert fidelity["kid"] > fidelity["kid_floor"]
    (generator,) = document["generators"]
    assert generator["config"]["steps"] == 8
    assert {row["family"] for row in document["arms"] if row["arm"].startswith("dvae")} == {"generative"}
    assert all(guard["passed"] for guard in document["guards"])
    assert document["verdict"]["decision"] == "no evidence"  # one seed is none
    assert [verdict["classifier"] for verdict in document["verdicts"]] == ["cnn", "cart-pca"]
    assert document["verdicts"][0] == document["verdict"]
    verdict = document["verdict"]
    assert verdict["arm"] in ("dvae", "dvae+balanced-softmax+randaugment") and verdict["n"] == 1
    assert len([row for row in document["arms"] if len(row["trainings"]) == 2]) == 2  # the CNN's named pair
    assert not document["cached"]


def test_run_folder_is_complete_and_an_identical_run_is_not_computed_again(augment, tmp_path):
    command = ["run", "--dataset", "digits", "--regime", "balanced", "--model", "vae", "--save-images", *QUICK]
    code, out, err = augment(*command)
    assert code == 0, err
    (folder,) = (tmp_path / "runs").iterdir()
    assert {entry.name for entry in folder.iterdir()} >= {
        "config.json",
        "manifest.json",
        "generator",
        "synthetic",
        "history.csv",
        "result.json",
        "samples.png",
        "reconstructions.png",
        "gallery.safetensors",
        "predictions.safetensors",
    }
    for words in ("Accuracy of cnn on the test images", "oversample", "KID", "one seed", "Guards: all"):
        assert words in out
    written = (folder / "result.json").stat().st_mtime_ns
    code, out, err = augment(*command)
    assert code == 0
    assert "cached" in out
    assert (folder / "result.json").stat().st_mtime_ns == written

    older = (folder / "result.json").read_text().replace(RunResult.schema, "augment.run/6")
    (folder / "result.json").write_text(older)
    for other in (["results", str(tmp_path / "runs")], ["report", str(tmp_path / "runs")]):
        code, out, err = augment(*other)
        said = " ".join((out + err).split())
        assert "made by another version (augment.run/6; this one reads augment.run/8" in said, said
    code, out, err = augment(*command, "--json")  # made anew, of the parts that are there
    document = json.loads(out)
    assert (document["schema"], document["cached"]) == (RunResult.schema, False)
    assert document["generators"][0]["cached"]
    assert all(row["cached"] for row in document["arms"])


def test_run_on_a_folder_of_rgb_images(augment, rgb_folder):
    code, out, err = augment(
        "run", "--dataset", rgb_folder, "--class-counts", "20,10,4", "--model", "ae", "--json", *QUICK
    )
    assert code == 0, err
    document = json.loads(out)
    assert document["dataset"]["classes"] == ["kind 8", "kind 9", "kind 10"]
    assert document["dataset"]["channels"] == 3
    assert document["regime"]["class_counts"] == [20, 10, 4]
    added = {row["arm"]: row["class_counts"] for row in document["synthetic"]}
    assert added["ae"] == added["ae+balanced-softmax+randaugment"] == added["copies:randaugment"]
    assert added["smote"] == [0, 10, 16]
    assert added["ae"][0] == 0 and all(count > 0 for count in added["ae"][1:])


def test_seeds_repeat_with_new_subsets_and_give_an_interval(augment):
    code, out, err = augment(
        "run", "--dataset", "digits", "--model", "vae", "--seeds", "2", "--classifier", "cart-pixels", "--json", *QUICK
    )
    assert code == 0, err
    document = json.loads(out)
    assert document["seeds"] == [0, 1]
    (comparison,) = (row for row in document["comparisons"] if row["arm"] == "vae")
    assert comparison["n"] == len(comparison["deltas"]) == 2
    assert comparison["delta"] == pytest.approx(sum(comparison["deltas"]) / 2)
    low, high = comparison["ci95"]
    assert low <= comparison["delta"] <= high
    assert {row["arm"] for row in document["spread"]} == {"oversample", "vae"}
    assert all(row["sd"]["n"]["same_data"] == 2 for row in document["spread"])
    (effect,) = document["effects"]
    assert len(effect["classes"]) == 10 and {row["group"] for row in effect["groups"]} == {"many", "medium", "few"}


ARMS = [
    *("real", "duplicate", "smote", "latent-smote", "class-weights", "cutmix", "noise:blur+oversample"),
    *("vae+partial:cap=1+neighbourhood:below=15+weight:weight=0.4", "ae+balance+batch-share+real-last"),
]


def test_arms_of_all_kinds_and_two_generators_stand_in_one_table(augment):
    arms = [part for name in ARMS for part in ("--arm", name)]
    settings = ["--size", "200", "--classifier", "cnn", "--set", "ae.steps=6", "--set", "latent_dim=4"]
    code, out, err = augment("run", "--dataset", "digits", "--model", "vae", *arms, *settings, "--json", *QUICK)
    assert code == 0, err
    document = json.loads(out)
    assert [row["arm"] for row in document["arms"] if row["family"] == "classical"] == [*ARMS[:3], *ARMS[4:7]]
    assert [row["arm"] for row in document["arms"] if row["family"] == "generative"] == ["latent-smote", *ARMS[7:]]
    steps = {row["name"]: (row["config"]["steps"], row["config"]["latent_dim"]) for row in document["generators"]}
    assert steps["vae"] == (8, 4) and steps["ae"][1] != 4
    real = document["regime"]["class_counts"]
    added = {row["arm"]: row["class_counts"] for row in document["synthetic"]}
    assert added["smote"] == added["latent-smote"] == added[ARMS[8]] == [max(real) - count for count in real]
    assert all(made <= count for made, count in zip(added[ARMS[7]], real, strict=True))
    assert {row["updates"] for row in document["arms"] if row["classifier"] == "cnn"} == {8}
    compared = {row["arm"]: row for row in document["comparisons"]}
    assert len(compared) == len(ARMS) - 1 and all(row["p_holm"] >= row["p"] for row in compared.values())


def test_a_filter_reports_what_it_kept_and_what_it_cost(augment):
    command = ["run", "--dataset", "digits", "--model", "vae", "--size", "150", "--arm", "oversample"]
    strategy = "partial+teacher:folds=2,low=0.05,rounds=2"
    code, out, err = augment(*command, "--classifier", "cnn", "--strategy", strategy, "--json", *QUICK)
    assert code == 0, err
    (added,) = json.loads(out)["synthetic"]
    (report,) = added["filter"]
    assert report["kept"] == sum(added["class_counts"]) <= report["wanted"]
    assert report["seconds"]["teachers"] > 0 and len(report["per_class"]) == 10


def test_fail_under_is_an_exit_code(augment):
    command = ["run", "--dataset", "digits", "--model", "vae", "--arm", "oversample", "--classifier", "cart-pixels"]
    assert augment(*command, "--quiet", *QUICK)[0] == 0
    code, out, _ = augment(*command, "--quiet", "--fail-under", "0.5", *QUICK)
    assert code == 7 and "vae against oversample" in " ".join(out.split())  # the answer is printed all the same


def test_a_dry_run_says_what_would_be_done_and_does_nothing(augment, tmp_path, monkeypatch):
    from augment.studies.run import estimate

    monkeypatch.setattr(estimate, "WARM_UP", 0.2)
    command = ["run", "--dataset", "digits", "--model", "vae", "--seed", "70", "--seeds", "3", "--arm", "vae+teacher"]
    command += QUICK
    code, out, err = augment(*command, "--dry-run", "--json")
    assert code == 0, err
    found = json.loads(out)
    stages = {row["name"]: row for row in found["stages"]}
    assert stages["train vae"]["work"] == "3 x 8 steps of 32 images"
    assert stages["train teachers"]["work"] == "9 x 8 updates"
    assert stages["train cnn"]["work"] == "5 x 8 updates"  # three seeds, two repeats for the spread
    assert found["minutes"] == pytest.approx(sum(row["seconds"] for row in found["stages"]) / 60, abs=0.02)
    assert all(row["seconds"] > 0 for row in found["stages"])
    assert not (tmp_path / "runs").exists()
    code, out, _ = augment(*command, "--dry-run", "--quiet")
    assert code == 0 and "Nothing was done" in out and "train teachers" in out


def test_a_run_that_cannot_keep_to_its_minutes_says_so_before_it_starts(augment):
    code, _, err = augment("run", "--dataset", "digits", "--model", "vae", "--max-minutes", "0.001", "--quiet")
    assert code == 3 and "--max-minutes 0.001" in err and "--dry-run" in err


def test_a_set_leaves_out_what_the_model_cannot_do_and_says_so(augment):
    arms = ["--arms", "full", "--classifier", "cart-pixels", "--size", "150"]
    code, out, err = augment("run", "--dataset", "digits", "--model", "cgan", *arms, *QUICK)
    assert code == 0, err
    assert "without latent-smote" in err and "decodes" in err
    assert "class-weights" in out and "latent-smote" not in out


def test_choices_are_scored_on_training_images_that_were_not_drawn(augment, tmp_path):
    command = ["run", "--dataset", "digits", "--model", "vae", "--size", "150", "--arm", "oversample"]
    code, out, err = augment(*command, "--score-on", "validation", "--seeds", "2", "--json", *QUICK)
    assert code == 0, err
    document = json.loads(out)
    images = document["scored_on"]["images"]
    assert document["scored_on"]["part"] == "validation" and images % 10 == 0
    assert {sum(entry["support"] for entry in row["per_class"]) for row in document["arms"]} == {images}
    assert {entry["support"] for row in document["arms"] for entry in row["per_class"]} == {images // 10}
    code, _, err = augment(*command, "--score-on", "tset", "--quiet")
    assert code == 3 and "'test' or 'validation'" in err


def test_the_components_of_arms_are_listed(augment):
    listed = json.loads(augment("arms", "--json")[1])
    assert {"balanced-softmax", "latent-smote", "noise:rotation", "teacher", "real-last"} <= {
        row["name"] for row in listed["components"]
    }
    assert set(listed["sets"]) == {"quick", "full"}
    assert "balanced-softmax" in augment("arms")[1]


def test_train_sample_score(augment, tmp_path):
    code, out, err = augment("train", "--dataset", "digits", "--model", "vae", "--out", "g", *QUICK[:2])
    assert code == 0, err
    assert "augment sample g" in out
    code, out, err = augment("sample", "g", "--n", "25", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["class_counts"] == [3] * 5 + [2] * 5
    assert len(list((tmp_path / "g" / "samples").rglob("*.png"))) == 25
    for fake in ("g", "g/samples"):
        code, out, err = augment("score", "--real", "digits", "--fake", fake, "--json")
        assert code == 0, err
        assert json.loads(out)["fidelity"]["kid"] > 0


def test_models_datasets_doctor(augment, tmp_path):
    names = {row["name"] for row in json.loads(augment("models", "--json")[1])["models"]}
    assert names >= {"ae", "vae", "dvae", "vqvae"}
    code, out, _ = augment("models", "dvae")
    assert code == 0
    assert "latent_dim" in out
    assert "digits" in augment("datasets", "list")[1]
    code, out, err = augment("datasets", "inspect", "digits", "--json")
    assert code == 0, err
    assert (tmp_path / json.loads(out)["contact_sheet"]).exists()
    assert json.loads(augment("doctor", "--json")[1])["device"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_the_shell_asked_for(augment, shell):
    code, out, _ = augment("completion", shell)
    assert code == 0
    assert {"bash": "complete -o", "zsh": "#compdef augment", "fish": "complete --command augment"}[shell] in out


RUN = ["run", "--dataset", "digits", "--model", "vae"]
MISTAKES = {
    "unknown data set": (["run", "--dataset", "fashionmnst", "--model", "vae"], 2, "fashionmnist"),
    "unknown model": (["run", "--dataset", "digits", "--model", "dvea"], 2, "dvae"),
    "unknown regime": ([*RUN, "--regime", "hihg"], 2, "high"),
    "unknown arm": ([*RUN, "--arm", "oversampel"], 2, "oversample"),
    "unknown set of arms": ([*RUN, "--arms", "fulll"], 2, "full"),
    "arms that exclude each other": ([*RUN, "--arm", "oversample+class-weights"], 2, "exclude each other"),
    "a source the model cannot be": ([*RUN, "--arm", "vae+partial-noise"], 2, "edits"),
    "latent smote without a decoder": ([*RUN[:-1], "cgan", "--arm", "latent-smote"], 2, "decodes"),
    "a generator no arm uses": ([*RUN, "--set", "dvae.steps=3"], 2, "--arm dvae"),
    "unknown classifier": ([*RUN, "--classifier", "cnnn"], 2, "cnn"),
    "unknown strategy": ([*RUN, "--strategy", "balnce"], 2, "balance"),
    "unknown strategy option": ([*RUN, "--strategy", "partial:shar=0.1"], 2, "share"),
    "strategy option out of range": ([*RUN, "--strategy", "partial:share=2"], 3, "less than or equal to 1"),
    "unknown model option": ([*RUN, "--set", "latent_dmi=3"], 3, "latent_dim"),
    "model option out of range": ([*RUN, "--set", "latent_dim=1"], 3, "latent_dim=1"),
    "model option without value": ([*RUN, "--set", "latent_dim"], 2, "key=value"),
    "counts that are no numbers": ([*RUN, "--class-counts", "a,b"], 3, "separated by commas"),
    "counts of other length": ([*RUN, "--class-counts", "5,5"], 3, "10 classes"),
    "size too large": ([*RUN, "--size", "5000", "--regime", "balanced"], 3, "500 wanted, 142 there"),
    "size too small": ([*RUN, "--size", "3"], 3, "10 classes"),
    "factor too small": ([*RUN, "--imbalance-factor", "0.5"], 3, "imbalance factor"),
    "no seeds": ([*RUN, "--seeds", "0"], 2, "--seeds"),
    "unknown device": ([*RUN, "--device", "gpu"], 3, "cpu"),
    "unknown precision": ([*RUN, "--precision", "bf61"], 3, "bf16"),
    "no such folder": (["run", "--dataset", "./nothing", "--model", "vae"], 3, "nothing"),
    "not a generator": (["sample", "nothing"], 3, "not a saved generator"),
    "unknown plugin": (["plugins", "check", "nothing"], 2, "Known"),
    "unknown command": (["rnu"], 2, "run"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gives_one_message_and_its_exit_code(augment, case):
    arguments, expected, words = MISTAKES[case]
    code, out, err = augment(*arguments)
    assert code == expected, err
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_a_folder_that_cannot_be_written_is_named(augment, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = augment(*RUN, "--out", "file", *QUICK)
    assert code == 3
    assert "file" in err
    assert "--out" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_outside_of_training_ends_with_one_message(augment, monkeypatch, number):
    def interrupted(*_, **__):
        signal.raise_signal(number)

    monkeypatch.setattr("augment.arms.evaluation.begin", interrupted)
    code, out, err = augment(*RUN, *QUICK)
    assert code == 128 + number
    assert out == ""
    assert "Finished parts are kept" in err
    assert "Traceback" not in err


def test_two_runs_into_one_folder(augment, tmp_path):
    from augment.storage.locks import try_lock

    assert augment(*RUN, *QUICK)[0] == 0
    (folder,) = (tmp_path / "runs").iterdir()
    (folder / "result.json").unlink()
    with try_lock(folder):
        code, _, err = augment(*RUN, *QUICK)
    assert code == 3
    assert "Another process" in err
