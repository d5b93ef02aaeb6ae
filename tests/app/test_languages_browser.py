"""``audit serve`` in a browser that asks for Chinese: asked, drawn on, saved, misused."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.app.test_app_browser import BIRDS, ROOT, ask, choose, drag, pick, refused, upload

pytestmark = pytest.mark.slow

HAN = re.compile("[\u3400-\u9fff]")
ENGLISH = re.compile(
    r"\b(the|a|of|is|and|or|with|your|you|to|not|must|upload|drag|here)\b", re.IGNORECASE
)

CHOICES = "#example, #model, #colours, #yaml, code, .said, [lang=en]"
"""Where names and texts of cases stand, which are in the author's language."""

GRADIOS = ("Click to upload or drop files",)
"""What gradio itself says in no other language: the name of a button for screen readers."""

VISIBLE = """kept => {
  const shown = [...document.querySelectorAll("body *")].filter(e => e.checkVisibility()
    && !e.closest(kept) && !e.closest("script, style"));
  const own = e => [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent);
  const said = e => ["placeholder", "aria-label", "title", "alt"].map(n => e.getAttribute(n) || "");
  return shown.flatMap(e => [...own(e), ...said(e)]).map(s => s.trim()).filter(s => s);
}"""


@contextmanager
def served(*options: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "audit", "serve", f"--port={port}", "--device=cpu", *options],
        cwd=ROOT, text=True, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("page: ").strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as at:
        yield at


Opened = Callable[..., Any]


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    """Opens the page as a browser of some language."""
    contexts = []

    def open_page(at: str, locale: str, width: int = 1240) -> Any:
        context = browser.new_context(locale=locale, viewport={"width": width, "height": 1400})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(at)
        page.wait_for_selector("#ask")
        return page

    yield open_page
    for context in contexts:
        context.close()


def in_english(page: Any) -> list[str]:
    """What is in English; names of files have no spaces."""
    said = [each for each in page.evaluate(VISIBLE, CHOICES) if " " in each]
    return [each for each in said if ENGLISH.search(each) and each not in GRADIOS]


def test_all_that_a_reader_of_chinese_sees_is_chinese(address: str, opened: Opened) -> None:
    page = opened(address, "zh-CN")
    assert page.get_attribute("html", "lang") == "zh-CN"
    assert page.inner_text("#ask") == "提问"
    assert in_english(page) == []
    assert refused(page) == "还没有图片：请上传一张，或选一个例子"
    pick(page, "two-birds-on-a-branch:")
    said, _ = ask(page)
    assert "reference，answer_attention，12 × 12 单元" in said
    drag(page, (0.5, 0.0, 0.75, 0.25))
    assert page.input_value(".boxes li:last-child input") == "区域 1"
    page.fill("#case-id input, #case-id textarea", "my birds")
    page.click("#save")
    page.wait_for_selector("#case-notice [role=alert]")
    assert page.inner_text("#case-notice").startswith("id: id 由英文字母、数字")
    page.fill("#case-id input, #case-id textarea", "my-birds")
    page.click("#save")
    page.wait_for_selector("#yaml .cm-content")
    assert "区域 1" in page.inner_text("#yaml")
    assert "cases/my-birds.yaml" in page.inner_text("#case-notice")
    assert in_english(page) == []
    choose(page, "method", "rollout")
    page.wait_for_function("document.querySelector('#more').innerText.includes('start_layer')")
    assert in_english(page) == []


def test_two_visitors_of_one_page_have_each_their_language(address: str, opened: Opened) -> None:
    english, chinese = opened(address, "en-US"), opened(address, "zh-CN")
    assert (english.inner_text("#ask"), chinese.inner_text("#ask")) == ("Ask", "提问")
    assert refused(english) == "there is no picture yet: upload one or pick an example"
    assert refused(chinese) == "还没有图片：请上传一张，或选一个例子"
    for page in (english, chinese):
        upload(page, BIRDS)
        page.wait_for_selector(".stage img[src^=data]")
    assert not HAN.search(" ".join(english.evaluate(VISIBLE, CHOICES)))
    assert english.get_attribute("html", "lang") == "en"


@pytest.mark.parametrize(("locale", "language"), [("fr-FR", "en"), ("zh-TW", "zh-CN")])
def test_another_browser_gets_the_nearest_of_both_as_a_whole(
    address: str, opened: Opened, locale: str, language: str
) -> None:
    page = opened(address, locale)
    assert page.get_attribute("html", "lang") == language
    shown = " ".join(page.evaluate(VISIBLE, CHOICES))
    assert "Déposez" not in shown
    assert bool(HAN.search(shown)) is (language == "zh-CN")


def test_one_language_for_all_holds_for_gradios_own_words_too(opened: Opened) -> None:
    with served("--language=zh") as at:
        page = opened(at, "en-US")
        assert page.inner_text("#ask") == "提问"
        assert in_english(page) == []
        assert refused(page).startswith("还没有图片")


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_a_phone_needs_no_sideways_scrolling(address: str, opened: Opened, locale: str) -> None:
    page = opened(address, locale, width=390)
    pick(page, "two-birds-on-a-branch:")
    ask(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
