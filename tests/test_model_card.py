"""Model cards: what they say is what was found, their commands work, and names from people stay names."""

import html
import json
import re

import pytest
import torch
import yaml
from made_results import fidelity_scores
from markdown_it import MarkdownIt

import augment
from augment import load_generator, study_features
from augment.datasets import ImageSet, LabelledImages, load_dataset
from augment.datasets.regimes import Manifest
from augment.generators.model_card import (
    HELPED,
    ONE_SEED,
    SAMPLES,
    Evidence,
    code,
    escaped,
    fidelity_section,
    helped_section,
    json_block,
    near_copies,
    prose,
    unscored,
    write_card,
)
from augment.metrics.scores import Score
from augment.studies import train as training
from augment.studies.features.config import FeaturesConfig
from augment.studies.run.config import RunConfig
from augment.studies.train import TrainConfig

pytestmark = pytest.mark.libraries

TINY = {"width": 8, "latent_dim": 4, "batch_size": 8}
NASTY = (
    "<script>alert(1)</script>",
    "a|b \\| c",
    "[here](javascript:alert(1)) ![i](http://x.y/z.png)",
    "```\n# not a heading\n---",
    "`code` **bold** _it_ ~~no~~ &amp; \\",
    "http://x.y www.x.y me@x.y $a$",
)
INVISIBLE = "a\u202eb\x00c\u2028d"


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache that the runs of this module share, set before those of single tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMENT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


QUICK = {"dataset": "digits", "steps": 4, "device": "cpu", "precision": "fp32"}


def run(folder, **settings):
    quick = {**QUICK, "updates": 4, "model": "vae", "classifiers": ("cart-pixels",), "size": 120, "options": TINY}
    return augment.run(RunConfig.parse(out=folder, **{**quick, **settings}))


@pytest.fixture(scope="module")
def finished(home, tmp_path_factory):
    """Two seeds and two generators; only read by the tests that share it."""
    options = {**TINY, "cgan.width": 8, "cgan.batch_size": 8}
    return run(tmp_path_factory.mktemp("runs"), arms=("oversample", "vae", "cgan"), seeds=2, options=options)


def train(data, folder, **changes):
    given = {"options": TINY, "seed": 3, "steps": 5, "device": "cpu", "precision": "fp32", **changes}
    return training.train(data, TrainConfig.parse(dataset="digits", model="vae", out=folder, **given))


def card(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def front_matter(text):
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def section(text, title):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def blocks(text, language):
    return re.findall(f"^```{language}\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)


def rendered(text):
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)


def shown(fragment):
    """The text that a reader sees."""
    return html.unescape(re.sub("<[^>]+>", "", fragment)).strip()


def cells(text):
    rows = re.findall("<tr>(.*?)</tr>", rendered(text), re.DOTALL)
    return [[shown(cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


# ---------------------------------------------------------------- loading


def execute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (snippet,) = blocks(card(folder), "python")
    names = {}
    exec(snippet, names)
    return names


@pytest.mark.parametrize("where", ["generator", "generator-cgan", "seed-1/generator", "seed-1/generator-cgan"], ids=str)
def test_the_code_of_a_runs_card_loads_the_generator_and_samples(finished, monkeypatch, where):
    found = execute(finished.folder / where, monkeypatch)
    assert found["images"].shape == (16, 1, 8, 8) and found["images"].dtype == torch.float32
    assert 0 <= found["images"].min() and found["images"].max() <= 1
    assert found["labels"].tolist() == [*range(10), *range(6)]
    again = execute(finished.folder / where, monkeypatch)
    assert torch.equal(found["images"], again["images"]) and found["images"].std() > 0


@pytest.mark.parametrize("options", [{}, {"conditional": False, "prior": "normal"}], ids=["classes", "no classes"])
def test_the_code_and_the_command_of_a_trained_generators_card_work(augment, digits, tmp_path, monkeypatch, options):
    folder = tmp_path / "generator"
    train(digits, folder, options={**TINY, **options})
    found = execute(folder, monkeypatch)
    assert found["images"].shape == (16, 1, 8, 8) and ("labels" in found) == (not options)
    (command, *_) = blocks(card(folder), "sh")
    code_, out, err = augment(*command.replace("FOLDER", str(folder)).split()[1:], "--device", "cpu")
    assert code_ == 0, err
    assert len(list((folder / "samples").rglob("*.png"))) == 100


# ---------------------------------------------------------------- what it says


def test_the_first_lines_are_what_hubs_read(finished):
    text = card(finished.folder / "generator")
    front, _ = front_matter(text)
    assert text.startswith("---\n") and set(front) == {"library_name", "tags"}  # a license is not ours to state
    assert front["library_name"] == "augment" and {"vae", "autoencoder", "synthetic-data"} <= set(front["tags"])


def test_it_says_what_it_was_trained_on_and_how(finished):
    folder = finished.folder / "generator"
    manifest = json.loads((finished.folder / "manifest.json").read_text())
    training = json.loads((folder / "training.json").read_text())
    data, how = section(card(folder), "What it was trained on"), section(card(folder), "How it was trained")
    facts = dict(row for row in cells(data) if len(row) == 2)
    assert facts["data set"] == "digits" and facts["its SHA-256"] == manifest["dataset_sha256"]
    assert facts["SHA-256 of the draw"] == manifest["sha256"]
    assert facts["draw"] == "regime high, imbalance factor 100, seed 0"
    assert facts["images"].startswith(f"120, of which {len(manifest['validation'])} were held back")
    counts = [row for row in cells(data) if len(row) == 3]
    assert counts == [
        ["class", "name", "images"],
        *([str(label)] * 2 + [str(count)] for label, count in enumerate(manifest["class_counts"])),
    ]
    facts = dict(cells(how))
    assert facts["steps"] == "4 of 4 (finished)" and facts["device, precision"] == "cpu, fp32"
    assert facts["seed"] == str(training["recipe"]["seed"])
    assert json.loads(blocks(how, "json")[0]) == training["recipe"]["options"]


def test_it_says_how_the_runs_own_model_scored_and_what_the_scores_are_of(finished):
    scores = finished.fidelity
    first, second, other = (
        card(finished.folder / name) for name in ("generator", "seed-1/generator", "generator-cgan")
    )
    found = section(first, SAMPLES)
    table = {row[0].partition(",")[0]: row[1:] for row in cells(found)}
    kid, coverage = scores["kid"], scores["coverage"]
    value, floor, low, high = (f"{1000 * each:.2f}" for each in (kid.value, kid.floor, *kid.floor_range))
    assert table["KID x 1000"] == [value, f"{floor} ({low} to {high})"]
    assert table["Coverage"] == [f"{coverage.value:.3f}", f"{coverage.floor:.3f}"]
    assert f"{scores.n} samples of it" in found and scores.extractor_sha256 in found
    assert "of another draw" not in found
    assert "by the same recipe from another draw" in section(second, SAMPLES)
    assert "Not scored: the run that it was trained for scored samples of vae" in section(other, SAMPLES)
    limits = section(first, "Limits")
    assert f"{scores['exact_copies'].value} are a training image" in limits and "repeats the biases" in limits
    assert "Of the other generator" in section(second, "Limits")
    assert "was not looked at" in section(other, "Limits")


def test_it_says_what_its_own_arms_did_with_intervals(finished):
    for model, name in (("vae", "generator"), ("cgan", "generator-cgan")):
        found = section(card(finished.folder / name), HELPED)
        (comparison,) = [row for row in finished.comparisons if row.arm == model]
        low, high = (f"{bound:+.1f}".replace("-", "\N{MINUS SIGN}") for bound in comparison.ci95)
        (_, row) = cells(found)
        assert row[:3] == [model, "cart-pixels", comparison.against] and row[4] == f"{low} to {high}"
        assert ONE_SEED not in found and "over 2 seeds" in found
    verdict = finished.verdict
    best = "generator" if verdict.arm == "vae" else "generator-cgan"
    assert verdict.text in shown(rendered(section(card(finished.folder / best), HELPED)))


def test_a_score_that_cannot_be_told_says_why():
    scores = fidelity_scores(fid=Score(reason="9 images are too few."), psnr=20.0, ssim=0.5)
    found = fidelity_section(scores, part="validation", other_training=False)
    assert cells(found)[1:] == [
        ["Reconstruction SSIM, higher is better", "0.500", "1.000"],
        ["Reconstruction PSNR dB, higher is better", "20.0", ""],
    ]
    assert found.endswith("\n\nNo FID: 9 images are too few.") and "9 validation images" in found


def test_one_seed_is_called_no_evidence(home, tmp_path):
    folder = run(tmp_path, arms=("oversample", "vae")).folder / "generator"
    assert ONE_SEED in section(card(folder), HELPED) and "no evidence" in ONE_SEED


def test_a_failed_guard_is_told_even_where_nothing_was_compared():
    told = helped_section([], ["Invalid: the guard 'no test image in training' failed."])
    assert "Invalid" in told and "not compared" in told
    assert all("Whether" in near_copies(scores) for scores in (None, fidelity_scores(kid=0.1)))


def test_classes_with_few_images_and_trainings_cut_short_are_limits(digits, tmp_path):
    counts = [40] * 8 + [19, 3]
    train(digits, tmp_path / "g", class_counts=counts)
    limits = section(card(tmp_path / "g"), "Limits")
    assert "fewer than 20 images: 8 (19), 9 (3)." in limits and "ended before" not in limits
    train(digits, tmp_path / "cut", steps=100_000, max_minutes=0.001)
    limits = section(card(tmp_path / "cut"), "Limits")
    assert "ended before the last step: out of time." in limits and "fewer than" not in limits


def test_a_trained_generator_says_that_nobody_scored_it(digits, tmp_path):
    train(digits, tmp_path / "g")
    text = card(tmp_path / "g")
    assert "Not scored" in section(text, SAMPLES) and f"## {HELPED}" not in text
    assert "1,438 training images, the classes as they come, split with seed 3" in section(
        text, "What it was trained on"
    )


def test_a_resumed_training_keeps_its_card(digits, tmp_path):
    train(digits, tmp_path / "g")
    (tmp_path / "g" / "README.md").write_text("edited by its owner")
    train(digits, tmp_path / "g", resume=True)
    assert card(tmp_path / "g") == "edited by its owner"


def test_a_feature_studys_card_has_its_accuracies(home, tmp_path):
    quick = {**QUICK, "model": "ae", "episodes": 2, "labels_per_class": (1,), "probes": ("knn",), "plots": ()}
    found = study_features(FeaturesConfig.parse(out=tmp_path, baselines=("pixels",), options=TINY, **quick))
    text = card(found.folder / "generator")
    rows = cells(section(text, "What its features are worth"))[1:]
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
        (row.method, "knn", "1", f"{row.accuracy:.1%}") for row in found.rows
    ]
    assert "without their classes" in section(text, "What it was trained on")
    assert "labels that the generator saw: none" in text.lower()


# ---------------------------------------------------------------- names from people


def normalised(name):
    return " ".join(name.split())


@pytest.mark.parametrize("name", NASTY)
def test_a_name_shows_as_it_is_and_makes_no_markup(name):
    page = rendered(f"# {escaped(name)}\n\n| a | b |\n| --- | --- |\n| {escaped(name)} | x |\n")
    assert shown(re.search("<h1>(.*)</h1>", page)[1]) == normalised(name)
    assert [shown(cell) for cell in re.findall("<td>(.*?)</td>", page)] == [normalised(name), "x"]
    assert set(re.findall("</?([a-z0-9]+)", page)) == {"h1", "table", "thead", "tbody", "tr", "th", "td"}


def test_what_others_would_make_links_of_is_broken_up():
    assert escaped("http://x.y WWW.x.y me@x.y") == "http\\://x.y WWW\\.x.y me\\@x.y"
    assert escaped(INVISIBLE) == "abc d" and escaped(" plain words: 1.5 (a-b) ") == "plain words: 1.5 (a-b)"


@pytest.mark.parametrize("text", ["a\n```\n<b>", "````", "x"])
def test_text_cannot_leave_its_block(text):
    page = rendered(code(text, "sh"))
    assert page == f'<pre><code class="language-sh">{html.escape(text)}\n</code></pre>\n'


def test_options_and_docstrings_stay_what_they_are():
    assert json.loads(shown(rendered(json_block({"a": "```\n<b>\u202e"})))) == {"a": "```\n<b>\u202e"}
    assert rendered(prose("Draws ``<x>`` of *y*.\nMore.")) == "<p>Draws <code>&lt;x&gt;</code> of *y*.</p>\n"


def test_a_card_with_nasty_names_is_one_document_with_its_own_headings(tmp_path):
    images = torch.randint(0, 256, (120, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    part = LabelledImages(images, torch.arange(120) % len(NASTY))
    data = ImageSet('x\n---\nlicense: mit "y', part, part, NASTY)
    folder = tmp_path / "g"
    train(data, folder)
    front, body = front_matter(card(folder))
    assert set(front) == {"library_name", "tags"}
    page = rendered(body)
    assert re.findall("<h([12])>", page) == ["1", *["2"] * 5]
    names = [row[1] for row in cells(section(body, "What it was trained on")) if len(row) == 3]
    assert names == ["name", *map(normalised, NASTY)]
    assert not re.search("<(script|a|img|em|strong|del|hr)[ >]", page)


def test_the_evidence_of_others_is_written_as_it_is_given(finished, tmp_path):
    generator = load_generator(finished.folder / "generator")
    document = json.loads((finished.folder / "manifest.json").read_text())
    del document["sha256"]
    manifest = Manifest(**document)
    evidence = Evidence({"Own section": "words", SAMPLES: unscored("why.")}, ("A limit.",))
    write_card(tmp_path, generator, manifest, [str(label) for label in range(10)], evidence)
    text = card(tmp_path)
    assert section(text, "Own section").strip() == "words" and "- A limit.\n" in section(text, "Limits")
    assert "- A limit.\n- It repeats" in text and "steps" in section(text, "How it was trained")
