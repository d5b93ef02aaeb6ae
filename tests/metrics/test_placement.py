"""Masks, and metrics of a map against a region: independent computations and by-hand toys."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from audit.base.geometry import Box, Grid, mask, parse_box
from audit.metrics import placement, shape
from audit.metrics import registry as metrics
from audit.metrics.measuring import measure_one
from audit.metrics.registry import METRICS, Undefined
from tests.strategies import boxes, distributions, regions, tied

OF_REGIONS = {name: m for name, m in METRICS.items() if m.kind == "region"}


@given(boxes(), boxes(), st.integers(1, 9), st.integers(1, 9))
def test_a_masks_area_is_the_exact_area_of_the_union(a: Box, b: Box, rows: int, cols: int) -> None:
    def area(box: Box) -> float:
        return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)

    both = Box(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    shared = area(both) if both.right > both.left and both.bottom > both.top else 0.0
    total = mask([a, b], Grid(rows, cols)).sum() / (rows * cols)
    assert total == pytest.approx(area(a) + area(b) - shared, abs=1e-9)


@given(st.integers(2, 40), st.integers(1, 39), st.integers(1, 20))
def test_pointing_counts_a_cell_of_which_half_is_inside_however_it_is_rounded(
    side: int, at: int, pixels: int
) -> None:
    assume(at < side)
    width = side * 2 * pixels  # the box ends in the middle of a cell, at a whole pixel
    left, right = at * 2 * pixels / width, (at * 2 + 1) * pixels / width
    region = mask([Box(left, 0.0, right, 1.0)], Grid(1, side))
    peak = np.zeros((1, side))
    peak[0, at] = 1.0
    assert placement.pointing(peak, region) == 1.0


@given(st.integers(2, 40), st.integers(1, 39), st.integers(2, 20))
def test_pointing_counts_all_cells_that_a_small_box_covers_alike(
    side: int, at: int, pixels: int
) -> None:
    assume(at < side)
    edge, width = at * 2 * pixels, side * 2 * pixels
    low, high = (edge - 1) / width, (edge + 1) / width  # a box around the corner of four cells
    region = mask([Box(low, low, high, high)], Grid(side, side))
    for row in (at - 1, at):
        for col in (at - 1, at):
            peak = np.zeros((side, side))
            peak[row, col] = 1.0
            assert placement.pointing(peak, region) == 1.0


def test_a_box_that_only_touches_what_the_model_sees_has_no_area() -> None:
    view = Box(0.1, 0.0, 0.1 + 0.2, 1.0)  # a little more than 0.3
    assert not mask([Box(0.3, 0.0, 1.0, 1.0)], Grid(3, 3), view).any()


def test_a_mask_by_hand() -> None:
    """A box over the middle half of a 2 x 2 grid covers a quarter of each cell."""
    assert mask([Box(0.25, 0.25, 0.75, 0.75)], Grid(2, 2)).tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert mask([], Grid(2, 2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([0.1, 0.2, 0.3], "four numbers"),
        ([0.5, 0.2, 0.3, 0.4], "is empty"),
        ([10, 10, 10, 20], "is empty"),
        ([-1, 0, 10, 10], "outside the image"),
        ([True, 0, 10, 10], "four numbers"),
    ],
)
def test_boxes_that_mean_nothing_are_refused(box: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_box(box, 100, 50)


@given(distributions(), regions)
def test_mass_inside_and_outside_is_one(p: np.ndarray, region: np.ndarray) -> None:
    assume((1 - region).sum() > 0)
    assert metrics.mass(p, region) + metrics.mass(p, 1 - region) == pytest.approx(1)


@given(distributions(), regions)
def test_mass_and_lift_by_a_double_loop(p: np.ndarray, region: np.ndarray) -> None:
    inside = sum(p[i, j] * region[i, j] for i in range(3) for j in range(4))
    assert metrics.mass(p, region) == pytest.approx(inside)
    assert metrics.lift(p, region) == pytest.approx(inside * 12 / region.sum())


@given(distributions(), regions)
def test_flipping_map_and_region_together_changes_nothing(
    p: np.ndarray, region: np.ndarray
) -> None:
    options = {"pointing": {"tolerance": 2}, "iou": {"threshold": "mass:0.3"}}
    assume(region.sum() < region.size)
    for (name, metric), flip in itertools.product(OF_REGIONS.items(), (np.fliplr, np.flipud)):
        for chosen in ({}, options.get(name, {})):
            flipped = metric.function(flip(p), flip(region), **chosen)
            assert flipped == pytest.approx(metric.function(p, region, **chosen)), name


@given(tied(), regions, st.floats(0.01, 100))
def test_pointing_rank_and_auc_ignore_scale(
    p: np.ndarray, region: np.ndarray, scale: float
) -> None:
    assume(region.sum() < region.size)
    for function in (metrics.pointing, metrics.rank, metrics.auc):
        assert function(p * scale, region) == pytest.approx(function(p, region), abs=1e-12)


def test_a_uniform_map_is_no_hit_and_an_empty_region_is_undefined() -> None:
    uniform, region = np.full((2, 2), 0.25), np.array([[1.0, 0.0], [0.0, 0.0]])
    assert metrics.pointing(uniform, region) == 0.25
    empty = np.zeros((2, 2))
    for metric in OF_REGIONS.values():
        with pytest.raises(Undefined, match="the region is empty"):
            metric.function(uniform, empty)


def test_a_map_without_anything_is_no_hit_but_undefined() -> None:
    region = np.array([[1.0, 0.0], [0.0, 0.0]])
    for p in (np.zeros((2, 2)), np.full((2, 2), np.nan), np.array([[np.inf, 0.0], [0.0, 0.0]])):
        for name in OF_REGIONS:
            with pytest.raises(Undefined, match="the map is empty or not finite"):
                measure_one(name, p, region=region)
        for name in ("entropy", "gini", "mean", "peaks"):
            with pytest.raises(Undefined, match="the map is empty or not finite"):
                measure_one(name, p)


@given(boxes(), st.integers(1, 9), st.integers(1, 9))
def test_a_box_is_never_widened_by_the_grid(box: Box, rows: int, cols: int) -> None:
    """The mass of a uniform map in a box is the box's area, however the grid cuts it."""
    uniform = np.full((rows, cols), 1 / (rows * cols))
    area = (box.right - box.left) * (box.bottom - box.top)
    assert metrics.mass(uniform, mask([box], Grid(rows, cols))) == pytest.approx(area, abs=1e-12)


def rank_in_order(p: list[float], region: list[float], order: tuple[int, ...]) -> float:
    """Relevance rank accuracy if ties come in this order: whole cells, the last one in part."""
    left, inside = sum(region), 0.0
    for cell in sorted(order, key=lambda i: -p[i]):
        inside += min(1.0, left) * region[cell]
        left -= min(1.0, left)
    return inside / sum(region)


@given(
    arrays(np.int64, 5, elements=st.integers(0, 3)),
    arrays(np.float64, 5, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
)
def test_rank_is_the_mean_over_all_orders_of_tied_cells(
    counts: np.ndarray, region: np.ndarray
) -> None:
    assume(counts.any())
    assume(region.any())
    values, shares = counts.tolist(), region.tolist()
    orders = list(itertools.permutations(range(5)))
    expected = sum(rank_in_order(values, shares, order) for order in orders) / len(orders)
    found = metrics.rank((counts / counts.sum())[None], region[None])
    assert found == pytest.approx(expected, abs=1e-9)


@given(tied(), regions)
def test_auc_is_scikit_learns(p: np.ndarray, region: np.ndarray) -> None:
    """A cell that the region cuts is a positive and a negative example with their weights."""
    assume(region.sum() < region.size)
    inside = region.ravel()
    expected = roc_auc_score(
        np.repeat([1, 0], p.size), np.tile(p.ravel(), 2), sample_weight=[*inside, *(1 - inside)]
    )
    assert metrics.auc(p, region) == pytest.approx(expected, abs=1e-9)
    whole = inside >= 0.5
    assume(0 < whole.sum() < p.size)
    expected = roc_auc_score(whole, p.ravel())
    found = metrics.auc(p, whole.reshape(p.shape).astype(float))
    assert found == pytest.approx(expected, abs=1e-9)


def test_auc_of_a_region_that_covers_everything_is_undefined() -> None:
    p = np.array([[0.5, 0.25], [0.25, 0.0]])
    for full in (np.ones((2, 2)), mask([Box(0, 0, 1, 1)], Grid(2, 2)), np.full((2, 2), 1 - 1e-16)):
        with pytest.raises(Undefined, match="covers the whole picture"):
            metrics.auc(p, full)


@given(tied(), arrays(np.bool_, (6, 8)))
def test_a_fractional_mask_scores_as_the_whole_mask_of_a_finer_grid(
    p: np.ndarray, whole: np.ndarray
) -> None:
    """Each cell cut into four, of which the region holds some."""
    assume(whole.any())
    assume(not whole.all())
    region = whole.reshape(3, 2, 4, 2).mean(axis=(1, 3))
    fine = np.kron(p, np.full((2, 2), 0.25))
    for name in ("mass", "lift", "rank", "auc"):
        function = METRICS[name].function
        assert function(p, region) == pytest.approx(function(fine, whole.astype(float))), name


@given(tied(), regions, st.integers(0, 4))
def test_pointing_with_a_tolerance_looks_at_every_pair_of_cells(
    p: np.ndarray, region: np.ndarray, tolerance: int
) -> None:
    cells = list(itertools.product(range(3), range(4)))
    inside = [c for c in cells if region[c] >= min(0.5, region.max())]
    largest = [c for c in cells if p[c] == p.max()]
    hits = [any(math.dist(c, i) <= tolerance for i in inside) for c in largest]
    found = metrics.pointing(p, region, tolerance=tolerance)
    assert found == pytest.approx(sum(hits) / len(hits))


def test_pointing_with_a_tolerance_by_hand() -> None:
    """Cell (2, 2) is 2 cells beside (2, 0), and the root of 8 from (0, 0)."""
    p, corner, edge = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    p[2, 2] = corner[0, 0] = edge[2, 0] = 1
    assert [metrics.pointing(p, edge, tolerance=t) for t in (0, 1, 2)] == [0, 0, 1]
    assert [metrics.pointing(p, corner, tolerance=t) for t in (2, 3)] == [0, 1]


@given(tied(), regions, st.sampled_from([0.2, 0.35, 0.5, 0.9]))
def test_iou_by_its_three_rules(p: np.ndarray, region: np.ndarray, value: float) -> None:
    by_size = sorted(set(p.ravel().tolist()), reverse=True)
    held = [p[p >= t].sum() for t in by_size]
    limits = {
        "max_share": value * p.max(),
        "quantile": np.quantile(p, value),
        "mass": next(t for t, h in zip(by_size, held, strict=True) if h >= value - 1e-12),
    }
    for rule, limit in limits.items():
        chosen = [float(v >= limit - 1e-12) for v in p.ravel()]
        pairs = list(zip(chosen, region.ravel(), strict=True))
        expected = sum(min(pair) for pair in pairs) / sum(max(pair) for pair in pairs)
        found = metrics.iou(p, region, threshold=f"{rule}:{value}")
        assert found == pytest.approx(expected), rule
    assert metrics.iou(p, region) == metrics.iou(p, region, threshold="max_share:0.5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_share:1.5", "as in max_share:0.5$"),
        ("mass:0", "as in mass:0.5$"),
        ("mass: 0.5", "as in mass:0.5$"),
        ("mass:nan", "as in mass:0.5$"),
        ("quantil:0.9", "did you mean 'quantile'"),
        ("0.5", "choose from: mass, max_share, quantile"),
    ],
)
def test_a_threshold_that_is_none_is_refused_with_what_it_should_be(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        placement.read_threshold(text)


def test_values_that_rounding_alone_tells_apart_are_tied() -> None:
    """Else it would be the machine that decides which of them belong to the largest."""
    p = np.array([[0.1 + 0.2, 0.3], [0.4, 0.0]])
    assert p[0, 0] != p[0, 1]
    region = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.rank(p, region) == 0.75
    assert metrics.auc(p, region) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert shape.levels(p).tolist() == [[1, 1], [2, 0]]
