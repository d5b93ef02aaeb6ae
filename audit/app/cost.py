"""What a map costs, checked before it is drawn: one visitor must not block the page for others."""

from __future__ import annotations

from audit.base.geometry import Grid
from audit.maps.spec import MapSpec
from audit.maps.trace import Window
from audit.runs.evidence import placements, window_of

MOST_CELLS = 300 * 30 * 30
"""The most cells a model is shown for one map: 300 pictures of OFA-large's 30 x 30 cells."""


def pictures(window: Window, grid: Grid) -> int:
    """How many pictures occlusion shows the model, each with one place hidden."""
    side, stride = window_of(window, grid)
    return len(placements(grid.rows, side, stride)) * len(placements(grid.cols, side, stride))


def check_cost(spec: MapSpec, grid: Grid) -> None:
    """Check that the map does not take too long.

    Raises:
        ValueError: it does; the message names a window that fits, if there is one.
    """
    if spec.method != "occlusion":
        return
    side, stride = window_of(spec.window_choice, grid)
    if not stride <= side <= min(grid):
        return  # there is no such map; drawing it raises the error that says why
    most = MOST_CELLS // (grid.rows * grid.cols)
    needed = pictures(spec.window_choice, grid)
    if needed <= most:
        return
    fitting = [
        f"window={at_side} stride={at_stride}"
        for at_side, at_stride in _coarser(side, stride, min(grid))
        if pictures(Window(at_side, at_stride), grid) <= most
    ]
    hint = f"; {fitting[0]} fits" if fitting else ""
    raise ValueError(
        f"occlusion with window={side} stride={stride} asks the model about {needed:,} pictures of "
        f"{grid.rows} x {grid.cols} cells, more than the {most:,} that this page allows{hint}"
    )


def _coarser(side: int, stride: int, most: int) -> list[tuple[int, int]]:
    """Windows (side, stride) from the one asked for, with larger and larger strides."""
    return [(max(side, step), step) for step in range(stride, most + 1)]
