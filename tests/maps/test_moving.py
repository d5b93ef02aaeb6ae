"""A map moves as its picture was moved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audit.base.errors import Undefined
from audit.base.geometry import WHOLE, Box, Grid
from audit.maps.moving import moved

Array = NDArray[np.float64]


def some_map(seed: int, rows: int, cols: int) -> Array:
    p = np.random.default_rng(seed).random((rows, cols))
    return p / p.sum()


sizes = st.integers(1, 7)
seeds = st.integers(0, 10_000)


@given(seeds, sizes, sizes)
def test_a_map_that_did_not_move_is_the_same_and_a_mirrored_one_is_mirrored(
    seed: int, rows: int, cols: int
) -> None:
    p = some_map(seed, rows, cols)
    np.testing.assert_allclose(moved(p, WHOLE, Grid(rows, cols), WHOLE), p, atol=1e-12)
    turned = moved(p, WHOLE, Grid(rows, cols), WHOLE, mirror=True)
    np.testing.assert_allclose(turned, p[:, ::-1], atol=1e-12)


@given(seeds, sizes, sizes, sizes, sizes)
def test_on_another_grid_the_share_of_every_half_stays(
    seed: int, rows: int, cols: int, other_rows: int, other_cols: int
) -> None:
    p = some_map(seed, 2 * rows, 2 * cols)
    q = moved(p, WHOLE, Grid(2 * other_rows, 2 * other_cols), WHOLE)
    assert q.shape == (2 * other_rows, 2 * other_cols)
    assert q.sum() == pytest.approx(1)
    assert q[:, :other_cols].sum() == pytest.approx(p[:, :cols].sum())
    assert q[:other_rows].sum() == pytest.approx(p[:rows].sum())


def test_a_crop_keeps_the_cells_inside_and_sums_to_one_again() -> None:
    p = np.arange(1.0, 17.0).reshape(4, 4) / 136
    inside = p[1:3, 2:4]
    part = Box(0.5, 0.25, 1.0, 0.75)
    np.testing.assert_allclose(
        moved(p, WHOLE, Grid(2, 2), WHOLE, part=part), inside / inside.sum(), atol=1e-12
    )
    # The model's grid has four cells again: each old one is spread over a square of four.
    spread = np.kron(inside / inside.sum(), np.full((2, 2), 0.25))
    np.testing.assert_allclose(moved(p, WHOLE, Grid(4, 4), WHOLE, part=part), spread, atol=1e-12)


def test_what_the_model_does_not_see_of_either_picture_is_left_out() -> None:
    p = np.array([[0.1, 0.2, 0.3, 0.4]])
    middle = Box(0.25, 0.0, 0.75, 1.0)
    # The first model pass saw the middle half; of its mirror image the left three quarters.
    q = moved(p, middle, Grid(1, 6), Box(0.0, 0.0, 0.75, 1.0), mirror=True)
    np.testing.assert_allclose(q, [[0, 0, 0.4, 0.3, 0.2, 0.1]], atol=1e-12)


def test_a_part_where_the_map_has_nothing_has_no_map() -> None:
    with pytest.raises(Undefined, match="nothing in this part"):
        moved(np.array([[1.0, 0.0]]), WHOLE, Grid(1, 2), WHOLE, part=Box(0.5, 0, 1, 1))
