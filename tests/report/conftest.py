"""A gallery of toy cases, open in a real browser, which tests of several modules share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit.cases.loading import load_cases
from audit.gate import baselines
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from audit.report.gallery import write_gallery
from tests.galleries import CASES, EVIL
from tests.projects import stored_in
from tests.toy_model import ToyModel


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Accepted with the attention on one cell, audited with it on another: three cases fail."""
    folder = tmp_path / "project"
    (folder / "cases" / "images").mkdir(parents=True)
    ramp = np.zeros((120, 160, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 160)
    for name in ("a", "b"):
        Image.fromarray(ramp).save(folder / "cases" / "images" / f"{name}.png")
    path = folder / "cases" / "all.yaml"
    evil = json.dumps(EVIL)
    path.write_text(CASES.replace("the birds are hungry,", f'{evil[:-1]} hungry",'))
    monkeypatch.chdir(folder)
    cases, accepted = load_cases(Path("cases/all.yaml")), Path("baselines")
    first = Run(folder / "first")
    stored_in(first, cases, ToyModel(), Policy(accepted, "all"))
    baselines.promote(first.proposals, accepted)
    monkeypatch.setenv("TOY_CELL", "0")
    monkeypatch.setenv("TOY_LEAN", "0.1")
    made = Run(folder / "run")
    model = {"source": EVIL, "digest": "f" * 64}
    made.start({"id": "run-1", "model": model, "started": "now", "baselines": "baselines"})
    stored_in(made, cases, ToyModel(), Policy(accepted))
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
