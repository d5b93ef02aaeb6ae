"""What a set of cases has is counted, and the page says what it cannot see for the lack of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit import load_model
from audit.cases.loading import Case, load_cases
from audit.report.power_page import write_page
from audit.studies.power import harmless
from audit.studies.power.copies import copy_cases
from audit.studies.power.planted import all_changes
from audit.studies.power.sight import facts_of
from tests.checkpoints import make_checkpoint

CASES = """\
x-unused: [1]
defaults: {tags: [all]}
cases:
  - {id: plain, image: square.png, text: there are two birds, expect: {label: yes}}
  - {id: typed, image: ../wide.png, text: "...Two birds, not 3 cats", expect: {label: no}}
  - {id: turned, image: turned.jpg, premise: birds, text: two birds, expect: {label: yes}}
  - {id: cut, image: square.png, text: two birds, truncate: true, expect: {label: yes}}
"""


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """A square grey picture, a wide one in colours, and a turned JPEG."""
    folder = tmp_path / "project"
    folder.mkdir()
    noise = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise[:, :200, 0]).save(folder / "square.png")
    Image.fromarray(noise).save(tmp_path / "wide.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise[:100]).save(folder / "turned.jpg", exif=exif)
    (folder / "some.yaml").write_text(CASES)
    return load_cases(folder / "some.yaml")


def test_what_cases_have_is_counted(cases: list[Case]) -> None:
    assert {fact.name: fact.cases for fact in facts_of(cases)} == {
        "premise": 1, "oblong": 2, "turned": 1, "jpeg": 1, "lossless": 3, "colours": 2, "grey": 2,
        "small": 1, "large": 0, "capitals": 1, "digits": 1, "punctuation": 1, "removed": 1,
        "long": 1, "cut": 1,
    }  # fmt: skip


def test_every_fact_that_a_change_depends_on_is_counted(cases: list[Case], tmp_path: Path) -> None:
    known = {fact.name for fact in facts_of(cases)}
    model: Any = load_model(str(make_checkpoint(tmp_path / "tiny")), device="cpu")
    changes = all_changes(model.alterations)
    assert {name for change in changes for name in change.depends} <= known


REDRAWN = [
    c for c in harmless.harmless() if c.setting.session and "-n" not in c.setting.session.arguments
]


@pytest.mark.parametrize("change", REDRAWN, ids=lambda change: change.id)
def test_cases_that_are_copied_with_their_pictures_are_the_same_cases(
    cases: list[Case], tmp_path: Path, change: Any
) -> None:
    (path,) = copy_cases(cases[:3], tmp_path / "copy", change.setting.session.redraw)
    copies = load_cases(path)
    assert [case.id for case in copies] == ["plain", "typed", "turned"]
    assert [case.digest for case in copies] == [case.digest for case in cases[:3]]
    assert [case.tags for case in copies] == [("all",)] * 3
    assert not {case.image.name for case in copies} & {case.image.name for case in cases}
    same = [a.file_digest == b.file_digest for a, b in zip(copies, cases, strict=False)]
    assert same == [change.setting.session.redraw is None] * 3


def result(name: str, measurable: bool, **more: Any) -> dict[str, Any]:
    return {
        "id": name, "family": "preprocessing", "about": f"the {name}", "measurable": measurable,
        "caught": {"full": measurable, "labels": False, "probabilities": False}, "states": {},
        "wrong_labels": 0, "moved_cases": 0, "suite": False,
        "largest": {"noises": 0.25, "case": "a", "figure": "entropy"}, **more,
    }  # fmt: skip


def test_the_page_says_why_the_cases_do_not_see_a_change(cases: list[Case], tmp_path: Path) -> None:
    facts = [fact._asdict() for fact in facts_of(cases[:1])]
    found = {
        "model": {"name": "reference", "digest": "d" * 64}, "cases": 1, "known": 0, "images": 1,
        "seed": 1,
        "multiple": 2.0, "facts": facts,
        "depends": {"letterbox": ("oblong",), "first": ("long",), "bgr": ("colours",)},
        "changes": [
            result("letterbox", False, touched=0), result("first", False, touched=1),
            result("bgr", True), result("norm", False),
            {"id": "fast", "family": "harmless", "about": "the engine fast", "unfit": True,
             "skipped": "models of its kind have no engine 'fast'"},
        ],
    }  # fmt: skip
    write_page(tmp_path / "power.md", found)
    page = (tmp_path / "power.md").read_text()
    assert page.endswith(
        "Not applicable to this model:\n\n- `fast`, the engine fast: models of its kind have no "
        "engine 'fast'\n"
    )
    assert (
        "- `letterbox`, the letterbox: no case has a picture that is not square; what the network "
        "gets differs in no case; the largest move is 0.25 noise floors." in page
    )
    assert (
        "- `first`, the first: no case has more than four words in a text; what the network gets "
        "differs in 1 case; the largest move is 0.25 noise floors." in page
    )
    assert "- `norm`, the norm: the largest move is 0.25 noise floors." in page
    assert "- `bgr`" not in page
    assert "| a picture that is not square | **none** |" in page
    assert "| a grey picture | 1 |" in page
