"""How maps are read from traces: toys worked by hand, and loops written here."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as Fr

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.base.errors import MapError
from audit.base.geometry import Grid
from audit.maps.reading import (
    MapSpec,
    UndefinedMap,
    image_share,
    layer_maps,
    need_of,
    processed,
    read_map,
    word_maps,
)
from audit.maps.trace import ANSWER, EACH_WORD, Evidence, Reading, Trace, Window
from audit.models.ofa import METHODS
from tests.passes import asked, three_patches, traced

# --- reading a trace ------------------------------------------------------------------------------


def toy() -> Trace:
    """Three patches and two words, with the answer's attention and that of each word."""
    return traced(three_patches(), frozenset({ANSWER, EACH_WORD}))


def with_cells(trace: Trace, cells: np.ndarray) -> Trace:
    """The trace with other cells in the reading of its answer."""
    reading = trace.readings[ANSWER]._replace(cells=cells)
    return replace(trace, readings={**trace.readings, ANSWER: reading})


def row(*fractions: str) -> np.ndarray:
    values = [float(Fr(f)) for f in fractions]
    return np.array([values]) / sum(values)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # all layers, mean of heads: layer 1 (3/10, 7/40, 1/10), layer 2 (1/8, 1/8, 3/8)
        ("answer_attention", row("17/80", "12/80", "19/80")),
        ("answer_attention layers=1", row("12/40", "7/40", "4/40")),
        ("answer_attention layers=last heads=1", row("0", "0", "1/2")),
        ("answer_attention layers=1 heads=max", row("1/2", "1/4", "1/5")),
        # |c_attn| of layer 1 is 1 to 3: a quarter of head 1 and three of head 2
        ("answer_attention layers=1 heads=weighted", row("8/40", "55/400", "15/100")),
        ("word_attention word=two layers=1", row("1/2", "0", "0")),
        # two tokens, averaged: layer 2 heads ((1/4, 1/4, 1/4), (1/4, 0, 1/4))
        ("word_attention word=birds layers=2", row("1/4", "1/8", "1/4")),
        ("word_attention word='two birds' layers=1", row("1/6", "1/12", "1/12")),
        ("uniform", row("1", "1", "1")),
    ],
)
def test_maps_of_a_toy_of_three_patches_and_two_words_are_these_fractions(
    said: str, expected: np.ndarray
) -> None:
    spec = MapSpec.parse(said)
    found = read_map(asked(three_patches(), spec), spec)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert MapSpec.parse(spec.key) == spec


def test_the_image_share_of_a_word_is_what_its_rows_give_the_image() -> None:
    spec = MapSpec(method="word_attention", word="birds", layers=[1])
    trace = asked(three_patches(), spec, MapSpec())
    assert image_share(trace, spec) == pytest.approx(0.25)
    assert image_share(trace, MapSpec(layers=[1])) == pytest.approx((3 / 4 + 2 / 5) / 2)


def test_there_is_a_map_for_every_layer_and_every_word() -> None:
    birds = MapSpec(method="word_attention", word="birds")
    trace = traced(three_patches(), need_of([MapSpec(), birds], METHODS) | {EACH_WORD})
    (one, first), (two, second) = layer_maps(trace, MapSpec())
    assert (one, two) == (1, 2)
    np.testing.assert_allclose(first, row("12/40", "7/40", "4/40"), atol=1e-7)
    np.testing.assert_allclose(second, row("1/8", "1/8", "3/8"), atol=1e-7)
    ((two, alone),) = layer_maps(trace, birds.model_copy(update={"layers": "last"}))
    assert two == 2
    np.testing.assert_allclose(alone, row("1/4", "1/8", "1/4"), atol=1e-7)
    found = dict(word_maps(trace))
    assert list(found) == ["two", "birds"]
    np.testing.assert_allclose(found["birds"], read_map(trace, birds), atol=1e-12)
    last = dict(word_maps(trace, MapSpec(method="word_attention", word="any", layers="last")))
    np.testing.assert_allclose(last["birds"], row("1/4", "1/8", "1/4"), atol=1e-7)


def test_a_word_that_stands_twice_has_a_map_for_each_place() -> None:
    sample = three_patches()
    twice = (*sample.words, sample.words[0]._replace(tokens=(2,)))
    trace = traced(replace(sample, words=twice), frozenset({EACH_WORD}))
    (_, first), _, (name, again) = word_maps(trace)
    assert name == "two"
    assert not np.allclose(first, again)


def test_a_word_or_layer_that_gives_the_image_nothing_has_no_map_and_is_left_out() -> None:
    trace, nothing = toy(), Reading(np.zeros((2, 1, 3)), np.zeros(2))
    first = EACH_WORD._replace(word=0)
    blind = replace(trace, readings={**trace.readings, first: nothing})
    assert [name for name, _ in word_maps(blind)] == ["birds"]
    cells = trace.readings[ANSWER].cells.copy()
    cells[0] = 0
    assert [layer for layer, _ in layer_maps(with_cells(trace, cells), MapSpec())] == [2]


@pytest.mark.parametrize("method", ["uniform", "relevance", "occlusion"])
def test_what_is_not_read_layer_by_layer_has_no_maps_of_layers(method: str) -> None:
    with pytest.raises(MapError, match=f"the method {method} is not read layer by layer"):
        layer_maps(toy(), MapSpec(method=method))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("answer_attention layers=3", "layer 3 was asked for, but the model has 2"),
        ("answer_attention layers=last:3", "last:3 was asked for, but the model has 2"),
        ("answer_attention heads=2", "holds no such answer_attention"),
        ("word_attention word=bird", "no 'bird' in the hypothesis; did you mean 'birds'?"),
        ("word_attention word='birds two'", "sees no 'birds two' in the hypothesis; did you mean"),
        ("word_attention word=birds", "holds no such word_attention"),
        ("rollout", "holds no such rollout"),
        ("relevance", "holds no such relevance"),
        ("occlusion", "no occlusion"),
        ("blank", "no answer to a grey picture"),
        ("answer_attention subtract=blank", "no answer to a grey picture"),
    ],
)
def test_what_a_trace_does_not_hold_is_refused_by_name(said: str, message: str) -> None:
    with pytest.raises(MapError, match=message.replace("?", r"\?")):
        read_map(toy(), MapSpec.parse(said))


def test_a_phrase_that_the_model_does_not_see_is_missing_and_refused_with_the_nearest() -> None:
    seen, unseen = (MapSpec(method="word_attention", word=w) for w in ("birds", "brids"))
    trace = asked(three_patches(), seen, unseen)
    assert seen.reading in trace.readings
    assert unseen.reading not in trace.readings
    for read in (read_map, image_share, layer_maps):
        with pytest.raises(MapError, match=r"sees no 'brids' .*; did you mean 'birds'\?"):
            read(trace, unseen)


def test_a_map_with_nothing_on_the_image_is_undefined_and_never_nan() -> None:
    trace = toy()
    with pytest.raises(UndefinedMap, match="nothing falls on the image"):
        read_map(with_cells(trace, np.zeros((2, 1, 3))), MapSpec())
    with pytest.raises(UndefinedMap, match="the same over a grey picture"):
        read_map(Evidence(trace, blank=trace), MapSpec(subtract="blank"))
    hidden = Evidence(trace, occlusion={Window(): -np.ones((1, 3))})
    with pytest.raises(UndefinedMap, match="does not lower"):
        read_map(hidden, MapSpec(method="occlusion"))


def test_occlusion_is_the_fall_where_hiding_lowers_the_answer() -> None:
    hidden = Evidence(toy(), occlusion={Window(2, 1): np.array([[0.3, -0.2, 0.1]])})
    spec = MapSpec(method="occlusion", window=2, stride=1)
    np.testing.assert_allclose(read_map(hidden, spec), row("3/4", "0", "1/4"))


def test_the_blank_control_is_the_answers_attention_over_the_grey_picture() -> None:
    trace = toy()
    grey = with_cells(trace, np.array([[[1.0, 0, 0]], [[0, 0, 3.0]]]))
    found = Evidence(trace, blank=grey)
    np.testing.assert_allclose(read_map(found, MapSpec(method="blank")), row("1/4", "0", "3/4"))
    last = MapSpec(method="blank", layers="last")
    np.testing.assert_allclose(read_map(found, last), row("0", "0", "1"))


def test_subtracting_the_blank_keeps_what_exceeds_it() -> None:
    trace = toy()
    blank = with_cells(trace, np.full((2, 1, 3), 0.25))
    p = read_map(trace, MapSpec(layers=[1]))
    expected = np.clip(p - 1 / 3, 0, None)
    found = read_map(Evidence(trace, blank=blank), MapSpec(layers=[1], subtract="blank"))
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-7)


def test_a_difference_that_rounding_makes_is_no_map() -> None:
    trace = toy()
    noise = np.array([[[1e-8, -2e-8, 3e-8]]])
    drops = Evidence(trace, occlusion={Window(): noise[0]})
    with pytest.raises(UndefinedMap, match="hiding any part of the picture"):
        read_map(drops, MapSpec(method="occlusion"))
    cells = trace.readings[ANSWER].cells
    blank = with_cells(trace, cells * (1 + noise))
    with pytest.raises(UndefinedMap, match="the same over a grey picture"):
        read_map(Evidence(trace, blank=blank), MapSpec(subtract="blank"))


def test_the_random_control_depends_on_the_text_and_the_seed_and_on_nothing_else() -> None:
    trace = toy()
    one, same = read_map(trace, MapSpec(method="random")), read_map(trace, MapSpec(method="random"))
    np.testing.assert_array_equal(one, same)
    other = read_map(replace(trace, prompt="three birds"), MapSpec(method="random"))
    seeded = read_map(trace, MapSpec(method="random", seed=1))
    assert not np.allclose(one, other)
    assert not np.allclose(one, seeded)


def test_the_centre_control_is_a_gaussian_of_a_quarter_of_the_side() -> None:
    p = read_map(replace(toy(), grid=Grid(3, 5), readings={}), MapSpec(method="centre"))
    assert p[1, 2] == p.max()
    # One row up is a third of the side away: exp(-(1/3)^2 / (2 (1/4)^2)).
    assert p[0, 2] / p[1, 2] == pytest.approx(np.exp(-((1 / 3) ** 2) / (2 / 16)))
    assert p[1, 0] / p[1, 2] == pytest.approx(np.exp(-((2 / 5) ** 2) / (2 / 16)))


# --- what is asked of a model ---------------------------------------------------------------------


def test_maps_that_differ_only_in_what_a_reader_does_need_one_reading() -> None:
    said = ["layers=1", "temperature=0.5", "smooth=1", "layers=last:2 subtract=blank"]
    specs = [MapSpec.parse(f"answer_attention {more}") for more in said]
    controls = [MapSpec.parse(m) for m in ("uniform", "random seed=3", "blank", "occlusion")]
    assert need_of([*specs, *controls], METHODS) == {ANSWER}


def test_each_key_that_changes_what_is_read_is_a_reading_of_its_own() -> None:
    said = [
        "answer_attention", "answer_attention heads=max", "answer_attention heads=1,2",
        "word_attention word=two", "word_attention word=birds", "word_attention word=two heads=2",
        "rollout", "rollout start_layer=2", "rollout residual=0.5", "rollout heads=max",
        "relevance", "relevance variant=paper", "relevance start_layer=2",
    ]  # fmt: skip
    need = need_of([MapSpec.parse(text) for text in said], METHODS)
    assert len(need) == len(said)
    assert need_of([MapSpec.parse("blank heads=max")], METHODS) == {ANSWER._replace(heads="max")}


@pytest.mark.parametrize(
    ("said", "methods_of_model", "message"),
    [
        ("rollout", ("answer_attention",), "the model gives no rollout, which the map 'rollout'"),
        ("relevance heads=max", ("rollout", "answer_attention"), "choose from: answer_attention, "),
        ("word_attention word=a", ("answer_attention",), "did you mean 'answer_attention'"),
        ("blank", ("rollout",), "gives no answer_attention, which the map 'blank' is made of"),
    ],
)
def test_a_map_that_the_model_does_not_offer_is_refused_with_the_nearest(
    said: str, methods_of_model: tuple[str, ...], message: str
) -> None:
    with pytest.raises(MapError, match=message):
        need_of([MapSpec.parse(said)], methods_of_model)


def test_controls_and_occlusion_work_with_a_model_that_says_nothing_of_where_it_looked() -> None:
    specs = [MapSpec.parse(m) for m in ("uniform", "centre", "random", "occlusion")]
    assert need_of(specs, ()) == frozenset()


# --- post-processing ------------------------------------------------------------------------------

distributions = arrays(np.float64, (4, 5), elements=st.floats(0.01, 1)).map(lambda a: a / a.sum())


@given(distributions, st.floats(0.2, 5))
def test_temperature_is_the_softmax_of_the_log(p: np.ndarray, t: float) -> None:
    found = processed(p, MapSpec(temperature=t))
    powered = p ** (1 / t)
    np.testing.assert_allclose(found, powered / powered.sum(), rtol=1e-9)


def test_temperature_keeps_empty_cells_empty() -> None:
    found = processed(np.array([[0.5, 0.5, 0.0]]), MapSpec(temperature=3))
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0]])


def test_the_smallest_temperature_leaves_the_largest_cell_and_never_nan() -> None:
    p = np.array([[0.5, 0.3, 0.2]])
    assert processed(p, MapSpec(temperature=1e-310)).tolist() == [[1.0, 0.0, 0.0]]


@given(distributions, st.floats(0.1, 3))
def test_smoothing_loses_no_mass_and_comes_after_the_temperature(p: np.ndarray, s: float) -> None:
    smoothed = processed(p, MapSpec(smooth=s))
    assert smoothed.sum() == pytest.approx(1)
    np.testing.assert_allclose(smoothed, scipy.ndimage.gaussian_filter(p, s), rtol=1e-6)
    both = processed(p, MapSpec(temperature=0.5, smooth=s))
    sharpened = processed(p, MapSpec(temperature=0.5))
    np.testing.assert_allclose(both, processed(sharpened, MapSpec(smooth=s)), rtol=1e-9)
