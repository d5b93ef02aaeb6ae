"""Maps against the same reading where nothing is asked: toys by hand, and properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.base.errors import MapError
from audit.maps.generic import relative_to, sinks, without_sinks
from audit.maps.reading import MapSpec, UndefinedMap, image_share, layer_maps, processed, read_map
from audit.maps.trace import ANSWER, EACH_WORD, Evidence, Reading, ReadingKey, Trace
from tests.passes import three_patches, traced

TINY = 5e-324
shapes = st.tuples(st.integers(1, 5), st.integers(1, 5))
cells = st.one_of(
    st.sampled_from([0.0, TINY, 1e-300, 1e-12, 1.0, 1e3]), st.floats(0, 1, allow_subnormal=True)
)


def as_map(values: np.ndarray) -> np.ndarray:
    return values / values.sum()


def several(count: int) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    """Maps of one shape, with zeros and cells that are tiny beside others."""
    return shapes.flatmap(
        lambda shape: st.tuples(
            *[
                arrays(np.float64, shape, elements=cells)
                .filter(lambda a: a.sum() > 1e-200)
                .map(as_map)
            ]
            * count
        )
    )


def toy() -> Trace:
    """Three patches and two words, with the answer's attention and that of each word."""
    return traced(three_patches(), frozenset({ANSWER, EACH_WORD}))


def with_cells(trace: Trace, key: ReadingKey, values: Any) -> Trace:
    reading = Reading(np.asarray(values, np.float64), np.full(len(values), 0.5))
    return replace(trace, readings={**trace.readings, key: reading})


def test_a_relative_map_is_the_quotient_with_a_hundredth_of_the_mean_cell_added_to_both() -> None:
    p, generic = np.array([[0.5, 0.5, 0, 0]]), np.array([[0.1, 0.4, 0.5, 0]])
    # A hundredth of the mean cell, 1/4, is 0.0025.
    quotients = np.array([[0.5025 / 0.1025, 0.5025 / 0.4025, 0.0025 / 0.5025, 1.0]])
    np.testing.assert_allclose(relative_to(p, generic), as_map(quotients), rtol=1e-12)


def test_sinks_are_the_cells_above_ten_times_the_median_of_the_generic_map() -> None:
    generic = as_map(np.array([[1.0, 1, 10.001], [10, 1, 30]]))
    high = sinks(generic)
    # The median of 1, 1, 1, 10, 10.001 and 30 is 5.5.
    assert high.tolist() == [[False] * 3] * 2
    generic = as_map(np.array([[1.0, 1, 10.001], [10, 1, 1]]))
    assert sinks(generic).tolist() == [[False, False, True], [False, False, False]]
    p = np.array([[0.1, 0.1, 0.5], [0.2, 0.1, 0.0]])
    left = np.array([[0.2, 0.2, 0], [0.4, 0.2, 0]])
    np.testing.assert_allclose(without_sinks(p, generic), left, rtol=1e-12)


@given(several(2))
def test_a_relative_map_is_finite_not_negative_and_sums_to_one(
    maps: tuple[np.ndarray, np.ndarray],
) -> None:
    with np.errstate(all="raise", under="ignore"):
        found = relative_to(*maps)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)
    # However small a cell is, it is not more than a thousand or so times another for that.
    assert found.max() / found.min() <= (1 + 100 * found.size) ** 2 * (1 + 1e-9)


@given(several(1))
def test_what_equals_the_generic_map_is_uniform(maps: tuple[np.ndarray]) -> None:
    (p,) = maps
    np.testing.assert_allclose(relative_to(p, p), 1 / p.size, rtol=1e-12)


@given(several(1))
def test_a_generic_map_that_is_uniform_keeps_the_order_of_the_cells(
    maps: tuple[np.ndarray],
) -> None:
    (p,) = maps
    found = relative_to(p, np.full(p.shape, 1 / p.size))
    np.testing.assert_allclose(found, (p + 0.01 / p.size) / 1.01, rtol=1e-9)


@given(several(2))
def test_without_sinks_the_others_keep_their_proportions_and_sum_to_one(
    maps: tuple[np.ndarray, np.ndarray],
) -> None:
    p, generic = maps
    high = sinks(generic)
    assert high.sum() <= high.size / 2
    if p[~high].sum() <= 0:
        with pytest.raises(UndefinedMap, match="nothing is left"):
            without_sinks(p, generic)
        return
    found = without_sinks(p, generic)
    assert not found[high].any()
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found[~high], p[~high] / p[~high].sum(), rtol=1e-9)


LAYERS = np.array([[[0.1, 0.2, 0.7]], [[0.3, 0.3, 0.2]]])
"""Of two layers, over three cells."""


def test_a_map_is_read_against_the_same_layers_of_the_generic_question() -> None:
    found = Evidence(toy(), generic=with_cells(toy(), ANSWER, LAYERS))
    p = read_map(toy(), MapSpec())
    expected = relative_to(p, as_map(LAYERS.mean(0)))
    np.testing.assert_allclose(read_map(found, MapSpec(relative="generic")), expected, rtol=1e-12)
    spec = MapSpec(relative="generic", temperature=0.5, smooth=0.3)
    np.testing.assert_allclose(read_map(found, spec), processed(expected, spec), rtol=1e-12)
    for (_, plain), (_, layer), cells in zip(
        layer_maps(toy(), MapSpec()), layer_maps(found, MapSpec(relative="generic")), LAYERS,
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(layer, relative_to(plain, as_map(cells)), rtol=1e-12)
    # The share that the picture has is that of the question itself.
    assert image_share(found, MapSpec(relative="generic")) == image_share(toy(), MapSpec())


def test_a_word_is_read_against_the_mean_over_the_words_of_the_generic_question() -> None:
    generic = toy()
    for place, values in enumerate(LAYERS):
        key = EACH_WORD._replace(word=place)
        generic = with_cells(generic, key, np.stack([values, values]))
    spec = MapSpec(method="word_attention", word="birds", relative="generic")
    plain = spec.model_copy(update={"relative": "none"})
    trace = replace(toy(), readings={plain.reading: toy().readings[EACH_WORD._replace(word=1)]})
    expected = relative_to(read_map(trace, plain), as_map(LAYERS.mean(0)))
    found = read_map(Evidence(trace, generic=generic), spec)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(MapError, match="no word of the generic question"):
        read_map(Evidence(trace, generic=replace(generic, words=())), spec)


def test_sinks_are_dropped_after_the_division() -> None:
    high = np.array([[[0.1, 0.1, 2.8]], [[0.1, 0.1, 2.8]]])
    found = Evidence(toy(), generic=with_cells(toy(), ANSWER, high))
    p = read_map(found, MapSpec(relative="generic", drop="sinks"))
    quotient = relative_to(read_map(toy(), MapSpec()), as_map(high[0]))
    np.testing.assert_allclose(p, as_map(quotient * [1, 1, 0]), rtol=1e-12)
    grey = with_cells(toy(), ANSWER, np.ones((2, 1, 3)))
    both = Evidence(toy(), blank=grey, generic=found.generic)
    with pytest.raises(UndefinedMap, match="the whole map falls on sinks"):
        read_map(both, MapSpec(subtract="blank", drop="sinks", layers="last"))


@pytest.mark.parametrize("key", ["relative=generic", "drop=sinks", "relative=generic drop=sinks"])
def test_what_was_not_asked_or_shows_nothing_is_named_and_never_nan(key: str) -> None:
    spec = MapSpec.parse(f"answer_attention {key}")
    assert spec.key == f"answer_attention {key}"
    assert spec.needs_generic
    with pytest.raises(MapError, match="no answer to the generic question"):
        read_map(toy(), spec)
    blind = with_cells(toy(), ANSWER, np.zeros((2, 1, 3)))
    with pytest.raises(UndefinedMap, match="nothing falls on the image"):
        read_map(Evidence(toy(), generic=blind), spec)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("rollout relative=generic", "the method rollout takes no 'relative'"),
        ("blank drop=sinks", "the method blank takes no 'drop'"),
        ("uniform relative=generic", "the method uniform takes no 'relative'"),
        ("answer_attention relative=generic subtract=blank", "give only one of them"),
        ("answer_attention relative=blank", "'none' or 'generic'"),
        ("answer_attention drop=sink", "'none' or 'sinks'"),
        ("answer_attention drp=sinks", "did you mean 'drop'?"),
    ],
)
def test_what_makes_no_sense_is_refused(said: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        MapSpec.parse(said)


@pytest.mark.parametrize("read", [read_map, image_share])
def test_a_map_without_these_keys_needs_no_generic_question(
    read: Callable[[Trace, MapSpec], object],
) -> None:
    assert not MapSpec(subtract="blank").needs_generic
    assert MapSpec(relative="none", drop="none").key == "answer_attention"
    read(toy(), MapSpec(relative="none", drop="none"))
