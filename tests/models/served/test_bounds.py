"""Bounds from the likeliest tokens: right where all is listed, and never wrong where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.models.served.bounds import Answers, Listing, difference, listing, masses

YES_NO = {"yes": [b"Yes", b"yes"], "no": [b"No"]}


def between(low: float, high: float) -> Any:
    """What bounds are equal to, but for rounding."""
    return pytest.approx((low, high), abs=1e-12)


def test_listed_answers_have_the_probability_of_their_tokens() -> None:
    found = masses({b"": {b"Yes": 0.5, b"yes": 0.1, b"No": 0.2, b"It": 0.2}}, YES_NO)
    assert found.by_label["yes"] == between(0.6, 0.6)
    assert found.by_label["no"] == between(0.2, 0.2)
    assert found.probabilities["yes"] == between(0.75, 0.75)
    assert found.decided == "yes"
    assert found.width == pytest.approx(0)


def test_an_answer_that_is_missing_has_at_most_the_least_of_those_listed() -> None:
    found = masses({b"": {b"Yes": 0.7, b"No": 0.2}}, YES_NO)
    assert found.by_label["yes"] == between(0.7, 0.8)  # all that is missing is 0.1
    found = masses({b"": {b"Yes": 0.6, b"No": 0.1, b"It": 0.01}}, YES_NO)
    assert found.by_label["yes"] == between(0.6, 0.63)  # it may begin with y, ye or yes
    assert found.probabilities["yes"] == between(0.6 / 0.7, 0.63 / 0.73)
    assert found.probabilities["no"] == between(0.1 / 0.73, 0.1 / 0.7)


def test_an_answer_of_several_tokens_is_bounded_by_its_beginning_until_that_is_known() -> None:
    answers = {"entails": [b"entails"], "neutral": [b"neutral"]}
    first = {b"ent": 0.5, b"neutral": 0.3, b"The": 0.2}
    found = masses({b"": first}, answers)
    assert found.by_label["entails"] == between(0, 0.5)
    assert found.by_label["neutral"] == between(0.3, 0.3)
    assert found.beginnings == {b"ent": 0.5}
    assert found.decided == ""
    found = masses({b"": first, b"ent": {b"ails": 0.9, b"ire": 0.1}}, answers)
    assert found.by_label["entails"] == between(0.45, 0.45)
    assert found.beginnings == {}
    assert found.decided == "entails"


def test_an_answer_that_is_one_token_is_not_looked_for_along_two() -> None:
    found = masses({b"": {b"Yes": 0.5, b"Y": 0.2, b"yes": 0.1, b"No": 0.2}}, YES_NO)
    assert found.beginnings == {}
    assert found.by_label["yes"] == between(0.6, 0.6)


def test_what_goes_on_after_an_answer_counts_once() -> None:
    answers = {"yes": [b"Yes", b"Yes."], "no": [b"No"]}
    found = masses({b"": {b"Yes": 0.6, b"No": 0.4}, b"Yes": {b".": 1.0}}, answers)
    assert found.by_label["yes"] == between(0.6, 0.6)


def test_no_answer_at_all_leaves_everything_open() -> None:
    found = masses({b"": {b"<think>": 1.0}}, YES_NO)
    assert found.probabilities["yes"] == between(0, 1)
    assert found.decided == ""


def test_a_tie_is_decided_as_by_a_model_that_is_loaded() -> None:
    assert masses({b"": {b"Yes": 0.5, b"No": 0.5}}, YES_NO).decided == "yes"


def test_tokens_that_spell_the_same_are_one() -> None:
    assert listing([(b"Yes", math.log(0.5)), (b"Yes", math.log(0.25))])[b"Yes"] == 0.75
    with pytest.raises(ValueError, match=r"sum to 1\.500"):
        listing([(b"Yes", math.log(0.75)), (b"No", math.log(0.75))])


def test_a_token_that_is_listed_twice_is_not_counted_twice() -> None:
    yes = (b"Yes", math.log(0.3))
    with pytest.raises(ValueError, match=r"a list that has the token 'Yes' twice"):
        listing([yes, (b"No", math.log(0.2)), yes])
    part = ("\ufffd".encode(), math.log(0.1))  # two parts of characters, which are not told apart
    assert listing([yes, part, part])[b"Yes"] == pytest.approx(0.3)
    never = (b"maybe", -9999.0)
    assert listing([yes, (b"No", math.log(0.2)), never, never])[b"Yes"] == pytest.approx(0.3)


def test_what_temperature_0_leaves_is_not_taken_for_the_models_own() -> None:
    with pytest.raises(ValueError, match=r"what is left of them at temperature 0"):
        listing([(b"Yes", 0.0), (b"No", -9999.0), (b"It", -9999.0)])
    assert listing([(b"Yes", 0.0), (b"No", -40.0)])[b"Yes"] == 1.0


def test_two_lists_differ_by_half_of_what_moved() -> None:
    assert difference({b"a": 0.9, b"b": 0.1}, {b"a": 0.9, b"b": 0.1}) == 0
    assert difference({b"a": 0.9, b"b": 0.1}, {b"b": 0.1, b"c": 0.9}) == pytest.approx(0.9)


TOKENS = (b"a", b"b", b"ab", b"ba", b"aab", b" ")


@st.composite
def models(draw: st.DrawFn) -> Mapping[bytes, Listing]:
    """What a small model says behind each text of up to two letters: all of it."""
    texts = [b"", *(bytes(t) for n in (1, 2) for t in _words(n))]
    weights = st.lists(st.floats(0.001, 1), min_size=len(TOKENS), max_size=len(TOKENS))
    tree = {}
    for text in texts:
        drawn = draw(weights)
        tree[text] = {t: w / sum(drawn) for t, w in zip(TOKENS, drawn, strict=True)}
    return tree


def _words(length: int) -> list[bytes]:
    if length == 0:
        return [b""]
    return [word + letter for word in _words(length - 1) for letter in (b"a", b"b", b" ")]


def truly(
    tree: Mapping[bytes, Listing], cut: Mapping[bytes, Listing], answer: bytes, begun: bytes = b""
) -> float:
    """The probability that a model spells an answer: as a listed token, or else in all ways."""
    left = answer[len(begun) :]
    if left in cut.get(begun, {}):
        return cut[begun][left]
    return sum(
        p * (1.0 if token == left else truly(tree, cut, answer, begun + token))
        for token, p in tree[begun].items()
        if left.startswith(token)
    )


ANSWERS: Answers = {"one": [b"aab", b"abb"], "other": [b"ba", b"bb"]}


@settings(max_examples=60, deadline=None)
@given(models(), st.integers(1, len(TOKENS)), st.data())
def test_the_truth_lies_within_the_bounds(
    tree: Mapping[bytes, Listing], length: int, data: st.DataObject
) -> None:
    cut = {
        text: dict(sorted(tokens.items(), key=lambda each: -each[1])[:length])
        for text, tokens in tree.items()
        if not text or data.draw(st.booleans())
    }
    truth = {label: sum(truly(tree, cut, a) for a in given) for label, given in ANSWERS.items()}
    shares = {label: mass / sum(truth.values()) for label, mass in truth.items()}
    found = masses(cut, ANSWERS)
    for label in ANSWERS:
        low, high = found.by_label[label]
        assert low - 1e-9 <= truth[label] <= high + 1e-9
        low, high = found.probabilities[label]
        assert low - 1e-9 <= shares[label] <= high + 1e-9
    if found.decided:
        assert truth[found.decided] >= max(truth.values()) - 1e-9
    if length == len(TOKENS) and len(cut) == len(tree):
        assert found.width == pytest.approx(0, abs=1e-6)
