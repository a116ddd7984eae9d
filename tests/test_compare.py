"""``augment compare``: what is paired, what is refused, and the numbers of the pairs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import features_result, with_options, with_settings
from scipy import stats

from augment import run
from augment.errors import DataError
from augment.metrics.scores import Score
from augment.results.comparison import compare_folders
from augment.results.predictions import Predictions
from augment.results.records import read_record
from augment.results.settings import plain_arm
from augment.storage.typed_json import to_json


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """A small real run with three seeds."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMENT_HOME", str(base / "augment-home"))
        made = run(
            dataset="digits",
            model="vae",
            size=200,
            seeds=3,
            steps=2,
            options={"width": 8, "latent_dim": 4},
            arms=("real", "oversample", "model", "model+oversample"),
            classifiers=("cart-pixels",),
            fidelity_images=50,
            out=base / "results-run",
        )
    folder = tmp_path_factory.mktemp("compare") / made.folder.name
    shutil.copytree(made.folder, folder)
    # two steps of training leave images of another brightness
    trusted = replace(made, guards=tuple(replace(guard, passed=True) for guard in made.guards))
    (folder / "result.json").write_text(json.dumps(trusted.to_json()))
    return folder


class Side:
    """A copy of the real run, with some of its seeds, to be changed and written."""

    def __init__(self, real: Path, seeds=(0, 1, 2)) -> None:
        record = read_record(real)
        self.identity = with_settings(record.identity, seed=seeds[0], seeds=len(seeds))
        kept = Predictions.load(real)
        self.truth = {new: kept.truth(old).copy() for new, old in enumerate(seeds)}
        self.predicted = {
            (new, classifier, arm): array.copy()
            for new, old in enumerate(seeds)
            for (index, classifier, arm), array in kept.predicted.items()
            if index == old
        }
        own = tuple(record.result.seeds[seed] for seed in seeds)
        arms = tuple(one for one in record.result.arms if one.seed in own)
        self.result = replace(record.result, seeds=own, arms=arms)

    def change(self, section: str = "", **changes) -> None:
        """Other fields of the result, or of one of its sections."""
        if section:
            changes = {section: replace(getattr(self.result, section), **changes)}
        self.result = replace(self.result, **changes)

    def accuracies(self, arm: str) -> list[float]:
        return [one.accuracy for one in self.result.arms if one.arm == arm]

    def set_accuracies(self, arm: str, values) -> None:
        left = [float(value) for value in values]
        rows = [replace(one, accuracy=left.pop(0)) if one.arm == arm else one for one in self.result.arms]
        assert not left
        self.change(arms=tuple(rows))

    def rename(self, model: str) -> None:
        """As if another generator had been run."""
        first, *rest = self.result.generators
        self.change(
            arms=tuple(replace(one, arm=one.arm.replace("vae", model)) for one in self.result.arms),
            generators=(replace(first, name=model), *rest),
        )
        self.predicted = {(i, c, arm.replace("vae", model)): array for (i, c, arm), array in self.predicted.items()}
        named = with_settings(self.identity, model=model)
        arms = [arm.replace("vae", model) for arm in named.decided["arms"]]
        generators = {model: named.generators["vae"]}
        self.identity = replace(named, decided={**named.decided, "arms": arms}, generators=generators)

    def set_options(self, **options) -> None:
        """As if its generator had these options and no others."""
        own, generator = next(iter(self.identity.generators.items()))
        self.identity = replace(self.identity, generators={own: replace(generator, options=options)})

    def write(self, folder: Path, *, predictions=True) -> Path:
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(self.result.to_json()))
        (folder / "config.json").write_text(json.dumps(to_json(self.identity)))
        if predictions:
            Predictions(self.truth, self.predicted).save(folder)
        return folder


WITHOUT_EXTRACTOR = {
    *("ssim_diversity", "memorisation", "near_copies", "exact_copies"),
    *("ssim", "ms_ssim_reduced", "psnr"),
}


def pair_of(found, arm):
    return next(pair for pair in found.arms if pair.arm == arm)


def test_several_seeds_are_a_paired_t_test_corrected_over_arms(real, tmp_path):
    a, b = Side(real), Side(real)
    changes = {
        "real": [0.02, 0.03, 0.05],
        "oversample": [-0.02, 0.01, -0.03],
        "vae": [0.1, 0.11, 0.13],
        "vae+oversample": [0.0, 0.02, -0.01],
    }
    for arm, change in changes.items():
        b.set_accuracies(arm, np.array(a.accuracies(arm)) + change)
    found = compare_folders(a.write(tmp_path / "a"), b.write(tmp_path / "b"))
    assert (found.unpaired, found.seeds) == ("", (0, 1, 2))
    tests = {arm: stats.ttest_1samp(100 * np.array(change), 0) for arm, change in changes.items()}
    ranked = sorted(tests, key=lambda arm: tests[arm].pvalue)
    held = np.maximum.accumulate([(4 - rank) * tests[arm].pvalue for rank, arm in enumerate(ranked)])
    for arm, test in tests.items():
        row = pair_of(found, arm.replace("vae", "model"))
        assert row.comparison.delta == pytest.approx(100 * np.mean(changes[arm]))
        assert row.comparison.ci95 == pytest.approx(tuple(test.confidence_interval(0.95)))
        assert row.comparison.p == pytest.approx(test.pvalue)
        assert row.comparison.p_holm == pytest.approx(min(1, held[ranked.index(arm)]))
        assert row.accuracy_b - row.accuracy_a == pytest.approx(np.mean(changes[arm]))


def test_only_seeds_of_both_are_paired(real, tmp_path):
    a, b = Side(real, (0, 1)), Side(real, (1, 2))
    b.set_accuracies("real", [0.9, 0.1])
    found = compare_folders(a.write(tmp_path / "a"), b.write(tmp_path / "b"))
    assert found.seeds == (1,)
    row = pair_of(found, "real")
    assert row.comparison.n == 1
    assert row.comparison.delta == pytest.approx(100 * (0.9 - a.accuracies("real")[1]))
    assert row.accuracy_b == pytest.approx(0.5)


def test_one_seed_is_mcnemar_s_test_on_the_same_images(real, tmp_path):
    a, b = Side(real, (1,)), Side(real, (1,))
    truth = b.truth[0]
    key = (0, "cart-pixels", "vae")
    b.predicted[key][0, :40] = truth[:40]
    b.predicted[key][0, 300:310] = (truth[300:310] + 1) % 10
    b.set_accuracies("vae", [float((b.predicted[key] == truth).mean())])
    found = compare_folders(a.write(tmp_path / "a"), b.write(tmp_path / "b"))
    right_a, right_b = (side.predicted[key][0] == truth for side in (a, b))
    gained, lost = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    row = pair_of(found, "model").comparison
    assert gained > lost > 0
    assert row.test == "McNemar"
    assert row.ci95 is None
    assert row.p == pytest.approx(stats.binomtest(gained, gained + lost).pvalue)
    assert row.p_holm == pytest.approx(min(1, 4 * row.p))
    assert row.delta == pytest.approx(100 * (gained - lost) / len(truth))
    assert pair_of(found, "real").comparison.p == 1


@pytest.mark.parametrize("missing", ["a", "b"])
def test_one_seed_without_predictions_has_no_test_and_says_why(real, tmp_path, missing):
    folders = [Side(real, (0,)).write(tmp_path / name, predictions=name != missing) for name in ("a", "b")]
    found = compare_folders(*folders)
    assert all(pair.comparison is None for pair in found.arms)
    assert all("predictions.safetensors is missing" in pair.why for pair in found.arms)


def test_one_seed_with_test_images_in_another_order_has_no_test(real, tmp_path):
    b = Side(real, (0,))
    b.truth[0] = b.truth[0][::-1].copy()
    found = compare_folders(Side(real, (0,)).write(tmp_path / "a"), b.write(tmp_path / "b"))
    assert all(pair.comparison is None and "another order" in pair.why for pair in found.arms)


def other_data(side):
    side.change("dataset", sha256="f" * 64)


def on_validation(side):
    side.change("scored_on", part="validation")
    side.change("regime", manifest_sha256="another")


def test_runs_whose_guards_failed_are_not_paired(real, tmp_path):
    a, b = Side(real), Side(real)
    first, *rest = b.result.guards
    b.change(guards=(replace(first, passed=False), *rest))
    found = compare_folders(a.write(tmp_path / "a"), b.write(tmp_path / "b"))
    assert found.unpaired.startswith("guards failed") and all(pair.comparison is None for pair in found.arms)


@pytest.mark.parametrize(
    ("change_a", "change_b", "reason"),
    [
        (None, other_data, "the data differ: digits (sha256 "),
        (None, on_validation, "359 test images and 359 validation images"),
        (lambda side: side.change("scored_on", part="validation"), on_validation, "validation images"),
    ],
)
def test_other_images_are_never_paired(real, tmp_path, change_a, change_b, reason):
    a, b = Side(real), Side(real)
    if change_a:
        change_a(a)
    change_b(b)
    found = compare_folders(a.write(tmp_path / "a"), b.write(tmp_path / "b"))
    assert reason in found.unpaired
    assert found.seeds == ()
    assert [pair.comparison for pair in found.arms] == [None] * 4
    assert pair_of(found, "real").accuracy_a == pytest.approx(np.mean(a.accuracies("real")))


def test_without_a_common_seed_nothing_is_paired(real, tmp_path):
    found = compare_folders(Side(real, (0,)).write(tmp_path / "a"), Side(real, (1, 2)).write(tmp_path / "b"))
    assert found.unpaired == "no seed is in both: 0 and 1, 2"


def test_two_models_are_compared_arm_by_arm(real, tmp_path):
    b = Side(real)
    b.rename("gan")
    b.change(arms=tuple(one for one in b.result.arms if one.arm != "real"))
    b.set_options(steps=2, width=8, depth=2)
    found = compare_folders(Side(real).write(tmp_path / "a"), b.write(tmp_path / "b"))
    assert [pair.arm for pair in found.arms] == ["oversample", "model", "model+oversample"]
    assert (found.only_a, found.only_b) == (("real (cart-pixels)",), ())
    differences = {row.name: (row.a, row.b) for row in found.settings}
    assert differences["model"] == ("vae", "gan")
    assert differences["depth"] == (None, 2)
    assert differences["latent_dim"] == (4, None)
    assert not {"width", "steps"} & set(differences)
    assert "arms" not in differences


@pytest.mark.parametrize(
    ("arm", "plain"),
    [("vae", "model"), ("vae+mixup", "model+mixup"), ("latent-smote:vae", "latent-smote"), ("dvae", "dvae")],
)
def test_the_run_s_own_generator_is_called_model(arm, plain):
    assert plain_arm(arm, "vae") == plain


def test_equal_runs_differ_in_nothing(real):
    found = compare_folders(real, real)
    assert found.settings == ()
    assert [pair.comparison.p for pair in found.arms] == [1] * 4
    assert {pair.comparison.delta for pair in found.arms} == {0}


def test_a_folder_of_several_seeds_is_one_side_and_one_of_several_studies_is_refused(real, tmp_path):
    for seed in range(3):
        Side(real, (seed,)).write(tmp_path / "sweep" / str(seed))
    found = compare_folders(tmp_path / "sweep", real)
    assert len(found.a.runs) == 3
    assert {pair.comparison.delta for pair in found.arms} == {0}
    other = Side(real)
    other.identity = with_options(other.identity, beta=9)
    other.write(tmp_path / "sweep" / "other")
    with pytest.raises(DataError, match=r"holds 2 experiments(.|\n)*sweep/0 .*beta=0\.1(.|\n)*sweep/other .*beta=9"):
        compare_folders(tmp_path / "sweep", real)


def test_fidelity_stands_beside_its_floor(real, tmp_path):
    b = Side(real)
    scores = b.result.fidelity.scores
    b.change("fidelity", scores={**scores, "kid": Score(0.5, 0.125), "coverage": Score()})
    found = compare_folders(real, b.write(tmp_path / "b"))
    kid = next(row for row in found.fidelity if row.name == "kid")
    assert (kid.b, kid.floor_b) == (0.5, 0.125)
    assert kid.floor_a is not None
    coverage = next(row for row in found.fidelity if row.name == "coverage")
    assert (coverage.a, coverage.b) == (scores["coverage"].value, None)
    assert found.unlike == ""


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ({"extractor": "inception", "extractor_sha256": "1" * 64}, "B by inception (11111111)"),
        ({"n": 7}, "7 samples against"),
        ({"n_reference": 7}, "against 7 real images"),
    ],
)
def test_scores_of_other_extractors_and_numbers_of_images_do_not_stand_beside_each_other(
    augment, real, tmp_path, measured, words
):
    b = Side(real)
    b.change("fidelity", **measured)
    folder = b.write(tmp_path / "b")
    found = compare_folders(real, folder)
    assert {row.name for row in found.fidelity} == WITHOUT_EXTRACTOR
    assert words in found.unlike
    out = augment("compare", real, folder)[1]
    assert "KID" not in out.replace("KID, FID and their kin are not put side by side", "")
    assert json.loads(augment("compare", real, folder, "--json")[1])["fidelity_unlike"] == found.unlike


def test_scores_against_other_real_images_do_not_stand_beside_each_other(real, tmp_path):
    b = Side(real)
    other_data(b)
    assert "real images" in compare_folders(real, b.write(tmp_path / "b")).unlike


def test_the_command_shows_differences_and_both_verdicts(augment, real, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    b = Side(real)
    b.rename("gan")
    b.change("regime", class_counts=b.result.regime.class_counts[::-1])
    folder = b.write(tmp_path / "b")
    code, out, err = augment("compare", real, folder)
    assert (code, err) == (0, "")
    for text in (
        "Settings that differ",
        "Training images",
        "model + oversample",
        "B - A over 3 seeds",
        "coverage",
    ):
        assert text in out
    assert out.count("Invalid: the guard") == 2
    _, out, _ = augment("compare", real, folder, "--json")
    found = json.loads(out)
    assert found["schema"] == "augment.compare/2"
    assert found["unpaired"] is None
    first, last = found["class_counts"][0], found["class_counts"][-1]
    assert (first["class"], first["a"], first["b"]) == ("0", last["b"], last["a"])
    assert (found["a"]["model"], found["b"]["model"], found["seeds"]) == ("vae", "gan", [0, 1, 2])
    assert [row["arm"] for row in found["arms"]] == ["real", "oversample", "model", "model+oversample"]
    assert found["arms"][0]["comparison"]["n"] == 3


def test_the_command_says_that_it_did_not_pair(augment, real, tmp_path):
    b = Side(real)
    other_data(b)
    code, out, _ = augment("compare", real, b.write(tmp_path / "b"))
    assert code == 0
    assert "Not paired: the data differ" in out.replace("\n", " ")
    assert "untested" in out


def test_a_feature_study_and_a_missing_folder_are_refused(augment, real, tmp_path):
    code, _, err = augment("compare", real, tmp_path / "nothing")
    assert code == 3
    assert "There is no" in err
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "result.json").write_text(json.dumps(features_result().to_json()))
    code, _, err = augment("compare", tmp_path / "study", real)
    assert code == 3
    assert "feature study" in err
