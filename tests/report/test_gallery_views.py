"""The gallery of models that see a part of the picture, or more, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from audit.cases.loading import load_cases
from audit.gate.runfolder import Run
from audit.report.gallery import write_gallery
from tests.galleries import pixels
from tests.looking_toys import RED, LookingToy
from tests.projects import stored_in

pytestmark = pytest.mark.slow

CASES = """\
cases:
  - {id: patch, image: a.png, text: a red patch, regions: {patch: [[64, 24, 96, 56]]},
     expect: {label: no}}
"""
# It fails, so that it is drawn large.
CANVAS = "#case-patch .view > .strip figure:nth-child(2) canvas"


@pytest.fixture(params=["crop", "pad", "whole"])
def sees(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Any, tmp_path: Path, sees: str) -> Iterator[Any]:
    """A picture of 160 x 96, red in 64-96 x 24-56, seen by a toy of 8 x 8 cells."""
    image = Image.new("RGB", (160, 96), "navy")
    ImageDraw.Draw(image).rectangle((64, 24, 95, 55), fill=RED)
    image.save(tmp_path / "a.png")
    (tmp_path / "all.yaml").write_text(CASES)
    run, model = Run(tmp_path / "run"), LookingToy(sees)  # type: ignore[arg-type]
    run.start({"id": "run", "model": model.fingerprint.to_dict()})
    stored_in(run, load_cases(tmp_path / "all.yaml"), model)
    opened = browser.new_page(viewport={"width": 1280, "height": 1600})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(write_gallery(run).as_uri())
    opened.wait_for_selector("article.whole[data-drawn]")
    yield opened
    opened.close()
    assert [text for text in said if "willReadFrequently" not in text] == []


def at(page: Any, x: float, y: float) -> str:
    """What the page says of a pixel of the picture, when the pointer is over its heatmap."""
    box = page.locator(CANVAS).bounding_box()
    page.mouse.move(
        box["x"] + (x + 0.5) / 160 * box["width"], box["y"] + (y + 0.5) / 96 * box["height"]
    )
    found: str = page.text_content("#case-patch .readout")
    return found


def test_the_pointer_finds_the_cell_that_lies_below_it(page: Any, sees: str) -> None:
    found = {
        # The square in the middle is 32-128, so a cell is 12 x 12 pixels.
        "crop": ("row 4, column 5 of 8 × 8", "pixels 80–92 × 36–48"),
        # The square around is 160 high and begins 32 above the picture: cells of 20 x 20.
        "pad": ("row 4, column 5 of 8 × 8", "pixels 80–100 × 28–48"),
        "whole": ("row 4, column 5 of 8 × 8", "pixels 80–100 × 36–48"),
    }[sees]
    said = at(page, 84, 40)
    assert said.startswith(found[0])
    assert said.endswith(found[1])
    assert "of answer_attention" in said


def test_the_hottest_cell_is_told_where_the_patch_is(page: Any, sees: str) -> None:
    def told(x: int, y: int) -> float:
        return float(at(page, x, y).partition(": ")[2].partition(" %")[0])

    assert told(84, 40) > 5 * told(40, 80)


def test_what_is_cropped_away_or_cut_off_is_told(page: Any, sees: str) -> None:
    said = at(page, 10, 50)
    if sees == "crop":
        assert said == "pixel 10, 50: the model does not see this part of the picture"
        return
    assert said.startswith("row 5, column 1 of 8 × 8")
    # Cells beyond the picture are cut off: the last row of pixels is in the seventh row of cells.
    last = at(page, 10, 95)
    assert last.startswith("row 7, column 1" if sees == "pad" else "row 8, column 1")
    assert last.endswith("pixels 0–20 × 88–96" if sees == "pad" else "pixels 0–20 × 84–96")


def test_the_page_says_in_words_what_is_seen(page: Any, sees: str) -> None:
    said = {
        "crop": "The model sees the middle 60 % of the width.",
        "pad": "The grid reaches beyond the picture by 33.3 % of the height at the top and 33.3 % "
        "at the bottom.",
        "whole": "",
    }[sees]
    text = page.inner_text("#case-patch").replace("\N{NO-BREAK SPACE}", " ")
    assert said in text
    assert ("The model sees" in text) == (sees == "crop")


def test_heat_lies_on_the_patch_and_what_is_not_seen_has_no_colour(page: Any, sees: str) -> None:
    page.uncheck("#outlines")
    for smooth in (True, False):
        page.set_checked("#smooth", smooth)
        drawn = pixels(page, CANVAS)
        assert drawn.shape == (240, 400, 3)
        # Viridis at its peak is yellow.
        yellow = drawn[..., 1] - drawn[..., 2]
        y, x = np.unravel_index(yellow.argmax(), yellow.shape)
        assert 64 <= x / 2.5 <= 96
        assert 24 <= y / 2.5 <= 56
        side = drawn[:, :78]
        assert (np.ptp(side, axis=-1).max() <= 2) == (sees == "crop")
