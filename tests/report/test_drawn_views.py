"""Maps are drawn where their grid lies on the picture; what a model does not see is shown so."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from audit.base.geometry import WHOLE, Box
from audit.report.fragments import asked_html
from audit.report.heatmap import heatmap
from audit.report.pictures import difference, overlay
from audit.report.strips import animation, sheet

MIDDLE, PADDED = Box(0.25, 0.0, 0.75, 1.0), Box(0.0, -0.5, 1.0, 1.5)
HOTTEST = 0.8 * np.array([253, 231, 37])
"""The last colour of viridis as it lies over black."""


def one_hot(row: int, col: int, rows: int, cols: int) -> np.ndarray:
    p = np.zeros((rows, cols))
    p[row, col] = 1.0
    return p


@st.composite
def views(draw: st.DrawFn) -> Box:
    """Views that crop, pad, or do one on one side and the other on the other."""
    left, top = (draw(st.floats(-0.8, 0.4)) for _ in range(2))
    right, bottom = (draw(st.floats(0.6, 1.8)) for _ in range(2))
    return Box(left, top, right, bottom)


@settings(deadline=None, max_examples=50)
@given(view=views(), size=st.tuples(st.integers(40, 300), st.integers(40, 300)), data=st.data())
def test_the_hottest_pixel_lies_in_the_hot_cell(
    view: Box, size: tuple[int, int], data: st.DataObject
) -> None:
    """Of cells whose middle the picture holds: what lies beyond it is not drawn."""
    rows, cols = (data.draw(st.integers(2, 8)) for _ in range(2))
    high, wide = (view.bottom - view.top) / rows, (view.right - view.left) / cols
    cells = [
        (row, col)
        for row in range(rows)
        for col in range(cols)
        if 0.02 < view.left + (col + 0.5) * wide < 0.98
        and 0.02 < view.top + (row + 0.5) * high < 0.98
    ]
    assume(cells)
    row, col = data.draw(st.sampled_from(cells))
    left, top = view.left + col * wide, view.top + row * high
    drawn = overlay(Image.new("RGB", size), one_hot(row, col, rows, cols), view=view)
    distance = np.abs(np.asarray(drawn, dtype=float) - HOTTEST).sum(-1)
    y, x = np.unravel_index(distance.argmin(), distance.shape)
    assert left * drawn.width - 1 <= x <= (left + wide) * drawn.width + 1
    assert top * drawn.height - 1 <= y <= (top + high) * drawn.height + 1


def _seen(view: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a drawing that a view covers, without the pixels at its edge."""
    sides = ((view.top, view.bottom, size[1]), (view.left, view.right, size[0]))
    down, across = (slice(max(round(a * n), 0), min(round(b * n), n)) for a, b, n in sides)
    return down, across


@given(view=views(), value=st.integers(0, 255))
@settings(deadline=None, max_examples=30)
def test_what_is_not_seen_is_pale_and_hatched_and_has_no_colour(view: Box, value: int) -> None:
    ground = Image.new("RGB", (200, 120), (value, 20, 90))
    for drawn in (
        overlay(ground, np.full((4, 4), 1 / 16), view=view),
        difference(ground, one_hot(0, 0, 4, 4), one_hot(3, 3, 4, 4), view=view),
    ):
        pixels = np.asarray(drawn, dtype=float)
        unseen = np.ones(pixels.shape[:2], dtype=bool)
        unseen[_seen(view, drawn.size)] = False
        assert np.ptp(pixels[unseen], axis=-1).max(initial=0.0) == 0
        pale = np.isin(pixels[unseen][:, 0], [70, 165]) | (pixels[unseen][:, 0] > 150)
        assert pale.all()


@pytest.mark.parametrize(
    ("size", "grid"), [((400, 300), (4, 4)), ((7, 300), (3, 30)), ((1, 1), (1, 1))]
)
def test_a_view_of_the_whole_picture_is_drawn_as_ever(
    size: tuple[int, int], grid: tuple[int, int]
) -> None:
    noise = np.random.default_rng(3)
    image = Image.fromarray(noise.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    p, q = noise.random(grid), noise.random(grid)
    panels = [("a", p / p.sum()), ("b", q / q.sum())]
    boxes = {"box": [[0.1, 0.2, 0.4, 0.9]]}
    drawings = (
        partial(overlay, image, p, boxes=boxes),
        partial(difference, image, p, q, boxes=boxes),
        partial(heatmap, image, p, "t", colours="viridis", boxes=boxes),
        partial(sheet, image, panels, title="t", scale="each", boxes=boxes),
        partial(animation, image, panels, scale="shared", format="GIF"),
        partial(asked_html, image, p, "sentence"),
    )
    for draw in drawings:
        one, other = draw(), draw(view=WHOLE)
        assert one == other


def test_the_whole_is_enlarged_cell_by_cell_as_pillow_does() -> None:
    p = np.random.default_rng(5).random((7, 5))
    drawn = np.asarray(overlay(Image.new("RGB", (400, 300)), p, colours="gray", alpha=1.0))
    field = Image.fromarray((p / p.max()).astype(np.float32))
    value = np.asarray(field.resize((400, 300), Image.Resampling.BILINEAR), dtype=float)
    grey = np.floor(np.clip(value * 256, 0, 255)) / 255
    assert np.abs(drawn[..., 0] - np.round(255 * grey * value**0.8)).max() <= 1


@pytest.mark.parametrize("view", [MIDDLE, PADDED, Box(-1e9, -1e9, 1e9, 1e9), Box(0, 0, 1, 1e-9)])
def test_any_view_can_be_drawn_at_any_size(view: Box) -> None:
    p = np.full((3, 2), 1 / 6)
    for size in ((1, 1), (3, 200), (200, 3), (640, 480)):
        ground = Image.new("RGB", size, "teal")
        for width in (1, 16, 400):
            assert (
                overlay(ground, p, view=view, width=width).size
                == overlay(ground, p, width=width).size
            )
            difference(ground, p, p, view=view, width=width)


@pytest.mark.parametrize(("view", "pale"), [(MIDDLE, True), (PADDED, False)])
def test_sheets_animations_and_heatmaps_show_what_is_seen(view: Box, pale: bool) -> None:
    image, p = Image.new("RGB", (300, 200), (0, 0, 255)), np.full((4, 4), 1 / 16)
    drawings = (
        heatmap(image, p, "t", colours="jet", boxes={}, view=view),
        sheet(image, [("a", p)], title="t", scale="each", view=view),
        animation(image, [("a", p)], scale="each", format="WEBP", view=view),
    )
    whole = (
        heatmap(image, p, "t", colours="jet", boxes={}),
        sheet(image, [("a", p)], title="t", scale="each"),
        animation(image, [("a", p)], scale="each", format="WEBP"),
    )
    for drawn, plain in zip(drawings, whole, strict=True):
        assert drawn != plain  # a padded one says so, in words
        found = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).reshape(-1, 3)
        shade = round(0.3 * 29 + 0.7 * 226)
        share = (np.abs(found.astype(int) - shade).max(-1) <= 3).mean()
        assert share > 0.05 if pale else share < 0.001
