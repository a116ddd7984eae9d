"""The report: what stands where, whose text it shows, that it loads nothing, and what it does with what is missing."""

import base64
import hashlib
import io
import json
import os
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_results import (
    added_images,
    arm_scores,
    dataset_info,
    features_result,
    fidelity_scores,
    generator_info,
    identity,
    run_result,
)
from PIL import Image

from augment.errors import DataError
from augment.evidence.statistics import Comparison
from augment.evidence.verdict import Guard, Verdict
from augment.metrics.scores import Score
from augment.progress import Reporter
from augment.report import page_parts, page_pictures
from augment.report.page import write_report
from augment.report.page_content import command, detailed
from augment.results.experiments import experiments
from augment.results.gallery import Gallery, Reconstructions, Samples
from augment.results.records import FeaturesRecord, RunRecord, load_records
from augment.results.run_result import RegimeInfo
from augment.results.selection import Condition
from augment.results.study_result import Identity
from augment.storage.typed_json import from_json, to_json

pytestmark = pytest.mark.libraries

HOSTILE = "<img src=x onerror=alert(1)>"
ENDING = "</script><script>alert(1)</script>"
CLASSES = (HOSTILE, ENDING, "plain & \"quoted\" 'class' \u2028")
VOID = {"meta", "input", "img", "br", "link", "path"}


class Reader(HTMLParser):
    """Elements with their attributes and the text within them."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.words.append("")
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        while self.open and self.elements[self.open.pop()][0] != tag:
            pass

    def handle_data(self, data):
        for index in self.open:
            self.words[index] += data

    def all(self, wanted, **attributes):
        """Attributes and text of the elements with these attributes."""
        found = zip(self.elements, self.words, strict=True)
        return [
            (each, " ".join(text.split()))
            for (tag, each), text in found
            if tag == wanted and attributes.items() <= each.items()
        ]

    def text(self, wanted, **attributes):
        return [text for _, text in self.all(wanted, **attributes)]


def make_run(
    root, model, *, scores=(6, 5), size=60, regime="high", dataset="toy", classes=CLASSES, seed=0, passed=True
):
    """A run folder by hand. scores: right of ten, of the arm without and with the generator."""
    folder = root / f"{model}-{regime}-{size}-{seed}"
    folder.mkdir(parents=True)
    good, with_generator = scores
    delta = 10.0 * (with_generator - good)
    words = "No evidence that it helps: made by hand." if passed else "Invalid: the guard 'equal updates' failed."
    decision = "no evidence" if passed else "invalid"
    counts = (size // len(classes),) * len(classes)
    result = run_result(
        dataset=dataset_info(dataset, classes),
        guards=(Guard("equal updates", passed, f"20 updates {HOSTILE}"),),
        folder=folder,
        identity=f"id{model}",
        regime=RegimeInfo(regime, size, counts, counts, {"many": classes}, seed, "c" * 64),
        generators=(generator_info(model, config={"steps": 20, "lr": 0.1}),),
        synthetic=(added_images(model, counts, generator=model),),
        seeds=(seed,),
        arms=tuple(
            arm_scores(name, "cnn", family, seed=seed, accuracy=right / 10, classes=classes)
            for name, family, right in (("real", "classical", good), (model, "generative", with_generator))
        ),
        fidelity=fidelity_scores(
            fid=Score(12.34, floor=1.5),
            kid=Score(0.0042, std=0.001, floor=0.001, floor_range=(0.0005, 0.002)),
        ),
        comparisons=(Comparison("cnn", model, "real", delta, None, 0.5, 1, "McNemar", 0.5, deltas=(delta,)),),
        verdicts=(Verdict(words, decision, "cnn" if passed else None, model, "real", delta, None, 0.5, 1),),
    )
    made = identity(model, dataset=dataset, arms=("real", model), regime=regime, size=size, seed=seed)
    (folder / "config.json").write_text(json.dumps(to_json(made)))
    (folder / "result.json").write_text(json.dumps(result.to_json()))
    return folder


def make_gallery(folder, classes=CLASSES, channels=1):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(classes)), 2)
    images = rng.integers(0, 256, (2, len(labels), channels, 4, 4), dtype=np.uint8)
    distances = np.linspace(0, 0.5, len(labels), dtype=np.float32)
    samples = Samples(images[0], labels, images[1], labels[::-1].copy(), distances)
    made = Reconstructions(images[0][:3], images[1][:3], labels[:3])
    Gallery("m", tuple(classes), samples, made).save(folder)
    return samples


def report_of(root, out, **options):
    result = write_report(load_records([root]), out, figures="none", **options)
    page = out.read_text("utf-8")
    return result, page, Reader(page)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp('runs "quoted" & <b>\'s')
    samples = make_gallery(make_run(root, "alpha"))
    make_run(root, "alpha", seed=1, scores=(7, 6))
    make_run(root, "beta", size=30)
    make_run(root, "beta", size=60)
    make_run(root, ENDING.replace("/", "-"), regime="semi")
    result, page, read = report_of(root, tmp_path_factory.mktemp("out") / "deep" / "report.html")
    return {"root": root, "result": result, "page": page, "read": read, "samples": samples}


def plotly():
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def test_sections_stand_in_the_order_of_reading(made):
    titles = made["read"].text("h2")
    assert titles == [
        *("Verdicts", "Accuracy over data-set size", "Arms against the best classical one"),
        *("Precision and recall by class", "Confusion matrices", "Class counts before and after"),
        *("Samples beside their nearest training images", "Reconstructions"),
        *("Fidelity with its floors", "How every number was made"),
    ]
    assert made["read"].text("a")[1:] == titles
    hrefs = [each["href"] for each, _ in made["read"].all("a")]
    ids = {each.get("id") for _, each in made["read"].elements}
    assert all(href.startswith("#") and href[1:] in ids for href in hrefs)


def test_the_page_holds_plotly_once_and_loads_nothing(made):
    page, read = made["page"], made["read"]
    assert page.count(plotly()) == 1
    rest = page.replace(plotly(), "")
    assert len(rest) < 600_000
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|sendBeacon|import\(", rest)
    assert {each["src"][:22] for tag, each in read.elements if "src" in each} == {"data:image/png;base64,"}
    assert {tag for tag, _ in read.elements} & {"link", "iframe", "object", "base", "embed"} == set()
    assert not [each for _, each in read.elements if {"srcset", "action", "poster"} & set(each)]


def test_only_the_pages_own_scripts_may_run(made):
    """The policy names them by hash, so that not even a forgotten escape runs anything."""
    read = made["read"]
    policy = next(each["content"] for _, each in read.elements if each.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and "'unsafe-inline'" not in rules["script-src"]
    page = made["page"]
    running = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running]
    assert len(running) == 2 and "\r" not in "".join(running)
    assert [f"'sha256-{digest}'" for digest in hashes] == rules["script-src"].split()[:2]


def test_a_persons_text_is_shown_and_never_run(made):
    page, read = made["page"].replace(plotly(), ""), made["read"]
    assert HOSTILE not in page and "<script>alert" not in page and "<b>'s" not in page
    assert not [each for _, each in read.elements if "onerror" in each]
    assert {each["type"] for each, _ in read.all("script") if "type" in each} == {"application/json"}
    captions = read.text("h4")
    assert f"{HOSTILE} (20 real images)" in captions and f"{ENDING} (20 real images)" in captions
    assert any(str(made["root"]) in text.replace("  ", " ") for text in captions)
    assert any(HOSTILE in text for text in read.text("li"))


def test_every_chart_is_json_that_plotly_shows_letter_by_letter(made):
    figures = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', made["page"])]
    assert len(figures) == made["result"].charts > 10
    assert all(set(each) == {"data", "layout"} and each["data"] for each in figures)
    for each in figures:
        drawn = [{name: part for name, part in trace.items() if name != "meta"} for trace in each["data"]]
        assert not re.search(r"<(?!br>|extra>|/extra>)", json.dumps([drawn, each["layout"]]))
    names = [each["data-name"] for each, _ in made["read"].all("figure") if "data-name" in each]
    assert len(set(names)) == len(figures)


def test_charts_have_a_heading_a_caption_a_name_and_their_numbers(made):
    read = made["read"]
    charts = [each for each, _ in read.all("figure") if "data-name" in each]
    drawings = read.all("div", role="img")
    assert len(drawings) == len(charts) == len(read.all("details", **{"class": "numbers"}))
    assert all(len(each["aria-label"]) > 40 for each, _ in drawings)
    regions = [each for each, _ in read.all("div", role="region")]
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in regions)
    assert len(read.text("figcaption")) == len(read.all("figure")) and all(read.text("figcaption"))


def test_the_verdict_comes_first_in_words_and_a_symbol(made):
    cards = made["read"].all("article")
    assert [text for _, text in made["read"].all("span", **{"class": "word no-evidence"})] == ["○ no evidence"] * len(
        cards
    )
    assert cards[0][1].startswith("○ no evidence")
    facets = [json.loads(each["data-facets"]) for each, _ in cards]
    assert {"dataset": "toy", "regime": "high", "size": "60", "model": "alpha", "classifier": "cnn"} in facets
    assert [row.facets for row in made["result"].verdicts] == facets
    seeds = [(row.label, row.facets["size"], row.symbol, row.seeds) for row in made["result"].verdicts]
    assert seeds[1:] == [("alpha", "60", "○", 2), ("beta", "30", "○", 1), ("beta", "60", "○", 1)]


def test_filters_offer_what_differs(made):
    groups = [each["data-key"] for each, _ in made["read"].all("fieldset")]
    assert groups == ["regime", "size", "model"]
    values = [each["value"] for each, _ in made["read"].all("input")]
    assert values == ["high", "semi", "30", "60", "<-script><script>alert(1)<-script>", "alpha", "beta"]


def test_pictures_are_the_gallerys_pixels(made):
    samples, strips = made["samples"], made["read"].all("img")
    assert len(strips) == len(CLASSES) + 1  # and one of reconstructions
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(strips[1][0]["src"].split(",")[1]))).convert("RGBA"))
    assert sheet.shape == (9, 9, 4)  # two by two images of 4 x 4, a pixel between them
    for column, row in enumerate(np.flatnonzero(samples.labels == 1)):
        left = 5 * column
        np.testing.assert_array_equal(sheet[:4, left : left + 4, 0], samples.images[row, 0])
        np.testing.assert_array_equal(sheet[5:, left : left + 4, 0], samples.nearest[row, 0])
    assert (sheet[4, :, 3] == 0).all() and (sheet[:, 4, 3] == 0).all() and (sheet[:4, :4, 3] == 255).all()
    notes = [text for each, text in made["read"].all("div", **{"class": "notes"})]
    assert notes[0] == "0*0.10*" and notes[1] == "0.200.30"  # only the middle class has neighbours of its own


def test_coloured_pictures_keep_their_colours():
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 5, 4), dtype=np.uint8)
    strip = page_pictures.strip("t", "a", images, 255 - images)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(strip.url.split(",")[1]))))
    np.testing.assert_array_equal(sheet[:5, :, :3], images[0].transpose(1, 2, 0))
    np.testing.assert_array_equal(sheet[6:, :, :3], 255 - images[0].transpose(1, 2, 0))
    assert (strip.width, strip.height) == (9 * 4, 9 * 11)


def test_the_command_says_everything_that_was_set(made):
    record = next(one for one in load_records([made["root"]]).records if one.model == "alpha")
    words = shlex.split(command(record))
    assert words[:6] == ["augment", "run", "--dataset", "toy", "--model", "alpha"]
    assert [words[index + 1] for index, word in enumerate(words) if word == "--arm"] == ["real", "alpha"]
    assert words[words.index("--imbalance-factor") + 1] == "100" and "--spread" not in words
    assert words[words.index("--set") + 1] == "lr=0.1" and words.count("--steps") == words.count("--set") == 1
    assert command(record) in [" ".join(text.split()) for text in made["read"].text("code")]


@pytest.mark.parametrize("kind", ["run", "features"])
def test_the_command_asks_for_the_very_same_result(kind, augment, monkeypatch, tmp_path):
    """Read by the command line again it has the same identity, the hash that a result is found by."""
    if kind == "run":
        from augment.studies.run import plan
        from augment.studies.run.config import RunConfig as Config

        more = {"size": 200, "seeds": 2, "regime_seed": 5, "spread": True, "strategy": "partial:share=0.5,cap=3"}
        more |= {"arms": ("real", "oversample+mixup", "ae"), "classifiers": ("cnn",), "imbalance_factor": 12.5}
        more |= {"options": {"width": 16, "ae.latent_dim": 8}, "updates": 7, "score_on": "validation"}
    else:
        from augment.studies.features import plan
        from augment.studies.features.config import FeaturesConfig as Config

        more = {"layer": "auto", "labels_per_class": (1, 3), "probes": ("knn",), "baselines": (), "plots": ("pca",)}
        more |= {"options": {"prior": "normal"}, "steps": 9, "second_stage": ("propagation",), "seed": 4}
    config = Config.parse(dataset="digits", model="vae", device="cpu", precision="fp32", **more)
    made = plan.prepare(config, Reporter())
    kept = from_json(Identity, json.loads(json.dumps(to_json(made.identity))), "config.json")
    record = (
        RunRecord(tmp_path, run_result(), kept) if kind == "run" else FeaturesRecord(tmp_path, features_result(), kept)
    )

    def instead(asked, report):
        assert plan.prepare(asked, Reporter()).identity.key == made.identity.key
        raise DataError("as far as it goes")

    monkeypatch.setattr(f"augment.{ {'run': 'run', 'features': 'study_features'}[kind] }", instead)
    code, _, err = augment(*shlex.split(command(record))[1:], "--quiet")
    assert (code, err) == (3, "Error: as far as it goes\n")


def test_how_it_was_made_has_hashes_versions_and_cost(made):
    pairs = dict(zip(made["read"].text("dt"), made["read"].text("dd"), strict=True))
    assert pairs["data"] == "a" * 64 and pairs["code"] == "c0de" and pairs["python"] == "3.11.99"
    assert pairs["this attempt, wall clock"] == "2.5 s" and pairs["training"] == "20 steps, fp32 on cpu"
    assert pairs["spread"] == "no" and pairs["scored on"] == "30 test images"


def test_fidelity_stands_beside_its_floor(made):
    cells = made["read"].all("td", **{"data-sort": "12.34"})
    assert len(cells) == 4 and cells[0][1] == "12.34 1.50"
    cells = made["read"].all("td", **{"data-sort": "0.0042"})
    assert len(cells) == 4 and cells[0][1] == "4.20 1.00 (0.50 to 2.00)"
    titles = made["read"].text("th")
    start = titles.index("FID ↓")
    assert titles[start - 1 : start + 3] == ["Experiment", "FID ↓", "KID x 1000 ↓", "Measured by"]
    assert made["read"].text("td").count("toy, 9 samples") == 4


def test_many_studies_make_a_tally_and_a_table(tmp_path):
    for index in range(8):
        make_run(tmp_path / "runs", f"m{index}<i>+x,y", classes=("a", "b"), scores=(6, index), seed=0)
    result, _, read = report_of(tmp_path / "runs", tmp_path / "r.html", title="Eight & more")
    assert result.summary == ("Of 8 experiments with cnn: no evidence in 8.",)
    assert read.text("p").count("Of 8 experiments with cnn: no evidence in 8.") == 1
    assert read.text("h1") == read.text("title") == ["Eight & more"] and not read.all("article")
    rows = [text for each, text in read.all("tr", **{"data-kind": "verdict"})]
    assert len(rows) == 8 and "m3" in rows[3] and "No evidence" in rows[3]
    heads = read.text("th", scope="col")
    assert heads[:6] == ["Verdict", "Setting", "Difference", "Arm", "Classifier", "p"] and not read.all("i")
    assert read.text("th", scope="row", **{"class": "setting"})[3] == "toy, high, 60 images, m3<i>+x,y"
    assert read.text("td", **{"class": "number difference"})[3] == "−30.0 no interval"
    assert read.text("td", **{"class": "arm"})[3].startswith("m3<i>+x,yagainst real Sentence")
    assert read.text("td", **{"class": "number chance"})[3] == "0.5 1 seed"


def test_a_row_says_what_sets_its_experiment_apart():
    row = page_parts.VerdictRow({"model": "m"}, "m beta=2", "cnn", "helps", "", delta=1.25, interval="+0.2 to +2.3")
    assert (row.apart, row.value, row.change) == ("beta=2", "+1.2", "+1.2 (+0.2 to +2.3)")
    bare = page_parts.VerdictRow({"model": "m"}, "m", "cnn", "no evidence", "")
    assert (bare.apart, bare.value, bare.change) == ("", "", "")


def test_tallies_count_by_classifier():
    def row(classifier, decision):
        return page_parts.VerdictRow({}, "m", classifier, decision, "")

    rows = [row("cnn", "hurts"), row("cnn", "helps"), row("cnn", "hurts"), row("cart", "invalid")]
    first, second = page_parts.tallies(rows)
    assert first.sentence == "Of 3 experiments with cnn: helps in 1, hurts in 2."
    assert second.sentence == "Of 1 experiment with cart: invalid in 1."


def test_a_failed_guard_is_loud(tmp_path):
    make_run(tmp_path / "runs", "m", passed=False)
    result, _, read = report_of(tmp_path / "runs", tmp_path / "r.html")
    alarm = read.text("div", role="alert")
    assert alarm and alarm[0].startswith("✕ Guards failed") and f"equal updates: 20 updates {HOSTILE}" in alarm[0]
    assert [row.decision for row in result.verdicts] == ["invalid"]
    assert result.problems[0][1] == 1


def test_what_failed_is_unfinished_or_damaged_is_named(tmp_path):
    sweep = tmp_path / "sweep"
    fine = make_run(sweep, "m", seed=0)
    begun = make_run(sweep, "begun")
    (begun / "result.json").unlink()
    broken = make_run(sweep, "broken")
    (broken / "result.json").write_text('{"schema": "augment.run/8", "arms"')
    cells = [{"key": "k1", "coordinates": {"model": "m", "seed": 3}}]
    cells += [{"key": key, "coordinates": {}} for key in ("k2", "k3", "k4")]
    (sweep / "sweep.json").write_text(json.dumps({"cells": cells}))
    (sweep / "cells").mkdir()
    for key, error in (("k1", "Disk full " + HOSTILE), ("gone", "of an older grid")):
        outcome = {"key": key, "status": "failed", "error": error}
        (sweep / "cells" / f"{key}.json").write_text(json.dumps(outcome))
    for key, folder in (("k3", fine), ("k4", broken)):
        outcome = {"key": key, "status": "finished", "folder": folder.name, "identity": "0"}
        (sweep / "cells" / f"{key}.json").write_text(json.dumps(outcome))
    found = load_records([sweep])
    assert page_parts.sweep_folders([tmp_path], found) == [sweep.resolve()]
    result, page, read = report_of(sweep, tmp_path / "r.html", sweeps=[sweep])
    assert [count for _, count in result.problems] == [1, 1, 1]
    assert "1 of 4 cells have not ended" in page
    boxes = [text for kind in ("alarm", "alarm mild") for text in read.text("div", **{"class": kind})]
    listed = " ".join(boxes)
    assert f"m seed 3 [k1]: Disk full {HOSTILE}" in listed and "older grid" not in page
    assert str(broken) in listed and "no JSON" in listed
    assert str(begun) not in listed  # it is that one open cell


def test_a_folder_with_nothing_but_a_result_still_gives_a_page(tmp_path):
    folder = make_run(tmp_path / "runs", "m")
    (folder / "config.json").unlink()
    (folder / "gallery.safetensors").write_bytes(b"damaged")
    (folder / "history.csv").write_text("not,a\nhistory")
    document = json.loads((folder / "result.json").read_text())
    for name in ("environment", "finished_at", "cost", "folder", "identity", "seconds"):
        del document[name]
    document |= {"effects": [], "spread": [], "synthetic": [], "comparisons": []}
    (folder / "result.json").write_text(json.dumps(document))
    os.utime(folder / "result.json", (0, 0))
    result, _, read = report_of(tmp_path / "runs", tmp_path / "r.html")
    assert result.problems == () and read.text("article") and not read.all("img") and not read.all("code")
    assert read.text("h2") == [
        *("Verdicts", "Accuracy over data-set size", "Precision and recall by class", "Confusion matrices"),
        *("Fidelity with its floors", "How every number was made"),
    ]
    assert "Versions" not in read.text("h5")
    pairs = dict(zip(read.text("dt"), read.text("dd"), strict=True))
    assert pairs["finished"] == "1970-01-01T00:00:00+00:00" and "result" not in pairs


def test_a_result_that_lacks_a_section_is_named(tmp_path):
    make_run(tmp_path / "runs", "m")
    lacking = make_run(tmp_path / "runs", "lacking")
    document = json.loads((lacking / "result.json").read_text())
    del document["fidelity"], document["effects"]
    (lacking / "result.json").write_text(json.dumps(document))
    result, _, read = report_of(tmp_path / "runs", tmp_path / "r.html")
    assert result.problems == (("Results that cannot be read", 1),) and len(read.all("article")) == 1
    assert f"{lacking}: result.json has no fidelity, effects: run it again" in read.text("li")


def test_only_the_largest_size_is_shown_in_detail(made):
    found = experiments(load_records([made["root"]]).runs)
    assert [(each.model, each.size) for each in detailed(found) if each.model == "beta"] == [("beta", 60)]
    notes = [text for text in made["read"].text("p") if text.startswith("Shown for 3 of 4 experiments")]
    assert notes


def test_runs_are_chosen_by_conditions(made):
    found = load_records([made["root"]])
    kept = page_parts.chosen(found, [Condition.parse("model=beta"), Condition.parse("size>=60")])
    assert [(record.model, record.size) for record in kept.records] == [("beta", 60)]
    with pytest.raises(DataError, match="None of 5 results has size>99"):
        page_parts.chosen(found, [Condition.parse("size>99")])


def test_the_command_line_writes_page_and_figures(augment, tmp_path):
    make_run(tmp_path / "runs", "m", classes=("a", "b"))
    code, out, err = augment("report", "runs", "-o", "pages/r.html", "--quiet")
    assert (code, err) == (0, "")
    assert "○ toy, high, 60 images, m: No evidence" in out and "Written to pages/r.html, with" in out
    drawn = {file.name for file in (tmp_path / "pages" / "r-figures").iterdir()}
    charts = {each["data-name"] for each, _ in Reader(Path("pages/r.html").read_text("utf-8")).all("figure")}
    assert drawn == {f"{name}{suffix}" for name in charts for suffix in (".png", ".svg")}


def test_the_command_line_answers_in_json_and_with_one_message(augment, tmp_path):
    make_run(tmp_path / "runs", "m", classes=("a", "b"))
    code, out, _ = augment("report", "runs", "--figures", "none", "--json", "--where", "model=m")
    document = json.loads(out)
    assert code == 0 and document["runs"] == 1 and document["figures"] == [] and document["page"] == "report.html"
    assert document["verdicts"][0]["decision"] == "no evidence"
    for arguments, status, words in (
        (["nowhere"], 3, "There is no nowhere"),
        (["runs", "--where", "colour=red"], 2, "Unknown column 'colour'"),
        (["runs", "--where", "model=x"], 3, "None of 1 results has model=x"),
        (["runs", "-o", "runs"], 2, "runs is a folder"),
    ):
        code, out, err = augment("report", *arguments, "--figures", "none", "--quiet")
        assert code == status and words in err and "Traceback" not in err and not out


def test_template_style_and_script_are_packaged():
    import tomllib

    root = Path(__file__).parents[1]
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert set(data["augment.report"]) == {"*.html", "*.css", "*.js"}
    folder = root / "augment" / "report"
    assert all((folder / f"report_page.{suffix}").is_file() for suffix in ("html", "css", "js"))


def test_many_verdicts_say_how_many_would_come_by_luck():
    """Eighty verdicts with intervals at the 5% level: two would say helps if nothing did."""
    judged = page_parts.VerdictRow({}, "vae", "cnn", "helps", "", judged=True)
    assert "about 2.0 of these 80 would still say helps" in page_parts.by_luck(
        [judged] * 80 + [replace(judged, judged=False)] * 5
    )
    assert page_parts.by_luck([judged]) == ""
