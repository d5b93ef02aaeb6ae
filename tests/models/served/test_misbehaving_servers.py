"""Whatever a server does: it is asked again where that may help, or the error says what it did."""

from __future__ import annotations

import logging
import time
from email.utils import formatdate

import pytest

from audit.base.errors import ModelError, Unavailable
from audit.models.kit.subject import example_queries
from audit.models.served.address import key_for, parsed
from audit.models.served.wire import Limits
from tests.chat_server import (
    KEY,
    ChatServer,
    Fault,
    changed,
    cut,
    huge,
    late,
    with_status,
    with_text,
)
from tests.models.served.conftest import Reach

QUERY = example_queries()[:1]


def first(answer: dict) -> dict:
    return answer["choices"][0]["logprobs"]["content"][0]


@pytest.mark.parametrize(
    "faults",
    [
        [with_status(429, "slow down", retry_after="0")],
        [with_status(503)] * 2 + [with_status(500)],
        [cut],
        [with_status(429, "", retry_after=formatdate(time.time() - 9, usegmt=True))],
        [with_status(502, "", retry_after="soon")],
    ],
    ids=["busy", "broken thrice", "cut", "busy until a date", "odd Retry-After"],
)
def test_what_passes_is_asked_again(reach: Reach, server: ChatServer, faults: list[Fault]) -> None:
    served = reach()
    (expected,) = served.trace(QUERY)
    server.faults = list(faults)
    server.seen.clear()
    (found,) = served.trace(QUERY)
    assert found == expected
    assert len(server.seen) == len(faults) + 1


def test_a_server_that_asks_for_a_pause_gets_it(reach: Reach, server: ChatServer) -> None:
    served = reach()
    server.faults = [with_status(429, retry_after="0.5")]
    started = time.monotonic()
    served.trace(QUERY)
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (with_status(500, "out of memory"),
         r"/v1/chat/completions: the server answers 500: out of memory, and so it did at each"),
        (with_status(429, "quota", retry_after="3600"),
         r"answers 429: quota and asks to be left alone for 3600 s$"),
        (cut, r"does not answer \(RemoteProtocolError.*\), and so it did at each of 4 tries"),
    ],
    ids=["broken", "an hour", "always cut"],
)  # fmt: skip
def test_what_does_not_pass_is_an_error_of_the_model_and_not_of_the_case(
    reach: Reach, server: ChatServer, fault: Fault, said: str
) -> None:
    served = reach()
    server.always = fault
    with pytest.raises(Unavailable, match=said):
        served.trace(QUERY)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (with_text('{"choices": ['), r"gives no JSON: Expecting value: line 1"),
        (with_text("<html>hello</html>", "text/html"), r"gives no JSON: Expecting value"),
        (with_text(b'{"choices": "\xff"}'), r"gives no JSON: 'utf-8' codec"),
        (with_text("[" * 100_000), r"gives no JSON: nested too deeply"),
        (changed(lambda a: first(a)["top_logprobs"][2].update(logprob=float("nan"))),
         r"gives no JSON: NaN is not a number"),
        (changed(lambda a: first(a)["top_logprobs"][2].update(logprob=0.7)),
         r"no proper answer: choices\.0\.logprobs\.content\.0\.top_logprobs\.2\.logprob: .*less"),
        (changed(lambda a: first(a)["top_logprobs"][0].update(logprob="-1")),
         r"no proper answer: choices\.0\.logprobs\.content\.0\.top_logprobs\.0\.logprob: .*number"),
        (changed(lambda a: first(a).update(top_logprobs=first(a)["top_logprobs"][:1] * 40)),
         r"gives log-probabilities whose probabilities sum to "),
        (changed(lambda a: a["choices"][0].update(logprobs=None)),
         r"gives an answer without log-probabilities \(choices\.0\.logprobs\), which are needed"),
        (changed(lambda a: a["choices"][0].pop("logprobs")), r"answer without log-probabilities"),
        (changed(lambda a: a["choices"][0]["logprobs"].update(content=None)),
         r"an answer without log-probabilities"),
        (changed(lambda a: first(a).update(top_logprobs=[])),
         r"no proper answer: choices\.0\.logprobs\.content\.0\.top_logprobs: List should have at "),
        (changed(lambda a: a["choices"].clear()), r"no proper answer: choices: List should have"),
        (changed(lambda a: a["choices"].append(a["choices"][0])), r"no proper answer: choices: "),
        (with_status(400, "logprobs is not supported"),
         r"the server gives no log-probabilities \(400: logprobs is not supported\)"),
        (with_status(400, "Unrecognized argument: chat_template_kwargs"),
         r"write template: \{\} in the asking file"),
        (with_status(413, "too large"), r"413: too large; the picture is sent as it is"),
        (with_status(404, "no model"), r"has nothing there \(404: no model\)$"),
        (with_status(307, location="http://elsewhere.example/v1"),
         r"redirects to 'http://elsewhere\.example/v1', which is not followed; give that URL"),
        (huge, r"says more than 4,194,304 bytes"),
    ],
)  # fmt: skip
def test_what_no_server_should_say_is_refused_with_url_and_key(
    reach: Reach, server: ChatServer, fault: Fault, said: str
) -> None:
    served = reach()
    server.always = fault
    with pytest.raises(ModelError, match=said) as raised:
        served.trace(QUERY)
    assert str(raised.value).startswith(f"{server.url}/chat/completions: the server ")
    assert "\n" not in str(raised.value)
    server.always = None
    served.trace(QUERY)  # nothing is left of it


def test_a_server_that_answers_with_another_model_than_before_is_refused(
    reach: Reach, server: ChatServer
) -> None:
    served = reach()
    served.trace(QUERY)
    server.always = changed(lambda answer: answer.update(model="another"))
    with pytest.raises(ModelError, match=r"with the model 'another', and answered with '[^']+'"):
        served.trace(QUERY)


def test_a_server_without_log_probabilities_is_refused_when_it_is_loaded(
    reach: Reach, server: ChatServer
) -> None:
    server.always = changed(lambda answer: answer["choices"][0].update(logprobs=None))
    with pytest.raises(ModelError, match="it must support logprobs and top_logprobs"):
        reach()


@pytest.mark.slow
def test_a_slow_server_is_not_waited_for_without_end(reach: Reach, server: ChatServer) -> None:
    served = reach(limits=Limits(tries=2, pause=0.01, answer=1.0))
    server.always = late(0.01)  # each character is in time, and the answer never is
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"ReadTimeout: not done after 1 s"):
        served.trace(QUERY)
    assert time.monotonic() - started < 30


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    from audit.models.served.adapter import ServedModel

    address = parsed("openai:http://127.0.0.1:9/v1#m")
    with pytest.raises(Unavailable, match=r"^http://127\.0\.0\.1:9/v1/models: the server does not"):
        ServedModel(address, key_for(address), limits=Limits(tries=2, pause=0.01))


def test_a_model_that_the_server_has_not_is_told_with_the_nearest(
    reach: Reach, server: ChatServer
) -> None:
    server.name = "tiny/chat:8b"
    with pytest.raises(ModelError, match=r"no model 'tiny/chat:7b'; did you mean 'tiny/chat:8b'"):
        reach()


def test_the_key_comes_from_the_variable_and_shows_nowhere(
    reach: Reach,
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.needs_key = True
    with pytest.raises(ModelError, match="refuses a question without a key"):
        reach()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    served = reach()
    assert server.seen[-1][1]["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("OTHER_KEY", "sk-wrong")
    with pytest.raises(ModelError, match=r"the key in OTHER_KEY \(401: bad key …\)") as raised:
        reach(key="OTHER_KEY")
    assert "sk-wrong" not in str(raised.value)
    served.trace(QUERY)
    server.always = with_status(400, f"what is {KEY}?")
    with pytest.raises(ModelError, match="what is …") as raised:
        served.trace(QUERY)
    for text in (str(served.fingerprint), repr(served._wire._key), caplog.text):
        assert KEY not in text


def test_half_a_key_is_told_no_more_than_a_whole_one(
    reach: Reach, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server says is cut to 300 characters, here in the middle of the key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    served = reach()
    half = KEY[: len(KEY) // 2]
    begin = "http://elsewhere.example/".ljust(300 - len(half), "-")
    server.always = with_status(308, location=begin + KEY)
    with pytest.raises(ModelError, match="not followed") as raised:
        served.trace(QUERY)
    assert "---" in str(raised.value)
    assert half not in str(raised.value)


def test_the_key_goes_to_no_other_host(
    reach: Reach, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect is not followed, even to the same server; and what others could read has none."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    served = reach()
    server.always = with_status(308, location=f"{server.url}/elsewhere")
    with pytest.raises(ModelError, match="not followed"):
        served.trace(QUERY)
    # What cannot be read on the way may have it.
    plain = parsed("openai:http://models.example/v1#m")
    assert not key_for(plain)
    assert key_for(plain, "OPENAI_API_KEY")  # it was named for this server
    assert key_for(parsed("openai:https://models.example/v1#m"))
    assert key_for(parsed("openai:http://[::1]:8000/v1#m"))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("sk-abc", "", "takes the name of an environment variable"),
        ("NOT_SET", "", "the environment variable NOT_SET, which is to hold the key, is not set"),
        ("ODD", "sk-é", "the environment variable ODD holds no key"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_without_telling_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    if value:
        monkeypatch.setenv(variable, value)
    with pytest.raises(ModelError, match=said) as raised:
        key_for(parsed("openai:https://models.example/v1#m"), variable)
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("openai:http://host/v1", "name a model of the server behind the URL: openai:URL#MODEL"),
        ("openai:http://host/v1#", "name a model"),
        ("openai:host/v1#m", "must begin with http:// or https://"),
        ("openai:ftp://host/v1#m", "must begin with http:// or https://"),
        ("openai:http://me:secret@host/v1#m", "a URL has no user or password here"),
        ("openai:http://host/v1?key=secret#m", "no query"),
        ("openai:http://host:port/v1#m", "this is not a URL"),
    ],
)
def test_an_address_of_another_form_is_refused(source: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as raised:
        parsed(source)
    assert "secret" not in str(raised.value)


def test_a_model_may_have_any_name() -> None:
    found = parsed("openai:https://host/v1/#org/name:7b@main")
    assert (found.url, found.model) == ("https://host/v1", "org/name:7b@main")
    assert found.name == "org--name--7b--main"
