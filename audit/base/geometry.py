"""Boxes, masks and the patch grid; the coordinate convention is defined here and nowhere else.

Boxes are ``[left, top, right, bottom]``. Four decimal numbers in [0, 1] are fractions of the
image's width and height; four integers are pixels of the original image. Anything else is ambiguous
and an error. Maps and masks are ``[row, column]`` over the model's patch grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Grid(NamedTuple):
    """Rows and columns of the model's patch grid."""

    rows: int
    cols: int


class Box(NamedTuple):
    """Left, top, right and bottom as fractions of the image, in [0, 1].

    Only a model's view, the part that it sees, may reach beyond the image.
    """

    left: float
    top: float
    right: float
    bottom: float


WHOLE = Box(0.0, 0.0, 1.0, 1.0)
"""The whole image."""


def is_view(view: Box) -> bool:
    """Whether a grid can cover this box: the box has an area and holds some of the image.

    >>> is_view(Box(-0.5, 0.0, 1.5, 1.0)), is_view(Box(1.0, 0.0, 2.0, 1.0))
    (True, False)
    """
    if not all(abs(v) <= _FARTHEST for v in view):  # NaN is not within it, either
        return False
    if min(view.right - view.left, view.bottom - view.top) < _NARROWEST:
        return False
    return max(view.left, 0) < min(view.right, 1) and max(view.top, 0) < min(view.bottom, 1)


_FARTHEST, _NARROWEST = 1e3, 1e-3
"""A grid reaches at most a thousand pictures beyond the picture, and covers a thousandth of it."""


def same_view(one: Box, other: Box) -> bool:
    """Whether two grids cover the same part of the image, to six decimals."""
    return all(abs(a - b) <= _DECIMALS for a, b in zip(one, other, strict=True))


_DECIMALS = 2e-6  # views are stored with six decimals


def view_in_words(view: Box) -> str:
    """In words, what a model sees of an image; empty if it sees the whole image and no more.

    >>> view_in_words(Box(0.125, 0.0, 0.875, 1.0))
    'The model sees the middle 75 % of the width'
    >>> view_in_words(Box(0.0, -0.25, 1.0, 1.25))
    'The grid reaches beyond the picture by 25 % of the height at the top and 25 % at the bottom'
    """
    across, down = (view.left, view.right), (view.top, view.bottom)
    parts = [_seen("width", ("left", "right"), *across), _seen("height", ("top", "bottom"), *down)]
    beyond = [
        _beyond("width", ("on the left", "on the right"), *across),
        _beyond("height", ("at the top", "at the bottom"), *down),
    ]
    clauses = [
        f"{verb} {' and '.join(filter(None, found))}"
        for verb, found in (
            ("the model sees", parts),
            ("the grid reaches beyond the picture by", beyond),
        )
        if any(found)
    ]
    whole = "; ".join(clauses)
    return f"{whole[:1].upper()}{whole[1:]}"


def _seen(side: str, ends: tuple[str, str], low: float, high: float) -> str:
    """What is seen of one side of the image, if it is not the whole side."""
    low, high = max(low, 0.0), min(high, 1.0)
    share = _percent(high - low)
    if high - low >= 1 - _DECIMALS:
        return ""
    if low <= _DECIMALS or high >= 1 - _DECIMALS:
        return f"the {ends[low > _DECIMALS]} {share} of the {side}"
    if abs(low - (1 - high)) < 0.005:  # half a pixel to one side is still the middle
        return f"the middle {share} of the {side}"
    return f"{_percent(low)} to {_percent(high)} of the {side}"


def _beyond(side: str, ends: tuple[str, str], low: float, high: float) -> str:
    more = {ends[0]: -low, ends[1]: high - 1}
    found = [(_percent(v), end) for end, v in more.items() if v > _DECIMALS]
    of = [f" of the {side}", ""]
    return " and ".join(f"{v}{of[n]} {end}" for n, (v, end) in enumerate(found))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def parse_box(values: Sequence[float | int], width: int, height: int) -> Box:
    """Read a box written in fractions or pixels, for an image of ``width`` x ``height`` pixels.

    >>> parse_box([0.25, 0.5, 0.75, 1.0], 480, 480)
    Box(left=0.25, top=0.5, right=0.75, bottom=1.0)
    >>> parse_box([120, 240, 360, 480], 480, 480)
    Box(left=0.25, top=0.5, right=0.75, bottom=1.0)

    Raises:
        ValueError: it is not four numbers, mixes units, is ambiguous, empty or outside the image.
    """
    if len(values) != 4 or any(isinstance(v, bool) for v in values):
        raise ValueError("a box is four numbers: [left, top, right, bottom]")
    if not all(isinstance(v, int) or math.isfinite(v) for v in values):
        raise ValueError(f"the box {list(values)} has a side that is not a number")
    whole = [isinstance(v, int) for v in values]
    if all(whole):
        if max(values) <= 1:
            raise ValueError(
                f"the box {list(values)} is ambiguous: write 0.0 and 1.0 for fractions of the image"
            )
        left, top, right, bottom = values
        if min(values) < 0 or max(left, right) > width or max(top, bottom) > height:
            raise ValueError(
                f"the box {list(values)} lies outside the image of {width} x {height} pixels"
            )
        box = Box(left / width, top / height, right / width, bottom / height)
    elif any(whole):
        raise ValueError(
            f"the box {list(values)} mixes pixels (integers) and fractions (decimals); use one"
            f"{_rounding(values, width, height)}"
        )
    else:
        if not all(0 <= v <= 1 for v in values):
            raise ValueError(
                f"the box {list(values)} lies outside the image: fractions are between 0.0 and 1.0"
                f"{_rounding(values, width, height)}"
            )
        box = Box(*values)
    if box.right <= box.left or box.bottom <= box.top:
        raise ValueError(
            f"the box {list(values)} is empty: right must exceed left, bottom top"
            f"{_corners(values, (width, height) if all(whole) else (1, 1))}"
        )
    return box


def _rounding(values: Sequence[float], width: int, height: int) -> str:
    """A hint if decimals look like pixels: some are too large for fractions, and all would fit."""
    decimals = [v for v in values if isinstance(v, float) and v > 1]
    fits = all(0 <= v <= side for v, side in zip(values, (width, height) * 2, strict=True))
    if not decimals or max(values) < 2 or not fits:
        return ""
    return f"; decimal pixels? round them: {[round(v) for v in values]}"


def _corners(values: Sequence[float], size: tuple[int, int]) -> str:
    """A hint if an empty box would fit the image when read as x, y, width and height."""
    left, top, wide, high = values
    right, bottom = (round(a + b, 6) for a, b in ((left, wide), (top, high)))
    if wide <= 0 or high <= 0 or right > size[0] or bottom > size[1]:
        return ""
    return f"; x, y, width, height? write {[left, top, right, bottom]}"


def mirrored(box: Box) -> Box:
    """The box in the picture mirrored left to right.

    >>> mirrored(Box(0.0, 0.5, 0.25, 1.0))
    Box(left=0.75, top=0.5, right=1.0, bottom=1.0)
    """
    return Box(1.0 - box.right, box.top, 1.0 - box.left, box.bottom)


def within(box: Box, view: Box) -> Box:
    """``box`` in fractions of ``view``; both are given in fractions of the image.

    What lies outside the view is cut off; a box that is entirely outside comes out empty.

    >>> within(Box(0.5, 0.0, 1.0, 1.0), Box(0.25, 0.0, 0.75, 1.0))
    Box(left=0.5, top=0.0, right=1.0, bottom=1.0)
    """
    wide, high = view.right - view.left, view.bottom - view.top
    across = ((v - view.left) / wide for v in (box.left, box.right))
    down = ((v - view.top) / high for v in (box.top, box.bottom))
    (left, right), (top, bottom) = (
        (min(max(v, 0.0), 1.0) for v in pair) for pair in (across, down)
    )
    return Box(left, top, right, bottom)


def mask(boxes: Sequence[Box], grid: Grid, view: Box = WHOLE) -> NDArray[np.float64]:
    """The share of each cell's area that lies in the union of ``boxes``: (rows, cols), in [0, 1].

    A box is never widened to whole cells, and overlapping boxes count once.

    Args:
        view: the part of the image that the grid covers.

    >>> mask([Box(0.0, 0.0, 0.75, 1.0)], Grid(1, 2))
    array([[1. , 0.5]])
    >>> mask([Box(0.0, 0.0, 0.5, 1.0)], Grid(1, 2), Box(0.25, 0.0, 0.75, 1.0))
    array([[1., 0.]])
    """
    boxes = [within(box, view) for box in boxes]
    xs = np.unique([0.0, 1.0, *(v for b in boxes for v in (b.left, b.right)), *_edges(grid.cols)])
    ys = np.unique([0.0, 1.0, *(v for b in boxes for v in (b.top, b.bottom)), *_edges(grid.rows)])
    x, y = (xs[:-1] + xs[1:]) / 2, (ys[:-1] + ys[1:]) / 2
    inside = np.zeros((len(y), len(x)), dtype=bool)
    for box in boxes:
        inside |= np.outer((y > box.top) & (y < box.bottom), (x > box.left) & (x < box.right))
    area = inside * np.outer(np.diff(ys) * grid.rows, np.diff(xs) * grid.cols)
    shares = np.zeros(grid)
    rows = np.minimum((y * grid.rows).astype(int), grid.rows - 1)
    cols = np.minimum((x * grid.cols).astype(int), grid.cols - 1)
    np.add.at(shares, np.ix_(rows, cols), area)
    shares[shares < _SLIVER] = 0.0
    return np.clip(shares, 0.0, 1.0)


_SLIVER = 1e-9
"""A share of a cell below this comes from rounding, where a box ends at the edge of a cell or of
what the model sees."""


def _edges(count: int) -> NDArray[np.float64]:
    return np.arange(1, count) / count
