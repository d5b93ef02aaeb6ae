"""Every map against the paper's dense form, hand-worked toys, and loops written here."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as Fr

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.base.geometry import Grid
from audit.maps.reading import (
    MapSpec,
    UndefinedMap,
    image_share,
    layer_maps,
    processed,
    read_map,
    word_maps,
)
from audit.maps.trace import Relevance, Rollout, Trace, Word
from audit.models.kit import flow as relevance

F = np.vectorize(Fr, otypes=[object])


# --- relevance: the paper's equations, dense, in float64 ------------------------------------------


def dense_relevance(traced: Relevance, variant: str, start_layer: int) -> np.ndarray:
    """Chefer et al. 2021, eqs. 5-11, with every matrix formed."""

    def bar(r: np.ndarray) -> np.ndarray:
        rest = r - np.eye(len(r))
        out = np.eye(len(r))
        for i, row in enumerate(rest):
            if row.sum() > 0:
                out[i] += row / row.sum()
        return out

    n, t = traced.encoder.shape[-1], traced.decoder.shape[-1]
    r_qq = np.eye(n)
    for a in traced.encoder[start_layer - 1 :].astype(np.float64):
        r_qq = r_qq + a @ r_qq
    r_ss, r_sq = np.eye(t), np.zeros((t, n))
    for a_s, a_c in zip(traced.decoder, traced.cross, strict=True):
        r_ss, r_sq = r_ss + a_s @ r_ss, r_sq + a_s @ r_sq
        left = bar(r_ss).T if variant == "paper" else bar(r_ss)
        r_sq = r_sq + left @ a_c.astype(np.float64) @ bar(r_qq)
    return r_sq[-1]


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
        found = relevance.relevance(traced, variant=variant, start_layer=start)
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
    found = relevance.relevance(traced)
    np.testing.assert_allclose(found, [float(x) for x in expected], rtol=1e-12)
    # The transpose of the paper leaves the answer row with its own attention alone.
    paper = [
        Fr(7, 4) * x for x in (Fr(3, 5) * Fr(2, 3), 0, Fr(1, 5), Fr(3, 5) * Fr(1, 3), Fr(3, 5))
    ]
    found = relevance.relevance(traced, variant="paper")
    np.testing.assert_allclose(found, [float(x) for x in paper], rtol=1e-12)


def test_a_start_layer_beyond_the_model_is_refused() -> None:
    with pytest.raises(ValueError, match="start_layer 3 was asked for, but the encoder has 2"):
        relevance.relevance(
            Relevance(np.zeros((2, 3, 3)), np.zeros((1, 1, 1)), np.zeros((1, 1, 3))),  # type: ignore[arg-type]
            start_layer=3,
        )


# --- reading a trace ------------------------------------------------------------------------------


def toy_trace() -> Trace:
    """Three patches in a row, two layers, two heads; a hypothesis of two words, three tokens."""
    cross = F(
        [
            [["1/2", "1/4", "0", "1/4"], ["1/10", "1/10", "1/5", "3/5"]],
            [["0", "0", "1/2", "1/2"], ["1/4", "1/4", "1/4", "1/4"]],
        ]
    ).astype(np.float32)
    words = F(
        [  # layer, head, token, cell
            [[["1/2", "0", "0"], ["0", "1/4", "0"], ["0", "0", "1/4"]]] * 2,
            [
                [["1/4", "1/4", "1/4"], ["1/2", "1/4", "0"], ["0", "1/4", "1/2"]],
                [["1/4", "0", "0"], ["0", "0", "0"], ["1/2", "0", "1/2"]],
            ],
        ]
    ).astype(np.float32)
    return Trace(
        probabilities={"no": 0.25, "yes": 0.75},
        label="yes",
        prompt="two birds",
        tokens=("<s>", "two", "bi", "rds", "</s>"),
        grid=Grid(1, 3),
        cross_attention=cross,
        cross_scale=np.array([[1, 3], [-1, 1]], np.float32),
        words=(Word("two", (0,)), Word("birds", (1, 2))),
        word_attention={"mean": words.mean(axis=1)},
    )


def row(*fractions: str) -> np.ndarray:
    values = [float(Fr(f)) for f in fractions]
    return np.array([values]) / sum(values)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # all layers, mean of heads: layer 1 (3/10, 7/40, 1/10), layer 2 (1/8, 1/8, 3/8)
        ("cross_attention", row("17/80", "12/80", "19/80")),
        ("cross_attention layers=1", row("12/40", "7/40", "4/40")),
        ("cross_attention layers=last heads=1", row("0", "0", "1/2")),
        ("cross_attention layers=1 heads=max", row("1/2", "1/4", "1/5")),
        # |c_attn| of layer 1 is 1 to 3: a quarter of head 1 and three of head 2
        ("cross_attention layers=1 heads=weighted", row("8/40", "55/400", "15/100")),
        ("encoder_attention word=two layers=1", row("1/2", "0", "0")),
        # two tokens, averaged: layer 2 heads ((1/4, 1/4, 1/4), (1/4, 0, 1/4))
        ("encoder_attention word=birds layers=2", row("1/4", "1/8", "1/4")),
        ("encoder_attention word='two birds' layers=1", row("1/6", "1/12", "1/12")),
        ("uniform", row("1", "1", "1")),
    ],
)
def test_maps_of_a_toy_of_three_patches_and_two_words_are_these_fractions(
    asked: str, expected: np.ndarray
) -> None:
    spec = MapSpec.parse(asked)
    np.testing.assert_allclose(read_map(toy_trace(), spec), expected, atol=1e-7)
    assert MapSpec.parse(spec.key) == spec


def test_the_image_share_of_a_word_is_what_its_rows_give_the_image() -> None:
    spec = MapSpec(method="encoder_attention", word="birds", layers=[1])
    assert image_share(toy_trace(), spec) == pytest.approx(0.25)
    assert image_share(toy_trace(), MapSpec(layers=[1])) == pytest.approx((3 / 4 + 2 / 5) / 2)


def test_there_is_a_map_for_every_layer_and_every_word() -> None:
    trace = toy_trace()
    (one, first), (two, second) = layer_maps(trace, MapSpec())
    assert (one, two) == (1, 2)
    np.testing.assert_allclose(first, row("12/40", "7/40", "4/40"), atol=1e-7)
    np.testing.assert_allclose(second, row("1/8", "1/8", "3/8"), atol=1e-7)
    names = [name for name, _ in word_maps(trace)]
    assert names == ["two", "birds"]
    for name, p in word_maps(trace):
        asked = MapSpec(method="encoder_attention", word=name)
        np.testing.assert_allclose(p, read_map(trace, asked), atol=1e-12)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("cross_attention layers=3", "layer 3 was asked for, but the model has 2"),
        ("cross_attention layers=last:3", "last:3 was asked for, but the model has 2"),
        ("cross_attention heads=3", "head 3 was asked for, but the model has 2"),
        ("encoder_attention word=bird", "no 'bird' in the hypothesis; did you mean 'birds'?"),
        ("rollout", "no such rollout"),
        ("relevance", "no gradients"),
        ("occlusion", "no occlusion"),
        ("blank", "no answer to a grey picture"),
    ],
)
def test_what_a_trace_does_not_hold_is_refused_by_name(asked: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        read_map(toy_trace(), MapSpec.parse(asked))


def test_a_map_with_nothing_on_the_image_is_undefined_and_never_nan() -> None:
    trace = toy_trace()
    nothing = replace(trace, cross_attention=np.zeros_like(trace.cross_attention))
    with pytest.raises(UndefinedMap):
        read_map(nothing, MapSpec())
    with pytest.raises(UndefinedMap, match="the same over a grey picture"):
        read_map(replace(trace, blank=trace), MapSpec(subtract="blank"))
    hidden = replace(trace, occlusion={MapSpec(method="occlusion").window_choice: -np.ones((1, 3))})
    with pytest.raises(UndefinedMap, match="does not lower"):
        read_map(hidden, MapSpec(method="occlusion"))


def test_subtracting_the_blank_keeps_what_exceeds_it() -> None:
    trace = toy_trace()
    blank = replace(trace, cross_attention=np.full_like(trace.cross_attention, 0.25))
    p = read_map(trace, MapSpec(layers=[1]))
    expected = np.clip(p - 1 / 3, 0, None)
    found = read_map(replace(trace, blank=blank), MapSpec(layers=[1], subtract="blank"))
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-7)


def test_the_random_control_depends_on_the_text_and_the_seed_and_on_nothing_else() -> None:
    trace = toy_trace()
    one, same = read_map(trace, MapSpec(method="random")), read_map(trace, MapSpec(method="random"))
    np.testing.assert_array_equal(one, same)
    other = read_map(replace(trace, prompt="three birds"), MapSpec(method="random"))
    seeded = read_map(trace, MapSpec(method="random", seed=1))
    assert not np.allclose(one, other)
    assert not np.allclose(one, seeded)


def test_the_centre_control_is_a_gaussian_of_a_quarter_of_the_side() -> None:
    trace = replace(
        toy_trace(), grid=Grid(3, 5), cross_attention=np.full((1, 1, 15), 1 / 15, np.float32)
    )
    p = read_map(trace, MapSpec(method="centre"))
    assert p[1, 2] == p.max()
    # One row up is a third of the side away: exp(-(1/3)^2 / (2 (1/4)^2)).
    assert p[0, 2] / p[1, 2] == pytest.approx(np.exp(-((1 / 3) ** 2) / (2 / 16)))
    assert p[1, 0] / p[1, 2] == pytest.approx(np.exp(-((2 / 5) ** 2) / (2 / 16)))


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


@given(distributions, st.floats(0.1, 3))
def test_smoothing_loses_no_mass_and_comes_after_the_temperature(p: np.ndarray, s: float) -> None:
    smoothed = processed(p, MapSpec(smooth=s))
    assert smoothed.sum() == pytest.approx(1)
    np.testing.assert_allclose(smoothed, scipy.ndimage.gaussian_filter(p, s), rtol=1e-6)
    both = processed(p, MapSpec(temperature=0.5, smooth=s))
    sharpened = processed(p, MapSpec(temperature=0.5))
    np.testing.assert_allclose(both, processed(sharpened, MapSpec(smooth=s)), rtol=1e-9)


# --- asking for maps ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("crossattention", "did you mean 'cross_attention'"),
        ("relevance layers=2", "the method relevance takes no 'layers'; it takes heads, variant"),
        ("encoder_attention", "needs a word"),
        ("encoder_attention word=...", "has no word in it"),
        ("uniform seed=3", "takes no 'seed'"),
        ("rollout residul=0.5", "did you mean 'residual'"),
        ("cross_attention temperature=0", "greater than 0"),
        ("rollout residual=1.5", "less than or equal to 1"),
        ("cross_attention layers=0", "greater than 0"),
        ("cross_attention word='", "is not a map"),
    ],
)
def test_an_impossible_map_is_refused_with_the_nearest_choice(asked: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MapSpec.parse(asked)


def test_a_rollout_is_keyed_by_heads_start_layer_and_residual() -> None:
    spec = MapSpec.parse("rollout heads=1,2 start_layer=2 residual=0.5")
    assert spec.rollout_choice == Rollout((1, 2), 2, 0.5)
    assert MapSpec(method="rollout").rollout_choice == Rollout("mean", 1, None)
