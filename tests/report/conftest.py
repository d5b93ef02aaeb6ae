"""A gallery of toy cases, open in a real browser, which tests of several modules share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.gate.runfolder import Run
from audit.report.gallery import write_gallery
from tests.galleries import CASES, EVIL, audited_anew


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Accepted with the attention on one cell, audited with it on another: three cases fail."""
    evil = json.dumps(EVIL)
    cases = CASES.replace("the birds are hungry,", f'{evil[:-1]} hungry",')
    model = {"source": EVIL, "digest": "f" * 64}
    made = audited_anew(tmp_path / "project", cases, model, monkeypatch)
    made.finish({"suite": None})
    return made


@pytest.fixture
def page(browser: Any, run: Run) -> Iterator[Any]:
    """The open gallery; at the end it must have said nothing on the console and asked nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 1600}, accept_downloads=True)
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    path = write_gallery(run)
    opened.goto(path.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.wait_for_selector("article.whole[data-drawn]")
    yield opened
    context.close()
    # The browser's advice about reading pixels is for these tests, not for the page.
    assert [text for text in said if "willReadFrequently" not in text] == []
    assert {u for u in asked if not u.startswith(("data:", "blob:"))} == {path.as_uri()}
