"""Attention through the layers, against the papers' dense forms and a toy worked by hand."""

from __future__ import annotations

from fractions import Fraction as Fr

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.base.errors import MapError
from audit.models.kit.flow import Relevance, normalised, relevance, rolled_out
from tests.passes import dense_relevance, product_of

# --- relevance: the paper's equations, dense, in float64 ------------------------------------------


shares = st.floats(0, 1).map(lambda v: round(v, 2))


@st.composite
def traced_passes(draw: st.DrawFn) -> Relevance:
    """Random A-bar, causal in the decoder, with rows of zeros among them."""
    layers, n, t = draw(st.integers(1, 3)), draw(st.integers(2, 5)), draw(st.integers(1, 4))
    encoder = draw(arrays(np.float32, (layers, n, n), elements=shares))
    own = np.tril(draw(arrays(np.float32, (layers, t, t), elements=shares)))
    cross = draw(arrays(np.float32, (layers, t, n), elements=shares))
    encoder[:, draw(st.integers(0, n - 1))] = 0
    return Relevance(encoder, own, cross)


@given(traced_passes(), st.sampled_from(["paper", "causal"]))
def test_matrix_free_relevance_equals_the_papers_dense_equations(
    traced: Relevance, variant: str
) -> None:
    for start in range(1, len(traced.encoder) + 1):
        found = relevance(traced, variant=variant, start_layer=start)
        expected = dense_relevance(traced, variant, start)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_relevance_of_a_toy_of_three_patches_and_two_words_is_what_a_hand_finds() -> None:
    """One layer each; source = patches a, b, c and words u, v; two target tokens.

    Only word v attends in the encoder: 1/2 on a, 1/4 on u. So R - I has one row,
    (1/2, 0, 0, 1/4, 0), with sum 3/4, and N(R) maps v to v + 2/3 a + 1/3 u. The answer row (second)
    attends 1/4 to the first target token and 3/4 to itself; R_ss - I has row 2 = (1/4, 3/4),
    already with sum 1, and row 1 = (1, 0). Cross attention of row 1: 1/2 on b; of row 2: 1/5 on c,
    3/5 on v.
    N(R_ss) = [[2, 0], [1/4, 7/4]]. Answer row of N(R_ss) A_c: 1/4 * 1/2 on b, 7/4 * (1/5 c, 3/5 v).
    """
    encoder, own, cross = np.zeros((1, 5, 5)), np.zeros((1, 2, 2)), np.zeros((1, 2, 5))
    encoder[0, 4, [0, 3]] = 0.5, 0.25
    own[0] = [[1, 0], [0.25, 0.75]]
    cross[0, 0, 1] = 0.5
    cross[0, 1, [2, 4]] = 0.2, 0.6
    traced = Relevance(encoder, own, cross)  # type: ignore[arg-type]
    v = Fr(7, 4) * Fr(3, 5)
    expected = [v * Fr(2, 3), Fr(1, 8), Fr(7, 20), v * Fr(1, 3), v]
    found = relevance(traced)
    np.testing.assert_allclose(found, [float(x) for x in expected], rtol=1e-12)
    # The transpose of the paper leaves the answer row with its own attention alone.
    paper = [
        Fr(7, 4) * x for x in (Fr(3, 5) * Fr(2, 3), 0, Fr(1, 5), Fr(3, 5) * Fr(1, 3), Fr(3, 5))
    ]
    found = relevance(traced, variant="paper")
    np.testing.assert_allclose(found, [float(x) for x in paper], rtol=1e-12)


def test_a_start_layer_beyond_the_model_is_refused() -> None:
    with pytest.raises(MapError, match="start_layer 3 was asked for, but the encoder has 2"):
        relevance(
            Relevance(np.zeros((2, 3, 3)), np.zeros((1, 1, 1)), np.zeros((1, 1, 3))),  # type: ignore[arg-type]
            start_layer=3,
        )


def test_the_mixing_keeps_a_row_without_relevance_as_the_identity() -> None:
    r = np.array([[1, 0, 0], [1, 2, 0], [0.5, 1.5, 3]], float)
    expected = [[1, 0, 0], [0.5, 1.5, 0], [0.125, 0.375, 1.5]]
    np.testing.assert_allclose(normalised(r), expected, rtol=1e-12)


# --- rollout: the product, formed as a whole ------------------------------------------------------


@st.composite
def factors(draw: st.DrawFn) -> list[np.ndarray]:
    """From five outputs of the encoder by way of five to three cells, in one factor or more."""
    between = draw(st.integers(0, 3))
    square = [draw(arrays(np.float32, (5, 5), elements=shares)) for _ in range(between)]
    return [*square, draw(arrays(np.float32, (5, 3), elements=shares))]


@given(arrays(np.float64, (2, 5), elements=shares), factors())
def test_rows_carried_down_are_rows_times_the_whole_product(
    rows: np.ndarray, through: list[np.ndarray]
) -> None:
    found = rolled_out(rows, through)
    assert found.shape == (2, 3)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, rows @ product_of(through), rtol=1e-5, atol=1e-6)


def test_a_rollout_by_hand() -> None:
    """Half of output 1 comes from cell 2; the answer looks at outputs 1 and 2 in one to three."""
    mixed = np.array([[0.5, 0.5], [0, 1]], np.float32)
    found = rolled_out(np.array([[0.25, 0.75]]), [mixed])
    np.testing.assert_allclose(found, [[0.125, 0.875]])
