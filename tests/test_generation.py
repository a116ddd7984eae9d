"""Train, sample and score on the embedded digits, and what each of them refuses."""

import json
import math
from pathlib import Path

import pytest
import torch
from made_results import training_record

from augment.datasets import LabelledImages, load_dataset
from augment.datasets.class_folders import save_class_folders
from augment.errors import ConfigError, DataError, UsageError
from augment.generator import GeneratorConfig, ImageSpec
from augment.generators import sample as sampling
from augment.generators import scoring
from augment.progress import Reporter
from augment.registry import create, load_generator
from augment.storage.locks import try_lock
from augment.studies import train as training
from augment.studies.train import TrainConfig
from augment.testing import MinimalGenerator

TINY = {"width": 8, "latent_dim": 2, "components": 1, "batch_size": 32}
COUNTS = [40, 20, *[6] * 8]


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def asked(**changes):
    given = {"class_counts": COUNTS, "options": TINY, "seed": 3, "steps": 5, "device": "cpu", "precision": "fp32"}
    return TrainConfig.parse(**{"dataset": "digits", "model": "vae", "out": Path("g"), **given, **changes})


def train(data, folder, reporter=None, **changes):
    return training.train(data, asked(out=folder, **changes), reporter)


@pytest.fixture(scope="module")
def saved(digits, tmp_path_factory):
    """A trained generator, only read by the tests that share it."""
    folder = tmp_path_factory.mktemp("saved") / "generator"
    train(digits, folder)
    return folder


def class_folders(folder):
    return {path.name: len(list(path.glob("*.png"))) for path in sorted(folder.iterdir()) if path.is_dir()}


class Notes(Reporter):
    def __init__(self):
        self.stages, self.texts = [], []

    def stage(self, title):
        self.stages.append(title)

    def note(self, text):
        self.texts.append(text)


def test_train_saves_a_generator_that_describes_itself(saved, digits):
    generator = load_generator(saved)
    assert (generator.name, generator.spec, generator.config.steps) == ("vae", digits.spec, 5)
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["class_counts"] == COUNTS and len(manifest["train"]) == sum(COUNTS)
    assert len((saved / "history.csv").read_text().splitlines()) > 1
    training = json.loads((saved / "training.json").read_text())
    assert training["recipe"]["data_sha256"] == manifest["sha256"]
    assert sampling.class_names(saved, 10) == digits.classes


def test_train_tells_what_it_cost(digits, tmp_path):
    notes = Notes()
    found = train(digits, tmp_path / "g", reporter=notes)
    assert (found.recipe.model, found.steps, found.stopped) == ("vae", 5, "finished")
    assert found.seconds > 0 and found.images_per_second > 0
    assert notes.stages == ["Train vae"]


def test_train_takes_all_images_without_counts(digits, tmp_path):
    train(digits, tmp_path / "g", class_counts=None, steps=1)
    manifest = json.loads((tmp_path / "g" / "manifest.json").read_text())
    assert (manifest["regime"], len(manifest["train"])) == ("natural", len(digits.train))


def test_a_finished_generator_is_not_replaced(digits, tmp_path):
    folder = tmp_path / "g"
    train(digits, folder)
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(DataError, match=r"is a finished generator.*--overwrite.*--resume") as caught:
        train(digits, folder, seed=4)
    assert caught.value.exit_code == 3
    with pytest.raises(DataError, match="was trained with other options, data or code"):
        train(digits, folder, seed=4, resume=True)
    assert (folder / "model.safetensors").read_bytes() == before
    notes = Notes()
    again = train(digits, folder, resume=True, reporter=notes)
    assert "108 of 1,438" in notes.texts[0] and "already" in notes.texts[1]
    assert (folder / "model.safetensors").read_bytes() == before
    train(digits, folder, seed=4, overwrite=True)
    assert (folder / "model.safetensors").read_bytes() != before
    assert again.key != json.loads((folder / "training.json").read_text())["key"]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors", "manifest.json"])
def test_a_persons_own_files_are_not_replaced(digits, tmp_path, name, resume):
    (tmp_path / name).write_text("precious")
    with pytest.raises(DataError, match=rf"{name}.*--out.*--overwrite"):
        train(digits, tmp_path, resume=resume)
    assert (tmp_path / name).read_text() == "precious"


def test_other_files_in_the_folder_do_not_matter(digits, tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    train(digits, tmp_path, steps=1)
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_resume_starts_fresh_where_there_is_nothing_and_goes_on_where_there_is(digits, tmp_path, monkeypatch):
    whole = train(digits, tmp_path / "whole", resume=True)
    assert whole.steps == 5

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("augment.generator.Generator.save", killed)  # after the last step, before the generator is saved
        with pytest.raises(KeyboardInterrupt):
            train(digits, tmp_path / "parts")
    assert not (tmp_path / "parts" / "config.json").exists()
    resumed = train(digits, tmp_path / "parts", resume=True)
    assert resumed.key == whole.key
    parts, same = load_generator(tmp_path / "parts").state_dict(), load_generator(tmp_path / "whole").state_dict()
    assert all(torch.equal(parts[name], same[name]) for name in same)


def test_train_refuses_what_cannot_be_drawn(digits, tmp_path):
    with pytest.raises(DataError, match=r"class 2: 9999 wanted, \d+ there"):
        train(digits, tmp_path / "g", class_counts=[6, 6, 9999, *[6] * 7])
    assert not (tmp_path / "g").exists()


def test_train_refuses_an_unknown_model_or_option(digits, tmp_path):
    with pytest.raises(UsageError, match="Unknown model 'veaa'"):
        train(digits, tmp_path / "g", model="veaa", options={})
    with pytest.raises(ConfigError, match="Did you mean 'latent_dim'"):
        train(digits, tmp_path / "g", options={"latent_dims": 3})
    assert not (tmp_path / "g").exists()


def test_a_folder_in_use_is_refused(digits, tmp_path):
    with try_lock(tmp_path / "g"), pytest.raises(DataError, match="Another process is writing"):
        train(digits, tmp_path / "g")


def test_counts_of_a_regime(digits):
    available = digits.train.counts(10)
    assert asked(class_counts=None).counts(digits) == available
    balanced = asked(class_counts=None, regime="balanced").counts(digits)
    assert balanced == (min(available),) * 10 or max(balanced) - min(balanced) <= 1
    assert asked().counts(digits) == tuple(COUNTS)
    assert sum(asked(class_counts=None, size=100).counts(digits)) == 100


# ---------------------------------------------------------------- sample


def test_sample_spreads_over_the_classes(saved, tmp_path):
    document = sampling.sample(saved, n=23, out=tmp_path / "x")
    assert document.class_counts == (3, 3, 3, 2, 2, 2, 2, 2, 2, 2) and document.n == 23
    assert class_folders(tmp_path / "x") == {
        f"{digit}-{digit}": count for digit, count in enumerate(document.class_counts)
    }
    assert (tmp_path / "x.png").stat().st_size > 0 and document.sheet == tmp_path / "x.png"


def test_sample_with_counts_is_exact_and_says_where_each_image_is_from(saved, tmp_path):
    counts = [0, 7, *[1] * 8]
    document = sampling.sample(saved, counts=counts, out=tmp_path / "x", seed=11)
    assert list(document.class_counts) == list(counts)
    assert list(class_folders(tmp_path / "x").values()) == counts
    rows = [json.loads(line) for line in (tmp_path / "x" / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == sum(counts)
    assert all((tmp_path / "x" / row["file_name"]).is_file() for row in rows)
    assert {(row["generator"], row["seed"]) for row in rows} == {("vae", 11)}
    assert [row["class"] for row in rows] == [int(row["label"]) for row in rows]


def test_sample_follows_its_seed(saved, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        sampling.sample(saved, n=10, out=tmp_path / name, seed=seed)

    def images(name):
        return [file.read_bytes() for file in sorted((tmp_path / name).rglob("*.png"))]

    assert images("a") == images("b") != images("c")


def test_a_generator_without_classes_gives_one_folder_of_unlabelled_images(digits, tmp_path):
    folder = tmp_path / "generator"
    train(digits, folder, options={**TINY, "conditional": False, "prior": "normal"})
    document = sampling.sample(folder, n=7, device="cpu")
    assert document.class_counts == (7,) and document.sheet.is_file()
    assert class_folders(folder / "samples") == {"0-unlabelled": 7}
    rows = [json.loads(line) for line in (folder / "samples" / "metadata.jsonl").read_text().splitlines()]
    assert {(row["label"], row["class"]) for row in rows} == {("unlabelled", None)}
    with pytest.raises(ConfigError, match="takes no --class-counts"):
        sampling.sample(folder, counts=COUNTS, out=tmp_path / "other", device="cpu")


def test_samples_lie_beside_the_generator_by_default(digits, tmp_path):
    train(digits, tmp_path / "g", steps=1)
    document = sampling.sample(tmp_path / "g", n=10)
    assert document.folder == tmp_path / "g" / "samples"
    with pytest.raises(DataError, match=r"samples is not empty.*--out"):
        sampling.sample(tmp_path / "g", n=10)


def test_sample_into_the_current_folder(saved, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    document = sampling.sample(saved, n=10, out=Path("."))
    assert sum(class_folders(tmp_path / "here").values()) == 10
    assert document.sheet == tmp_path / "here.png"


def test_sample_does_not_mix_with_what_is_there(saved, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"precious")
    with pytest.raises(DataError, match="is not empty; images of two draws must not mix"):
        sampling.sample(saved, n=10, out=tmp_path)
    assert class_folders(tmp_path) == {}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"counts": [1, 2, 3]}, "has 3 numbers; .* has 10 classes"),
        ({"counts": [1] * 11}, "has 11 numbers"),
        ({"counts": [5, -1, *[1] * 8]}, "-1"),
        ({"counts": [0] * 10}, "no image"),
        ({"n": 0}, "no image"),
        ({"n": -3}, "-3"),
    ],
)
def test_sample_refuses_counts_that_make_no_sense(saved, tmp_path, asked, message):
    with pytest.raises(ConfigError, match=message):
        sampling.sample(saved, out=tmp_path / "x", **asked)
    assert not (tmp_path / "x").exists()


def test_sample_refuses_what_is_no_generator(tmp_path):
    with pytest.raises(DataError, match="has no config.json"):
        sampling.sample(tmp_path)


def test_classes_have_numbers_where_no_names_are_kept(tmp_path):
    assert sampling.class_names(tmp_path, 3) == ("0", "1", "2")
    training_record(classes=("a", "b")).write(tmp_path)
    assert sampling.class_names(tmp_path, 2) == ("a", "b")
    assert sampling.class_names(tmp_path, 3) == ("0", "1", "2")


# ---------------------------------------------------------------- score


def test_references_are_disjoint_halves(digits):
    test = LabelledImages(torch.arange(60, dtype=torch.uint8).view(60, 1, 1, 1), torch.arange(60) % 3)
    found = scoring.split_references(test, 20, seed=1)
    assert (len(found.reference), len(found.held_out)) == (30, 20)
    pixels = torch.cat([found.reference.images, found.held_out.images]).flatten().tolist()
    assert len(set(pixels)) == 50
    assert all(int(image) % 3 == label for image, label in zip(pixels[:30], found.reference.labels, strict=True))
    assert len(scoring.split_references(test, 1000, seed=1).held_out) == 30
    assert torch.equal(found.reference.images, scoring.split_references(test, 5, seed=1).reference.images)
    assert not torch.equal(found.reference.images, scoring.split_references(test, 5, seed=2).reference.images)
    with pytest.raises(DataError, match="3 real images are too few"):
        scoring.split_references(test.subset([0, 1, 2]), 2, seed=0)


def test_samples_like_labels(digits):
    torch.manual_seed(0)
    generator = MinimalGenerator(GeneratorConfig(), ImageSpec(1, 4, 4, 3)).eval()
    labels = torch.tensor([2, 0, 1, 1])
    drawn = scoring.sample_like(generator, labels, seed=5)
    assert drawn.images.shape == (4, 1, 4, 4) and drawn.images.dtype == torch.uint8
    assert torch.equal(drawn.labels, labels)
    assert torch.equal(drawn.images, scoring.sample_like(generator, labels, seed=5).images)


def test_reconstructions_are_the_generators(digits):
    torch.manual_seed(0)
    generator = MinimalGenerator(GeneratorConfig(), ImageSpec(1, 4, 4, 3)).train()
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    restored = scoring.reconstructions(generator, LabelledImages(images, torch.zeros(5, dtype=torch.int64)))
    with torch.no_grad():
        assert torch.equal(restored, generator.reconstruct(images.float() / 255))
    assert generator.training


@pytest.fixture(scope="module")
def scored(saved, tmp_path_factory):
    """Scores of the saved generator, and of a folder of its samples."""
    folder = tmp_path_factory.mktemp("scored") / "x"
    sampling.sample(saved, n=60, out=folder, seed=8)
    found = [scoring.score("digits", place, n=n, device="cpu") for place, n in ((saved, 60), (folder, 100))]
    return tuple(one.to_json() for one in found)


def test_score_of_a_generator(scored, saved):
    document = scored[0]
    assert (document["schema"], document["real"], document["fake"]) == ("augment.score/3", "digits", str(saved))
    found = document["fidelity"]
    assert found["n"] == 60 and found["extractor"] and len(found["extractor_sha256"]) == 64
    assert found["kid"] > found["kid_floor"]  # five steps make no digits
    for name in ("precision", "recall", "coverage", "memorisation", "ssim", "ssim_diversity", "ms_ssim_reduced"):
        assert 0 <= found[name] <= 1, name
    assert 1 <= found["is"] <= 10 and 0 < found["psnr"] < 40
    assert found["exact_copies"] == 0
    json.dumps(document, allow_nan=False)


def test_every_floor_stands_beside_its_score(scored):
    for document in scored:
        for name in ("kid", "precision", "recall", "density", "coverage"):
            assert math.isfinite(document["fidelity"][f"{name}_floor"]), name
        found = document["fidelity"]
        assert (found["fid"] is None) == bool(found["fid_reason"])


def test_score_of_a_folder_has_no_reconstructions(scored):
    found = scored[1]["fidelity"]
    assert found["n"] == 60  # as many as there are, of the 100 asked for
    assert found["ssim"] is found["psnr"] is found["ms_ssim_reduced"] is None
    assert found["kid"] > found["kid_floor"]
    json.dumps(scored[1], allow_nan=False)


def test_score_tells_whether_its_guards_hold(scored):
    for document in scored:
        names = [guard["name"] for guard in document["guards"]]
        assert names == ["no test image in training", "train, synthetic and test images on one scale"]
        assert document["guards"][0]["passed"] and "of 60 are test images" in document["guards"][0]["detail"]
        assert "synthetic" in document["guards"][1]["detail"]


def test_score_of_training_images_finds_the_copies(digits, scored, tmp_path):
    copies = digits.train.subset(range(200))
    save_class_folders(tmp_path / "x", copies.images, copies.labels, digits.classes)
    found = scoring.score("digits", tmp_path / "x", n=50, device="cpu").to_json()["fidelity"]
    assert found["exact_copies"] == found["n"] == 50 and found["memorisation"] > 0.99
    assert found["kid"] < scored[1]["fidelity"]["kid"]


def test_score_refuses_a_generator_of_other_shape(saved):
    with pytest.raises(DataError, match=r"shape \(1, 8, 8\), digits of \(1, 16, 16\).*--image-size"):
        scoring.score("digits", saved, image_size=16, device="cpu")


def test_score_refuses_a_generator_of_other_classes(digits, tmp_path):
    create("vae", ImageSpec(1, 8, 8, 3), TINY).save(tmp_path / "g")
    with pytest.raises(DataError, match="made for 3 classes, digits has 10"):
        scoring.score("digits", tmp_path / "g", device="cpu")
    create("vae", ImageSpec(1, 8, 8, 10, tuple("9876543210")), TINY).save(tmp_path / "h")
    with pytest.raises(DataError, match=r"made for the classes 9, 8, .*; digits has 0, 1, .*, in this order"):
        scoring.score("digits", tmp_path / "h", device="cpu")


def test_score_refuses_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        scoring.score("digits", tmp_path / "nowhere", device="cpu")
