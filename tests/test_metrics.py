"""Maps, masks and metrics against independent computations and by-hand toys."""

from __future__ import annotations

import doctest
from fractions import Fraction as Fr

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit import errors, expectations, geometry, maps, metrics
from audit.geometry import Box, Grid, mask, parse_box
from audit.maps import MapSpec, cross_attention, image_share
from audit.metrics import METRICS, Undefined, measure
from audit.trace import Trace


@st.composite
def distributions(draw: st.DrawFn, rows: int = 3, cols: int = 4) -> np.ndarray:
    values = draw(arrays(np.float64, (rows, cols), elements=st.floats(0, 1)))
    assume(values.sum() > 1e-3)
    return values / values.sum()


regions = arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])).filter(
    lambda region: region.sum() > 0
)

fractions = st.floats(0, 1).map(lambda v: round(v, 3))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, right = sorted((draw(fractions), draw(fractions)))
    top, bottom = sorted((draw(fractions), draw(fractions)))
    assume(left < right and top < bottom)
    return Box(left, top, right, bottom)


@pytest.mark.parametrize("module", [errors, geometry, maps, metrics, expectations])
def test_the_worked_examples_in_the_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


@given(boxes(), boxes(), st.integers(1, 9), st.integers(1, 9))
def test_a_masks_area_is_the_exact_area_of_the_union(a: Box, b: Box, rows: int, cols: int) -> None:
    def area(box: Box) -> float:
        return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)

    both = Box(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    shared = area(both) if both.right > both.left and both.bottom > both.top else 0.0
    total = mask([a, b], Grid(rows, cols)).sum() / (rows * cols)
    assert total == pytest.approx(area(a) + area(b) - shared, abs=1e-9)


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
    for name, metric in METRICS.items():
        if metric.kind == "region":
            flipped = metric.function(p[:, ::-1], region[:, ::-1])
            assert flipped == pytest.approx(metric.function(p, region)), name


@given(distributions())
def test_entropy_is_scipys(p: np.ndarray) -> None:
    assert metrics.entropy(p) == pytest.approx(scipy.stats.entropy(p.ravel(), base=12), abs=1e-9)


@given(distributions())
def test_gini_is_the_mean_difference_over_twice_the_mean(p: np.ndarray) -> None:
    flat = p.ravel()
    expected = np.abs(flat[:, None] - flat[None]).mean() / (2 * flat.mean())
    assert metrics.gini(p) == pytest.approx(expected, abs=1e-9)


def test_uniform_and_single_cell_maps_are_exact() -> None:
    uniform, single = np.full((3, 4), 1 / 12), np.zeros((3, 4))
    single[1, 2] = 1
    assert metrics.entropy(uniform) == pytest.approx(1, abs=1e-12)
    assert metrics.entropy(single) == 0
    assert metrics.gini(uniform) == pytest.approx(0, abs=1e-12)
    assert metrics.gini(single) == pytest.approx(11 / 12)
    assert metrics.focus_area(uniform) == pytest.approx(0.5)
    assert metrics.focus_area(single) == pytest.approx(0.5 / 12)
    assert metrics.area_above(uniform) == 0
    assert (metrics.centre_x(single), metrics.centre_y(single)) == (2.5 / 4, 0.5)


@given(distributions())
def test_focus_area_by_adding_cells_one_by_one(p: np.ndarray) -> None:
    left, cells = 0.5, 0.0
    for value in sorted(p.ravel().tolist(), reverse=True):
        take = min(1.0, left / value) if value > 0 else 0.0
        cells, left = cells + take, left - take * value
        if left <= 1e-12:
            break
    assert metrics.focus_area(p) == pytest.approx(cells / 12, abs=1e-6)


@given(distributions(), regions, st.floats(0.01, 100))
def test_pointing_ignores_scale(p: np.ndarray, region: np.ndarray, scale: float) -> None:
    assert metrics.pointing(p * scale, region) == metrics.pointing(p, region)


def test_a_uniform_map_is_no_hit_and_an_empty_region_is_undefined() -> None:
    uniform, region = np.full((2, 2), 0.25), np.array([[1.0, 0.0], [0.0, 0.0]])
    assert metrics.pointing(uniform, region) == 0.25
    empty = np.zeros((2, 2))
    for name in ("mass", "lift", "pointing"):
        with pytest.raises(Undefined, match="the region is empty"):
            METRICS[name].function(uniform, empty)


@given(distributions(), regions)
def test_refining_the_grid_keeps_mass_and_centre(p: np.ndarray, region: np.ndarray) -> None:
    fine, area = np.kron(p, np.full((2, 2), 0.25)), np.kron(region, np.ones((2, 2)))
    assert metrics.mass(fine, area) == pytest.approx(metrics.mass(p, region))
    assert metrics.centre_x(fine) == pytest.approx(metrics.centre_x(p))
    assert metrics.centre_y(fine) == pytest.approx(metrics.centre_y(p))


def toy() -> Trace:
    """2 layers, 2 heads, a 2 x 2 grid and 2 text columns; each row sums to 1."""
    rows = [
        [[4, 2, 1, 1, 1, 1], [1, 1, 1, 1, 3, 3]],
        [[0, 0, 5, 0, 5, 0], [2, 2, 2, 2, 1, 1]],
    ]
    return Trace({"yes": 1.0}, "yes", "", (), Grid(2, 2), np.array(rows, np.float32) / 10)


@pytest.mark.parametrize(
    ("spec", "row"),
    [
        (MapSpec(), [Fr(7, 40), Fr(5, 40), Fr(9, 40), Fr(4, 40)]),
        (MapSpec(layers="last"), [Fr(2, 20), Fr(2, 20), Fr(7, 20), Fr(2, 20)]),
        (MapSpec(layers="last:2"), [Fr(7, 40), Fr(5, 40), Fr(9, 40), Fr(4, 40)]),
        (MapSpec(layers=[1]), [Fr(5, 20), Fr(3, 20), Fr(2, 20), Fr(2, 20)]),
        (MapSpec(heads="max"), [Fr(6, 20), Fr(4, 20), Fr(6, 20), Fr(3, 20)]),
        (MapSpec(heads=[1]), [Fr(4, 20), Fr(2, 20), Fr(6, 20), Fr(1, 20)]),
    ],
)
def test_cross_attention_by_hand(spec: MapSpec, row: list[Fr]) -> None:
    """Heads are reduced within a layer, layers averaged, the image's columns renormalised."""
    total = sum(row)
    expected = [
        [float(row[0] / total), float(row[1] / total)],
        [float(row[2] / total), float(row[3] / total)],
    ]
    np.testing.assert_allclose(cross_attention(toy(), spec), expected, atol=1e-7)


def test_image_share_by_hand() -> None:
    """Rows give the image 8, 4, 5 and 8 tenths: 25 fortieths on average."""
    assert image_share(toy(), MapSpec()) == pytest.approx(25 / 40)


def test_layers_and_heads_that_are_not_there_are_refused_with_the_number_there_are() -> None:
    with pytest.raises(ValueError, match="layer 3 was asked for, but the model has 2"):
        cross_attention(toy(), MapSpec(layers=[3]))
    with pytest.raises(ValueError, match="head 5 was asked for, but the model has 2"):
        cross_attention(toy(), MapSpec(heads=[5]))
    with pytest.raises(ValueError, match="last:3 was asked for, but the model has 2"):
        cross_attention(toy(), MapSpec(layers="last:3"))


def test_a_row_that_ignores_the_image_is_no_map() -> None:
    blind = Trace({}, "", "", (), Grid(1, 1), np.array([[[0.0, 1.0]]], np.float32))
    with pytest.raises(ValueError, match="no attention"):
        cross_attention(blind)


@given(distributions(2, 2), st.booleans())
def test_measuring_never_gives_nan_and_changes_nothing(p: np.ndarray, empty: bool) -> None:
    region = np.zeros((2, 2)) if empty else np.array([[1.0, 0.5], [0.0, 0.0]])
    before, area = p.copy(), region.copy()
    found = measure(p, {"r": region}, toy(), MapSpec())
    assert np.array_equal(p, before)
    assert np.array_equal(region, area)
    assert set(found) == {
        f"{name}[r]" if m.kind == "region" else name for name, m in METRICS.items()
    }
    for name, value in found.items():
        assert isinstance(value, str) or np.isfinite(value), name
        metric = METRICS[name.partition("[")[0]]
        if isinstance(value, float):
            assert metric.low is None or value >= metric.low - 1e-9
            assert metric.high is None or value <= metric.high + 1e-9
