"""The report of a real run and a real feature study in a real browser, without network."""

import importlib.util
import json
import shutil
import time
from dataclasses import replace

import pytest
from made_results import arm_scores, dataset_info, generator_info, identity, run_result

from augment import run, study_features
from augment.evidence.verdict import Verdict
from augment.report.page import write_report
from augment.results.records import Found, RunRecord, load_records
from augment.results.run_result import RegimeInfo
from augment.studies.features.config import FeaturesConfig

if importlib.util.find_spec("playwright") is None:
    pytest.skip("playwright is not installed: pip install -e .[dev]", allow_module_level=True)

from playwright.sync_api import Error, sync_playwright

pytestmark = pytest.mark.libraries

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--enable-unsafe-swiftshader"),
]
DESKTOP, PHONE = (1280, 900), (375, 800)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRAWN = """() => [...document.querySelectorAll("figure[data-name] .plot")].map(plot => [
  plot.closest("figure").dataset.name, plot.offsetWidth > 0 && !plot.closest("figure").hidden,
  Boolean(plot.querySelector("canvas") || plot.querySelector(".main-svg path, .main-svg rect.point, .main-svg image")),
])"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    tiny = {"dataset": "digits", "steps": 6, "options": {"width": 16}, "out": root}
    arms = {"arms": ("real", "oversample", "model"), "updates": 6, "fidelity_images": 50, "classifiers": ("cnn",)}
    few = {
        "labels_per_class": (1, 2),
        "probes": ("linear",),
        "baselines": ("pixels",),
        "episodes": 2,
        "plots": ("pca",),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMENT_HOME", str(tmp_path_factory.getbasetemp() / "augment-home"))
        run(**tiny, **arms, model="vae", size=200)
        run(**tiny, **arms, model="dvae", size=200)
        run(**tiny, **arms | {"classifiers": ("cnn", "cart-pca")}, model="vae", size=300, regime="semi")
        study_features(FeaturesConfig.parse(**tiny, **few, model="vae"))
    found = load_records([root])
    folder = tmp_path_factory.mktemp("page")
    write_report(found, folder / "report.html", figures="none")
    write_report(replace(found, records=found.runs), folder / "runs.html", figures="none")
    write_report(replace(found, records=(found.runs[0], *found.features)), folder / "small.html", figures="none")
    write_report(Found(tuple(wordy_runs(root))), folder / "table.html", figures="none")
    return folder


def wordy_runs(root):
    """Eight runs with long names and wide intervals, of which two of each size differ in their arms alone."""
    arm, name = "vae+balanced-softmax+randaugment+real-last:share=0.3", "dermatoscopic-lesions-of-a-second-screening"
    for index, decision in enumerate(("helps", "no evidence", "hurts", "nothing to compare") * 2):
        compared = None if decision == "nothing to compare" else (arm, "oversample+randaugment", -99.9 + index)
        numbers = () if compared is None else (*compared, (-128.9, 243.4), 0.000012, 20)
        text = "A sentence with a --long-option and many words on what was found, " * 5
        counts, arms = (500 * (1 + index // 2),) * 2, ("real", "oversample+randaugment", arm)[index % 2 :]
        result = run_result(
            dataset=dataset_info(name),
            regime=RegimeInfo("high", sum(counts), counts, counts, {"many": ("a", "b")}, 0, "c" * 64),
            generators=(generator_info("vae"),),
            arms=tuple(arm_scores(each, family="generative" if each == arm else "classical") for each in arms),
            verdicts=(Verdict(text, decision, "cart-pixels", *numbers),),
        )
        yield RunRecord(root, result, identity("vae", dataset=name, arms=arms, size=sum(counts)))


@pytest.fixture(scope="module")
def browser():
    path = next((found for found in map(shutil.which, BROWSERS) if found), None)
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error as error:
            pytest.skip(f"no browser could be started: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture
def show(browser, report):
    """Open the page; whatever the browser complains of fails the test."""
    complaints, contexts = [], []

    def opened(size=DESKTOP, scheme="light", motion="reduce", file="report.html"):
        context = browser.new_context(
            viewport=dict(zip(("width", "height"), size, strict=True)),
            color_scheme=scheme,
            reduced_motion=motion,
            offline=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"request {request.url[:80]}"))
        page.on("request", lambda request: complaints.append(request.url[:80]) if request.url[:4] == "http" else None)
        page.goto(report.as_uri() + "/" + file)
        page.wait_for_function("document.getElementById('count').textContent !== ''")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def open_long_sections(page):
    page.evaluate("document.querySelectorAll('.more:not([hidden])').forEach(button => button.click())")


def scroll_through(page):
    """Scroll to every chart, as a reader would."""
    for plot in page.locator("figure[data-name] .plot").all():
        plot.evaluate("plot => plot.scrollIntoView({ behavior: 'instant', block: 'center' })")


def choice(page, name):
    return page.locator("#filters").get_by_label(name, exact=True)


def wait_drawn(page):
    """Names of the charts that are shown and drawn, once all that are shown are."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        shown = [(name, drawn) for name, visible, drawn in page.evaluate(DRAWN) if visible]
        if all(drawn for _, drawn in shown):
            return [name for name, _ in shown]
        page.wait_for_timeout(100)
    pytest.fail(f"not drawn: {[name for name, drawn in shown if not drawn]}")


def shown(page, selector):
    return page.locator(f"{selector}:visible").count()


def test_every_chart_is_drawn_when_it_comes_near(show):
    page = show()
    names = [name for name, _, _ in page.evaluate(DRAWN)]
    assert len(names) == len(set(names)) > 20
    assert not all(drawn for _, _, drawn in page.evaluate(DRAWN))
    open_long_sections(page)
    for name in names:
        figure = page.locator(f"#figure-{name}")
        figure.evaluate("figure => figure.scrollIntoView({ behavior: 'instant', block: 'center' })")
        page.wait_for_function(
            "name => { const figure = document.getElementById(`figure-${name}`);"
            "return figure.querySelector('.main-svg, canvas') || !figure.querySelector('.missing').hidden }",
            arg=name,
        )
    flat = set(names) - set(
        page.evaluate("[...document.querySelectorAll('[data-deep]')].map(each => each.dataset.name)")
    )
    assert len(flat) < len(names)  # maps in space are let go of when they are far away; the others stay
    assert {name for name, _, drawn in page.evaluate(DRAWN) if not drawn} & flat == set()


def test_a_filter_hides_what_it_must_and_the_address_keeps_it(show):
    page = show()
    before = page.inner_text("#count")
    assert before.startswith("Showing 5 of 5 verdicts and ")
    choice(page, "200 images").check()
    after = page.inner_text("#count")
    assert after.startswith("Showing 3 of 5 verdicts and ") and after.split("and ")[1] != before.split("and ")[1]
    left = (
        "[...document.querySelectorAll('[data-facets]')].filter(each => !each.hidden).map(each => each.dataset.facets)"
    )
    assert {json.loads(facets).get("size") for facets in page.evaluate(left)} == {"200", None}
    choice(page, "dvae").check()
    assert page.inner_text("#count").startswith("Showing 1 of 5 verdicts")
    assert "size=200" in page.url and "model=dvae" in page.url
    again = show(file="report.html#" + page.url.partition("#")[2])
    assert again.inner_text("#count") == page.inner_text("#count")
    assert choice(again, "200 images").is_checked() and not choice(again, "300 images").is_checked()
    again.locator("#clear").click()
    assert again.inner_text("#count") == before and "#" not in again.url


def test_traces_are_hidden_with_their_model(show):
    page = show()
    plot = page.locator("figure[data-name^=accuracy][data-keys*=dvae] .plot").first
    plot.scroll_into_view_if_needed()
    page.wait_for_function("plot => plot._fullData", arg=plot.element_handle())
    keys = "plot => plot.data.filter(trace => trace.visible).map(trace => trace.meta?.key ?? null)"
    assert set(plot.evaluate(keys)) == {"vae", "dvae", None}
    choice(page, "dvae").check()
    assert set(plot.evaluate(keys)) == {"dvae", None}
    page.locator("#clear").click()
    assert set(plot.evaluate(keys)) == {"vae", "dvae", None}


def test_nothing_matches_is_said(show):
    page = show(file="runs.html#regime=semi&size=200&nobody=1")
    assert page.locator("#nothing").is_visible()
    assert page.inner_text("#count").startswith("Showing 0 of 4 verdicts and 0 of ")
    page.locator("#nothing button").click()
    assert page.locator("#nothing").is_hidden() and page.inner_text("#count").startswith("Showing 4 of 4")


def test_dark_and_light_by_system_and_by_button(show):
    page = show(scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "document.querySelector('.plot .xtick text').style.fill"
    page.wait_for_selector(".plot .xtick text")
    dark = page.evaluate(paper), page.evaluate(ink)
    assert page.inner_text("#theme") == "Light theme"
    page.locator("#theme").click()
    light = page.evaluate(paper), page.evaluate(ink)
    assert page.inner_text("#theme") == "Dark theme" and light[0] == "rgb(255, 255, 255)"
    assert dark[0] != light[0] and dark[1] != light[1]


def test_everything_is_reached_by_keyboard(show):
    page = show(file="small.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(50):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(e => e.tagName + (e.type ? ':' + e.type : ''))(document.activeElement)"))
    assert {"A", "INPUT:checkbox", "SUMMARY", "BUTTON:button"} <= reached
    page.locator("#filters input").first.focus()
    page.keyboard.press("Space")
    assert "of" in page.inner_text("#count") and "#" in page.url
    numbers = page.locator("details.numbers").first
    numbers.locator("summary").focus()
    page.keyboard.press("Enter")
    assert numbers.locator("table").is_visible()


def test_tables_sort_by_a_click(show):
    page = show()
    headers = page.locator("#fidelity table").first.locator("thead button")
    column = [text.strip() for text in headers.all_inner_texts()].index("KID x 1000 ↓")
    cells = page.locator("#fidelity table").first.locator(f"tbody td:nth-child({column + 1})")
    values = "cells => cells.map(cell => Number(cell.dataset.sort))"
    headers.nth(column).evaluate("button => button.click()")  # whatever charts that are being drawn move
    ascending = cells.evaluate_all(values)
    headers.nth(column).evaluate("button => button.click()")  # whatever charts that are being drawn move
    assert len(set(ascending)) == 3 and ascending == sorted(ascending)
    assert cells.evaluate_all(values) == ascending[::-1]
    assert page.locator("#fidelity th[aria-sort=descending]").count() == 1


@pytest.mark.parametrize("size", [DESKTOP, (390, 844)], ids=["1280", "390"])
def test_nothing_of_the_first_table_is_cut(show, size):
    page = show(size, file="table.html")
    box = page.locator("#verdicts .scroll")
    heads = [text.strip(" ↑↓") for text in box.locator("thead th").all_inner_texts()]
    assert heads[:4] == ["Verdict", "Setting", "Difference", "Arm"]
    hidden = """box => [box, ...box.querySelectorAll("tr, th, td")].filter(each => each.scrollWidth > each.clientWidth)
      .map(each => `${each.className} ${each.innerText}`)"""
    assert box.evaluate(hidden) == []
    outside = """box => [...box.querySelectorAll("*")].filter(each => !each.matches(".unseen")
      && each.getBoundingClientRect().right > box.getBoundingClientRect().right).map(each => each.outerHTML)"""
    box.evaluate("box => box.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert box.evaluate(outside) == [] and box.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("size", [DESKTOP, (390, 844)], ids=["1280", "390"])
def test_the_first_table_sorts_by_difference(show, size):
    page = show(size, file="table.html")
    page.locator("#verdicts thead button").nth(2).evaluate("button => button.click()")
    values = page.locator("#verdicts .difference").evaluate_all("cells => cells.map(cell => cell.dataset.sort)")
    known = [float(value) for value in values if value]
    assert known == sorted(known) and len(known) == 6 and values[6:] == ["", ""]


def test_nothing_overflows_on_a_phone(show):
    page = show(PHONE, file="small.html")
    open_long_sections(page)
    scroll_through(page)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    page.wait_for_timeout(300)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
    wide = """[...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll, .plot, .unseen")
      && e.getBoundingClientRect().width && e.getBoundingClientRect().right > 376).map(e => e.outerHTML.slice(0, 90))"""
    assert page.evaluate(wide) == []


def test_paper_has_every_chart_and_no_controls(show):
    page = show(scheme="dark", file="small.html")
    page.emulate_media(media="print")
    assert len(wait_drawn(page)) > 20
    assert shown(page, ".more") == shown(page, "aside") == shown(page, "#theme") == shown(page, ".tools") == 0
    assert page.evaluate("[...document.querySelectorAll('details.origin')].every(details => details.open)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 680, "height": 960})  # what A4 has between its margins
    widths = page.evaluate("[...document.querySelectorAll('.main-svg')].map(svg => svg.clientWidth)")
    assert max(widths) <= 680 and page.evaluate("document.scrollingElement.scrollWidth") <= 680
    page.emulate_media(media="screen")
    page.wait_for_function("![...document.querySelectorAll('details.origin')].some(details => details.open)")


def test_maps_in_space_turn_until_touched_and_rest_for_who_asks(show):
    for motion, turns in (("no-preference", True), ("reduce", False)):
        page = show(motion=motion, file="small.html")
        figure = page.locator("figure[data-deep]").first
        open_long_sections(page)
        figure.scroll_into_view_if_needed()
        plot = figure.locator(".plot")
        page.wait_for_function("plot => plot.hidden || plot._fullLayout?.scene?._scene", arg=plot.element_handle())
        if plot.is_hidden():
            assert "WebGL" in figure.locator(".missing").inner_text()
            continue
        button = figure.locator(".turn")
        assert button.inner_text() == ("Stop turning" if turns else "Start turning")
        eye = "plot => plot._fullLayout.scene._scene.getCamera().eye.x"
        before = plot.evaluate(eye)
        page.wait_for_timeout(600)
        assert (plot.evaluate(eye) != before) == turns
        if turns:
            button.click()
            page.wait_for_timeout(300)
            before = plot.evaluate(eye)
            page.wait_for_timeout(400)
            assert plot.evaluate(eye) == before and button.inner_text() == "Start turning"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(show, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = show(size, scheme, file="small.html")
    opened = (
        "document.querySelectorAll(`.panel, #origin details, #${id} .numbers`).forEach(each => { each.open = true; })"
    )
    page.evaluate(f"const id = document.querySelector('figure[data-name]').id; {opened}")
    page.wait_for_selector(".plot .main-svg")
    found = axe.Axe().run(page).response["violations"]
    grave = [
        (each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")
    ]
    assert grave == []
