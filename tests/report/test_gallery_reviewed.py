"""The gallery in a real browser: keys and the review, limits and plots, words, a phone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from audit.gate import accepted
from audit.gate.decisions import load_decisions
from audit.gate.review import accept
from audit.gate.runfolder import Run
from audit.report.gallery import write_gallery
from tests.accessible import violations
from tests.galleries import EVIL, audited_anew, panel, pixels

pytestmark = pytest.mark.slow


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


def test_a_limit_on_a_region_with_a_number_for_a_name_can_be_pasted(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a case that is called like a part of JavaScript's objects is decided as any other."""
    text = """\
cases:
  - id: constructor
    image: images/a.png
    text: there are two birds
    regions: {"12": [[0.25, 0.25, 0.5, 0.5]]}
    expect: {label: yes, attention: [{metric: mass, region: "12", min: 0.5}]}
"""
    run = audited_anew(
        tmp_path / "project", text, {"source": "toy", "digest": "f" * 64}, monkeypatch
    )
    run.finish({"suite": None})
    page = browser.new_page()
    page.goto(write_gallery(run).as_uri())
    page.wait_for_selector("html[data-ready]")
    page.click("#explorer summary")
    page.select_option("#figure", "mass[12]")
    written = page.text_content("#yaml")
    (asked,) = yaml.safe_load(written)
    assert (asked["metric"], asked["region"]) == ("mass", "12")
    assert page.text_content("#told") == "0 accepted, 0 rejected, 1 undecided"
    assert page.input_value("#case-constructor [data-reason]") == ""
    page.click("#case-constructor [data-decide=accept]")  # a reason is asked for
    assert page.text_content("#told") == "0 accepted, 0 rejected, 1 undecided"
    page.close()


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
    assert [cause.replace("\N{NO-BREAK SPACE}", " ") for cause in causes] == [
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


def test_who_types_the_reason_that_was_asked_for_and_presses_accept_again_has_accepted(
    page: Any,
) -> None:
    page.click("#case-birds button[data-decide=accept]")
    page.fill("#case-birds input[data-reason]", "it is right")
    page.click("#case-birds button[data-decide=accept]")
    assert page.get_attribute("#case-birds", "data-decision") == "accept"
    page.click("#case-birds button[data-decide=accept]")
    assert page.get_attribute("#case-birds", "data-decision") == ""


def test_the_help_about_keys_comes_into_view(page: Any) -> None:
    page.set_viewport_size({"width": 1280, "height": 500})
    for key in ("j", "j", "?"):
        page.keyboard.press(key)
    top = page.locator("#help kbd").first.bounding_box()["y"]
    assert 0 < top < 500


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


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_axe_finds_nothing_to_object_to(browser: Any, run: Run, scheme: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    opened = context.new_page()
    opened.goto(write_gallery(run).as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.click("#case-birds button[data-decide=accept]")  # asks for a reason
    opened.focus(WORD)
    found = violations(opened)
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
