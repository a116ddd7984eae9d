"""Trackers get the curves of a training and the numbers of a result, on this machine, and nothing is asked."""

import csv
import glob
import json
import os
import socket
import struct
from pathlib import Path

import pytest
from made_results import arm_scores, features_result, few_label_scores, fidelity_scores, run_result

from augment import run
from augment.errors import UsageError
from augment.metrics.scores import Score
from augment.progress import Reporter
from augment.studies.features.config import FeaturesConfig
from augment.studies.run.config import RunConfig
from augment.training import tracking
from augment.training.tracking import TRACKERS, Tracked, flat, means, safe_tag, tracked

pytestmark = pytest.mark.libraries

RUN = {"dataset": "digits", "model": "ae", "size": 200, "regime": "high", "imbalance_factor": 10, "steps": 6}
RUN |= {"updates": 2, "arms": ("real", "ae"), "classifiers": ("cart-pca",), "fidelity_images": 60}
RUN |= {"device": "cpu", "precision": "fp32"}


class Seen(Reporter):
    def __init__(self):
        self.rows, self.texts = [], []

    def metrics(self, values, step, folder=None):
        self.rows.append((dict(values), step, folder))

    def note(self, text):
        self.texts.append(text)

    def stage(self, title):
        self.texts.append(title)

    def advance(self, done, total, detail=""):
        self.texts.append(detail)


@pytest.fixture
def closed(monkeypatch):
    """No network: whoever tries to reach another machine fails the test."""

    def connect(self, address):
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
            pytest.fail(f"it tried to reach {address}")
        return real(self, address)

    real = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr("builtins.input", lambda *texts: pytest.fail("it asked"))
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def history(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tensorboard():
    return pytest.importorskip("tensorboard", reason="pip install tensorboard")


@pytest.fixture
def result(tmp_path, monkeypatch, closed):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    return lambda **more: run(RunConfig.parse(**{**RUN, **more}, out=tmp_path / "runs"))


def test_tensorboard_has_the_curves_and_the_result_of_a_run(result, tensorboard):
    made = result(tracker="tensorboard", seeds=2)
    found = scalars(made.folder / "tracker")
    for part in ("generator", "seed-1/generator"):
        rows = history(made.folder / part)
        assert len(rows) == 6
        for name in ("loss", "grad_norm", "lr"):
            expected = [(int(row["step"]), pytest.approx(float(row[name]), rel=1e-4)) for row in rows]
            assert found[f"{part}/{name}"] == expected
        assert len(found[f"{part}/images_per_second"]) == 6
        validated = [(int(row["step"]), float(row["val_loss"])) for row in rows if row["val_loss"]]
        assert found[f"{part}/val_loss"] == [(step, pytest.approx(loss, rel=1e-4)) for step, loss in validated]
        assert validated
    for arm in ("real", "ae"):
        each = [row["accuracy"] for row in made.to_json()["arms"] if row["arm"] == arm]
        assert len(each) == 2
        assert found[f"accuracy/cart-pca/{arm}"] == [(0, pytest.approx(sum(each) / 2, rel=1e-6))]
    assert found["fidelity/kid"] == [(0, pytest.approx(made.to_json()["fidelity"]["kid"], rel=1e-5))]
    (settings,) = glob.glob(str(made.folder / "tracker" / "*" / "hparams.yml"))
    assert "model: ae" in Path(settings).read_text()


def test_a_tracker_changes_neither_the_run_nor_accelerate(result, tensorboard):
    from accelerate import PartialState

    plain = result()
    assert not (plain.folder / "tracker").exists()
    again = result(tracker="tensorboard")
    assert again.cached and again.folder == plain.folder
    assert not PartialState._shared_state


def test_the_curve_of_a_generator_from_the_cache_is_there_too(result, tensorboard):
    first, other = result(), result(tracker="tensorboard", updates=3)
    assert first.folder != other.folder and other.to_json()["generators"][0]["cached"]
    rows = history(first.folder / "generator")
    losses = [(int(row["step"]), pytest.approx(float(row["loss"]), rel=1e-6)) for row in rows]
    assert scalars(other.folder / "tracker")["generator/loss"] == losses and len(losses) == 6


def test_train_has_a_tracker(augment, tmp_path, tensorboard, closed):
    code, out, err = augment(
        *("train", "--dataset", "digits", "--model", "ae", "--out", "model", "--steps", 4, "--device", "cpu"),
        *("--regime", "balanced", "--size", 100, "--tracker", "tensorboard", "--json"),
    )
    assert code == 0, err
    assert json.loads(out)["steps"] == 4
    found = scalars(tmp_path / "model" / "tracker")
    losses = [(int(row["step"]), pytest.approx(float(row["loss"]), rel=1e-4)) for row in history(tmp_path / "model")]
    assert found["generator/loss"] == losses and len(losses) == 4


def test_wandb_stays_offline_and_keeps_both_curves(tmp_path, closed):
    pytest.importorskip("wandb", reason="pip install wandb")
    folder = tmp_path / "run-1"
    with tracked("wandb", folder, {"model": "ae", "options": {"lr": 0.1}}, Reporter()) as report:
        for part in ("generator", "seed-1/generator"):
            for step in (1, 2):  # from the beginning again, which wandb's own steps cannot
                report.metrics({"loss": len(part) / step}, step, folder / part)
        report.metrics({"accuracy/cnn/ae+mixup": 0.5}, 0)
    (file,) = (folder / "tracker" / "wandb").glob("offline-run-*/*.wandb")
    rows = wandb_rows(file)
    for part in ("generator", "seed-1/generator"):
        curve = [(row[f"{part}/step"], row[f"{part}/loss"]) for row in rows if f"{part}/loss" in row]
        assert curve == [(1, len(part)), (2, len(part) / 2)]
    assert rows[-1]["accuracy/cnn/ae_mixup"] == 0.5
    assert "WANDB_MODE" not in os.environ


def wandb_rows(file):
    """History rows of wandb's file, a log in LevelDB's format: blocks of 32 KiB, records in pieces."""
    from wandb.proto import wandb_internal_pb2

    data, place, pieces, rows = file.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        pieces += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pieces)
            pieces = b""
            if record.WhichOneof("record_type") == "history":
                items = ((one.key or "/".join(one.nested_key), one.value_json) for one in record.history.item)
                rows.append({key: json.loads(value) for key, value in items})
    return rows


def test_wandb_does_not_ask_for_a_key(tmp_path, monkeypatch, closed):
    pytest.importorskip("wandb", reason="pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr("wandb.api", type("Api", (), {"api_key": None}), raising=False)
    with pytest.raises(UsageError, match="WANDB_API_KEY"), tracked("wandb", tmp_path, {}, Reporter()) as report:
        report.metrics({"loss": 1.0}, 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::PendingDeprecationWarning")
def test_mlflow_keeps_a_database_in_the_run(tmp_path, closed):
    pytest.importorskip("sqlalchemy", reason="pip install mlflow")
    mlflow = pytest.importorskip("mlflow", reason="pip install mlflow")
    folder = tmp_path / "run-1"
    with tracked("mlflow", folder, {"model": "ae", "options": {"lr": 0.1}}, Reporter()) as report:
        for step in (1, 2):
            report.metrics({"loss": 1 / step}, step, folder / "generator")
        report.metrics({"accuracy/cnn/ae+mixup": 0.5}, 0)
    client = mlflow.MlflowClient(f"sqlite:///{folder}/tracker/mlflow.db")
    (kept,) = client.search_runs([client.get_experiment_by_name("augment").experiment_id])
    assert [(one.step, one.value) for one in client.get_metric_history(kept.info.run_id, "generator/loss")] == [
        (1, 1.0),
        (2, 0.5),
    ]
    assert kept.data.metrics["accuracy/cnn/ae_mixup"] == 0.5 and kept.data.params["options.lr"] == "0.1"
    assert kept.info.run_name == "run-1" and kept.info.status == "FINISHED"
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_server_of_ones_own_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("WANDB_API_KEY", "0")
    assert tracking._variables("mlflow", tmp_path) == tracking._variables("wandb", tmp_path) == {}


def test_all_reach_the_other_reporter(tmp_path):
    seen = Seen()
    with tracked(None, tmp_path, {}, seen) as report:
        assert report is seen
    both = Tracked(seen, "tensorboard", tmp_path, {})
    both.stage("a")
    both.note("b")
    both.advance(1, 2, "c")
    assert seen.texts == ["a", "b", "c"]
    both.finish()
    assert not list(tmp_path.iterdir())  # nothing was measured, nothing is kept


def test_only_the_first_process_tracks(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    seen = Seen()
    with tracked("tensorboard", tmp_path, {}, seen) as report:
        assert report is seen


@pytest.mark.parametrize("config", [RunConfig, FeaturesConfig])
def test_unknown_and_missing_trackers_are_named(config, monkeypatch):
    with pytest.raises(UsageError, match="Unknown tracker 'tensorbord'. Did you mean 'tensorboard'.*mlflow"):
        config.parse(dataset="digits", model="ae", tracker="tensorbord")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in TRACKERS:
        with pytest.raises(UsageError, match=rf"{name} needs {name}: pip install \"augment-toolkit\[trackers\]\""):
            config.parse(dataset="digits", model="ae", tracker=name)


def test_a_tracker_that_cannot_begin_is_an_error_with_its_reason(tmp_path, tensorboard):
    (tmp_path / "tracker").write_text("a file")
    with pytest.raises(UsageError, match="--tracker tensorboard cannot begin: .*exists"):
        Tracked(Reporter(), "tensorboard", tmp_path, {}).metrics({"loss": 1.0}, 1)


def test_a_tracker_that_fails_later_does_not_end_the_work(tmp_path, tensorboard, monkeypatch):
    seen = Seen()
    with tracked("tensorboard", tmp_path, {}, seen) as report:
        report.metrics({"loss": 1.0}, 1)
        monkeypatch.setattr(
            "accelerate.tracking.TensorBoardTracker.log", lambda *values, **how: (_ for _ in ()).throw(OSError("full"))
        )
        report.metrics({"loss": 2.0}, 2)
        report.metrics({"loss": 3.0}, 3)
    assert seen.texts == ["The tracker tensorboard failed and gets no more: full"]
    assert [step for _, step, _ in seen.rows] == [1, 2, 3]
    assert scalars(tmp_path / "tracker")["loss"] == [(1, 1.0)]


def test_settings_are_flat():
    nested = {"a": 1, "b": {"c": 0.5, "d": {"e": "x"}}, "f": None, "g": [1, 2], "h": True, "i": Path("p")}
    assert flat(nested) == {"a": 1, "b.c": 0.5, "b.d.e": "x", "g": "[1, 2]", "h": True, "i": '"p"'}


def test_names_suit_all_trackers():
    assert safe_tag("accuracy/cnn/ae+balanced-softmax") == "accuracy/cnn/ae_balanced-softmax"
    assert safe_tag("größe k=8") == "gr__e_k_8"


def test_a_run_is_told_by_classifier_and_arm_with_means_over_seeds_and_its_scores():
    arms = (arm_scores("real", accuracy=0.5), arm_scores("real", accuracy=0.25, seed=1))
    found = run_result(arms=arms, fidelity=fidelity_scores(fid=Score(2, floor=1.5), kid=Score(reason="few")))
    told = {"accuracy/cnn/real": 0.375, "fidelity/fid": 2.0, "fidelity/fid_floor": 1.5}
    assert means(found.numbers()) == told


def test_a_feature_study_is_told_by_head_method_and_k():
    rows = (few_label_scores("cnn", None, 2, 0.5), few_label_scores("cnn", "mlp", 2, 0.25))
    assert means(features_result(rows=rows).numbers()) == {"accuracy/whole/cnn/k2": 0.5, "accuracy/mlp/cnn/k2": 0.25}
