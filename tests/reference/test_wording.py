"""Sentences as people write them: digits, negations, capitals and punctuation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.base.words import words_in
from audit.reference.hypotheses import hypothesis, with_premise, word_boxes, word_truths
from audit.reference.scenes import Group, SceneSpec, scene
from audit.reference.statements import LABELS, Statement, say
from audit.reference.tokens import as_read
from audit.reference.variety import empty, varied
from audit.reference.wording import dressed, traits

BIRDS = SceneSpec((Group("bird", "red", 2),), "branch", True)
UNSEEN = (
    "years old", "hungry", "sleeping", "tired", "dinner", "dreaming", "thunder", "music", "nearby",
    "farmer", "spring", "name",
)  # fmt: skip


def read(text: str, spec: SceneSpec) -> str:
    """The label by rules written apart from the generator."""
    words = words_in(text)
    said = " ".join(words)
    if not {"bird", "cat", "dog", "rabbit", "animal"} & {w.removesuffix("s") for w in words}:
        return "no"
    true = bool(spec.groups) and all(word_truths(text, spec).values())
    if any(unseen in said for unseen in UNSEEN):
        return "maybe" if true else "no"
    denied = bool({"no", "not"} & set(words)) or "n't" in said
    return "yes" if true != denied else "no"


def test_free_sentences_have_the_label_that_an_independent_reading_gives() -> None:
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    for index in range(40):
        drawn = varied(6, index)
        for label in LABELS if drawn.animals else LABELS[:2]:
            for _ in range(4):
                said = hypothesis(drawn, label, rng, freely=True)
                assert read(said.text, drawn.spec) == said.label == label, (said.text, drawn.spec)
                seen |= traits(said.text)
    assert seen == {"digits", "punctuation", "negation"}


def test_plain_sentences_have_neither_digits_nor_negations_nor_punctuation() -> None:
    rng = np.random.default_rng(0)
    drawn = scene(6, 1)
    said = [hypothesis(drawn, label, rng).text for label in LABELS for _ in range(50)]
    assert {trait for text in said for trait in traits(text)} == set()


@pytest.mark.parametrize(
    ("statement", "label"),
    [
        (Statement("cat", 1, False, denied="presence"), "yes"),
        (Statement("bird", 2, False, denied="presence"), "no"),
        (Statement("bird", 2, False, colour="blue", denied="presence"), "yes"),
        (Statement("bird", 2, False, place="branch", denied="presence"), "no"),
        (Statement("bird", 2, False, place="sofa", denied="presence"), "yes"),
        (Statement("bird", 2, False, colour="red", denied="property"), "no"),
        (Statement("bird", 2, False, outdoors=False, denied="property"), "yes"),
        (Statement("bird", 2, False, unseen=1, denied="property"), "maybe"),
        (Statement("cat", 1, False, unseen=1, denied="property"), "no"),
        (Statement(None, 2, False, denied="presence"), "no"),
    ],
)
def test_a_negation_is_true_where_what_it_denies_is_false(statement: Statement, label: str) -> None:
    assert statement.label(BIRDS) == label


def test_a_negation_is_said_with_a_word_that_denies() -> None:
    rng = np.random.default_rng(0)
    for denied in ("presence", "property"):
        said = {
            say(Statement("bird", 2, False, place="branch", denied=denied), rng) for _ in "x" * 99
        }
        assert len(said) > 2
        assert all("negation" in traits(text) for text in said)


def test_whatever_is_said_of_an_empty_picture_is_false_and_what_is_denied_is_true() -> None:
    rng = np.random.default_rng(4)
    nothing = empty(rng)
    for freely in (False, True):
        for _ in range(30):
            false, true = (hypothesis(nothing, label, rng, freely) for label in ("no", "yes"))
            assert "negation" not in traits(false.text)
            assert "negation" in traits(true.text)
            assert false.about == true.about == ()
    with pytest.raises(ValueError, match="no sentence is neutral"):
        hypothesis(nothing, "maybe", rng)


@given(st.integers(0, 2**32 - 1))
def test_capitals_and_punctuation_change_no_word(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = "there are 2 birds on the branch"
    written = dressed(text, rng)
    assert words_in(written) == text.split()
    read_by_the_model = as_read(written)
    assert read_by_the_model == read_by_the_model.lower()
    assert words_in(read_by_the_model) == text.split()


def test_digits_and_numerals_claim_the_same() -> None:
    for number in ("2", "two", "Two"):
        assert word_truths(f"There are {number} birds.", BIRDS)[number.lower()]
    for number in ("3", "three"):
        assert not word_truths(f"there are {number} birds", BIRDS)[number]
    assert word_truths("the birds are 3 years old", BIRDS) == {"birds": True}


def test_nouns_are_found_whatever_surrounds_them() -> None:
    drawn = scene(6, 1, BIRDS)
    found = word_boxes('On the Branch, there are "Birds".', drawn)
    assert found == {"branch": (drawn.support,), "birds": drawn.boxes("bird")}


@pytest.mark.slow
def test_a_long_premise_still_has_the_sentence_that_settles_it() -> None:
    rng = np.random.default_rng(7)
    longest = 0
    settled = 0
    for index in range(80):
        said = with_premise(scene(6, index), rng, freely=True)
        assert said.premise is not None
        longest = max(longest, len(words_in(said.premise)))
        unseen = any(word in " ".join(words_in(said.text)) for word in UNSEEN)
        if unseen and said.label == "yes":
            settled += 1
            assert " ".join(words_in(said.text)) in " ".join(words_in(said.premise))
    assert longest > 25
    assert settled > 10
