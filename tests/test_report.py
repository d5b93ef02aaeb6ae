"""The gallery and its pictures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.outcomes import DriftRow, Run, State
from audit.report.gallery import thumbnail_html, write_gallery
from audit.report.pictures import difference, overlay
from tests.test_files import outcome

EVIL = '<script>alert("x")</script> \u202eabc'


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "run")
    made.start({"model": {"source": EVIL, "digest": "f" * 64}, "started": "now", "baselines": ""})
    made.add_image("d" * 64, Image.new("RGB", (60, 40), "gray"))
    hot = np.zeros((2, 2))
    hot[0, 1] = 1.0
    maps = {"m": hot, "baseline:m": np.full((2, 2), 0.25)}
    drift = [DriftRow("entropy", "1", "0", -1.0, 0.02, "drifted")]
    made.add(replace(outcome("passes", State.PASSED)), {"m": hot})
    made.add(replace(outcome("fails", State.DRIFTED), text=EVIL, sentence=EVIL, drift=drift), maps)
    made.add(replace(outcome("dies", State.ERROR), metrics={}, verdicts=[], default_map=""), {})
    return made


def article(page: str, case: str) -> str:
    return page.split(f'<article id="{case}">')[1].split("</article>", maxsplit=1)[0]


def test_the_gallery_needs_nothing_from_outside_and_runs_nothing(run: Run) -> None:
    page = write_gallery(run).read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "&lt;script&gt;" in page


def test_failures_come_first_with_four_pictures_and_their_tables(run: Run) -> None:
    page = write_gallery(run).read_text()
    assert [page.index(f'id="{c}"') for c in ("dies", "fails", "passes")] == sorted(
        page.index(f'id="{c}"') for c in ("dies", "fails", "passes")
    )
    failed = article(page, "fails")
    assert failed.count("<img") == 4
    for shown in (
        "picture and regions",
        "baseline",
        "now − baseline",
        "entropy",
        "drifted",
        "0.02",
    ):
        assert shown in failed
    assert article(page, "dies").count("<img") == 1
    assert article(page, "passes").count("<img") == 2


def test_a_case_whose_picture_is_gone_still_appears(run: Run) -> None:
    run.image_path("d" * 64).unlink()
    page = write_gallery(run).read_text()
    assert article(page, "fails").count("<img") == 0
    assert "so" in article(page, "dies")


def test_drawing_twice_gives_the_same_bytes(run: Run) -> None:
    first = write_gallery(run).read_bytes()
    assert write_gallery(run).read_bytes() == first


def test_thumbnails_escape_what_they_show(run: Run) -> None:
    fragment = thumbnail_html(run, run.outcome("fails"))
    assert "<script" not in fragment
    assert fragment.count("<img") == 4


def test_the_heat_lies_where_the_map_has_its_maximum() -> None:
    """Over a grey picture the largest change of colour is in the quadrant of the hot cell."""
    p = np.array([[0.0, 1.0], [0.0, 0.0]])
    ground = Image.new("RGB", (100, 100), "gray")
    drawn = np.asarray(overlay(ground, p, width=100), dtype=float)
    changed = np.abs(drawn - np.asarray(ground, dtype=float)).sum(-1)
    row, col = np.unravel_index(changed.argmax(), changed.shape)
    assert row < 50 <= col


def test_the_difference_of_equal_maps_leaves_the_picture_grey() -> None:
    p = np.full((3, 3), 1 / 9)
    drawn = np.asarray(difference(Image.new("RGB", (60, 60), "red"), p, p, width=60))
    assert np.ptp(drawn, axis=-1).max() == 0
