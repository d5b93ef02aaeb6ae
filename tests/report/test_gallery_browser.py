"""The gallery in a real browser: what is shown, what keys and sliders do, and the review."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit.cases.loading import load_cases
from audit.gate import accepted, baselines
from audit.gate.decisions import load_decisions
from audit.gate.review import accept
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from audit.report.gallery import write_gallery
from tests.projects import stored_in
from tests.toy_model import ToyModel

pytestmark = pytest.mark.slow

EVIL = "<script>document.title='owned'</script> \"quoted\" \u202eright to left ünïcode"

CASES = """\
cases:
  - {id: birds, image: images/a.png, text: there are two birds, tags: [guide],
     regions: {birds: [[0.25, 0.25, 0.5, 0.5]]},
     expect: {label: yes, attention: [{metric: mass, region: birds, min: 0.5}]}}
  - {id: more-birds, image: images/a.png, text: there are birds,
     regions: {birds: [[0.25, 0.25, 0.5, 0.5]]}, expect: {label: yes}}
  - {id: hungry, image: images/b.png, text: the birds are hungry, expect: {label: maybe}}
  - {id: no-cat, image: images/a.png, text: a cat is sleeping, tags: [guide],
     expect: {label: no}}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Accepted with the attention on one cell, audited with it on another: three cases fail."""
    folder = tmp_path / "project"
    (folder / "cases" / "images").mkdir(parents=True)
    ramp = np.zeros((120, 160, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 160)
    for name in ("a", "b"):
        Image.fromarray(ramp).save(folder / "cases" / "images" / f"{name}.png")
    path = folder / "cases" / "all.yaml"
    evil = json.dumps(EVIL)
    path.write_text(CASES.replace("the birds are hungry,", f'{evil[:-1]} hungry",'))
    monkeypatch.chdir(folder)
    cases, accepted = load_cases(Path("cases/all.yaml")), Path("baselines")
    first = Run(folder / "first")
    stored_in(first, cases, ToyModel(), Policy(accepted, "all"))
    baselines.promote(first.proposals, accepted)
    monkeypatch.setenv("TOY_CELL", "0")
    monkeypatch.setenv("TOY_LEAN", "0.1")
    made = Run(folder / "run")
    model = {"source": EVIL, "digest": "f" * 64}
    made.start({"id": "run-1", "model": model, "started": "now", "baselines": "baselines"})
    stored_in(made, cases, ToyModel(), Policy(accepted))
    made.finish({"suite": None})
    return made


@pytest.fixture
def page(browser: Any, run: Run) -> Iterator[Any]:
    """The open gallery; at the end it must have said nothing on the console and asked nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 1600}, accept_downloads=True)
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    path = write_gallery(run)
    opened.goto(path.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.wait_for_selector("article.whole[data-drawn]")
    yield opened
    context.close()
    # The browser's advice about reading pixels is for these tests, not for the page.
    assert [text for text in said if "willReadFrequently" not in text] == []
    assert {u for u in asked if not u.startswith(("data:", "blob:"))} == {path.as_uri()}


def shown(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "article:not([hidden])", "all => all.filter(a => a.offsetParent).map(a => a.dataset.case)"
    )
    return found


def pixels(page: Any, selector: str) -> np.ndarray:
    drawn = page.eval_on_selector(
        selector,
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data, c.width]",
    )
    return np.asarray(drawn[:-1], dtype=float).reshape(-1, drawn[-1], 4)[..., :3]


def panel(case: str, number: int) -> str:
    return f"#case-{case} .view > .strip figure:nth-child({number}) canvas"


def test_failing_cases_come_first_and_their_heat_lies_where_the_model_looked(page: Any) -> None:
    assert shown(page) == ["birds", "more-birds", "hungry", "no-cat"]
    captions = page.locator("#case-birds .view > .strip figcaption").all_text_contents()
    assert captions == [
        "baseline: answer_attention, peak 80 %", "now: answer_attention, peak 60 %",
        "now − baseline: red more, blue less−79+59 points a cellbirds −79 points",
    ]  # fmt: skip
    page.uncheck("#outlines")
    before, now = pixels(page, panel("birds", 1)), pixels(page, panel("birds", 2))
    assert now.shape == (300, 400, 3)
    # The attention moved from cell (2, 2) of 4 x 4 to the first: there each picture is brightest.
    moved = np.abs(now - before).sum(-1)
    assert moved[:75, :100].mean() > 5 * moved[150:, 200:].mean()
    assert moved[75:150, 100:200].mean() > 5 * moved[150:, 200:].mean()


def test_search_state_label_tag_and_metric_filter_what_is_shown(page: Any) -> None:
    page.fill("#search", "two")
    assert shown(page) == ["birds"]
    page.fill("#search", "")
    page.click("button[data-state=drifted]")
    assert shown(page) == ["more-birds", "hungry"]
    assert page.text_content("#shown") == "2 of 4 shown"
    page.select_option("#label", "maybe")
    assert shown(page) == ["hungry"]
    page.select_option("#label", "")
    page.click("button[data-state=drifted]")
    page.select_option("#tag", "guide")
    assert shown(page) == ["birds", "no-cat"]
    page.select_option("#tag", "")
    page.select_option("#metric", "mass")
    assert shown(page) == ["birds", "more-birds"]
    page.select_option("#metric", "")
    page.select_option("#sort", "name")
    assert shown(page) == ["birds", "hungry", "more-birds", "no-cat"]


def test_opacity_colours_and_interpolation_change_the_picture(page: Any) -> None:
    canvas = panel("birds", 2)
    seen = [pixels(page, canvas)]
    for act in (
        lambda: page.fill("#opacity", "20"),
        lambda: page.select_option("#colours", "jet"),
        lambda: page.uncheck("#smooth"),
        lambda: page.uncheck("#outlines"),
    ):
        drawn = page.get_attribute("#case-birds", "data-drawn")
        act()
        page.wait_for_function(
            "was => document.getElementById('case-birds').dataset.drawn !== was", arg=drawn
        )
        page.wait_for_timeout(50)
        seen.append(pixels(page, canvas))
    for first, second in pairwise(seen):
        assert np.abs(first - second).max() > 10


def test_one_scale_makes_the_weaker_of_two_maps_paler(page: Any) -> None:
    page.uncheck("#outlines")
    page.wait_for_timeout(100)
    before = [pixels(page, panel("birds", n)) for n in (1, 2)]
    page.check("#shared")
    page.wait_for_timeout(100)
    after = [pixels(page, panel("birds", n)) for n in (1, 2)]
    assert np.abs(after[0] - before[0]).max() == 0  # the baseline has the larger peak
    # Yellow stands for the largest value: of the weaker map's hottest cell less of it is left.
    assert before[1][30, 30, 1] > after[1][30, 30, 1] + 20


def test_pointing_at_a_cell_tells_its_share_and_its_pixels(page: Any) -> None:
    page.hover(panel("birds", 2), position={"x": 20, "y": 20})
    told = page.text_content("#case-birds .readout")
    # 0.3 of 0.5 on the image lies on the first of 4 x 4 cells; the picture has 160 x 120 pixels.
    assert told == "row 1, column 1 of 4 × 4: 60 % of answer_attention; pixels 0–40 × 0–30"


def test_zooming_one_picture_zooms_its_neighbours(page: Any) -> None:
    others = [pixels(page, panel("birds", n)) for n in (1, 3)]
    page.dblclick(panel("birds", 2), position={"x": 20, "y": 20})
    page.wait_for_timeout(100)
    for number, before in zip((1, 3), others, strict=True):
        assert np.abs(pixels(page, panel("birds", number)) - before).max() > 10
    page.hover(panel("birds", 2), position={"x": 300, "y": 20})
    assert page.text_content("#case-birds .readout").startswith("row 1, ")


def test_keys_walk_through_the_cases_change_modes_and_decide(page: Any) -> None:
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.dataset.case") == "birds"
    page.keyboard.press("3")
    assert page.locator("#case-birds .view > .strip canvas").count() == 1
    assert page.get_attribute("#case-birds .modes button:nth-child(3)", "aria-pressed") == "true"
    half = pixels(page, panel("birds", 1))
    page.fill("#case-birds .strip input[type=range]", "100")
    page.wait_for_timeout(100)
    assert np.abs(pixels(page, panel("birds", 1)) - half).max() > 10
    page.keyboard.press("4")
    assert page.locator("#case-birds .view > .strip canvas").count() == 2
    page.keyboard.press("1")
    assert page.locator("#case-birds .view > .strip canvas").count() == 3
    page.keyboard.press("a")
    # Its contract is broken, so a reason is asked for first.
    assert page.get_attribute("#case-birds", "data-decision") == ""
    assert page.evaluate("document.activeElement.matches('#case-birds input[data-reason]')")
    assert page.text_content("#case-birds .ask").startswith("Say why first")
    page.keyboard.type("the corner is right")
    page.keyboard.press("Escape")
    assert page.get_attribute("#case-birds", "data-decision") == "accept"
    assert page.text_content("#case-birds .ask") == ""
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.dataset.case") == "more-birds"
    page.keyboard.press("r")
    page.keyboard.press("k")
    assert page.get_attribute("#case-more-birds", "data-decision") == "reject"
    assert page.text_content("#told") == "1 accepted, 1 rejected, 1 undecided"
    page.keyboard.press("/")
    page.keyboard.type("jar")
    assert page.input_value("#search") == "jar"
    assert page.text_content("#told").startswith("1 accepted, 1 rejected")


def test_blinking_shows_baseline_and_now_in_turn(page: Any) -> None:
    page.click("#case-birds .modes button:nth-child(2)")
    # Looked at in the page, at once: a picture fetched from here may take a whole turn to arrive.
    seen = page.evaluate(
        """selector => new Promise(resolve => {
          const article = document.getElementById("case-birds"), seen = [];
          const canvas = document.querySelector(selector);
          new MutationObserver(() => {
            const drawn = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            seen.push([...drawn.data]);
            if (seen.length === 3) resolve(seen);
          }).observe(article, {attributeFilter: ["data-drawn"]});
        })""",
        panel("birds", 1),
    )
    frames = pairwise(np.asarray(seen, dtype=float))
    assert any(np.abs(first - second).max() > 10 for first, second in frames)


def test_layers_are_in_a_strip_that_plays_and_is_chosen_from(page: Any) -> None:
    page.click("#case-birds .strip-layers summary")
    page.wait_for_timeout(100)
    assert page.locator("#case-birds .strip-layers canvas").count() == 2
    page.click("#case-birds .strip-layers figure:nth-child(2) button")
    assert page.eval_on_selector("#case-birds .bar select", "s => s.selectedOptions[0].text") == (
        "layer 2"
    )
    page.click("#case-birds .strip-layers > button")
    page.wait_for_selector("#case-birds .strip-layers figure.now")
    assert page.text_content("#case-birds .strip-layers > button") == "stop"
    page.click("#case-birds .strip-layers > button")


def test_a_review_is_exported_accepted_and_survives_a_reload(
    page: Any, run: Run, tmp_path: Path
) -> None:
    page.fill("#case-more-birds input[data-reason]", 'looked at "it"')
    page.click("#case-more-birds button[data-decide=accept]")
    page.click("#case-birds button[data-decide=reject]")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.get_attribute("#case-more-birds", "data-decision") == "accept"
    page.click("#export")
    assert page.text_content("#told").startswith("Say who reviews")
    page.fill("#reviewer", "Ada König")
    with page.expect_download() as waiting:
        page.click("#export")
    target = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(target)
    assert target.name == "decisions-ada-könig.json"
    assert page.text_content("#told").startswith("Written as decisions-ada-könig.json.")
    decisions = load_decisions(target, run)
    now = datetime.now(UTC)
    assert all(d.reviewer == "Ada König" for d in decisions)
    assert all(d.time and abs(now - d.time) < timedelta(minutes=5) for d in decisions)
    assert [(d.case, d.decision, d.reason) for d in decisions] == [
        ("birds", "reject", ""), ("more-birds", "accept", 'looked at "it"'),
    ]  # fmt: skip
    before = accepted.load(Path("baselines"), "birds")
    assert accept(run, decisions=decisions).cases == ["more-birds"]
    moved = accepted.load(Path("baselines"), "more-birds")
    assert moved is not None
    assert moved.provenance["reason"] == 'looked at "it"'
    assert moved.provenance["accepted_by"] == "Ada König"
    assert accepted.load(Path("baselines"), "birds") == before


def test_a_reason_for_all_that_are_shown_decides_them_and_no_other(page: Any) -> None:
    page.select_option("#label", "yes")
    page.fill("#reason-shown", "new tokenizer")
    page.click("#accept-shown")
    assert page.text_content("#told") == "2 accepted, 0 rejected, 1 undecided"
    assert page.input_value("#case-birds input[data-reason]") == "new tokenizer"
    assert page.get_attribute("#case-hungry", "data-decision") == ""
    page.click("#forget")
    assert page.is_disabled("#export")


def test_moving_a_limit_names_the_cases_that_would_fail_and_gives_the_yaml(page: Any) -> None:
    page.click("#explorer summary")
    page.select_option("#figure", "mass[birds]")
    page.select_option("#side", "min")
    told = page.text_content("#flips")
    assert told.startswith("0 of 2 cases would fail")
    assert page.text_content("#yaml").startswith("- {metric: mass, region: birds, min: ")
    page.select_option("#figure", "entropy")
    page.evaluate(
        "() => { const l = document.getElementById('limit'); l.value = l.max;"
        " l.dispatchEvent(new Event('input')); }"
    )
    assert page.text_content("#flips").startswith("3 of 4 cases would fail: birds (")
    assert page.text_content("#yaml") == "- {metric: entropy, min: 1}"


def test_the_plots_have_a_dot_for_each_case(page: Any) -> None:
    page.click("#plots summary")
    page.wait_for_selector("#plots figure")
    entropy = page.locator("#plots figure", has_text="mass[birds]")
    assert entropy.locator("circle.out").count() == 0
    # Both moved by far more than the axis shows: a mark at the end of the axis says so.
    assert entropy.locator("path.beyond").count() == 2
    assert entropy.locator("figcaption").text_content() == (
        "mass[birds]: 2 beyond the axis, up to 39 tolerances"
    )
    ticks = entropy.locator("svg text").all_text_contents()
    assert ticks == ["−4", "−2", "0", "2", "4"]


def test_nothing_in_a_case_or_a_model_runs_or_breaks_out(page: Any) -> None:
    assert page.title() == "audit: 4 cases"
    assert EVIL in page.text_content("#case-hungry .text")
    assert EVIL in page.text_content("header")
    assert page.locator("script").count() == 2


def test_the_verdict_and_its_causes_come_before_all_figures(page: Any) -> None:
    assert page.text_content("h1") == "Failed: 3 of 4 cases"
    causes = page.locator(".causes li > p:first-child").all_text_contents()
    assert causes == [
        "4 of 4 answers are right, but in 2 cases the model no longer looks at birds (1 % of its "
        "attention, was 80 %), and at nothing else that has a name.",
        "In 1 case the model does not look as it did, though all that was asked for holds.",
    ]
    assert not page.is_visible("#figures p")
    page.click("#figures summary")
    assert page.is_visible("#figures p")


def test_all_that_break_their_contract_are_accepted_only_with_a_reason(page: Any) -> None:
    page.click("#accept-shown")
    assert page.text_content("#told") == (
        "2 accepted, 0 rejected, 1 undecided; 1 broken contract without a reason"
    )
    assert page.get_attribute("#case-birds", "data-decision") == ""
    page.fill("#case-birds input[data-reason]", "it is right")
    page.press("#case-birds input[data-reason]", "Enter")
    assert page.get_attribute("#case-birds", "data-decision") == "accept"
    # Without its reason it is undecided again.
    page.fill("#case-birds input[data-reason]", "")
    page.press("#case-birds input[data-reason]", "Enter")
    assert page.get_attribute("#case-birds", "data-decision") == ""


WORD = "#case-birds table a.term >> nth=0"


def test_a_word_is_explained_to_a_pointer_and_to_the_keyboard_and_escape_hides_it(
    page: Any,
) -> None:
    page.hover(WORD)
    page.wait_for_selector("#tip:visible")
    assert page.text_content("#tip").startswith("mass Share of the map inside the region")
    page.mouse.move(2, 2)
    page.wait_for_selector("#tip", state="hidden")
    page.focus(WORD)
    assert page.is_visible("#tip")
    assert page.get_attribute(WORD, "aria-describedby") == "tip"
    page.keyboard.press("Escape")
    assert not page.is_visible("#tip")
    assert page.get_attribute(WORD, "aria-describedby") is None


@pytest.fixture
def phone(browser: Any, run: Run) -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    opened = context.new_page()
    opened.goto(write_gallery(run).as_uri())
    opened.wait_for_selector("html[data-ready]")
    yield opened
    context.close()


def test_a_phone_shows_the_verdict_first_scrolls_one_way_and_has_targets_of_44_pixels(
    phone: Any,
) -> None:
    assert phone.locator("h1").bounding_box()["y"] < 60
    assert phone.locator(".causes li").first.bounding_box()["y"] < 200
    assert not phone.is_visible("#search")
    phone.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    phone.wait_for_selector("#plots figure")
    assert phone.evaluate("document.documentElement.scrollWidth") == 360
    # Links within a sentence are as high as its lines; a box to tick is tapped by its label.
    small = phone.evaluate(
        """() => [...document.querySelectorAll("button, select, input, summary, a")]
          .filter((e) => e.offsetParent && !e.closest("li li, #how li, .regions"))
          .map((e) => (e.type === "checkbox" ? e.closest("label") : e))
          .filter((e) => e.getBoundingClientRect().height < 44)
          .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert small == []
    phone.tap(WORD)
    tip = phone.locator("#tip").bounding_box()
    assert tip["x"] >= 0
    assert tip["x"] + tip["width"] <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_to_object_to(browser: Any, run: Run, scheme: str, width: int) -> None:
    axe = os.environ.get("AUDIT_AXE", "")
    if not axe:
        pytest.skip("AUDIT_AXE does not name axe-core's axe.min.js (npm pack axe-core)")
    # The page's own policy refuses other scripts.
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    opened = context.new_page()
    opened.goto(write_gallery(run).as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    opened.click("#case-birds button[data-decide=accept]")  # asks for a reason
    opened.focus(WORD)
    opened.add_script_tag(path=axe)
    found = opened.evaluate(
        "async () => (await axe.run()).violations.map((v) => [v.id, v.nodes[0].html])"
    )
    context.close()
    assert found == []


def test_the_page_has_landmarks_names_and_no_sideways_scrolling_on_a_phone(page: Any) -> None:
    for landmark in ("header", "nav[aria-label]", "main"):
        assert page.locator(landmark).count() == 1
    unnamed = page.eval_on_selector_all(
        "input, select, button",
        "all => all.filter(e => !(e.labels?.length || e.textContent.trim() || e.title"
        " || e.getAttribute('aria-label') || e.querySelector('[aria-label]'))).length",
    )
    assert unnamed == 0
    assert page.eval_on_selector_all(
        "canvas", "all => all.every(c => /birds|hungry|no-cat/.test(c.getAttribute('aria-label')))"
    )
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
