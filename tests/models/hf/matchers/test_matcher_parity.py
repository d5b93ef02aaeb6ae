"""Matchers answer as plain transformers does, and their readings are those of its attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.maps.trace import ANSWER, EACH_HEAD, EACH_WORD, HeadPlace, Reading, ReadingKey, Trace
from audit.models.hf.matchers import MATCHERS
from audit.models.hf.matching import MatchingModel
from audit.models.kit.conformance import check_adapter
from audit.models.kit.subject import example_queries, key_of
from tests.matchers_by_hand import ByHand, by_hand, inputs_of, plain, scored
from tests.tiny_matchers import THRESHOLD, load

Array = NDArray[np.float64]
Models = Callable[[str], MatchingModel]
Plain = Callable[[str], tuple[Any, Any]]

QUERIES = example_queries()
JOINT = "vilt"
RELEVANCE = ReadingKey("relevance")

families = pytest.mark.parametrize("family", MATCHERS)


def hand(family: str, plain_matcher: Plain) -> ByHand:
    """One of the questions by hand."""
    return by_hand(family, *plain_matcher(family), QUERIES[2].text, QUERIES[2].image)


def array(tensor: Tensor) -> Array:
    found: Array = tensor.detach().double().numpy()
    return found


def flat(reading: Reading) -> Array:
    return reading.cells.reshape(len(reading.cells), -1)


@families
def test_scores_are_those_of_plain_transformers(
    family: str, matcher: Models, matcher_folder: Callable[[str], Path]
) -> None:
    model, (network, processor) = matcher(family), plain(family, matcher_folder(family))
    for query in QUERIES:
        expected = scored(family, network, inputs_of(family, processor, query.text, query.image))
        with torch.no_grad():
            assert (model._logs([model.pair(query)])[0] - expected).abs().max() <= 2e-6


@families
def test_a_batch_scores_as_single_calls_do(family: str, matcher: Models) -> None:
    model = matcher(family)
    with torch.no_grad():
        pairs = [model.pair(query) for query in QUERIES]
        together, alone = model._logs(pairs), [model._logs([pair])[0] for pair in pairs]
    assert (together - torch.stack(alone)).abs().max() <= 1e-5


@families
def test_the_answers_rows_are_those_of_eager_attention(
    family: str, matcher: Models, plain_matcher: Plain
) -> None:
    expected = hand(family, plain_matcher)
    keys = [ANSWER, ANSWER._replace(heads="max"), ANSWER._replace(heads=(2,))]
    (trace,) = matcher(family).trace([QUERIES[2]], frozenset(keys))
    rows = range(3) if family == "blip-2" else [0]  # BLIP-2's score is the mean over its queries
    for key, reduce in zip(
        keys, (lambda w: w.mean(0), lambda w: w.amax(0), lambda w: w[1]), strict=True
    ):
        layers = torch.stack([reduce(w[0])[list(rows)].mean(0) for w in expected.weights])
        reading = trace.readings[key]
        assert np.abs(flat(reading) - array(layers[:, expected.cells])).max() <= 1e-6
        share = layers[:, expected.cells].sum(1) / layers.sum(1)
        assert np.abs(reading.share - array(share)).max() <= 1e-6


@families
def test_single_heads_are_those_of_eager_attention(
    family: str, matcher: Models, plain_matcher: Plain
) -> None:
    expected = hand(family, plain_matcher)
    some = ANSWER._replace(heads=(HeadPlace(1, 2),))
    (trace,) = matcher(family).trace([QUERIES[2]], frozenset({EACH_HEAD, some}))
    rows = range(3) if family == "blip-2" else [0]
    heads = torch.cat([w[0][:, list(rows)].mean(1) for w in expected.weights])
    each, named = trace.readings[EACH_HEAD], trace.readings[some]
    assert np.abs(flat(each) - array(heads[:, expected.cells])).max() <= 1e-6
    share = heads[:, expected.cells].sum(1) / heads.sum(1)
    assert np.abs(each.share - array(share)).max() <= 1e-6
    assert np.abs(flat(named) - flat(each)[1:2]).max() <= 1e-6


@pytest.mark.parametrize("family", ["blip", JOINT])
def test_a_words_rows_are_those_of_its_tokens(
    family: str, matcher: Models, plain_matcher: Plain
) -> None:
    expected = hand(family, plain_matcher)
    (trace,) = matcher(family).trace([QUERIES[2]], frozenset({EACH_WORD}))
    start = QUERIES[2].text.replace(" ", "").index("stripe") + 1  # a token a letter, behind [CLS]
    place = [word.text for word in trace.words].index("stripe")
    rows = list(range(start, start + len("stripe")))
    layers = torch.stack([w[0].mean(0)[rows].mean(0) for w in expected.weights])
    reading = trace.readings[EACH_WORD._replace(word=place)]
    assert np.abs(flat(reading) - array(layers[:, expected.cells])).max() <= 1e-6


@families
@pytest.mark.parametrize("start_layer", [1, 2])
def test_relevance_is_attention_times_its_gradient(
    family: str, start_layer: int, matcher: Models, plain_matcher: Plain
) -> None:
    if start_layer > 1 and family.startswith("siglip"):
        pytest.skip("the pooling head is one layer")
    expected = hand(family, plain_matcher)
    label = int(expected.logs[1].exp() >= THRESHOLD)
    if MATCHERS[family].scores == 2:
        label = int(expected.logs.argmax())
    gradients = torch.autograd.grad(
        expected.logs[label] - expected.logs[1 - label], expected.weights
    )
    layers = [
        (w * g.clamp_min(0))[0].mean(0) for w, g in zip(expected.weights, gradients, strict=True)
    ][start_layer - 1 :]
    if family == JOINT:
        relevance = torch.eye(len(layers[0]))
        for layer in layers:  # from the first on, as Chefer et al. write it
            relevance = relevance + layer @ relevance
        wanted = relevance[0]
    else:
        wanted = torch.stack([layer.sum(0) for layer in layers]).mean(0)
    key = RELEVANCE._replace(start_layer=start_layer)
    (trace,) = matcher(family).trace([QUERIES[2]], frozenset({key}))
    cells = array(wanted)[expected.cells]
    assert cells.max() > 0
    assert np.abs(flat(trace.readings[key])[0] - cells).max() <= 1e-5 * cells.max()


def answered(model: MatchingModel, number: int = 0) -> Trace:
    (trace,) = model.trace([QUERIES[number]], frozenset(map(key_of, model.methods)))
    return trace


def test_the_pooling_head_looks_at_the_same_places_whatever_is_asked(matcher: Models) -> None:
    model, image = matcher("siglip"), QUERIES[0].image
    one, other = (
        model.trace([type(QUERIES[0])(image, text)], frozenset({ANSWER, RELEVANCE}))[0]
        for text in ("a red square", "a white stripe on a branch")
    )
    assert (one.readings[ANSWER].cells == other.readings[ANSWER].cells).all()
    assert not np.allclose(one.readings[RELEVANCE].cells, other.readings[RELEVANCE].cells)


def test_patches_of_vilt_are_in_the_pictures_order_whatever_random_numbers_are_drawn(
    matcher: Models,
) -> None:
    model = matcher(JOINT)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(answered(model).readings[ANSWER].cells)
    assert (found[0] == found[1]).all()


@families
def test_a_matcher_runs_in_bfloat16(family: str, matcher_folder: Callable[[str], Path]) -> None:
    one, other = (
        answered(load(family, matcher_folder(family), dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )
    for label, p in one.probabilities.items():
        assert other.probabilities[label] == pytest.approx(p, abs=0.1)
    assert other.readings.keys() == one.readings.keys()
    assert all(np.isfinite(reading.cells).all() for reading in other.readings.values())


@pytest.mark.slow
@families
def test_a_matcher_conforms(
    family: str, matcher: Models, matcher_folder: Callable[..., Any]
) -> None:
    check_adapter(matcher(family), load=lambda: load(family, matcher_folder(family)))
