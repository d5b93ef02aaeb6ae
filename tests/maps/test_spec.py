"""How maps are asked for: every spelling that is accepted, and every mistake told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audit.base.errors import MapError
from audit.maps.keys import canonical_key
from audit.maps.methods import METHODS
from audit.maps.spec import CONTROLS, MapSpec
from audit.maps.trace import ANSWER, HeadPlace, ReadingKey

OLD = {"cross_attention": "answer_attention", "encoder_attention": "word_attention"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("answerattention", "did you mean 'answer_attention'"),
        ("relevance layers=2", "the method relevance takes no 'layers'; it takes heads, variant"),
        ("word_attention", "needs a word"),
        ("encoder_attention", "the method word_attention needs a word"),
        ("word_attention word=...", "has no word in it"),
        ("uniform seed=3", "takes no 'seed'"),
        ("rollout residul=0.5", "did you mean 'residual'"),
        ("cross_attention seed=3", "the method answer_attention takes no 'seed'; it takes layers"),
        ("answer_attention temperature=0", "greater than 0"),
        ("rollout residual=1.5", "less than or equal to 1"),
        ("answer_attention layers=0", "greater than 0"),
        ("answer_attention word='", "is not a map"),
        ("answer_attention heads=L0H1", "heads"),
        ("answer_attention heads=1,L1H1", "heads"),
        ("answer_attention heads=L1H1,L1H1", "listed twice"),
        ("answer_attention heads=chosen layers=last", "name their layers"),
        ("rollout heads=L1H1", "can be chosen for answer_attention and blank, not for rollout"),
    ],
)
def test_an_impossible_map_is_refused_with_the_nearest_choice(asked: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MapSpec.parse(asked)


@pytest.mark.parametrize(("old", "new"), OLD.items())
def test_an_old_spelling_is_the_same_map_wherever_it_is_written(old: str, new: str) -> None:
    more = " word=birds layers=last:2" if new == "word_attention" else " layers=last:2"
    spec = MapSpec.parse(f"{old}{more}")
    assert spec == MapSpec.parse(f"{new}{more}")
    assert spec.method == new
    assert spec.key == f"{new}{more}"
    word = "birds" if new == "word_attention" else None
    assert MapSpec.model_validate({"method": old, "word": word, "layers": "last:2"}) == spec
    assert canonical_key(f"{old}{more}") == spec.key


def test_an_old_spelling_is_accepted_in_code() -> None:
    spec = MapSpec(method="cross_attention")  # type: ignore[arg-type]
    assert spec == MapSpec()
    assert spec.key == "answer_attention"


def test_the_json_schema_offers_old_spellings_and_new_ones() -> None:
    offered = MapSpec.model_json_schema()["properties"]["method"]["enum"]
    assert set(offered) == {*METHODS, *OLD}


@pytest.mark.parametrize("method", [7, None, "cross", "Cross_attention", ["cross_attention"]])
def test_what_is_no_method_is_refused(method: object) -> None:
    with pytest.raises(ValidationError, match="method"):
        MapSpec.model_validate({"method": method})


@given(
    st.sampled_from([*METHODS, *OLD]),
    st.sampled_from(["", " layers=last", " word=cross_attention", " word='a cross_attention b'"]),
)
def test_a_canonical_key_changes_the_method_and_nothing_else(method: str, more: str) -> None:
    found = canonical_key(method + more)
    assert found == OLD.get(method, method) + more
    assert canonical_key(found) == found


@pytest.mark.parametrize("key", ["", "m", "crossattention layers=2", "my cross_attention"])
def test_a_key_that_names_no_map_is_left_as_it_is(key: str) -> None:
    assert canonical_key(key) == key


def test_a_rollout_is_read_by_heads_start_layer_and_residual() -> None:
    spec = MapSpec.parse("rollout heads=1,2 start_layer=2 residual=0.5")
    assert spec.reading == ReadingKey("rollout", (1, 2), None, 2, 0.5)
    assert MapSpec(method="rollout").reading == ReadingKey("rollout", "mean", None, 1, None)


def test_relevance_is_read_by_heads_variant_and_start_layer() -> None:
    spec = MapSpec.parse("relevance heads=weighted variant=paper start_layer=2")
    assert spec.reading == ReadingKey("relevance", "weighted", None, 2, None, "paper")


def test_a_word_is_read_by_its_phrase_and_heads() -> None:
    spec = MapSpec.parse("word_attention word='two birds' heads=max layers=1")
    assert spec.reading == ReadingKey("word_attention", "max", "two birds")


@pytest.mark.parametrize("method", [*CONTROLS, "occlusion"])
def test_what_no_model_reads_has_the_image_share_of_the_answers_attention(method: str) -> None:
    assert MapSpec.model_validate({"method": method}).reading == ANSWER


places = st.builds(HeadPlace, st.integers(1, 9999), st.integers(1, 9999)).map(str)


@given(
    st.lists(places, min_size=1, max_size=5, unique=True),
    st.sampled_from(["answer_attention", "blank"]),
)
def test_single_heads_are_named_in_the_key_and_read_back(heads: list[str], method: str) -> None:
    spec = MapSpec(method=method, heads=heads)
    assert spec.key == f"{method} heads={','.join(heads)}"
    assert MapSpec.parse(spec.key) == spec
    assert ",".join(map(str, spec.reading.heads)) == ",".join(heads)
    assert spec.reading.method == "answer_attention"
    assert not spec.per_layer


def test_the_chosen_heads_are_named_once_they_are_looked_up_and_cannot_be_read_before() -> None:
    chosen = MapSpec(heads="chosen", temperature=0.5)
    with pytest.raises(MapError, match="choose them with audit heads, or name them"):
        _ = chosen.reading
    named = chosen.with_heads(["L2H1", "L3H4"])
    assert named.key == "answer_attention heads=L2H1,L3H4 temperature=0.5"
    assert MapSpec.parse(named.key) == named
    other = MapSpec(heads="max")
    assert other.with_heads(["L1H1"]) == other
