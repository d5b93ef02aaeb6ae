"""The suite's verdict and its slices, told the same in terminal, summary, gallery and results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audit.base.settings import Limits
from audit.gate.changes import Change
from audit.gate.ending import Ending
from audit.gate.outcomes import State
from audit.gate.runfolder import Run
from audit.gate.suite import Suite, judge_suite
from audit.report.gallery import write_gallery
from audit.report.summary import markdown
from audit.report.terminal import closing_lines, failure_text
from tests.outcomes import outcome


def judged(cases: int, fallen: float = 0.0) -> Suite:
    """Every third case is tagged ``<small>``; these fall by so much."""
    return judge_suite(
        [
            Change(
                f"c{i}", f"p{i}", False, ("yes", "yes"), (True, True),
                {"mass": (fallen if i % 3 == 0 else 0.0) + 0.001 * (-1) ** (i // 3)},
                {"mass": 0.02}, "yes" if i % 2 else "no",
                ("<small>" if i % 3 == 0 else "large", f"tag-{i % 11}"), frozenset({"mass"}),
            )
            for i in range(cases)
        ],
        Limits(),
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "run")
    made.start(
        {"model": {"source": "toy", "digest": "f" * 64, "device": "cpu", "dtype": "float32"}}
    )
    made.add(replace(outcome("passes", State.PASSED)), {"m": np.full((2, 2), 0.25)})
    return made


def told(run: Run, suite: Suite) -> tuple[list[str], str, str]:
    """The lines of the terminal, the summary, the gallery."""
    run.finish({"suite": suite.to_dict()})
    summary = markdown(run, suite, Ending(0, 1, 1), [], str, pictures=False)
    return closing_lines(run, suite, None), summary, write_gallery(run, language="en").read_text()


@pytest.mark.parametrize(
    ("cases", "fallen", "verdict"),
    [(60, 0.0, "passed"), (60, -0.04, "failed"), (2, 0.0, "cannot tell")],
)
def test_the_verdict_has_one_sentence_in_all_places(
    run: Run, cases: int, fallen: float, verdict: str
) -> None:
    suite = judged(cases, fallen)
    lines, summary, page = told(run, suite)
    assert suite.verdict == verdict
    shown = "FAILED" if verdict == "failed" else verdict
    assert f"suite-level gate {shown}: {suite.sentence}" in lines
    plain = suite.sentence.replace("<", "&lt;").replace(">", "&gt;")
    assert f"Suite-level gate {verdict}: {plain}" in page
    assert f"Suite-level gate {verdict}: " in summary
    assert suite.findings or plain in summary  # names of slices and cases are escaped
    assert run.results()["suite"]["verdict"] == verdict


def test_slices_that_fell_are_told_and_the_rest_is_counted(run: Run) -> None:
    suite = judged(60, -0.04)
    assert len(suite.slices) == 15
    lines, summary, page = told(run, suite)
    assert lines[4].startswith("  tag <small>: 20 cases on 20 pictures, labels right 20 before and")
    assert lines[4].endswith("20 now, mass -2.0 tolerances, FAILED")
    assert sum(line.startswith("  ") for line in lines) == 6
    assert lines[9].startswith("  10 more slices, ")
    assert "| tag &lt;small&gt; | 20 | 20 | 20 → 20 | mass, -2.0 tolerances | failed |" in summary
    slices = page.partition('<details id="slices">')[2].partition("</details>")[0]
    assert slices.count("<tr>") == 1 + 15
    assert "<td>tag &lt;small&gt;</td>" in slices


def test_a_slice_some_of_whose_variants_have_no_right_label_says_of_how_many(run: Run) -> None:
    changes = [
        Change(
            f"c{i}", f"p{i}", False, ("yes", "yes"), (i > 1, i > 1),
            {"mass": -0.02 if i < 6 else 0.0}, {"mass": 0.02}, "yes" if i > 1 else "",
            ("mixed" if i < 6 else "plain",), frozenset(),
        )
        for i in range(12)
    ]  # fmt: skip
    _, summary, page = told(run, judge_suite(changes, Limits()))
    rows = {row.partition("</td>")[0]: row for row in page.split("<tr><td>")}
    assert "<td>4 (of 4)</td><td>4 (of 4)</td>" in rows["tag mixed"]
    assert "<td>6</td><td>6</td>" in rows["tag plain"]
    assert "| 4 → 4 (of 4) |" in summary


def test_where_nothing_fell_the_slices_are_only_counted(run: Run) -> None:
    lines, summary, page = told(run, judged(60))
    assert [line for line in lines if line.startswith("  ")] == [
        "  15 slices, 15 tested and passed"
    ]
    assert "15 slices in the gallery." in summary
    assert '<details id="slices"><summary>' in page


def test_results_of_version_0_1_that_know_neither_verdict_nor_slices_are_drawn(run: Run) -> None:
    run.finish({"suite": {"failed": True, "sentence": "over 3 cases: mass moved"}})
    page = write_gallery(run, language="en").read_text()
    assert "Suite-level gate failed: over 3 cases: mass moved" in page
    assert 'id="slices"' not in page


def test_what_is_left_unsaid_is_told_in_all_places(run: Run) -> None:
    run.add(replace(outcome("vague", State.BROKEN), unsaid=0.99), {"m": np.full((2, 2), 0.25)})
    lines, summary, page = told(run, judged(60))
    warning = "1 case leaves more than half of the probability unsaid (0.99): "
    assert any(line.startswith(f"warning: {warning}") for line in lines)
    assert f"Warning: {warning}" in summary
    assert "(no 0.250, yes 0.750; unsaid 0.990)" in page
    assert page.count("; unsaid") == 1
    (vague,) = (o for o in run.outcomes() if o.case == "vague")
    assert "unsaid: 0.9900, the probability of all other answers" in failure_text(vague)
