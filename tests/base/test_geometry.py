"""Boxes and masks where the model's grid covers another part than the whole picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from audit.base.geometry import WHOLE, Box, Grid, mask, within
from tests.strategies import boxes

grids = st.builds(Grid, st.integers(1, 9), st.integers(1, 9))


def area(box: Box) -> float:
    return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)


def shared(a: Box, b: Box) -> Box:
    """What two boxes have in common; its sides are the wrong way round if nothing."""
    return Box(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))


def overlap(a: Box, b: Box) -> float:
    both = shared(a, b)
    return area(both) if both.left < both.right and both.top < both.bottom else 0.0


@st.composite
def views(draw: st.DrawFn) -> Box:
    """Parts of the picture that are not too thin to reckon with."""
    view = draw(boxes())
    assume(min(view.right - view.left, view.bottom - view.top) > 0.05)
    return view


@st.composite
def paddings(draw: st.DrawFn) -> Box:
    """Views that reach beyond the picture on each side, or end with it."""
    before, after = st.floats(-1, 0), st.floats(1, 2)
    return Box(draw(before), draw(before), draw(after), draw(after))


@given(st.lists(boxes(), max_size=3), grids)
def test_a_view_of_the_whole_picture_changes_nothing(regions: list[Box], grid: Grid) -> None:
    np.testing.assert_array_equal(mask(regions, grid, WHOLE), mask(regions, grid))


@given(boxes())
def test_a_box_within_the_whole_picture_is_itself_and_within_itself_the_whole(box: Box) -> None:
    assert within(box, WHOLE) == pytest.approx(box)
    assert within(box, box) == pytest.approx(WHOLE)


@given(boxes(), views(), st.integers(1, 9), st.integers(1, 9))
def test_the_mass_of_a_box_is_its_area_in_the_view_over_the_views(
    box: Box, view: Box, rows: int, cols: int
) -> None:
    total = mask([box], Grid(rows, cols), view).sum()
    assert total == pytest.approx(overlap(box, view) / area(view) * rows * cols, abs=1e-6)


@given(boxes(), boxes(), views(), grids)
def test_what_two_boxes_share_counts_once_in_a_view_too(
    a: Box, b: Box, view: Box, grid: Grid
) -> None:
    both = shared(a, b)
    twice = overlap(both, view) if both.left < both.right and both.top < both.bottom else 0.0
    expected = (overlap(a, view) + overlap(b, view) - twice) / area(view) * grid.rows * grid.cols
    assert mask([a, b], grid, view).sum() == pytest.approx(expected, abs=1e-6)


@given(boxes(), views())
def test_a_box_lies_in_the_view_where_it_lies_in_the_picture(box: Box, view: Box) -> None:
    """Carried back, it is what box and view share; a box outside comes out empty."""
    found = within(box, view)
    assert all(0 <= v <= 1 for v in found)
    both = shared(box, view)
    if both.left < both.right and both.top < both.bottom:
        wide, high = view.right - view.left, view.bottom - view.top
        back = (
            view.left + found.left * wide, view.top + found.top * high,
            view.left + found.right * wide, view.top + found.bottom * high,
        )  # fmt: skip
        assert back == pytest.approx(tuple(both), abs=1e-9)
    else:
        assert area(found) == 0
        assert not mask([box], Grid(3, 3), view).any()


@given(paddings(), grids)
def test_cells_in_the_padding_have_no_share_of_any_box(view: Box, grid: Grid) -> None:
    shares = mask([WHOLE], grid, view)
    high, wide = (view.bottom - view.top) / grid.rows, (view.right - view.left) / grid.cols
    for (row, col), share in np.ndenumerate(shares):
        left, top = view.left + col * wide, view.top + row * high
        cell = Box(left, top, left + wide, top + high)
        assert share == pytest.approx(overlap(cell, WHOLE) / area(cell), abs=1e-6)
        if cell.right <= 0 or cell.left >= 1 or cell.bottom <= 0 or cell.top >= 1:
            assert share < 1e-9


@given(boxes(), paddings(), grids)
def test_a_padding_loses_nothing_of_a_box(box: Box, view: Box, grid: Grid) -> None:
    total = mask([box], grid, view).sum()
    assert total == pytest.approx(area(box) / area(view) * grid.rows * grid.cols, abs=1e-6)


def test_a_mask_of_a_cropped_and_of_a_padded_picture_by_hand() -> None:
    """The middle half of the width; then a wide picture with a band above and below."""
    right = [Box(0.5, 0.0, 1.0, 1.0)]
    assert mask(right, Grid(1, 4), Box(0.25, 0.0, 0.75, 1.0)).tolist() == [[0, 0, 1, 1]]
    padded = mask(right, Grid(4, 2), Box(0.0, -0.5, 1.0, 1.5))
    assert padded.tolist() == [[0, 0], [0, 1], [0, 1], [0, 0]]
