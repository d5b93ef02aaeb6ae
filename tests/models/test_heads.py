"""Many heads to one: by hand, and against loops written here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.base.errors import MapError
from audit.maps.trace import EACH, HeadChoice, HeadPlace
from audit.models.kit.heads import head_weights, over_heads

ROWS = np.array([[[4, 2, 0], [1, 1, 8]], [[0, 6, 2], [2, 2, 2]]], np.float32)
"""Two layers, two heads, three tokens."""

SCALE = np.array([[1, 3], [-1, 1]], np.float32)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ("mean", [[2.5, 1.5, 4], [1, 4, 2]]),
        ("max", [[4, 2, 8], [2, 6, 2]]),
        # a quarter and three quarters in layer 1; the sign of a factor does not count
        ("weighted", [[1.75, 1.25, 6], [1, 4, 2]]),
        ((2,), [[1, 1, 8], [2, 2, 2]]),
        ((2, 1), [[2.5, 1.5, 4], [1, 4, 2]]),
    ],
)
def test_heads_are_reduced_within_each_layer(heads: HeadChoice, expected: list[float]) -> None:
    np.testing.assert_allclose(over_heads(ROWS, heads, SCALE), expected, rtol=1e-12)


def test_a_model_without_factors_weighs_its_heads_alike() -> None:
    np.testing.assert_array_equal(over_heads(ROWS, "weighted"), over_heads(ROWS, "mean"))


shares = st.floats(0, 1).map(lambda v: round(v, 2))
choices = st.sampled_from(["mean", "max", "weighted", (1,), (3, 1)])


@given(
    arrays(np.float32, (2, 3, 4), elements=shares),
    arrays(np.float32, (2, 3), elements=st.sampled_from([-2.0, 0.0, 0.5, 1.0])).filter(
        lambda scale: bool(scale.any(axis=1).all())
    ),
    choices,
)
def test_what_comes_out_lies_between_the_smallest_and_the_largest_head(
    rows: np.ndarray, scale: np.ndarray, heads: HeadChoice
) -> None:
    found = over_heads(rows, heads, scale)
    assert found.shape == (2, 4)
    assert found.dtype == np.float64
    assert (found >= rows.min(axis=1) - 1e-9).all()
    assert (found <= rows.max(axis=1) + 1e-9).all()


@given(
    arrays(np.float32, (3, 4), elements=st.sampled_from([-2.0, 0.5, 1.0])),
    st.sampled_from(["mean", "weighted", (2,), (4, 1)]),
)
def test_weights_of_heads_sum_to_one_in_every_layer(scale: np.ndarray, heads: HeadChoice) -> None:
    weights = head_weights(heads, scale)
    assert weights is not None
    assert weights.shape == scale.shape
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_the_largest_head_has_no_weights() -> None:
    assert head_weights("max", SCALE) is None


def test_a_head_that_is_not_there_is_refused_with_the_number_there_are() -> None:
    with pytest.raises(MapError, match="head 3 was asked for, but the model has 2"):
        over_heads(ROWS, (1, 3))


def test_weighting_by_factors_that_are_all_zero_is_refused() -> None:
    with pytest.raises(MapError, match="no meaning where all head factors are zero"):
        over_heads(ROWS, "weighted", np.array([[1, 1], [0, 0]], np.float32))


def test_heads_at_their_places_give_one_layer_with_their_mean() -> None:
    places = (HeadPlace(2, 1), HeadPlace(1, 2))
    np.testing.assert_array_equal(over_heads(ROWS, places, SCALE), [[0.5, 3.5, 5]])


def test_each_head_gives_a_layer_of_its_own_first_layer_first() -> None:
    expected = [[4, 2, 0], [1, 1, 8], [0, 6, 2], [2, 2, 2]]
    np.testing.assert_array_equal(over_heads(ROWS, EACH, SCALE), expected)


@pytest.mark.parametrize("place", [HeadPlace(3, 1), HeadPlace(1, 3)])
def test_a_place_that_is_not_there_is_refused_with_what_there_is(place: HeadPlace) -> None:
    with pytest.raises(MapError, match=f"head {place} .* but the model has 2 layers of 2 heads"):
        over_heads(ROWS, (HeadPlace(1, 1), place))


@pytest.mark.parametrize("heads", [EACH, (HeadPlace(1, 1),)])
def test_where_layers_are_read_one_by_one_single_heads_are_refused(heads: HeadChoice) -> None:
    with pytest.raises(MapError, match="single heads of single layers cannot be read here"):
        head_weights(heads, SCALE)
