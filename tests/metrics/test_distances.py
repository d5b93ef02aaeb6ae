"""Distances between maps against linear programming, plain formulas and cases on paper."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from audit.base.errors import Undefined
from audit.metrics import distances, shape
from audit.metrics.registry import METRICS
from tests.strategies import tied

ROOT = Path(__file__).parents[2]
DIAGONAL = math.sqrt(2)
DISTANCES = {name: m for name, m in METRICS.items() if m.kind == "distance"}


maps = partial(tied, 2, 3)


def single(row: int, col: int, rows: int, cols: int) -> np.ndarray:
    p = np.zeros((rows, cols))
    p[row, col] = 1.0
    return p


def transport(p: np.ndarray, q: np.ndarray) -> float:
    """The earth mover's distance as the linear programme it is defined by, over all pairs."""
    rows, cols = p.shape
    centres = [((c + 0.5) / cols, (r + 0.5) / rows) for r in range(rows) for c in range(cols)]
    n = len(centres)
    ways = [math.dist(a, b) / DIAGONAL for a in centres for b in centres]
    leave, arrive = np.zeros((n, n * n)), np.zeros((n, n * n))
    for i in range(n):
        leave[i, i * n : (i + 1) * n] = 1
        arrive[i, i::n] = 1
    found = linprog(
        ways, A_eq=np.vstack([leave, arrive]), b_eq=np.concatenate([p.ravel(), q.ravel()])
    )
    assert found.status == 0
    return float(found.fun)


@settings(deadline=None, max_examples=60)
@given(maps(), maps())
def test_emd_is_the_optimum_of_its_linear_programme(p: np.ndarray, q: np.ndarray) -> None:
    assert distances.emd(p, q) == pytest.approx(transport(p, q), abs=1e-9)


@pytest.mark.parametrize(
    ("p", "q", "way"),
    [
        (single(0, 0, 1, 4), single(0, 3, 1, 4), 3 / 4),
        (single(0, 0, 4, 1), single(3, 0, 4, 1), 3 / 4),
        (single(0, 0, 2, 4), single(1, 0, 2, 4), 1 / 2),
        (single(0, 0, 2, 4), single(1, 3, 2, 4), math.hypot(3 / 4, 1 / 2)),
        # Half stays, half moves by two thirds of the width.
        (single(0, 0, 1, 3), np.array([[0.5, 0.0, 0.5]]), 1 / 3),
        # Both halves move by one third inwards.
        (np.array([[0.5, 0.0, 0.5]]), single(0, 1, 1, 3), 1 / 3),
    ],
)
def test_emd_by_hand(p: np.ndarray, q: np.ndarray, way: float) -> None:
    assert distances.emd(p, q) == pytest.approx(way / DIAGONAL, abs=1e-12)


@settings(deadline=None)
@given(maps(), maps())
def test_no_map_is_nearer_than_its_centre(p: np.ndarray, q: np.ndarray) -> None:
    """The mean way is at least the mean displacement."""
    assert distances.emd(p, q) >= distances.centre_shift(p, q) - 1e-12


@settings(deadline=None)
@given(maps(), maps())
def test_refining_the_grid_keeps_the_shift_of_the_centre_and_can_only_lower_emd(
    p: np.ndarray, q: np.ndarray
) -> None:
    """Quarters of a cell may follow the cell; and each lies this far from its middle."""
    fine = [np.kron(each, np.full((2, 2), 0.25)) for each in (p, q)]
    assert distances.centre_shift(*fine) == pytest.approx(distances.centre_shift(p, q), abs=1e-12)
    from_middle = math.hypot(1 / (4 * 3), 1 / (4 * 2)) / DIAGONAL
    coarse = distances.emd(p, q)
    assert coarse - 2 * from_middle - 1e-9 <= distances.emd(*fine) <= coarse + 1e-9


def test_refining_the_grid_does_lower_emd_where_cells_move_both_ways() -> None:
    """In halves of a cell the halves next to the middle move by half a cell less each way."""
    p, q = np.array([[0.5, 0.0, 0.5]]), np.array([[0.0, 1.0, 0.0]])
    fine = [np.kron(each, np.array([[0.5, 0.5]])) for each in (p, q)]
    # The quarters at 1/12, 3/12 go to 5/12: ways of 4/12 and 2/12, and the same from the right.
    assert distances.emd(*fine) * DIAGONAL == pytest.approx(3 / 12)
    assert distances.emd(p, q) * DIAGONAL == pytest.approx(4 / 12)


@given(maps(), maps())
def test_js_is_the_root_of_the_entropy_that_mixing_adds(p: np.ndarray, q: np.ndarray) -> None:
    def bits(values: np.ndarray) -> float:
        return -sum(v * math.log2(v) for v in values.ravel().tolist() if v > 0)

    squared = bits((p + q) / 2) - (bits(p) + bits(q)) / 2
    assert distances.js(p, q) ** 2 == pytest.approx(squared, abs=1e-12)


def test_js_by_hand() -> None:
    """Half in common: the mixture has 1.5 bits, the maps have 1 bit each."""
    p, q = np.array([[0.5, 0.5, 0.0]]), np.array([[0.0, 0.5, 0.5]])
    assert distances.js(p, q) == pytest.approx(math.sqrt(0.5))


@given(maps(), st.floats(1e-18, 1e-7))
def test_js_is_a_number_for_maps_that_differ_by_rounding(p: np.ndarray, little: float) -> None:
    q = (p + little) / (p + little).sum()
    assert 0 <= distances.js(p, q) < 1e-3


@settings(deadline=None)
@given(maps(), maps())
def test_js_and_emd_are_symmetric_and_zero_only_for_equal_maps(
    p: np.ndarray, q: np.ndarray
) -> None:
    for distance in (distances.js, distances.emd):
        assert distance(p, q) == pytest.approx(distance(q, p), abs=1e-12)
        assert distance(p, p.copy()) == 0
        assert (distance(p, q) > 1e-6) != np.allclose(p, q, atol=1e-9)


def ranks(values: np.ndarray) -> np.ndarray:
    """How many are smaller, and half of those that are equal."""
    flat = values.ravel()
    return (flat[None] < flat[:, None]).sum(1) + (flat[None] == flat[:, None]).sum(1) / 2


@given(maps(), maps())
def test_correlations_by_numpy(p: np.ndarray, q: np.ndarray) -> None:
    assume(np.ptp(p) > 0)
    assume(np.ptp(q) > 0)
    pearson = np.corrcoef(p.ravel(), q.ravel())[0, 1]
    spearman = np.corrcoef(ranks(p), ranks(q))[0, 1]
    assert distances.pearson(p, q) == pytest.approx(pearson, abs=1e-9)
    assert distances.spearman(p, q) == pytest.approx(spearman, abs=1e-9)


@pytest.mark.parametrize("distance", [distances.pearson, distances.spearman])
def test_the_correlation_with_a_constant_map_is_undefined(
    distance: Callable[[np.ndarray, np.ndarray], float],
) -> None:
    p = np.array([[0.7, 0.2], [0.1, 0.0]])
    nearly = np.array([[0.25, 0.25 + 1e-16], [0.25, 0.25]])
    for constant in (np.full((2, 2), 0.25), nearly):
        for pair in ((p, constant), (constant, p)):
            with pytest.raises(Undefined, match="constant"):
                distance(*pair)


@given(maps(), maps())
def test_centre_shift_is_the_way_between_the_mean_places(p: np.ndarray, q: np.ndarray) -> None:
    rows, cols = p.shape

    def centre(m: np.ndarray) -> tuple[float, float]:
        cells = [(r, c) for r in range(rows) for c in range(cols)]
        x = sum(m[r, c] * (c + 0.5) / cols for r, c in cells)
        return x, sum(m[r, c] * (r + 0.5) / rows for r, c in cells)

    expected = math.dist(centre(p), centre(q)) / DIAGONAL
    assert distances.centre_shift(p, q) == pytest.approx(expected, abs=1e-12)


def test_focus_iou_by_hand() -> None:
    p = np.array([[0.5, 0.25, 0.25, 0.0]])  # the first cell
    q = np.array([[0.25, 0.5, 0.0, 0.25]])  # the second
    r = np.array([[0.4, 0.4, 0.2, 0.0]])  # five eighths of the first and of the second: 0.25 each
    assert distances.focus_iou(p, p) == 1
    assert distances.focus_iou(p, q) == 0
    assert distances.focus_iou(p, r) == pytest.approx((5 / 8) / (1 + 5 / 8))


@given(maps(), maps())
def test_focus_iou_is_1_for_the_same_map_and_compares_sets_as_large_as_the_focus_areas(
    p: np.ndarray, q: np.ndarray
) -> None:
    assert distances.focus_iou(p, p) == 1
    a, b = shape.focus_area(p), shape.focus_area(q)
    # |A ∩ B| = (|A| + |B|) · i / (1 + i), and it is at most the smaller set.
    found = distances.focus_iou(p, q)
    assert (a + b) * found / (1 + found) <= min(a, b) + 1e-9
    assert np.dot(shape.focus(p).ravel(), p.ravel()) == pytest.approx(0.5)


@settings(deadline=None)
@given(maps(), maps())
def test_every_distance_keeps_its_range_and_ignores_a_common_flip(
    p: np.ndarray, q: np.ndarray
) -> None:
    for name, metric in DISTANCES.items():
        try:
            found = metric.function(p, q)
        except Undefined:
            assert name in ("pearson", "spearman")
            continue
        assert metric.low <= found <= metric.high, name
        for flip in (np.fliplr, np.flipud):
            assert metric.function(flip(p), flip(q)) == pytest.approx(found, abs=1e-9), name


@pytest.mark.parametrize("name", DISTANCES)
def test_maps_of_different_grids_have_no_distance(name: str) -> None:
    with pytest.raises(Undefined, match="different grids: 2 x 3 and 3 x 2 cells"):
        DISTANCES[name].function(np.eye(2, 3) / 2, np.eye(3, 2) / 2)


@pytest.mark.slow
def test_the_earth_movers_distance_leaves_torch_and_the_environment_alone() -> None:
    """POT imports torch where it is installed, as it is here, unless it is told not to."""
    code = (
        "import importlib.util, os, sys\n"
        "import numpy as np\n"
        "from audit.metrics import distances\n"
        "assert importlib.util.find_spec('torch')\n"
        "assert 'ot' not in sys.modules\n"
        "said = lambda: {k: v for k, v in os.environ.items() if k.startswith('POT')}\n"
        "before = said()\n"
        "print(distances.emd(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])))\n"
        "print(distances.spearman(np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])))\n"
        "assert 'ot' in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
        "assert said() == before\n"
    )
    kept = {"PATH": os.environ["PATH"], "POT_BACKEND_DISABLE_JAX": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=kept,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    emd, spearman = map(float, done.stdout.split())
    assert emd == pytest.approx(0.5 / DIAGONAL)
    assert spearman == pytest.approx(-1)
