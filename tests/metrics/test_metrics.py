"""Metrics of a map alone, and their registry, against independent computations and by-hand toys."""

from __future__ import annotations

import doctest
import inspect
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from audit.maps.reading import MapSpec, image_share
from audit.maps.trace import Trace
from audit.metrics import distances
from audit.metrics import registry as metrics
from audit.metrics.keys import FigureKey
from audit.metrics.measuring import measure, measure_curves, measure_one
from audit.metrics.registry import DEFAULTS, METRICS
from tests.passes import asked, two_by_two
from tests.strategies import distributions, regions, tied


def toy() -> Trace:
    """A trace with the answer's attention on a grid of 2 x 2."""
    return asked(two_by_two(), MapSpec())


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.kind != "trace"])
def test_every_metric_shows_a_worked_example(name: str) -> None:
    parser = doctest.DocTestParser()
    examples = parser.get_examples(METRICS[name].function.__doc__ or "")
    assert any(example.want for example in examples)


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
    assert metrics.effective_area(uniform) == pytest.approx(1, abs=1e-12)
    assert metrics.effective_area(single) == pytest.approx(1 / 12)
    assert metrics.peaks(uniform) == metrics.peaks(single) == 1
    assert metrics.spread(single) == 0


@given(distributions())
def test_focus_area_by_adding_cells_one_by_one(p: np.ndarray) -> None:
    left, cells = 0.5, 0.0
    for value in sorted(p.ravel().tolist(), reverse=True):
        take = min(1.0, left / value) if value > 0 else 0.0
        cells, left = cells + take, left - take * value
        if left <= 1e-12:
            break
    assert metrics.focus_area(p) == pytest.approx(cells / 12, abs=1e-6)


@given(regions)
def test_a_uniform_map_has_the_value_by_chance(region: np.ndarray) -> None:
    assume(region.sum() < region.size)
    uniform, share = np.full((3, 4), 1 / 12), region.sum() / 12
    for name in ("mass", "rank", "iou"):
        assert METRICS[name].function(uniform, region) == pytest.approx(share), name
    assert metrics.lift(uniform, region) == pytest.approx(1)
    assert metrics.auc(uniform, region) == pytest.approx(0.5)
    whole = np.round(region)
    assume(whole.any())
    assert metrics.pointing(uniform, whole) == pytest.approx(whole.mean())


@pytest.mark.parametrize("side", [2, 3, 30])
def test_entropy_does_not_depend_on_the_number_of_cells(side: int) -> None:
    uniform, one_in_two = np.full((side, side), side**-2.0), np.zeros((side, 2 * side))
    one_in_two[:, :side] = side**-2.0
    assert metrics.entropy(uniform) == pytest.approx(1)
    assert metrics.entropy(one_in_two) == pytest.approx(1 - math.log(2) / math.log(2 * side**2))
    assert metrics.effective_area(one_in_two) == pytest.approx(0.5)


def test_the_figures_of_a_map_do_not_depend_on_its_neighbours() -> None:
    """Scaled by its own maximum, not by that of whatever is measured along with it."""
    weak, strong = np.array([[0.3, 0.3], [0.2, 0.2]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    in_turn = [measure(p, {}, toy(), MapSpec()) for p in (strong, weak, strong)]
    assert in_turn[1]["mean"] == pytest.approx((1 + 1 + 2 / 3 + 2 / 3) / 4)
    assert in_turn[1]["min"] == pytest.approx(2 / 3)
    assert in_turn[0] == in_turn[2]


def test_effective_area_by_hand() -> None:
    """One half, one quarter and two eighths have 1.75 bits."""
    p = np.array([[1 / 2, 1 / 4], [1 / 8, 1 / 8]])
    assert metrics.effective_area(p) == pytest.approx(2**1.75 / 4)


@given(tied(4, 5))
def test_peaks_are_what_walking_from_cell_to_cell_finds(p: np.ndarray) -> None:
    left = {c for c in itertools.product(range(4), range(5)) if p[c] > p.max() / 2 + 1e-12}
    count = 0
    while left:
        count += 1
        waiting = [left.pop()]
        while waiting:
            row, col = waiting.pop()
            near = {c for c in left if abs(c[0] - row) <= 1 and abs(c[1] - col) <= 1}
            left -= near
            waiting += near
    assert metrics.peaks(p) == count


def test_peaks_by_hand() -> None:
    """A cell of exactly half the maximum is not above it."""
    p = np.array([[4, 0, 4, 0, 2], [4, 0, 0, 3, 0], [0, 0, 0, 0, 0], [0, 0, 3, 0, 0]]) / 20
    assert metrics.peaks(p) == 3


@given(tied())
def test_spread_is_the_root_of_the_covariances_trace(p: np.ndarray) -> None:
    row, col = np.indices(p.shape)
    places = np.stack([((col + 0.5) / 4).ravel(), ((row + 0.5) / 3).ravel()])
    trace = np.trace(np.cov(places, aweights=p.ravel(), ddof=0))
    assert metrics.spread(p) == pytest.approx(math.sqrt(trace) / math.sqrt(2), abs=1e-9)


def test_spread_is_largest_for_two_opposite_corners() -> None:
    p = np.zeros((30, 30))
    p[0, 0] = p[-1, -1] = 0.5
    assert metrics.spread(p) == pytest.approx(0.5 * 29 / 30)
    assert metrics.spread(np.full((30, 30), 1 / 900)) == pytest.approx(math.sqrt((1 - 30**-2) / 12))


@given(tied(), st.sampled_from([0.1, 0.5, 0.8, 0.95]))
def test_focus_area_of_any_share_by_adding_cells_one_by_one(p: np.ndarray, share: float) -> None:
    left, cells = share, 0.0
    for value in sorted(p.ravel().tolist(), reverse=True):
        take = min(1.0, left / value) if value > 0 else 0.0
        cells, left = cells + take, left - take * value
    assert metrics.focus_area(p, share=share) == pytest.approx(cells / 12, abs=1e-9)


CURVES = SimpleNamespace(
    deletion=np.array([0.8, 0.4, 0.2, 0.2, 0.2]), insertion=np.array([0.2, 0.6, 0.8, 0.8, 0.8])
)


CONTROL = SimpleNamespace(
    deletion=np.array([0.8, 0.8, 0.6, 0.4, 0.2]), insertion=np.array([0.2, 0.2, 0.4, 0.6, 0.8])
)


def test_faithfulness_by_hand() -> None:
    """Trapezoids: the ends count half, each step is a quarter of the cells."""
    found = measure_curves(CURVES, CONTROL)
    expected = {"deletion": 1.3 / 4, "insertion": 2.7 / 4}
    expected["deletion_margin"] = 2.3 / 4 - expected["deletion"]
    expected["insertion_margin"] = expected["insertion"] - 1.7 / 4
    assert found == pytest.approx(expected)
    assert set(found) == {name for name, m in METRICS.items() if m.kind == "model"}


def test_a_map_has_no_margin_over_itself_and_none_without_a_control() -> None:
    found = measure_curves(CONTROL, CONTROL)
    assert (found["deletion_margin"], found["insertion_margin"]) == (0, 0)
    assert set(measure_curves(CURVES)) == {"deletion", "insertion"}


def test_an_answer_that_never_changes_has_its_probability_as_the_area() -> None:
    assert metrics.area_under(np.full(31, 0.7)) == pytest.approx(0.7)
    assert metrics.area_under(np.ones(31)) == 1


def test_curves_that_have_no_area_say_why() -> None:
    broken = SimpleNamespace(deletion=np.array([0.5, np.nan]), insertion=np.array([0.5]))
    assert measure_curves(broken, CONTROL) == {
        "deletion": "the curve is not finite",
        "insertion": "the curve has fewer than two points",
        "deletion_margin": "the curve is not finite",
        "insertion_margin": "the curve has fewer than two points",
    }


def test_the_registrys_options_and_defaults_are_the_functions() -> None:
    for name, metric in METRICS.items():
        arguments = inspect.signature(metric.function).parameters
        optional = {n: a.default for n, a in arguments.items() if a.default is not a.empty}
        assert optional == {o: DEFAULTS[o] for o in metric.options if o != "against"}, name
        assert ("against" in metric.options) == (metric.kind == "distance"), name


@given(tied(), regions, tied())
def test_measure_one_gives_what_the_functions_give(
    p: np.ndarray, region: np.ndarray, q: np.ndarray
) -> None:
    assert measure_one("mass", p, region=region) == metrics.mass(p, region)
    assert measure_one("pointing", p, region=region, options={"tolerance": 1}) == metrics.pointing(
        p, region, tolerance=1
    )
    assert measure_one("focus_area", p, options={"share": 0.9}) == metrics.focus_area(p, 0.9)
    assert measure_one("js", p, other=q) == distances.js(p, q)
    shared = measure_one("image_share", p, trace=toy(), spec=MapSpec())
    assert shared == image_share(toy(), MapSpec())


@pytest.mark.parametrize("name", ["mass", "js", "image_share", "deletion"])
def test_measuring_without_what_the_metric_needs_is_a_mistake_in_the_program(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} cannot be measured"):
        measure_one(name, np.full((2, 2), 0.25))


@pytest.mark.slow
@given(distributions(), regions)
def test_refining_the_grid_keeps_mass_and_centre(p: np.ndarray, region: np.ndarray) -> None:
    fine, area = np.kron(p, np.full((2, 2), 0.25)), np.kron(region, np.ones((2, 2)))
    assert metrics.mass(fine, area) == pytest.approx(metrics.mass(p, region))
    assert metrics.centre_x(fine) == pytest.approx(metrics.centre_x(p))
    assert metrics.centre_y(fine) == pytest.approx(metrics.centre_y(p))
    assert metrics.focus_area(fine) == pytest.approx(metrics.focus_area(p), abs=1e-9)
    assert metrics.peaks(fine) == metrics.peaks(p)


@given(distributions(2, 2), st.sampled_from(["part", "empty", "full"]))
def test_measuring_never_gives_nan_and_changes_nothing(p: np.ndarray, which: str) -> None:
    region = {
        "part": np.array([[1.0, 0.5], [0.0, 0.0]]),
        "empty": np.zeros((2, 2)),
        "full": np.ones((2, 2)),
    }[which]
    p.flags.writeable = region.flags.writeable = False
    found = measure(p, {"r": region}, toy(), MapSpec())
    assert set(found) == {
        f"{name}[r]" if m.kind == "region" else name
        for name, m in METRICS.items()
        if m.kind in ("map", "region", "trace")
    }
    assert {name for name, value in found.items() if isinstance(value, str)} == {
        "part": set(),
        "empty": {f"{name}[r]" for name, m in METRICS.items() if m.kind == "region"},
        "full": {"auc[r]"},
    }[which]
    for name, value in found.items():
        metric = FigureKey.parse(name).row
        if not isinstance(value, str):
            assert np.isfinite(value), name
            assert metric.low is None or value >= metric.low - 1e-9
            assert metric.high is None or value <= metric.high + 1e-9
