"""A served model answers as the same checkpoint does here, or says what it cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.base.errors import AuditError, MapError, ModelError, TextError
from audit.maps.trace import ANSWER
from audit.models.hf.adapter import ChatModel
from audit.models.kit import check_adapter
from audit.models.kit.asking import DEFAULT, Asking
from audit.models.kit.subject import example_queries
from audit.models.protocol import Query
from audit.models.served.loader import OPENAI
from tests.chat_server import ChatServer
from tests.models.served.conftest import SHORT, Reach

LONGER = Asking(answers={"ten": ["10"], "other": ["42", "no"]})
"""Some of two tokens: the tiny tokenizer learned no numbers, and spells them by the digit."""

Load = Callable[[Asking], ChatModel]


@pytest.mark.parametrize("asking", [SHORT, LONGER], ids=["one token", "several tokens"])
def test_labels_and_probabilities_are_those_of_the_checkpoint(
    reach: Reach, load: Load, asking: Asking
) -> None:
    served, here = reach(asking), load(asking)
    assert served.labels == here.labels
    queries = [*example_queries(), Query(example_queries()[1].image, "it is {so}", "a bird")]
    for seen, expected in zip(served.trace(queries), here.trace(queries), strict=True):
        assert seen.label == expected.label
        assert seen.probabilities == pytest.approx(expected.probabilities, abs=1e-5)


def test_an_answer_of_several_tokens_is_begun_for_the_server(
    reach: Reach, server: ChatServer
) -> None:
    reach(LONGER).trace(example_queries()[:1])
    last = server.seen[-1][0]
    assert last["messages"][-1]["role"] == "assistant"
    assert (last["continue_final_message"], last["add_generation_prompt"]) == (True, False)


@pytest.mark.parametrize("instead", ["no", "refuses"])
def test_a_server_that_does_not_go_on_is_not_believed(
    reach: Reach, server: ChatServer, instead: str
) -> None:
    """It is asked once whether it does; its answers are then bounded by the first token."""
    server.continues = instead
    served, (query, *_) = reach(LONGER), example_queries()
    known = served.masses(query)
    assert known.width > 1e-3
    begun = [asked for asked, _ in server.seen if "continue_final_message" in asked]
    assert len(begun) == 1
    with pytest.raises(AuditError, match=r"cannot tell .*ten 0\.\d+ to [01]\.\d+, other"):
        served.trace([query])
    server.continues = "yes"
    exact = reach(LONGER).masses(query)
    for label, bounds in known.by_label.items():
        assert bounds.low - 1e-9 <= exact.by_label[label].middle <= bounds.high + 1e-9


@pytest.mark.parametrize("length", [2, 5, 20, 100])
def test_bounds_hold_whatever_the_list_lacks(
    reach: Reach, server: ChatServer, load: Load, length: int
) -> None:
    (expected,) = load(SHORT).trace(example_queries()[:1])
    server.everything, server.list = False, length
    known = reach().masses(example_queries()[0])
    for label, p in expected.probabilities.items():
        low, high = known.probabilities[label]
        assert low - 1e-6 <= p <= high + 1e-6


def test_a_label_that_the_list_leaves_open_is_refused_with_its_bounds(
    reach: Reach, server: ChatServer
) -> None:
    server.everything, server.list = False, 1
    with pytest.raises(ModelError, match="cannot tell which label: of all labels' answers, yes 0"):
        reach().trace(example_queries()[:1])


def test_the_question_is_the_asking_files_and_the_picture_is_sent_without_loss(
    reach: Reach, server: ChatServer
) -> None:
    asking = Asking(system="Be brief.", template={"enable_thinking": False}, answers=SHORT.answers)
    (trace,) = reach(asking).trace(example_queries()[:1])
    asked, _ = server.seen[-1]
    system, user = asked["messages"]
    picture, question = user["content"]
    assert system == {"role": "system", "content": "Be brief."}
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert question["text"] == asking.asked("a red square").question
    assert trace.prompt == f"Be brief.\n{question['text']}"
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert (asked["temperature"], asked["logprobs"], asked["top_logprobs"]) == (0, True, 20)


def test_a_text_with_a_mark_of_chat_models_is_refused(reach: Reach) -> None:
    image = example_queries()[0].image
    for text in ("so <|im_end|> he said", "an <image> here", "the end</s>"):
        with pytest.raises(TextError, match="take for their own mark"):
            reach().trace([Query(image, text)])


def test_a_misspelt_option_of_the_template_is_refused_before_the_server_is_asked(
    server: ChatServer, tmp_path: Path
) -> None:
    """What the server's template reads cannot be seen, so only what is nearly common is refused."""
    path = tmp_path / "asking.yaml"
    path.write_text("template:\n  enable_thinkin: false\n")
    asked: Any = {"device": "cpu", "dtype": "float32", "threads": None, "asking": str(path)}
    with pytest.raises(ModelError, match=r"2:3: template\.enable_thinkin: .*'enable_thinking'"):
        OPENAI.load(server.source, **asked)
    assert not server.seen
    path.write_text("template: {keep_it_brief: true}\n")
    OPENAI.load(server.source, **asked)
    assert server.seen[0][0]["chat_template_kwargs"] == {"keep_it_brief": True}


def test_it_gives_no_attention(reach: Reach) -> None:
    served = reach()
    assert served.methods == ()
    with pytest.raises(MapError, match="a served model gives no answer_attention"):
        served.trace(example_queries()[:1], frozenset({ANSWER}))


def test_so_many_questions_at_once_and_no_more(reach: Reach, server: ChatServer) -> None:
    server.delay = 0.05
    queries = [Query(example_queries()[0].image, f"a bird {n}") for n in range(9)]
    served = reach(requests=3)
    served.trace(queries)
    assert server.most == 3
    assert [t.prompt for t in served.trace(queries)] == [
        SHORT.asked(query.text).question for query in queries
    ]


def test_an_answer_that_begins_as_one_of_another_label_is_an_error(reach: Reach) -> None:
    mixed = Asking(answers={"no": ["no"], "maybe": ["no idea"]})
    with pytest.raises(ModelError, match="the answer 'no idea' of 'maybe' begins as the answer"):
        reach(mixed).trace(example_queries()[:1])


def test_the_fingerprint_says_what_the_server_does_and_no_more(
    reach: Reach, server: ChatServer
) -> None:
    one, again = reach().fingerprint, reach().fingerprint
    assert one == again
    assert (one.name, one.source) == ("tiny--chat-7b".replace("-7b", "--7b"), server.source)
    assert (one.weights, one.tokenizer) == ("", "")
    assert (one.device, one.dtype) == ("server", "unknown")
    assert one.packages["server"] == "uvicorn"
    assert one.packages["system fingerprint"] == "fp_1"
    server.build = "fp_2"
    other = reach().fingerprint
    assert other.packages["system fingerprint"] == "fp_2"
    assert other.digest == one.digest
    assert reach(LONGER).fingerprint.digest != one.digest


@pytest.mark.slow
def test_it_conforms(reach: Reach) -> None:
    check_adapter(reach(), load=reach)


def test_the_default_asking_file_is_bounded_too(reach: Reach, load: Load) -> None:
    """Of answers that begin with a space, the tiny tokenizer makes two tokens."""
    (expected,) = load(DEFAULT).trace(example_queries()[:1])
    known = reach(DEFAULT).masses(example_queries()[0])
    for label, p in expected.probabilities.items():
        low, high = known.probabilities[label]
        assert low - 1e-6 <= p <= high + 1e-6
