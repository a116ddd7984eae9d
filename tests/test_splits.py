"""Which images a repetition trains on and is scored on: closed forms, exact copies, and a run on a person's folder."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

from augment import run
from augment.datasets import ImageSet, LabelledImages
from augment.datasets.splits import Split
from augment.errors import ConfigError
from augment.evidence.guards import Fingerprint
from augment.progress import Reporter
from augment.studies.run.config import RunConfig
from augment.studies.run.plan import prepare
from augment.studies.run.pool import Pool
from augment.studies.sweep.config import SweepConfig
from augment.studies.sweep.grid import cells

MINE = (170, 90, 30, 8, 3)
LABELS = torch.arange(5).repeat_interleave(torch.tensor(MINE))


@pytest.mark.parametrize("text", ["given", "holdout:0.2", "holdout:0.35", "kfold:3"])
def test_what_is_written_is_what_is_read(text):
    assert str(Split.parse(text)) == text
    assert (str(Split.parse("holdout")), str(Split.parse("kfold"))) == ("holdout:0.2", "kfold:5")


@pytest.mark.parametrize(
    "text", ["", "fifth", "holdout:0", "holdout:1", "holdout:x", "kfold:1", "kfold:2.5", "given:1"]
)
def test_what_is_no_split_is_told_with_what_is(text):
    with pytest.raises(ConfigError, match="write given, holdout:0.2 or kfold:5"):
        Split.parse(text)


def test_a_share_of_each_class_is_held_out_but_neither_all_nor_none():
    split = Split.parse("holdout:0.2")
    assert split.tested(MINE, 0) == (34, 18, 6, 2, 1)
    assert split.tested((2, 3, 4), 0) == (1, 1, 1) and Split.parse("holdout:0.9").tested((2, 3, 40), 0) == (1, 2, 36)
    rows = [split.test_rows(LABELS, 5, seed, seed) for seed in range(3)]
    for each in rows:
        assert torch.bincount(LABELS[each]).tolist() == [34, 18, 6, 2, 1] and each.tolist() == sorted(each.tolist())
    assert len(torch.cat(rows).unique()) > 1.8 * len(rows[0])  # they are drawn anew
    assert torch.equal(rows[1], split.test_rows(LABELS, 5, 1, 7))  # by the seed alone


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_image_is_tested_once_in_folds_that_are_as_even_as_others(folds):
    split = Split.parse(f"kfold:{folds}")
    rows = [split.test_rows(LABELS, 5, 3, index) for index in range(folds)]
    assert sorted(torch.cat(rows).tolist()) == list(range(len(LABELS)))
    ours = np.array([torch.bincount(LABELS[each], minlength=5).tolist() for each in rows])
    assert [split.tested(MINE, index) for index in range(folds)] == [tuple(row) for row in ours.tolist()]
    assert np.ptp(ours, axis=0).max() <= 1 and np.ptp(ours.sum(1)) <= 1
    with pytest.warns(UserWarning, match="least populated") if folds > 3 else pytest.MonkeyPatch.context():
        parts = StratifiedKFold(folds, shuffle=True, random_state=0).split(LABELS, LABELS)
        theirs = np.array([np.bincount(LABELS.numpy()[test], minlength=5) for _, test in parts])
    assert np.array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))


def test_a_copy_of_a_tested_image_is_not_for_training():
    images = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(12, 1, 8, 8).clone()
    images[11] = images[0]  # of one class
    part = LabelledImages(images[:10], torch.arange(10) % 2)
    data = ImageSet("toy", part, LabelledImages(images[10:], torch.tensor([1, 0])), ("a", "b"), own_test=False)
    pool, hidden = Pool.of(data, Split.parse("kfold:4")), 0
    for index in range(4):
        rows, tested = pool.parts(2, 0, index)
        assert not set(rows.tolist()) & set(tested.tolist())
        assert Fingerprint(pool.images.images[tested]).exact(pool.images.images[rows]) == 0
        hidden += len(images) - len(rows) - len(tested)
    assert hidden in (0, 2)  # both in one fold, or each once away from the other's training


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder of class folders without a test part."""
    folder, found = tmp_path_factory.mktemp("mine") / "mine", load_digits()
    for name, label, count in (("zero", 0, 90), ("one", 1, 40), ("two", 2, 12)):
        (folder / name).mkdir(parents=True)
        for index, image in enumerate(found.images[found.target == label][:count]):
            Image.fromarray((image * 255 / 16).astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


def asked(mine, tmp_path, **changes):
    quick = {"steps": 2, "updates": 2, "arms": ("real", "vae"), "classifiers": ("cart-pixels",)}
    options = {"width": 8, "latent_dim": 2, "components": 1}
    given = {"dataset": str(mine), "model": "vae", "out": tmp_path / "runs", "options": options, **quick}
    return RunConfig.parse(**{**given, **changes})


def test_own_images_without_a_test_part_are_divided_anew_five_times(mine, tmp_path):
    found = run(asked(mine, tmp_path)).to_json()
    assert found["scored_on"] == {"part": "held-out", "images": 28} and found["seeds"] == [0, 1, 2, 3, 4]
    assert found["regime"]["name"] == "natural" and found["regime"]["class_counts"] == [32, 10, 72]  # one, two, zero
    assert found["drawn"]["same_images"] is False and found["drawn"]["test_share"] == pytest.approx(28 / 114)
    assert {row["test"] for row in found["comparisons"]} == {"corrected resampled t over seeds"}
    notes = " ".join(found["dataset"]["notes"])
    assert "Split holdout:0.2: 28 of 142 images" in notes and "fixed random fifth" not in notes
    truths = {tuple(sorted(row["support"] for row in arm["per_class"])) for arm in found["arms"]}
    assert truths == {(2, 8, 18)}


def test_where_the_scored_images_are_uneven_balanced_accuracy_stands_beside(augment, mine, tmp_path):
    given = f"run --dataset {mine} --model vae --steps 2 --updates 2 --arm real --arm vae --seeds 1 --out {tmp_path}"
    code, out, err = augment(*given.split())
    assert code == 0 and "balanced %" in out and "in which they count for more" in " ".join(out.split()), err
    code, out, _ = augment(*given.replace(str(mine), "digits").split(), "--size", "100")
    assert code == 0 and "balanced %" not in out and "count for more" not in out


def test_folds_are_repetitions_of_one_order(mine, tmp_path):
    found = run(asked(mine, tmp_path, split="kfold:3")).to_json()
    assert len(found["seeds"]) == 3 and found["drawn"]["test_share"] == pytest.approx(48 / 94)
    notes = " ".join(found["dataset"]["notes"])
    assert "others in each of 3 repetitions (--dry-run says" in notes  # --seeds 1 would be refused
    tested = [sum(row["support"] for row in arm["per_class"]) for arm in found["arms"] if arm["arm"] == "real"]
    assert sorted(tested) == [47, 47, 48]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split": "kfold:3", "seeds": 2}, "has 3 repetitions, one for each fold; leave --seeds 2 out"),
        ({"split": "given"}, "has no test part. Take --split holdout:0.2, or add test/"),
        ({"split": "fifth"}, "write given, holdout:0.2 or kfold:5"),
    ],
)
def test_splits_that_cannot_be_are_refused(mine, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        prepare(asked(mine, tmp_path, **changes), Reporter())


def test_a_given_test_part_stays_and_named_sets_keep_theirs():
    assert RunConfig.parse(dataset="digits", model="vae").divided(own_test=False).split == "given"
    own = RunConfig.parse(dataset="./mine", model="vae")
    assert own.divided(own_test=True).split == "given" and own.divided(own_test=True).seeds == 1
    assert RunConfig.parse(dataset="digits", model="vae", split="holdout").divided(own_test=True).seeds == 5


def test_the_guard_sees_a_test_image_in_the_training_of_its_own_repetition(mine, tmp_path, monkeypatch):
    """A planted leak: one repetition trains on an image that it is tested on."""
    whole = Pool.parts

    def leaky(pool, num_classes, seed, index):
        rows, tested = whole(pool, num_classes, seed, index)
        return (torch.cat([rows, tested[:1]]).sort().values if index == 1 else rows), tested

    clean = run(asked(mine, tmp_path, seeds=2)).to_json()["guards"][0]
    assert clean["passed"]
    monkeypatch.setattr(Pool, "parts", leaky)
    found = run(asked(mine, tmp_path / "leaky", seeds=2, resume=False)).to_json()
    guard = found["guards"][0]
    assert not guard["passed"] and "real images: 1 of" in guard["detail"]
    assert {row["decision"] for row in found["verdicts"]} == {"invalid"}


def test_seeds_of_a_sweep_are_cells_and_folds_are_not(mine):
    asked = {"dataset": str(mine), "model": "vae", "seeds": 2, "steps": 2}
    found = cells(SweepConfig.parse(asked), Reporter())
    assert [cell.settings["seeds"] for cell in found] == [1, 1]
    (one, _) = cells(SweepConfig.parse({**asked, "split": "kfold:3"}), Reporter())
    assert "seeds" not in one.settings


def test_the_key_of_a_run_holds_what_was_resolved(mine, tmp_path):
    plan = prepare(asked(mine, tmp_path), Reporter())
    assert plan.identity.settings["split"] == "holdout:0.2" and plan.identity.settings["seeds"] == 5
    spelled = prepare(asked(mine, tmp_path, split="holdout:0.2", seeds=5, regime="natural"), Reporter())
    assert spelled.identity.key == plan.identity.key
    assert json.loads(json.dumps(plan.identity.settings))["regime"] == "natural"
