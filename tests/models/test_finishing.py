"""What the adapter makes of a pass: readings by cell, whatever the pass was made of."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.base.errors import MapError
from audit.base.geometry import Grid
from audit.maps.checks import checked_trace
from audit.maps.trace import ANSWER, EACH_WORD, HeadChoice, Reading, ReadingKey
from audit.models.kit.flow import Relevance
from audit.models.kit.heads import over_heads
from audit.models.ofa import METHODS
from audit.models.ofa.finishing import Rollout, Wanted, finished
from tests.passes import captured, dense_relevance, product_of, three_patches, traced, two_by_two

shares = st.floats(0, 1).map(lambda v: round(v, 2))
choices = st.sampled_from(["mean", "max", "weighted", (2,), (2, 1)])
SCALE = np.array([[1, 3], [-1, 0.5]], np.float32)
cross = arrays(np.float32, (2, 2, 6), elements=shares)


def share_of(rows: np.ndarray, cells: int) -> np.ndarray:
    """The image's part of each row that has something."""
    total = rows.sum(axis=1)
    return np.where(total > 0, rows[:, :cells].sum(axis=1) / np.where(total > 0, total, 1), 0)


@given(cross, choices)
def test_the_answers_reading_is_its_row_over_the_cells_layer_by_layer(
    weights: np.ndarray, heads: HeadChoice
) -> None:
    key = ANSWER._replace(heads=heads)
    (reading,) = finished(frozenset({key}), captured(weights, Grid(2, 2), scale=SCALE)).values()
    rows = over_heads(weights, heads, SCALE)
    np.testing.assert_array_equal(reading.cells, rows[:, :4].reshape(2, 2, 2))
    np.testing.assert_allclose(reading.share, share_of(rows, 4), atol=1e-12)
    assert reading.weight is not None
    np.testing.assert_allclose(reading.weight, rows.sum(axis=1), rtol=1e-12)


@given(
    cross,
    arrays(np.float32, (6, 6), elements=shares),
    arrays(np.float32, (6, 4), elements=shares),
    choices,
)
def test_rollout_is_the_answers_row_times_the_whole_product(
    weights: np.ndarray, upper: np.ndarray, lower: np.ndarray, heads: HeadChoice
) -> None:
    key = ReadingKey("rollout", heads, None, 2, 0.5)
    asked = Rollout(heads, 2, 0.5)
    sample = captured(weights, Grid(2, 2), scale=SCALE, rollouts={asked: [upper, lower]})
    (reading,) = finished(frozenset({key}), sample).values()
    rows = over_heads(weights, heads, SCALE)
    expected = (rows @ product_of([upper, lower])).reshape(2, 2, 2)
    np.testing.assert_allclose(reading.cells, expected, rtol=1e-5, atol=1e-6)
    # Its share of the image is that of the row that was carried down.
    np.testing.assert_allclose(reading.share, share_of(rows, 4), atol=1e-12)


@given(
    cross,
    arrays(np.float32, (2, 6, 6), elements=shares),
    arrays(np.float32, (2, 3, 3), elements=shares).map(np.tril),
    arrays(np.float32, (2, 3, 6), elements=shares),
    st.sampled_from(["causal", "paper"]),
    st.sampled_from([1, 2]),
)
def test_relevance_is_that_of_the_papers_dense_equations_over_the_cells(
    weights: np.ndarray,
    encoder: np.ndarray,
    own: np.ndarray,
    over: np.ndarray,
    variant: str,
    start: int,
) -> None:
    key = ReadingKey("relevance", "max", None, start, None, variant)
    bar = Relevance(encoder, own, over)
    (reading,) = finished(
        frozenset({key}), captured(weights, Grid(2, 2), relevances={"max": bar})
    ).values()
    expected = dense_relevance(bar, variant, start)[:4].reshape(1, 2, 2)
    np.testing.assert_allclose(reading.cells, expected, rtol=1e-9, atol=1e-12)
    # No attention of its own: its share is the answer's, heads and layers averaged.
    mean = weights.astype(np.float64).mean(axis=(0, 1))[None]
    np.testing.assert_allclose(reading.share, share_of(mean, 4), atol=1e-12)


# --- words ----------------------------------------------------------------------------------------


def of_word(word: str | int | None, heads: HeadChoice = "mean") -> ReadingKey:
    return ReadingKey("word_attention", heads, word)


def test_each_word_asks_for_one_reading_a_word_by_place() -> None:
    sample = three_patches()
    found = finished(frozenset({EACH_WORD}), sample)
    assert set(found) == {of_word(0), of_word(1)}
    rows = sample.of_words["mean"].astype(np.float64)
    np.testing.assert_allclose(found[of_word(0)].cells[:, 0], rows[:, 0])
    np.testing.assert_allclose(found[of_word(1)].cells[:, 0], rows[:, 1:].mean(axis=1))


def test_a_word_has_the_same_reading_by_its_place_and_by_its_name() -> None:
    found = finished(frozenset({of_word(1), of_word("birds")}), three_patches())
    for one, other in zip(found[of_word(1)], found[of_word("birds")], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_phrase_is_the_mean_over_all_its_tokens_wherever_it_stands() -> None:
    sample = three_patches()
    rows = sample.of_words["mean"].astype(np.float64)
    both = finished(frozenset({of_word("two birds")}), sample)[of_word("two birds")]
    np.testing.assert_allclose(both.cells[:, 0], rows.mean(axis=1))
    np.testing.assert_allclose(both.share, rows.mean(axis=1).sum(axis=1))
    two, birds = sample.words
    again = replace(sample, words=(two, birds._replace(tokens=(1,)), two._replace(tokens=(2,))))
    twice = finished(frozenset({of_word("two")}), again)[of_word("two")]
    np.testing.assert_allclose(twice.cells[:, 0], rows[:, [0, 2]].mean(axis=1))


@pytest.mark.parametrize("word", ["bird", "birds two", "two birds two", 2, -1])
def test_a_word_that_the_model_does_not_see_is_missing(word: str | int) -> None:
    assert finished(frozenset({of_word(word)}), three_patches()) == {}


def test_a_hypothesis_without_words_has_no_readings_of_words() -> None:
    sample = replace(three_patches(), words=())
    assert finished(frozenset({EACH_WORD, of_word("birds")}), sample) == {}


# --- what must be captured, and what cannot be ----------------------------------------------------


def test_a_reading_says_what_must_be_captured_and_no_more() -> None:
    assert Wanted.of(frozenset({ANSWER, ANSWER._replace(heads="max")}), 2) == Wanted()
    need = frozenset(
        {
            EACH_WORD, of_word("birds", "max"), of_word("two", "max"),
            ReadingKey("rollout", (2,), None, 2, 0.25), ReadingKey("rollout"),
            ReadingKey("relevance"), ReadingKey("relevance", variant="paper", start_layer=2),
        }
    )  # fmt: skip
    assert Wanted.of(need, 2) == Wanted(
        frozenset({"mean", "max"}),
        frozenset({Rollout((2,), 2, 0.25), Rollout()}),
        frozenset({"mean"}),
    )


def test_a_method_that_ofa_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(MapError, match="gives no gradcam; it gives answer_attention, word_att"):
        Wanted.of(frozenset({ReadingKey("gradcam")}), 2)
    for method in METHODS:
        Wanted.of(frozenset({ReadingKey(method)}), 2)


@pytest.mark.parametrize("method", ["rollout", "relevance"])
def test_a_start_layer_beyond_the_encoder_is_refused_before_anything_runs(method: str) -> None:
    with pytest.raises(MapError, match="start_layer 3 was asked for, but the encoder has 2"):
        Wanted.of(frozenset({ReadingKey(method, start_layer=3)}), 2)


@pytest.mark.parametrize("method", ["answer_attention", "rollout"])
def test_a_head_that_is_not_there_is_refused_by_number(method: str) -> None:
    sample = captured(np.full((1, 2, 3), 1 / 3), Grid(1, 2), rollouts={Rollout((3,)): []})
    with pytest.raises(MapError, match="head 3 was asked for, but the model has 2"):
        finished(frozenset({ReadingKey(method, (3,))}), sample)


# --- what is kept of a case -----------------------------------------------------------------------


def test_every_reading_passes_the_check_of_traces() -> None:
    sample = replace(
        two_by_two(),
        rollouts={Rollout(): [np.full((6, 4), 1 / 4, np.float32)]},
        relevances={
            "mean": Relevance(
                np.full((2, 6, 6), 0.1, np.float32),
                np.full((2, 1, 1), 0.1, np.float32),
                np.full((2, 1, 6), 0.1, np.float32),
            )
        },
    )
    need = frozenset({ANSWER, ReadingKey("rollout"), ReadingKey("relevance")})
    found = checked_trace(traced(sample, need))
    assert {key.method for key in found.readings} == {"answer_attention", "rollout", "relevance"}


def kept(reading: Reading) -> int:
    return len(pickle.dumps(reading))


def test_a_case_with_relevance_keeps_a_few_kilobytes_on_the_grid_of_ofa_large() -> None:
    """900 cells of eight bytes; A-bar itself would be 42 MB for OFA-large's twelve layers."""
    draw = np.random.default_rng(0)
    source, cells = 980, Grid(30, 30)
    bar = Relevance(
        draw.random((2, source, source), np.float32) / source,
        np.tril(draw.random((2, 9, 9), np.float32)),
        draw.random((2, 9, source), np.float32),
    )
    rows = draw.random((2, 16, source), np.float32)
    key = ReadingKey("relevance")
    found = finished(frozenset({key}), captured(rows, cells, relevances={"mean": bar}))
    assert found[key].cells.shape == (1, 30, 30)
    assert kept(found[key]) < 8_000
