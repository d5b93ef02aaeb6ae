"""The page in two languages: who gets which, and that nothing of the other is left in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from audit.app.markup import (
    alert,
    figures,
    head,
    how_to_save,
    verdict,
    waiting,
    where_to_put,
    words_of_boxes,
)
from audit.app.tongue import Tongue, language, language_of, marked_up, spoken, told
from audit.base.languages import LANGUAGES, Choice
from audit.maps.methods import METHODS
from tests.app.test_app import desk, picture, question

HAN = re.compile("[\u3400-\u9fff]")
ENGLISH = re.compile(r"\b(the|a|of|is|and|or|with|your|you|on|to|not|must|answer|picture)\b")
"""Words that no name, key or choice on the page is, and hardly any English sentence lacks."""


@pytest.mark.parametrize(
    ("choice", "header", "expected"),
    [
        ("auto", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("auto", "zh", "zh"),
        ("auto", "en-US,en;q=0.9,zh;q=0.1", "en"),
        ("auto", "fr-FR", "en"),
        ("auto", None, "en"),
        ("zh", "en", "zh"),
        ("en", "zh-CN", "en"),
    ],
)
def test_the_browser_is_asked_unless_one_language_is_for_all(
    choice: Choice, header: str | None, expected: str
) -> None:
    assert language_of(choice, header) == expected


PAGE = (
    '<!doctype html>\n<html\n\tlang="en"\n\tstyle="x"\n>\n\t<head>\n<meta></head><body lang="en">'
)


def asked(choice: Choice, path: str, header: str) -> tuple[dict[str, str], str]:
    """What a small application answers behind the middleware."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        body = PAGE + language()
        await HTMLResponse(body)(scope, receive, send)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http", "method": "GET", "path": path,
        "headers": [(b"accept-language", header.encode())],
    }  # fmt: skip
    assert Request(scope)
    asyncio.run(Tongue(application, choice)(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return headers, b"".join(each.get("body", b"") for each in sent[1:]).decode()


@pytest.mark.parametrize(("header", "tag"), [("zh-CN,zh", "zh-CN"), ("de,en", "en")])
def test_the_markup_says_which_language_the_page_has(header: str, tag: str) -> None:
    headers, body = asked("auto", "/", header)
    assert f'<html\n\tlang="{tag}"' in body
    assert body.endswith(tag[:2])
    assert f'get: () => "{tag}"' in body  # gradio's own words follow it
    assert headers["content-language"] == tag
    assert headers["vary"] == "accept-language"
    assert int(headers["content-length"]) == len(body.encode())


def test_other_answers_pass_as_they_are_in_the_language_of_the_request() -> None:
    _, body = asked("auto", "/config", "zh")
    assert body == f"{PAGE}zh"
    assert language() == "en"


def test_a_page_that_looks_otherwise_stays_as_it_is() -> None:
    assert marked_up(b"<p>none</p>", "zh") == b"<p>none</p>"


def texts() -> Iterator[str]:
    """What the page's own HTML says, without markup."""
    for html in (head(), waiting(), how_to_save(), *words_of_boxes().values()):
        yield re.sub(r"<[^>]*>|audit|\{\w+\}|Shift|Delete", " ", html)


def test_no_text_of_the_markup_is_left_in_the_other_language() -> None:
    with spoken("zh"):
        assert [text for text in texts() if not HAN.search(text) or ENGLISH.search(text)] == []
    assert [text for text in texts() if HAN.search(text)] == []


def test_an_answer_is_shown_in_the_language_of_the_request(tmp_path: Path) -> None:
    answer = desk().ask(question(picture(tmp_path), premise="a garden"))
    with spoken("zh"):
        said = verdict(answer)
        saved = where_to_put(answer.picture, "my-birds")
        measured = figures({"auc": "the region is empty", "mass": 0.5})
    assert "前提是“a garden”" in said
    assert "单元</p>" in said
    assert "“there are two birds”" in said
    assert "<code>cases/my-birds.yaml</code>" in saved
    assert "<code>cases/images/a.png</code>" in saved
    assert "<code>pytest cases -k my-birds</code>" in saved
    assert not ENGLISH.search(re.sub(r"<code>.*?</code>|<[^>]*>", " ", saved))
    assert "无定义：" in measured
    assert "given the premise “a garden”" in verdict(answer)


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("there is no picture yet: upload one or pick an example", "还没有图片"),
        ("the hypothesis is empty but for white space", "假设除了空白什么也没有"),
        ("the hypothesis has 2,001 characters, more than 2,000", "假设有 2,001 个字符"),
        ("notes.png: not a picture, or damaged (supported: PNG)", "notes.png：不是图片，或已损坏"),
        ("id: an id has letters, digits, '.', '_' and '-', and begins with a letter or digit",
         "id: id 由英文字母"),
        ("box 2 has no name: say what it shows", "第 2 个框没有名称"),
        ("layers: 'x' is not a choice of layers: all, last, last:N, or a list of numbers",
         "layers: 层不能写 'x'"),
        ("'temprature=1' is not key=value of a map; did you mean 'temperature'?",
         "'temprature=1' 不是注意力图的 key=value；是不是想写 'temperature'？"),
        ("layer 9 was asked for, but the model has 3", "要的是第 9 层，而模型只有 3 层"),
        ("occlusion with window=1 stride=1 asks the model about 900 pictures of 30 x 30 cells, "
         "more than the 300 that this page allows; window=4 stride=2 fits",
         "要问模型 900 张 30 × 30 单元的图片，超过本页允许的 300 张；window=4 stride=2 可以"),
    ],
)  # fmt: skip
def test_messages_are_told_in_the_language_of_the_request(english: str, chinese: str) -> None:
    assert told(english) == english
    with spoken("zh"):
        assert chinese in told(english)
    assert told(english) == english


def test_a_message_that_is_not_known_stays_and_is_escaped() -> None:
    with spoken("zh"):
        assert alert(told("<b>: what else")) == (
            '<p class="alert" role="alert">&lt;b&gt;: what else</p>'
        )


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("gradio")
    from audit.app.page import build

    return build(desk(), [], tmp_path_factory.mktemp("page"))


def strings(value: Any) -> Iterator[str]:
    """What a visitor reads of a part of the page: values of choices and identifiers are not."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, (list, tuple)):
        pair = len(value) == 2 and all(isinstance(each, str) for each in value)
        for each in value[:1] if pair else value:
            yield from strings(each)


def read_by_visitors(blocks: Any) -> list[str]:
    found = []
    for part in blocks.config["components"]:
        props = part["props"]
        for key in ("label", "placeholder", "info", "value", "choices", "words"):
            found += strings(props.get(key))
    return [re.sub(r"<[^>]*>", " ", text) for text in found]


@pytest.mark.slow
def test_both_pages_have_the_same_parts_and_events(blocks: Any) -> None:
    pages = []
    for each in LANGUAGES:
        with spoken(each):
            pages.append([(part["id"], part["type"]) for part in blocks.config["components"]])
    assert pages[0] == pages[1]
    assert len(pages[0]) > 30


def test_no_sentence_of_the_page_is_in_the_other_language(blocks: Any) -> None:
    with spoken("en"):
        assert [text for text in read_by_visitors(blocks) if HAN.search(text)] == []
    with spoken("zh"):
        chinese = read_by_visitors(blocks)
    assert [text for text in chinese if ENGLISH.search(text)] == []
    for name in METHODS:
        assert any(text.startswith(f"{name}：") for text in chinese)
    named = [text for text in chinese if not HAN.search(text)]
    # Names: models, colours, keys of a map, the key of a case.
    assert {text for text in named if " " in text} <= {"temperature=0.5 smooth=1"}
