"""Drawings are bounded on both sides, however long and thin the picture is."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.app.desk import uploaded
from audit.report.heatmap import heatmap
from audit.report.pictures import data_uri, difference, fitted, outlined, overlay

EVEN = np.full((3, 3), 1 / 9)

THIN = [(1, 3000), (3000, 1), (1, 40_000), (40_000, 1), (1, 1), (20, 700)]


@pytest.mark.parametrize("size", THIN)
@pytest.mark.parametrize("width", [220, 400, 900])
def test_both_sides_of_every_drawing_are_bounded(size: tuple[int, int], width: int) -> None:
    image = Image.new("RGB", size)
    boxes = {"all": [(0.0, 0.0, 1.0, 1.0)]}
    for drawn in (
        outlined(image, boxes, width),
        overlay(image, EVEN, boxes=boxes, width=width),
        difference(image, EVEN, EVEN.T, boxes=boxes, width=width),
    ):
        assert 16 <= drawn.width <= width
        assert 16 <= drawn.height <= 1600


@pytest.mark.parametrize(
    ("size", "width", "expected"),
    [
        ((480, 480), 400, (400, 400)),
        ((300, 200), 600, (600, 400)),
        ((100, 400), 400, (400, 1600)),
        ((100, 800), 400, (200, 1600)),
        ((3000, 1), 400, (400, 16)),
    ],
)
def test_proportions_are_kept_unless_a_side_would_vanish(
    size: tuple[int, int], width: int, expected: tuple[int, int]
) -> None:
    assert fitted(size, width) == expected
    assert fitted(expected, width) == expected


def test_a_figure_of_a_thin_picture_is_drawn() -> None:
    data = heatmap(Image.new("RGB", (1, 3000)), EVEN, "title", colours="viridis", boxes={})
    assert max(Image.open(io.BytesIO(data)).size) < 2000


def test_a_picture_longer_than_webp_allows_is_made_smaller() -> None:
    head, _, data = data_uri(Image.new("RGB", (20_000, 40))).partition(",")
    assert head == "data:image/webp;base64"
    assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) == 16_383


@pytest.mark.parametrize("size", THIN)
def test_the_page_previews_a_thin_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", size).save(path)
    found = uploaded(path)
    assert found.size == size
    preview = Image.open(io.BytesIO(base64.b64decode(found.preview.partition(",")[2])))
    assert preview.width <= 900
    assert preview.height <= 1600
