"""What a model that talks leaves unsaid is a figure of its own: growing is worse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from audit.gate import accepted, baselines, drift
from audit.gate.changes import changes_of
from audit.gate.outcomes import DriftRow, Outcome, State, unsaid_told
from audit.gate.shifts import table_of
from audit.gate.tolerances import Tolerances
from tests.outcomes import outcome


def said(unsaid: float | None, case: str = "a") -> Outcome:
    return replace(outcome(case, State.PASSED), unsaid=unsaid)


def stored(
    found: Outcome, folder: Path, before: accepted.Baseline | None = None
) -> accepted.Baseline:
    baselines.propose(found, {}, before, {}).write(folder)
    again = accepted.load(folder, found.case)
    assert again is not None
    return again


def row_of(found: Outcome, before: accepted.Baseline, tolerances: Tolerances) -> DriftRow:
    (row,) = (r for r in drift.compare(found, before, tolerances) if r.figure == "unsaid")
    return row


@pytest.mark.parametrize(
    ("now", "verdict"), [(0.2, "within"), (0.24, "within"), (0.3, "drifted"), (0.1, "improved")]
)
def test_growing_is_worse_and_falling_is_better(tmp_path: Path, now: float, verdict: str) -> None:
    row = row_of(said(now), stored(said(0.2), tmp_path), Tolerances())
    assert (row.verdict, row.better, row.tolerance) == (verdict, "lower", 0.05)
    assert row.change == pytest.approx(now - 0.2)


def test_against_the_same_weights_falling_has_drifted_too(tmp_path: Path) -> None:
    before = stored(said(0.2), tmp_path)
    rows = drift.compare(said(0.1), before, Tolerances(), held=Tolerances())
    assert [r.verdict for r in rows if r.figure == "unsaid"] == ["drifted"]


def test_a_case_or_the_noise_may_set_the_tolerance(tmp_path: Path) -> None:
    before = stored(said(0.2), tmp_path)
    assert row_of(said(0.3), before, Tolerances({"unsaid": 0.2})).verdict == "within"
    measured = Tolerances(floors={"probability": {"unsaid": 0.001}})
    assert row_of(said(0.21), before, measured).tolerance == pytest.approx(0.002)


def test_a_model_or_a_baseline_without_it_is_compared_as_before(tmp_path: Path) -> None:
    before = stored(said(None), tmp_path)
    assert "unsaid" not in json.loads((tmp_path / "a.json").read_text())
    for found in (said(None), said(0.3)):
        rows = [row.figure for row in drift.compare(found, before, Tolerances())]
        assert "unsaid" not in rows
    later = stored(said(0.3), tmp_path)
    assert later.digest != before.digest
    assert later.unsaid == (0.3, 0.3)


def test_the_anchor_stays_while_steps_are_small(tmp_path: Path) -> None:
    first = stored(said(0.2), tmp_path)
    found = said(0.24)
    found.drift = drift.compare(found, first, Tolerances())
    second = stored(found, tmp_path, first)
    assert second.unsaid == (0.24, 0.2)
    assert row_of(said(0.28), second, Tolerances()).verdict == "crept"


def test_the_suite_sees_it_grow_over_all_cases(tmp_path: Path) -> None:
    outcomes = []
    for number in range(4):
        before = stored(said(0.2, f"case{number}"), tmp_path)
        found = said(0.23, f"case{number}")
        found.drift = drift.compare(found, before, Tolerances())
        outcomes.append(found)
    table = table_of(changes_of(outcomes))
    place = table.metrics.index("unsaid")
    assert table.better[place] == "lower"
    assert table.changes[:, place] == pytest.approx(0.03)
    assert table.tolerances[:, place] == pytest.approx(0.05)


def test_more_than_half_unsaid_is_worth_a_warning() -> None:
    assert unsaid_told([None, 0.2, 0.5]) == ""
    assert unsaid_told([0.2, 0.6]).startswith(
        "1 case leaves more than half of the probability unsaid (0.60): "
    )
    assert unsaid_told([0.7, None, 0.99]).startswith(
        "2 cases leave more than half of the probability unsaid (up to 0.99): "
    )
