"""The gallery draws a case and its variants beside each other, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit.cases.loading import load_cases
from audit.gate.runfolder import Run
from audit.report.gallery import write_gallery
from tests.accessible import violations
from tests.galleries import pixels
from tests.looking_toys import RED, LookingToy
from tests.projects import stored_in

CASES = """\
cases:
  - id: birds
    image: a.png
    text: there are two birds
    expect: {label: yes}
    variants:
      - {mirror: true, follows: true, js: 0.05}
      - {crop: [0, 0, 40, 40], follows: true, js: 0.05}
      - {blank: true, label: other}
  - {id: alone, image: a.png, text: there are birds, expect: {label: yes}}
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A model whose map follows the red patch, but which says yes whatever it sees."""
    pixels = np.full((80, 80, 3), 90, np.uint8)
    pixels[:20, :20] = RED
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "cases.yaml").write_text(CASES)
    made = Run(tmp_path / "run")
    made.start({"id": "r", "model": {"source": "toy", "digest": "f" * 64}})
    stored_in(made, load_cases(tmp_path / "cases.yaml"), LookingToy("whole", cells=4))
    made.finish({})
    return made


def test_the_words_are_there_without_a_script(run: Run) -> None:
    page = write_gallery(run, language="en").read_text()
    assert page.count('class="family"') == 4  # the case and its three variants, but not the other
    # On grey any label but the case's would do, and this model says the same.
    assert "Labels: 2 of 2 as expected; of variants 2 of 3 as they must be." in page
    assert "crop [0, 0, 40, 40]<br>yes, js 0" in page
    assert 'variant of <a href="#case-birds">birds</a>: blank' in page
    assert "must not be the same as for the case" in page


@pytest.fixture
def alone(tmp_path: Path) -> Run:
    """The run of a variant whose case was not selected, and so was asked only for its answer."""
    pixels = np.full((80, 160, 3), 90, np.uint8)
    pixels[:20, :20] = RED
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "cases.yaml").write_text(CASES)
    made = Run(tmp_path / "run")
    made.start({"id": "r", "model": {"source": "toy", "digest": "f" * 64}})
    cases = [c for c in load_cases(tmp_path / "cases.yaml") if c.id == "birds[mirror]"]
    stored_in(made, cases, LookingToy("crop", cells=4))
    made.finish({})
    return made


def test_a_variant_alone_has_its_case_beside_it(alone: Run) -> None:
    page = write_gallery(alone, language="en").read_text()
    assert "the case, asked only for its variant" in page
    assert '"original":{"id":"birds"' in page
    assert 'href="#case-birds"' not in page  # it is not on the page
    (outcome,) = alone.outcomes()
    assert outcome.variant_of_view == pytest.approx((0.25, 0.0, 0.75, 1.0))
    for path in (alone.folder / "images").glob(f"{outcome.variant_of_image}*"):
        path.unlink()
    page = write_gallery(alone, language="en").read_text()  # as in a run of an older version
    assert "The case itself is not part of this run" in page
    assert '"original":' not in page


@pytest.mark.slow
def test_the_map_of_a_case_that_is_not_in_the_run_is_drawn(browser: Any, alone: Run) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(write_gallery(alone).as_uri())
    row = page.locator('article[data-case="birds[mirror]"] .family canvas')
    row.first.wait_for()
    assert row.count() == 2
    assert (
        row.first.get_attribute("aria-label")
        == "birds: the case, asked only for its variant, heatmap"
    )
    page.select_option("#colours", "inferno")  # drawn again without an error
    page.wait_for_timeout(200)
    assert row.count() == 2
    assert said == []
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["run", "alone"])
def test_axe_finds_nothing_to_object_to_before_variants_are_drawn_and_after(
    browser: Any, request: pytest.FixtureRequest, which: str
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 300}, bypass_csp=True)
    page = context.new_page()
    page.goto(write_gallery(request.getfixturevalue(which)).as_uri())
    page.wait_for_selector("html[data-ready]")
    before = violations(page)
    page.locator(".family").first.scroll_into_view_if_needed()
    page.locator(".family canvas").first.wait_for()
    after = violations(page)
    context.close()
    assert before == after == []


@pytest.mark.slow
def test_a_case_and_its_variants_are_drawn_in_one_row(browser: Any, run: Run) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(write_gallery(run).as_uri())
    page.wait_for_selector('article[data-case="birds"][data-drawn]')
    page.wait_for_selector('article[data-case="birds"] .family canvas')
    page.uncheck("#outlines")
    row = page.locator('article[data-case="birds"] .family canvas')
    assert row.count() == 3
    boxes = [row.nth(n).bounding_box() for n in range(3)]
    assert len({round(box["y"]) for box in boxes}) == 1
    assert row.nth(1).bounding_box()["height"] == pytest.approx(boxes[0]["height"])

    def columns(place: str) -> np.ndarray:
        """How much warmer each quarter of the drawing is than plain grey, from left to right."""
        page.wait_for_timeout(200)
        grey = np.abs(pixels(page, place) - 90).sum(axis=-1)
        return np.array([part.mean() for part in np.array_split(grey, 4, axis=1)])

    mirrored = columns('article[data-case="birds"] [data-member="birds[mirror]"] canvas')
    assert mirrored.argmax() == 3
    # Beside the variant: its case, and where the case's map would be.
    there = page.locator('article[data-case="birds[mirror]"] .family canvas')
    assert there.count() == 2
    assert columns('article[data-case="birds[mirror]"] [data-member="birds"] canvas').argmax() == 0
    moved = columns('article[data-case="birds[mirror]"] [data-map="moved"] canvas')
    assert moved.argmax() == 3
    page.click('article[data-case="birds"] [data-member="birds[mirror]"]')
    assert page.evaluate("location.hash") == "#case-birds[mirror]"
    assert [text for text in said if "willReadFrequently" not in text] == []
    page.close()
