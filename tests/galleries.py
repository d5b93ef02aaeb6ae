"""What tests of the gallery in a browser share: its toy cases, and what is seen of them."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit.cases.loading import load_cases
from audit.gate import baselines
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from tests.projects import stored_in
from tests.toy_model import ToyModel

EVIL = "<script>document.title='owned'</script> \"quoted\" \u202eright to left ünïcode"

CASES = """\
cases:
  - {id: birds, image: images/a.png, text: there are two birds, tags: [guide],
     regions: {birds: [[0.25, 0.25, 0.5, 0.5]]},
     expect: {label: yes, attention: [{metric: mass, region: birds, min: 0.5}]}}
  - {id: more-birds, image: images/a.png, text: there are birds,
     regions: {birds: [[0.25, 0.25, 0.5, 0.5]]}, expect: {label: yes}}
  - {id: hungry, image: images/b.png, text: the birds are hungry, expect: {label: maybe}}
  - {id: no-cat, image: images/a.png, text: a cat is sleeping, tags: [guide],
     expect: {label: no}}
"""


def audited_anew(
    folder: Path, cases: str, model: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """A run of cases that were accepted with the attention on one cell, and now have it on another.

    It is not finished yet, and the project's folder is the current one.
    """
    (folder / "cases" / "images").mkdir(parents=True)
    ramp = np.zeros((120, 160, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 160)
    for name in ("a", "b"):
        Image.fromarray(ramp).save(folder / "cases" / "images" / f"{name}.png")
    (folder / "cases" / "all.yaml").write_text(cases)
    monkeypatch.chdir(folder)
    loaded, accepted = load_cases(Path("cases/all.yaml")), Path("baselines")
    first = Run(folder / "first")
    stored_in(first, loaded, ToyModel(), Policy(accepted, "all"))
    baselines.promote(first.proposals, accepted)
    monkeypatch.setenv("TOY_CELL", "0")
    monkeypatch.setenv("TOY_LEAN", "0.1")
    run = Run(folder / "run")
    run.start({"id": "run-1", "model": model, "started": "2026", "baselines": "baselines"})
    stored_in(run, loaded, ToyModel(), Policy(accepted))
    return run


def shown(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "article:not([hidden])", "all => all.filter(a => a.offsetParent).map(a => a.dataset.case)"
    )
    return found


DRAWN = """c => {
  const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height), parts = [];
  for (let at = 0; at < data.length; at += 8192)
    parts.push(String.fromCharCode(...data.subarray(at, at + 8192)));
  return [btoa(parts.join("")), c.width];
}"""
"""A function of the page that gives a canvas as text and its width: numbers take seconds."""


def decoded(drawn: tuple[str, int]) -> np.ndarray:
    """The red, green and blue of what ``DRAWN`` gave, 0 to 255, by row and column."""
    data = np.frombuffer(b64decode(drawn[0]), np.uint8).astype(float)
    return data.reshape(-1, drawn[1], 4)[..., :3]


def pixels(page: Any, selector: str) -> np.ndarray:
    """What is drawn on a canvas."""
    return decoded(page.eval_on_selector(selector, DRAWN))


def panel(case: str, number: int) -> str:
    return f"#case-{case} .view > .strip figure:nth-child({number}) canvas"
