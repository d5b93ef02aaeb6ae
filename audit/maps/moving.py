"""Moves a map as a picture was moved: mirrored, or cut to a part of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import Undefined
from audit.base.geometry import WHOLE, Box, Grid, mirrored

Array = NDArray[np.float64]


def moved(
    p: Array, view: Box, grid: Grid, seen: Box, *, part: Box = WHOLE, mirror: bool = False
) -> Array:
    """Where the map ``p`` of a picture would be on another picture that is made from it.

    The share of each cell is spread evenly over its area, and each cell of the new grid gets what
    lies in it. What lies outside of the new grid is lost, and the rest sums to 1 again.

    >>> moved(np.array([[0.5, 0.3, 0.2]]), WHOLE, Grid(1, 3), WHOLE, mirror=True)
    array([[0.2, 0.3, 0.5]])
    >>> moved(np.array([[0.5, 0.4, 0.1]]), WHOLE, Grid(1, 2), WHOLE, part=Box(1 / 3, 0, 1, 1))
    array([[0.8, 0.2]])

    Args:
        p: (rows, cols), sum 1.
        view: the part of the first picture that ``p`` covers, in fractions of that picture.
        grid: of the new map.
        seen: the part of the new picture that its map covers, in fractions of the new picture.
        part: the part of the first picture that the new one shows.
        mirror: whether the new picture shows it mirrored, left to right.

    Raises:
        Undefined: nothing of the map lies where the new grid is.
    """
    there = mirrored(seen) if mirror else seen
    wide, high = part.right - part.left, part.bottom - part.top
    left, right = (part.left + x * wide for x in (there.left, there.right))
    top, bottom = (part.top + y * high for y in (there.top, there.bottom))
    across = _overlap(p.shape[1], (view.left, view.right), grid.cols, (left, right))
    down = _overlap(p.shape[0], (view.top, view.bottom), grid.rows, (top, bottom))
    found: Array = down @ p @ across.T
    if mirror:
        found = found[:, ::-1]
    total = float(found.sum())
    if total <= _NOTHING:
        raise Undefined("the case's map has nothing in this part of the picture")
    return found / total


_NOTHING = 1e-9


def _overlap(
    cells: int, span: tuple[float, float], others: int, other: tuple[float, float]
) -> Array:
    """The share of each cell of a side that lies in each cell of another: (others, cells)."""
    edges = np.linspace(*span, cells + 1)
    theirs = np.linspace(*other, others + 1)[:, None]
    low = np.maximum(edges[:-1], theirs[:-1])
    high = np.minimum(edges[1:], theirs[1:])
    shares: Array = np.clip(high - low, 0.0, None) / np.diff(edges)
    return shares
