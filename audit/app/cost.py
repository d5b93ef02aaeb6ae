"""What an answer costs, before it is given: one visitor must not keep the page from all others."""

from __future__ import annotations

from audit.base.geometry import Grid
from audit.maps.spec import MapSpec
from audit.maps.trace import Window
from audit.runs.evidence import placements, window_of

MOST_CELLS = 300 * 30 * 30
"""Cells that a model may be shown for one map: 300 pictures of OFA-large's grid, of 480 pixels."""


def pictures(window: Window, grid: Grid) -> int:
    """How many pictures occlusion shows the model, each with one place hidden."""
    side, stride = window_of(window, grid)
    return len(placements(grid.rows, side, stride)) * len(placements(grid.cols, side, stride))


def check_cost(spec: MapSpec, grid: Grid) -> None:
    """See that the map can be had in reasonable time.

    Raises:
        ValueError: it cannot; the nearest windows that can are named.
    """
    if spec.method != "occlusion":
        return
    side, stride = window_of(spec.window_choice, grid)
    if not stride <= side <= min(grid):
        return  # there is no such map, and the one who draws it says why
    most = MOST_CELLS // (grid.rows * grid.cols)
    needed = pictures(spec.window_choice, grid)
    if needed <= most:
        return
    fitting = [
        f"window={at_side} stride={at_stride}"
        for at_side, at_stride in _coarser(side, stride, min(grid))
        if pictures(Window(at_side, at_stride), grid) <= most
    ]
    said = f"; {fitting[0]} fits" if fitting else ""
    raise ValueError(
        f"occlusion with window={side} stride={stride} asks the model about {needed:,} pictures of "
        f"{grid.rows} x {grid.cols} cells, more than the {most:,} that this page allows{said}"
    )


def _coarser(side: int, stride: int, most: int) -> list[tuple[int, int]]:
    """Windows from the one that was asked, by ever larger steps and then sides."""
    return [(max(side, step), step) for step in range(stride, most + 1)]
