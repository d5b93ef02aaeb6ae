"""The asking file says how a model that talks is asked, and what its answers mean."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.base.errors import ModelError, NotFinite
from audit.base.files import digest
from audit.models.kit.asking import _OF_MATCHERS, DEFAULT, Asking, read_asking, said
from audit.models.kit.matching import Matching, read_matching

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
LOGS = st.lists(st.floats(-60, -0.01), min_size=1, max_size=4)


def test_the_default_asks_for_yes_or_no() -> None:
    asked = DEFAULT.asked("there are two birds")
    assert asked.question == (
        'Is this statement true of the picture: "there are two birds"? Answer yes or no.'
    )
    assert DEFAULT.labels == ("yes", "no")
    assert DEFAULT.template == {"enable_thinking": False}


@given(TEXTS, st.none() | TEXTS)
def test_texts_are_inserted_as_they_are(text: str, premise: str | None) -> None:
    asked = DEFAULT.asked(text, premise)
    assert asked.question[asked.start :].startswith(text)
    assert premise is None or premise in asked.question
    template = DEFAULT.question if premise is None else DEFAULT.question_with_premise
    assert template is not None
    slots = len("{text}") + (len("{premise}") if premise is not None else 0)
    assert len(asked.question) == len(template) - slots + len(text) + len(premise or "")


def test_a_file_may_say_everything(tmp_path: Path) -> None:
    path = tmp_path / "asking.yaml"
    path.write_text(
        "system: You judge pictures.\n"
        'question: \'{"claim": "{text}"} Entailed?\'\n'
        "question_with_premise: null\n"
        "template: {enable_thinking: true, tools: null}\n"
        "answers:\n  yes: [Entailed]\n  no: [Contradicted]\n  maybe: [Neutral, Unclear]\n"
    )
    found = read_asking(path)
    assert found.labels == ("yes", "no", "maybe")
    assert found.asked("{a} bird").question == '{"claim": "{a} bird"} Entailed?'
    with pytest.raises(ModelError, match="has no question_with_premise"):
        found.asked("a", "b")


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "asking.yaml"
    path.write_text("# nothing\n")
    assert read_asking(path) == DEFAULT


@pytest.mark.parametrize(
    ("written", "line", "message"),
    [
        ("sytem: a\n", "1:1: sytem", "unknown key; did you mean 'system'?"),
        ("system: a\nquestion: no slot\n", "2:1: question", "{text} must stand in it once"),
        ("question: '{text} {text}'\n", "1:1: question", "once, and it does 2×"),
        ("question: '{premise} {text}'\n", "1:1: question", "belongs in question_with_premise"),
        ("question_with_premise: '{text}'\n", "1:1: question_with_premise", "{premise} must"),
        ("answers: {yes: [Yes]}\n", "1:1: answers", "at least two labels"),
        ("answers: {yes: [Yes], no: []}\n", "1:23: answers.no", "each label needs an answer"),
        ("answers: {yes: [Y], no: [Y]}\n", "1:1: answers", "'Y' means both 'yes' and 'no'"),
        ("answers: {yes: [Y], no: [1]}\n", "1:26: answers.no.0", 'a text is needed: write "1"'),
        ("template: {a: [1]}\n", "1:12: template.a", "is a text, a number, true, "),
        ("- a\n", "1:1: file", "keys with values are needed, such as question: '{text}'"),
        ("answers: [a]\n", "1:1: answers", 'keys with values are needed, such as yes: ["Yes"]'),
        ("answers:\n  yes: Yes\n  no: [N]\n", "2:3: answers.yes", 'needed: write ["Yes"]'),
        ("answers:\n  yes: [Y]\n  no: []\n", "3:3: answers.no", "each label needs an answer"),
        ("answers:\n  yes: ['']\n  no: [N]\n", "2:9: answers.yes.0", "an answer is empty"),
        ("question: null\n", "1:1: question", "a text is needed"),
        ("template: {add_generation_prompt: false}\n", "1:12: template.add", "set by audit itself"),
        ("template: {tokenize: true}\n", "1:12: template.tokenize", "set by audit itself"),
        ("template: [a]\n", "1:1: template", "keys with values are needed"),
        ("threshold: 0.4\n", "1:1: threshold", "of a matcher, and this model talks"),
        ("generic: ' '\n", "1:1: generic", "the question is empty but for white space"),
        ("genric: What?\n", "1:1: genric", "did you mean 'generic'?"),
        ("system: &a [*a]\n", "1:", "aliases expand without end"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, written: str, line: str, message: str
) -> None:
    path = tmp_path / "asking.yaml"
    path.write_text(written)
    with pytest.raises(ModelError) as refused:
        read_asking(path)
    assert f"{path}:{line}" in str(refused.value)
    assert message in str(refused.value)


def test_the_keys_of_a_matchers_file_are_known() -> None:
    assert set(Matching.model_fields) == _OF_MATCHERS


def test_a_chat_models_file_is_refused_for_a_matcher(tmp_path: Path) -> None:
    path = tmp_path / "asking.yaml"
    path.write_text("question: '{text}?'\n")
    with pytest.raises(ModelError, match=r":1:1: question: .*a model that talks, and .* matcher"):
        read_matching(path)


def test_what_is_no_path_is_refused_as_such() -> None:
    with pytest.raises(ModelError, match="path of an asking file, and a dict is no path"):
        read_asking({"question": "{text}"})  # type: ignore[arg-type]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"asking\.yaml: cannot be read: No such file"):
        read_asking(tmp_path / "asking.yaml")


def test_the_digest_is_of_what_is_said_and_not_of_how_it_is_written(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("answers: {yes: [Yes], no: [No]}\n")
    other.write_text("# a remark\nanswers:\n  yes:\n  - 'Yes'\n  no: [\"No\"]\n")
    assert read_asking(one).digest == read_asking(other).digest != DEFAULT.digest
    assert Asking(system="a").digest != DEFAULT.digest


def test_the_usual_generic_question_is_not_in_the_digest_and_another_one_is() -> None:
    before = DEFAULT.model_dump(mode="json", exclude={"generic"})
    assert DEFAULT.digest == digest(json.dumps(before, ensure_ascii=False))
    assert Asking(generic="What is here?").digest != DEFAULT.digest


def test_masses_of_answers_are_summed_and_divided() -> None:
    found = said({"yes": [math.log(0.5), math.log(0.1)], "no": [math.log(0.2)]})
    assert found.probabilities == pytest.approx({"yes": 0.75, "no": 0.25})
    assert found.unsaid == pytest.approx(0.2)


@given(LOGS, LOGS)
def test_probabilities_sum_to_one_however_little_is_said(yes: list[float], no: list[float]) -> None:
    found = said({"yes": yes, "no": no})
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert 0 <= found.unsaid <= 1
    total = sum(map(math.exp, [*yes, *no]))
    assert found.unsaid == pytest.approx(max(1 - total, 0), abs=1e-12)


def test_answers_that_cannot_be_said_leave_the_order_of_the_others() -> None:
    found = said({"yes": [-1000.0, -math.inf], "no": [-1001.0]})
    assert found.probabilities["yes"] == pytest.approx(1 / (1 + math.exp(-1)))
    assert found.unsaid == 1


@pytest.mark.parametrize("log", [math.nan, -math.inf])
def test_what_is_no_number_is_refused(log: float) -> None:
    with pytest.raises(NotFinite, match="not finite"):
        said({"yes": [log], "no": [log]})
