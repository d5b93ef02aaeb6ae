"""What a broken model gives is refused, and the message says what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audit.base.errors import ModelError, NotFinite
from audit.base.geometry import WHOLE, Box, Grid
from audit.maps.checks import checked_trace
from audit.maps.reading import MapSpec, image_share, read_map
from audit.maps.trace import ANSWER, EACH_WORD, Reading, ReadingKey, Trace

NAN, INF = float("nan"), float("inf")
GOOD = Reading(np.full((2, 3, 4), 0.05), np.array([0.6, 0.6]), np.array([1.0, 1.0]))


def trace_with(reading: Any = GOOD, key: Any = ANSWER, **other: Any) -> Trace:
    """A trace on a grid of 3 x 4 cells with one reading."""
    whole = Trace(
        {"yes": 0.75, "no": 0.25}, "yes", "p", ("a",), Grid(3, 4), readings={key: reading}
    )
    return replace(whole, **other)


def refused(trace: Any) -> str:
    with pytest.raises(ModelError) as caught:
        checked_trace(trace)
    return str(caught.value)


def test_a_trace_without_a_fault_is_left_as_it_is() -> None:
    trace = trace_with()
    found = checked_trace(trace)
    assert found.probabilities == trace.probabilities
    assert (found.grid, found.view) == (trace.grid, trace.view)
    for given, kept in zip(GOOD, found.readings[ANSWER], strict=True):
        np.testing.assert_array_equal(kept, given)


def test_a_reading_without_weights_and_one_of_a_single_layer_are_readings() -> None:
    one = Reading(np.zeros((1, 3, 4)), np.zeros(1))
    assert checked_trace(trace_with(one, ReadingKey("relevance"))).readings


@pytest.mark.parametrize(
    ("cells", "shape"),
    [
        (np.ones((3, 4)), r"(3, 4)"),
        (np.ones((2, 12)), r"(2, 12)"),
        (np.ones((2, 4, 3)), r"(2, 4, 3)"),
        (np.ones((2, 1, 3, 4)), r"(2, 1, 3, 4)"),
        (np.ones((0, 3, 4)), r"(0, 3, 4)"),
    ],
)
@pytest.mark.parametrize("grid", [Grid(3, 4), (3, 4)])
def test_cells_that_do_not_lie_on_the_grid_are_refused(
    cells: np.ndarray, shape: str, grid: Any
) -> None:
    said = refused(trace_with(GOOD._replace(cells=cells), grid=grid))
    assert said == (
        f"the model's answer attention is of the shape {shape}; with its grid it must be "
        "(layers, 3, 4)"
    )


@pytest.mark.parametrize("share", [np.array([0.5]), np.array(0.5), np.full((2, 1), 0.5)])
def test_a_layer_without_a_share_of_its_own_is_refused(share: np.ndarray) -> None:
    said = refused(trace_with(GOOD._replace(share=share)))
    assert said.startswith("the model's answer attention has image shares of the shape (")
    assert said.endswith(" for 2 layers")


@pytest.mark.parametrize("weight", [np.array([1.0]), np.ones((2, 2))])
def test_a_layer_without_a_weight_of_its_own_is_refused(weight: np.ndarray) -> None:
    said = refused(trace_with(GOOD._replace(weight=weight)))
    assert said.startswith("the model's answer attention has weights of the shape (")


def test_negative_cells_and_weights_are_refused() -> None:
    cells = GOOD.cells.copy()
    cells[1, 2, 3] = -1e-9
    assert "answer attention is negative somewhere" in refused(
        trace_with(GOOD._replace(cells=cells))
    )
    said = refused(trace_with(GOOD._replace(weight=np.array([1.0, -1.0]))))
    assert said == "the model's answer attention has a negative weight"


@pytest.mark.parametrize("share", [1.01, -0.01])
def test_a_share_outside_of_zero_to_one_is_refused(share: float) -> None:
    said = refused(trace_with(GOOD._replace(share=np.array([0.5, share]))))
    assert said == "the model's answer attention has an image share outside of 0 to 1"


def test_a_share_that_rounding_carried_beyond_one_is_no_fault() -> None:
    trace = checked_trace(trace_with(GOOD._replace(share=np.array([1 + 1e-9, -1e-9]))))
    assert image_share(trace, MapSpec(layers=[1])) == 1
    assert image_share(trace, MapSpec(layers=[2])) == 0


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("part", ["cells", "share", "weight"])
@pytest.mark.parametrize("key", [ANSWER, EACH_WORD._replace(word=0), ReadingKey("rollout")])
def test_what_is_not_a_number_is_refused_by_the_name_of_the_method(
    key: ReadingKey, part: str, value: float
) -> None:
    odd = getattr(GOOD, part).copy()
    odd.flat[-1] = value
    with pytest.raises(NotFinite) as caught:
        checked_trace(trace_with(GOOD._replace(**{part: odd}), key))
    name = key.method.replace("_", " ")
    assert str(caught.value) == f"the model's answers are not numbers: its {name} is not finite"


@pytest.mark.parametrize(
    "view",
    [
        Box(0.5, 0.0, 0.5, 1.0), Box(0.0, 0.75, 1.0, 0.25), Box(0.0, 0.0, NAN, 1.0),
        Box(-INF, 0.0, 1.0, 1.0), Box(1.0, 0.0, 2.0, 1.0),
        (0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0, 1.0), None,
        ("left", "top", "right", "bottom"), 7,
    ],
)  # fmt: skip
def test_a_view_that_is_no_box_or_an_empty_one_is_refused(view: Any) -> None:
    assert refused(trace_with(view=view)).startswith("the model's view is ")


@pytest.mark.parametrize("view", [WHOLE, Box(0.25, 0.0, 0.75, 1.0), Box(-0.5, 0.0, 1.5, 1.0)])
def test_a_view_inside_the_picture_or_beyond_it_is_one(view: Box) -> None:
    assert checked_trace(trace_with(view=tuple(view))).view == view


@pytest.mark.parametrize("grid", [(0, 4), (3, 4, 1), (3.0, 4.0), (-3, 4), (3,), None, 12, "ab"])
def test_a_grid_without_whole_rows_and_columns_is_refused(grid: Any) -> None:
    assert refused(trace_with(grid=grid)).startswith("the model's grid is ")


@pytest.mark.parametrize(
    "reading", [None, GOOD.cells, (GOOD.cells, GOOD.share), {"cells": GOOD.cells}]
)
def test_what_is_no_reading_is_refused(reading: Any) -> None:
    assert "instead of a Reading" in refused(trace_with(reading))


@pytest.mark.parametrize("key", ["answer_attention", None, ("answer_attention", "mean")])
def test_a_reading_under_what_is_no_key_is_refused(key: Any) -> None:
    assert "instead of a ReadingKey" in refused(trace_with(key=key))


@pytest.mark.parametrize("cells", ["abc", [["a", "b"]], [[1.0], [1.0, 2.0]]])
def test_cells_that_are_no_array_of_numbers_are_refused(cells: Any) -> None:
    said = refused(trace_with(GOOD._replace(cells=cells)))
    assert said == "the model's answer attention is not an array of numbers"


def test_readings_of_another_type_are_read_as_numbers() -> None:
    """A model may give float32, or a list of lists."""
    narrow = Reading(*(part.astype(np.float32) for part in GOOD if part is not None))
    lists: Any = Reading(GOOD.cells.tolist(), GOOD.share.tolist())
    for given in (narrow, lists):
        trace = checked_trace(trace_with(given))
        kept = trace.readings[ANSWER]
        assert kept.cells.dtype == kept.share.dtype == np.float64
        assert read_map(trace).sum() == pytest.approx(1)
        assert image_share(trace, MapSpec()) == pytest.approx(0.6)


@pytest.mark.parametrize("given", [None, 7, {"yes": 1.0}])
def test_what_is_no_trace_is_refused(given: Any) -> None:
    assert refused(given).endswith("instead of a Trace")


@pytest.mark.parametrize("unsaid", [NAN, INF, "much"])
def test_what_is_left_unsaid_must_be_a_number(unsaid: Any) -> None:
    assert "what it leaves unsaid is not finite" in refused(trace_with(unsaid=unsaid))


def test_what_is_left_unsaid_lies_between_0_and_1() -> None:
    assert "leaves 1.2 unsaid; it must be between 0 and 1" in refused(trace_with(unsaid=1.2))
    assert checked_trace(trace_with(unsaid=1 + 1e-7)).unsaid == 1
    assert checked_trace(trace_with()).unsaid is None
