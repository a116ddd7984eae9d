"""A run's own rules: no test image in training, minutes that are kept, images that are made once."""

import json
import sys
from dataclasses import replace

import pytest
import torch

import augment
from augment.arms.grammar import Usage
from augment.datasets import ImageSet, LabelledImages, load_dataset
from augment.errors import ConfigError, DataError, UsageError
from augment.evidence.guards import Fingerprint
from augment.progress import Reporter
from augment.results.predictions import Predictions, repetition_folder
from augment.storage import files
from augment.studies.run import estimate, retraining, study
from augment.studies.run import plan as plans
from augment.studies.run.config import RunConfig
from augment.studies.run.estimate import Estimate, Stage, within
from augment.studies.run.identity import default_usage
from augment.studies.run.plan import prepare, without_test_images
from augment.synthesis import synthesis
from augment.synthesis.filter_outcome import FilteredClass, FilterOutcome, FilterSeconds
from augment.synthesis.synthesis import NO_PARENT, SyntheticSet

QUICK = {"steps": 4, "updates": 4, "device": "cpu", "precision": "fp32", "classifiers": ("cart-pixels",)}


class Notes(Reporter):
    """Keeps what a person would be told."""

    def __init__(self):
        self.told = []

    def note(self, text):
        self.told.append(text)


def config(tmp_path, **settings):
    return RunConfig.parse(dataset="digits", model="vae", out=tmp_path / "runs", **{**QUICK, **settings})


# ---------------------------------------------------------------- test images


def overlapping(shared):
    """Twenty training images of two classes, of which the first ``shared`` are test images, too."""
    images = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 2
    test = torch.cat([torch.arange(shared), torch.arange(20, 30)])
    train, rest = LabelledImages(images[:20], labels[:20]), LabelledImages(images[test], labels[test])
    return ImageSet("toy", train, rest, ("a", "b"))


def test_training_images_that_are_test_images_are_left_out_and_told():
    report, data = Notes(), overlapping(3)
    found = without_test_images(data, Fingerprint(data.test.images), report)
    assert torch.equal(found.train.images, data.train.images[3:]) and len(found.test) == 13
    assert found.sha256 != data.sha256
    assert report.told == list(found.notes) and "3 training images are test images, too" in report.told[0]
    clean = overlapping(0)
    assert without_test_images(clean, Fingerprint(clean.test.images), report) is clean
    with pytest.raises(DataError, match="every training image"):
        without_test_images(overlapping(20), Fingerprint(overlapping(20).test.images), report)


def test_a_generator_is_not_validated_on_test_images(tmp_path, monkeypatch):
    """What would let them through is switched off; the refusal stands by itself."""
    data = load_dataset("digits")
    mixed = replace(data, test=LabelledImages(data.train.images[:900], data.train.labels[:900]), sha256="")
    monkeypatch.setattr(RunConfig, "load_data", lambda self, report: mixed)
    monkeypatch.setattr(plans, "without_test_images", lambda data, test, report: data)
    with pytest.raises(DataError, match="The weights of vae that are kept would be chosen on test images"):
        augment.run(config(tmp_path, regime="balanced", size=1000))


# ---------------------------------------------------------------- updates


def test_an_arm_that_took_fewer_updates_makes_the_verdict_invalid(tmp_path, monkeypatch):
    """What is compared is what was really done, not what was asked for."""
    module = sys.modules["augment.arms.evaluation"]  # its function `evaluate` hides it from an import
    full = module.fit_cnn

    def shortened(images, labels, num_classes, *, updates, learning, **how):
        taken = updates - 1 if learning.imbalance == "oversample" else updates
        return full(images, labels, num_classes, updates=taken, learning=learning, **how)

    monkeypatch.setattr(module, "fit_cnn", shortened)
    arms = {"arms": ("real", "oversample"), "classifiers": ("cnn",)}
    result = augment.run(config(tmp_path, regime="balanced", size=300, **arms)).to_json()
    guard = next(guard for guard in result["guards"] if guard["name"].startswith("equal updates"))
    assert not guard["passed"] and "oversample: 3 updates" in guard["detail"]
    assert "equal updates" in result["verdict"]["text"]


# ---------------------------------------------------------------- seeds


def test_a_run_of_the_second_seed_alone_is_the_second_repetition(tmp_path):
    """What a sweep's cells rest on; without the regime's seed other classes would be rare."""
    both = augment.run(config(tmp_path, seeds=2)).to_json()
    alone = augment.run(config(tmp_path, seed=1, regime_seed=0)).to_json()
    other = augment.run(config(tmp_path, seed=1)).to_json()
    assert alone["regime"]["class_counts"] == both["regime"]["class_counts"] != other["regime"]["class_counts"]
    assert alone["seeds"] == both["seeds"][1:]
    known = [(row["arm"], row["accuracy"]) for row in both["arms"] if row["seed"] == alone["arms"][0]["seed"]]
    assert [(row["arm"], row["accuracy"]) for row in alone["arms"]] == known


# ---------------------------------------------------------------- minutes


def test_the_wall_clock_is_that_of_the_longest_chain_or_of_all_cores():
    alone, shared = Stage("train", "", 60.0, alone=True), Stage("cnn", "", 300.0)
    assert Estimate("", (alone, shared), 2).seconds == 180
    assert Estimate("", (alone, shared), 100).seconds == 60


@pytest.fixture
def hour(monkeypatch):
    """An estimate of 40 minutes of generators and 40 of the rest, on two cores."""
    stages = (Stage("train vae", "", 2400.0, alone=True), Stage("train cnn", "", 2400.0))
    monkeypatch.setattr(estimate, "estimate_plan", lambda plan, report: Estimate("", stages, 2))


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [(None, None), (40, None), (30, 5.0), (22, 1.0)],  # 4 generators: (2 x 30 - 40) / 4 = 5 minutes each
)
def test_generators_get_what_the_rest_leaves(tmp_path, hour, limit, minutes):
    plan = prepare(config(tmp_path, seeds=4, max_minutes=limit), Reporter())
    assert within(plan, Reporter()) == (None if minutes is None else pytest.approx(minutes))


def test_a_run_that_cannot_fit_is_refused(tmp_path, hour):
    with pytest.raises(ConfigError, match=r"about 20.0 minutes, and --max-minutes 20"):
        within(prepare(config(tmp_path, max_minutes=20), Reporter()), Reporter())


def test_the_minutes_of_a_run_are_kept_for_its_resumption_and_are_not_its_identity(tmp_path, hour):
    plan = prepare(config(tmp_path, seeds=4, max_minutes=30), Reporter())
    timed = study._within_time(plan, Reporter())
    assert timed.generator_minutes == pytest.approx(5) and timed.identity.key == plan.identity.key
    files.write_json(plan.folder / "time.json", {"generator_minutes": 3.5})
    assert study._within_time(plan, Reporter()).generator_minutes == 3.5


# ---------------------------------------------------------------- synthetic images


def outcome(n):
    of_class = FilteredClass("a", n, n, n, n, 1.0, {"distance": 0}, None)
    return FilterOutcome(n, n, n, n, 1.0, 1, FilterSeconds(1.0, 0.5, 0.25), (of_class,))


def drawn(n=3):
    rows = tuple({"index": index, "source": "noise"} for index in range(n))
    images = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8)
    return SyntheticSet(images, torch.zeros(n, dtype=torch.int64), rows, torch.full((n,), NO_PARENT)), outcome(n)


def test_images_are_drawn_once_and_again_when_asked_or_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    calls = []

    def draw():
        calls.append(1)
        return drawn()

    first, report = synthesis.kept_or_drawn({"seed": 1}, draw, reuse=True)
    again, kept = synthesis.kept_or_drawn({"seed": 1}, draw, reuse=True)
    assert len(calls) == 1 and report == kept == outcome(3)
    assert torch.equal(first.images, again.images) and first.rows == again.rows
    assert torch.equal(first.parents, again.parents)
    synthesis.kept_or_drawn({"seed": 2}, draw, reuse=True)
    synthesis.kept_or_drawn({"seed": 1}, draw, reuse=False)
    assert len(calls) == 3
    (file, _) = (tmp_path / "synthetic").glob("*/images.safetensors")
    for damaged in (file.parent, *(one.parent for one in (tmp_path / "synthetic").glob("*/images.safetensors"))):
        (damaged / "images.safetensors").write_bytes(b"short")
    synthesis.kept_or_drawn({"seed": 1}, draw, reuse=True)
    assert len(calls) == 4


def test_a_set_without_images_is_kept_too(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    for _ in range(2):
        found, _ = synthesis.kept_or_drawn({"seed": 1}, lambda: drawn(0), reuse=True)
        assert found.images.shape == (0, 1, 8, 8) and found.rows == ()


def test_every_set_of_images_is_saved_with_its_rows(tmp_path):
    settings = config(tmp_path, save_images=True, size=120, arms=("vae", "vae+balance+neighbourhood:below=20"))
    folder = augment.run(settings).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    plain, near = (folder / "synthetic" / name for name in ("vae", "vae_balance_neighbourhood_below_20"))
    rows = [json.loads(line) for line in (near / "metadata.jsonl").read_text().splitlines()]
    parents = {row["parent"] for row in rows if row["source"] == "neighbourhood"}
    assert parents and parents <= set(manifest["train"])
    assert len(list(plain.rglob("*.png"))) < len(list(near.rglob("*.png")))


# ---------------------------------------------------------------- spread, defaults


def test_with_spread_generators_are_trained_again_on_the_first_subset(tmp_path):
    result = augment.run(config(tmp_path, seeds=2, spread=True, size=120, arms=("oversample",)))
    rows = {row["arm"]: row["sd"] for row in result.to_json()["spread"]}
    assert rows["oversample"]["n"] == {"together": 2, "same_data": 2, "same_subset": 0}
    assert rows["vae"]["n"] == {"together": 2, "same_data": 2, "same_subset": 2}
    assert rows["vae"]["generator"] is not None and rows["oversample"]["subset"] is not None
    first, again = (
        json.loads((result.folder / where / "training.json").read_text())["recipe"]
        for where in ("generator", "spread/seed-1/generator")
    )
    assert first["data_sha256"] == again["data_sha256"] and first["seed"] != again["seed"]


def test_the_spread_is_that_of_a_balanced_arm_without_additions_and_of_the_runs_own_generator(tmp_path):
    arms = ("real", "duplicate", "oversample", "latent-smote", "ae", "vae+balanced-softmax", "vae")
    plan = prepare(config(tmp_path, arms=arms), Reporter())
    assert [spec.name for spec in retraining.repeated(plan)] == ["oversample", "vae+balanced-softmax"]


def test_run_takes_its_settings_as_keywords_too(tmp_path):
    settings = {**QUICK, "dataset": "digits", "model": "vae", "size": 120, "out": tmp_path}
    assert augment.run(**settings) == augment.run(RunConfig(**settings))
    with pytest.raises(UsageError, match="a config and seeds besides"):
        augment.run(RunConfig(**settings), seeds=2)
    with pytest.raises(ConfigError, match="Did you mean 'model'"):
        augment.run(dataset="digits", modle="vae")


def test_defaults_follow_the_counts_and_what_is_given_stands_alone():
    assert str(default_usage((5, 5, 5))) == "ratio"
    assert str(default_usage((5, 4))) == "partial+real-last:share=0.3"
    assert str(default_usage((5, 4), Usage.parse("weight"))) == "partial+weight"
    assert str(default_usage((5, 5), Usage.parse("balance"))) == "balance"


# ---------------------------------------------------------------- arms of a set


def test_what_the_quick_set_has_for_trees_alone_is_left_out_for_the_cnn_unless_asked_for(tmp_path):
    def suited(classifier, **settings):
        plan = prepare(config(tmp_path, **settings), Reporter())
        return {spec.name for spec in plan.arms if spec.suits(classifier)}, plan

    both = ("cnn", "cart-pca")
    assert {"smote", "copies:randaugment"} <= suited("cart-pca", classifiers=both)[0]
    assert not {"smote", "copies:randaugment"} & suited("cnn", classifiers=both)[0]
    asked, plan = suited("cnn", classifiers=both, arms=("smote",), arm_set="quick")
    assert "smote" in asked and "copies:randaugment" not in asked
    assert plan.identity.key != suited("cnn", classifiers=both)[1].identity.key
    alone = suited("cnn", classifiers=("cnn",))[1]
    assert "smote" not in [spec.name for spec in alone.arms]  # nor are its images made


# ---------------------------------------------------------------- second trainings


def named_twice(document):
    """Classifier and arm of the rows with two trainings."""
    return {(row["classifier"], row["arm"]) for row in document["arms"] if len(row["trainings"]) == 2}


def test_over_seeds_the_named_arms_are_trained_twice_and_averaged(tmp_path, monkeypatch):
    monkeypatch.setattr("augment.studies.run.conclusion.run_guards", lambda *_: [])
    arms = ("real", "oversample", "balanced-softmax", "model", "model+balanced-softmax")
    found = augment.run(config(tmp_path, seeds=2, arms=arms, classifiers=("cnn", "cart-pixels"), updates=20))
    document, kept = found.to_json(), Predictions.load(found.folder)
    (verdict,) = (one for one in document["verdicts"] if one["classifier"] == "cnn")
    twice = named_twice(document)
    assert {classifier for classifier, _ in twice} == {"cnn"}  # a tree's seed moves next to nothing
    assert {("cnn", verdict["arm"]), ("cnn", verdict["against"])} <= twice
    for index, seed in enumerate(document["seeds"]):
        for row in (row for row in document["arms"] if row["seed"] == seed):
            trainings = kept.predicted[index, row["classifier"], row["arm"]]
            right = (trainings == kept.truth(index)).mean(1)
            assert right.tolist() == pytest.approx(row["trainings"])
            assert row["accuracy"] == pytest.approx(right.mean())
            assert kept.right(index, row["classifier"], row["arm"]).mean() == pytest.approx(row["accuracy"])


def test_on_one_seed_the_second_training_stands_beside_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("augment.studies.run.conclusion.run_guards", lambda *_: [])
    found = augment.run(config(tmp_path, arms=("real", "oversample", "model"), classifiers=("cnn",), updates=20))
    verdict, rows = found.to_json()["verdict"], {row["arm"]: row for row in found.to_json()["arms"]}
    pair = [rows[verdict[side]] for side in ("arm", "against")]
    assert [row["accuracy"] for row in pair] == [row["trainings"][0] for row in pair]
    first, again = (100 * (pair[0]["trainings"][turn] - pair[1]["trainings"][turn]) for turn in (0, 1))
    assert (verdict["delta"], verdict["again"]) == pytest.approx((first, again))
    assert "when both are trained again with another seed of the classifier" in verdict["text"]
    assert named_twice(found.to_json()) == {("cnn", row["arm"]) for row in pair}
    kept = Predictions.load(found.folder)
    assert {array.shape[0] for array in kept.predicted.values()} == {1}  # joined seeds are of one training each


def test_an_arm_can_be_held_against_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("augment.studies.run.conclusion.run_guards", lambda *_: [])
    arms = ("balanced-softmax", "balanced-softmax:again")
    found = augment.run(config(tmp_path, arms=arms, classifiers=("cnn",), seeds=2, updates=20)).to_json()
    assert [(row["arm"], row["against"]) for row in found["verdicts"]] == [arms[::-1]]
    accuracies = [row["trainings"] for row in found["arms"]]
    assert len({value for row in accuracies for value in row}) > 2  # no training is another one's
    with pytest.raises(UsageError, match="only an arm without a generator"):
        prepare(config(tmp_path, arms=("real", "model:again")), Reporter())


def test_validation_images_are_judged_as_resampled_and_overlaps_are_said(tmp_path):
    found = augment.run(
        config(tmp_path, arms=("real", "oversample", "model"), seeds=3, size=300, score_on="validation")
    )
    drawn, rows = found.to_json()["drawn"], found.to_json()["comparisons"]
    images, pool = found.to_json()["scored_on"]["images"], 1438
    assert drawn["same_images"] is False and drawn["test_share"] == pytest.approx(images / (pool - images))
    assert {row["test"] for row in rows if row["ci95"]} <= {"corrected resampled t over seeds"}
    trained = [set(files.read_json(repetition_folder(found.folder, i) / "manifest.json")["train"]) for i in range(3)]
    pairs = [len(trained[a] & trained[b]) / 300 for a, b in ((0, 1), (0, 2), (1, 2))]
    assert drawn["overlap"] == pytest.approx(sum(pairs) / 3)
