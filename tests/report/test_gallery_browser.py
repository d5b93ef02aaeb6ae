"""The gallery in a real browser: which cases are shown, and how they are drawn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from audit.gate.runfolder import Run
from audit.report.gallery import write_gallery
from tests.galleries import DRAWN, decoded, panel, pixels, shown

pytestmark = pytest.mark.slow


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


def test_blinking_shows_baseline_and_now_in_turn(page: Any) -> None:
    page.click("#case-birds .modes button:nth-child(2)")
    # Looked at in the page, at once: a picture fetched from here may take a whole turn to arrive.
    seen = page.evaluate(
        """selector => new Promise(resolve => {
          const article = document.getElementById("case-birds"), seen = [];
          const canvas = document.querySelector(selector);
          new MutationObserver(() => {
            seen.push((DRAWN)(canvas));
            if (seen.length === 3) resolve(seen);
          }).observe(article, {attributeFilter: ["data-drawn"]});
        })""".replace("DRAWN", DRAWN),
        panel("birds", 1),
    )
    frames = pairwise([decoded(each) for each in seen])
    assert any(np.abs(first - second).max() > 10 for first, second in frames)


def test_blinking_says_which_map_is_shown(page: Any) -> None:
    page.click("#case-birds .modes button:nth-child(2)")
    titles = set()
    for _ in range(40):  # it changes every 0.7 seconds
        titles.add(page.inner_text("#case-birds .which-now").partition(":")[0])
        page.wait_for_timeout(100)
    assert titles == {"baseline", "now"}


def test_what_is_printed_has_the_pictures_of_cases_that_nobody_scrolled_to(
    browser: Any, run: Run
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 100})
    opened = context.new_page()
    opened.goto(write_gallery(run).as_uri())
    opened.wait_for_selector("html[data-loaded]")
    drawn = """() => [...document.querySelectorAll("article.whole")].map((article) => {
      const canvas = article.querySelector("canvas");
      if (!canvas) return false;
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value) => value > 0);
    })"""
    assert not all(opened.evaluate(drawn))
    opened.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate(drawn) == [True, True, True]
    context.close()


def test_a_case_with_all_its_maps_takes_the_whole_width_among_small_ones(
    browser: Any, run: Run
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    opened = context.new_page()
    opened.goto(write_gallery(run, "all").as_uri())
    opened.wait_for_selector("html[data-ready]")
    assert opened.locator(".small #case-no-cat").bounding_box()["width"] > 1000
    context.close()


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
