"""The gallery in the language of its reader, or in the one that is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.base.languages import Choice
from audit.base.settings import Limits
from audit.gate.changes import Change
from audit.gate.ending import Ending
from audit.gate.outcomes import State
from audit.gate.runfolder import Run
from audit.gate.suite import judge_suite
from audit.metrics.registry import METRICS
from audit.report.gallery import write_gallery
from tests.galleries import audited_anew
from tests.outcomes import outcome
from tests.pages import words_of

CASES = """\
cases:
  - {id: birds, image: images/a.png, text: there are two birds, tags: [guide], critical: true,
     regions: {birds: [[0.25, 0.25, 0.5, 0.5]], corner: [[0.0, 0.0, 0.25, 0.25]]},
     expect: {label: yes, attention: [{metric: mass, region: birds, min: 0.5},
       {metric: pointing, region: birds, min: 1}, {metric: entropy, min: 0.1, max: 0.9}]},
     variants: [{mirror: true, follows: true, js: 0.05}, {blank: true, label: other}]}
  - {id: more-birds, image: images/a.png, text: there are birds,
     regions: {birds: [[0.25, 0.25, 0.5, 0.5]]}, expect: {label: yes}}
  - {id: hungry, image: images/b.png, text: the birds are hungry, xfail: later,
     expect: {label: no}}
  - {id: no-cat, image: images/a.png, text: a cat is sleeping, premise: two birds, tags: [guide],
     expect: {label: no}}
"""

NAMES = {
    *METRICS, "share", "js", "answer_attention",
    # what cases, labels, tags, regions, files and the model are called
    "birds", "more", "corner", "hungry", "no", "yes", "maybe", "cat", "guide", "slow", "blank",
    "mirror", "variant", "later", "toy", "cpu", "float", "cases", "all", "yaml",
    "json", "baselines",
    "ada", "look",
    # commands, options and keys
    "audit", "accept", "pytest", "RUN", "FILE", "ONE", "OTHER", "decisions", "update", "new", "tag",
    "metric", "region", "min", "max", "viridis", "inferno", "cividis", "jet", "token",
    # people, and terms that have no other name
    "Arras", "Zhang", "Hurley", "Rickard", "Endres", "Schindelin", "Rubner", "Petsiuk", "Jensen",
    "Shannon", "Pointing", "game", "relevance", "accuracy", "ln", "exp",
}  # fmt: skip
"""Words that stay as they are."""

_HAN = re.compile("[\u3400-\u9fff]")


def english(text: str) -> set[str]:
    """The English words of a text that are no names, nor what a case says."""
    return set(re.findall(r"[A-Za-z_]{2,}", re.sub("“.*?”", "", text))) - NAMES


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Accepted with the attention on one cell, audited with it on another, and judged."""
    model = {"source": "toy", "digest": "1" * 64, "device": "cpu", "dtype": "float32"}
    made = audited_anew(tmp_path / "project", CASES, model, monkeypatch)
    partly = replace(
        outcome("corner", State.NEW), view=(0.125, 0.0, 0.875, 1.0), unsaid=0.5, text="two birds",
        sentence="there is no baseline for this case; create it with --audit-update=new",
        regions={}, default_map="answer_attention", metrics={},
    )  # fmt: skip
    made.add(partly, {"answer_attention": np.full((2, 2), 0.25)})
    suite = judge_suite(
        [
            Change(
                f"c{i}", f"p{i}", False, ("yes", "yes"), (True, True),
                {"mass": (-0.04 if i % 3 == 0 else 0.0) + 0.001 * (-1) ** (i // 3)},
                {"mass": 0.02}, "yes" if i % 2 else "no",
                ("slow" if i % 3 == 0 else "guide",), frozenset({"mass"}),
            )
            for i in range(60)
        ],
        Limits(),
    )  # fmt: skip
    ending = Ending(1, 7, 7, 4, ("the suite-level gate failed",), 1)
    rejected = [{"case": "birds", "time": "2026-11-24T00:00", "reviewer": "ada", "reason": "look"}]
    made.finish({"suite": suite.to_dict(), "session": ending.to_dict(), "rejected": rejected})
    return made


def test_the_page_in_chinese_has_no_english_words_even_without_a_script(run: Run) -> None:
    page = write_gallery(run, language="zh").read_text()
    assert '<html lang="zh-CN">' in page
    assert english(words_of(page)) == set()
    said = " ".join(re.findall(r'(?:aria-label|placeholder|title)="([^"]*)"', page))
    assert english(said) == set()


def test_the_page_in_english_has_no_chinese_and_no_switch(run: Run) -> None:
    page = write_gallery(run, language="en").read_text()
    assert '<html lang="en">' in page
    assert _HAN.findall(page) == []
    assert "data-language=" not in page.partition("<script")[0]


def test_a_page_for_any_reader_says_in_english_what_the_english_page_says(run: Run) -> None:
    pages = [write_gallery(run, language=language).read_text() for language in ("auto", "en")]
    said = [" ".join(words_of(page).replace("English\n\n中文", "").split()) for page in pages]
    assert said[0] == said[1]


def test_a_page_for_any_reader_says_each_sentence_once_however_many_cases_say_it(
    tmp_path: Path,
) -> None:
    sizes = {}
    choices: tuple[Choice, ...] = ("en", "auto")
    for number in (10, 110):
        run = Run(tmp_path / f"run{number}")
        run.start({"id": "r", "model": {}, "baselines": ""})
        for case in range(number):
            run.add(outcome(f"case-{case}", State.PASSED), {"m": np.full((2, 2), 0.25)})
        for choice in choices:
            sizes[number, choice] = len(write_gallery(run, language=choice).read_text())
    more = [(sizes[110, choice] - sizes[10, choice]) / 100 for choice in choices]
    # Of a case without a picture and with a small map: one with both is ten times as large.
    assert more[1] - more[0] < 500


_SAID = """() => {
  document.querySelectorAll("details").forEach((d) => { d.open = true; });
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const host = walk.currentNode.parentElement;
    if (host.closest("script, style, noscript, .languages")) continue;
    if (host.closest("option") || host.checkVisibility()) found.push(walk.currentNode.data);
  }
  for (const name of ["aria-label", "placeholder", "title"]) {
    document.querySelectorAll(`[${name}]`).forEach((e) => {
      if (!e.closest(".languages")) found.push(e.getAttribute(name));
    });
  }
  document.querySelectorAll("svg title").forEach((e) => found.push(e.textContent));
  return found.join("\\n");
}"""


def opened(browser: Any, path: Path, locale: str, **more: Any) -> Any:
    context = browser.new_context(locale=locale, viewport={"width": 1280, "height": 1600}, **more)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    page.wait_for_selector("article.whole[data-drawn]")
    return page


def everything(page: Any) -> str:
    """What the page says after each thing that makes it say more."""
    said = []
    for act in (
        lambda: page.click("#case-birds .modes button:nth-child(2)"),
        lambda: page.click("#case-birds .modes button:nth-child(3)"),
        lambda: page.click("#case-birds .modes button:nth-child(4)"),
        lambda: page.click("#case-birds .modes button:nth-child(1)"),
        lambda: page.hover("#case-birds .view > .strip canvas >> nth=1", position={"x": 9, "y": 9}),
        lambda: page.click("#case-birds button[data-decide=accept]"),
        lambda: page.click("#accept-shown"),
        lambda: page.click("#export"),
        lambda: page.focus("#case-birds table a.term >> nth=0"),
    ):
        said.append(page.evaluate(_SAID))
        page.wait_for_timeout(50)
        act()
    page.wait_for_selector("#plots figure")
    said.append(page.evaluate(_SAID))
    page.fill("#reviewer", "ada")
    page.click("#case-more-birds button[data-decide=reject]")
    page.click("#export")
    return "\n".join([*said, page.evaluate(_SAID), page.title()])


@pytest.fixture
def chinese(browser: Any, run: Run) -> Iterator[Any]:
    page = opened(browser, write_gallery(run), "zh-CN")
    yield page
    page.context.close()


@pytest.mark.slow
def test_a_browser_in_chinese_shows_no_english_whatever_is_done(chinese: Any) -> None:
    assert chinese.evaluate("document.documentElement.lang") == "zh-CN"
    said = everything(chinese)
    assert english(said) == set()
    assert "如何评审" in said
    assert "请写明评审人" in said


@pytest.mark.slow
def test_a_browser_in_english_shows_no_chinese_whatever_is_done(browser: Any, run: Run) -> None:
    page = opened(browser, write_gallery(run), "en-US")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert _HAN.findall(everything(page)) == []
    page.context.close()


@pytest.mark.slow
def test_the_script_says_in_chinese_what_the_chinese_page_says(
    browser: Any, chinese: Any, run: Run
) -> None:
    said = chinese.evaluate(_SAID)
    fixed = opened(browser, write_gallery(run, language="zh"), "en-US")
    assert "".join(fixed.evaluate(_SAID).split()) == "".join(said.split())
    assert fixed.title() == chinese.title() == "audit: 7 个用例"
    assert fixed.locator(".languages").count() == 0
    fixed.context.close()


@pytest.mark.slow
def test_the_switch_says_everything_anew_and_is_remembered(browser: Any, run: Run) -> None:
    path = write_gallery(run)
    page = opened(browser, path, "en-US")
    assert page.get_attribute("button[data-language=en]", "aria-pressed") == "true"
    before = page.evaluate(_SAID)
    page.fill("#case-more-birds input[data-reason]", "look")
    page.click("#case-more-birds button[data-decide=reject]")
    page.click("#case-birds .modes button:nth-child(4)")
    page.click("button[data-language=zh]")
    assert page.get_attribute("button[data-language=zh]", "aria-pressed") == "true"
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert english(page.evaluate(_SAID)) == set()
    assert page.input_value("#case-more-birds input[data-reason]") == "look"
    assert page.get_attribute("#case-more-birds", "data-decision") == "reject"
    assert page.locator("#case-birds .view > .strip canvas").count() == 2
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.wait_for_selector("article.whole[data-drawn]")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.click("button[data-language=en]")
    page.click("#forget")
    assert "".join(page.evaluate(_SAID).split()) == "".join(before.split())
    page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("locale", "tag"), [("zh-TW", "zh-CN"), ("zh", "zh-CN"), ("de-DE", "en"), ("en-GB", "en")]
)
def test_the_browser_decides(browser: Any, run: Run, locale: str, tag: str) -> None:
    page = opened(browser, write_gallery(run), locale)
    assert page.evaluate("document.documentElement.lang") == tag
    page.context.close()
