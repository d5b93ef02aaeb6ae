"""Pages without a script in a real browser: light, dark, wide, narrow, and to axe-core."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from audit.base.settings import Limits
from audit.cases.project import project_at
from audit.gate.runfolder import Run
from audit.report.bulk_comparison_page import write_bulk_comparison
from audit.report.comparison_page import write_comparison
from audit.report.evidence_page import write_evidence
from audit.report.history_page import write_history
from audit.report.statement import state_of
from audit.studies.bulk.comparison import Wanted, compare_bulk
from audit.studies.comparison import compare
from audit.studies.sides import side_of_run
from audit.studies.versions import history_of
from tests.accessible import violations
from tests.projects import audited, made
from tests.studies.bulk.test_bulk_comparison import two_folders
from tests.studies.test_comparison import two_runs
from tests.studies.test_history import versions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name: eight runs that crept, a bulk folder that lost labels, two runs, and evidence."""
    root = tmp_path_factory.mktemp("pages")
    crept = history_of(versions(root / "runs", 8, lambda v, _: 0.6 - 0.008 * v), Limits())
    worse = compare_bulk(two_folders(root), Limits(), Wanted(4, 3), root / "work")
    sides = [
        side_of_run(Run(folder), name) for folder, name in zip(two_runs(root), "ab", strict=True)
    ]
    (root / "pytest.ini").write_text("[pytest]\n")
    with chdir(root):
        audited(made(root), Path("run"), Path("baselines"), "all")
        stated = state_of(Run(Path("run")), project_at(), baselines=Path("baselines"))
    return {
        "history": write_history(root / "history.html", crept),
        "bulk": write_bulk_comparison(root / "bulk.html", worse),
        "runs": write_comparison(root / "runs.html", compare(*sides, Limits())),
        "evidence": write_evidence(root / "evidence.html", stated, None),
    }


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["history", "bulk", "runs", "evidence"])
def test_a_page_opens_without_a_word_and_scrolls_in_no_other_direction_than_down(
    browser: Any, pages: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=1
    )
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    for picture in page.query_selector_all("img"):
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("i => i.decode().then(() => i.naturalWidth)") > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert "" not in page.eval_on_selector_all("h1, h2, h3", "all => all.map(e => e.innerText)")
    context.close()
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {pages[name].as_uri()}


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
@pytest.mark.parametrize("name", ["history", "bulk", "runs", "evidence"])
def test_axe_finds_nothing_to_object_to(
    browser: Any, pages: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.goto(pages[name].as_uri())
    found = violations(page)
    context.close()
    assert found == []
