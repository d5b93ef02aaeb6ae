"""Figures beside their baselines: which are compared, and what their rows are called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.base.errors import FigureError
from audit.gate import accepted, baselines, drift
from audit.gate.outcomes import DriftRow, Outcome, State
from audit.gate.runfolder import Run
from audit.gate.tolerances import Tolerances
from audit.metrics.keys import FigureKey
from tests.outcomes import outcome


def measured(**more: Any) -> Outcome:
    metrics = {
        "rollout": {"mass[birds]": 0.5, "entropy": 0.5},
        "relevance variant=paper": {"mass[birds]": 0.4, "js against=(blank)": 0.3},
        "blank": {"entropy": 0.9},
    }
    return replace(outcome("a", State.PASSED), metrics=metrics, default_map="rollout", **more)


def accepted_from(found: Outcome, folder: Path) -> accepted.Baseline:
    baselines.propose(found, {}, None, {}).write(folder)
    stored = accepted.load(folder, found.case)
    assert stored is not None
    return stored


def compared(found: Outcome, before: accepted.Baseline) -> list[str]:
    return [row.figure for row in drift.compare(found, before, Tolerances())]


def test_rows_name_the_map_where_it_is_not_the_cases_own_and_leave_controls_out(
    tmp_path: Path,
) -> None:
    found = measured()
    assert compared(found, accepted_from(found, tmp_path)) == [
        "label",
        "probability of yes",
        "mass[birds]",
        "entropy",
        "mass[birds] (relevance variant=paper)",
        "js against=(blank) (relevance variant=paper)",
    ]


def test_a_control_that_is_the_cases_own_map_is_compared(tmp_path: Path) -> None:
    found = replace(measured(), default_map="blank")
    assert "entropy" in compared(found, accepted_from(found, tmp_path))


def test_what_a_baseline_calls_otherwise_is_not_compared_and_not_an_error(tmp_path: Path) -> None:
    found = measured()
    accepted_from(found, tmp_path)
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace('"entropy"', '"entrpy"'))
    before = accepted.load(tmp_path, "a")
    assert before is not None
    assert "entropy" not in compared(found, before)
    baselines.propose(found, {}, before, {}).write(tmp_path)
    stored = json.loads(path.read_text())["figures"]["rollout"]
    assert stored["entropy"] == {"accepted": 0.5, "anchor": 0.5}


def test_figures_against_a_map_of_an_earlier_spelling_are_compared(tmp_path: Path) -> None:
    found = replace(
        measured(),
        default_map="word_attention word=birds",
        metrics={"word_attention word=birds": {"js against=(answer_attention)": 0.5}},
    )
    accepted_from(found, tmp_path)
    path = tmp_path / "a.json"
    for now, then in (("word", "encoder"), ("answer", "cross")):
        path.write_text(path.read_text().replace(f"{now}_attention", f"{then}_attention"))
    before = accepted.load(tmp_path, "a")
    assert before is not None
    assert compared(found, before)[2:] == ["js against=(answer_attention)"]


def test_a_run_of_an_earlier_spelling_is_read_as_one_of_today(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start({"model": {}, "baselines": ""})
    row = DriftRow("js against=(blank) (encoder_attention word=a)", "1", "1", 0.0, 0.1, "within")
    old = replace(
        measured(),
        metrics={"cross_attention": {"js against=(encoder_attention word=a)": 0.5}},
        default_map="cross_attention",
        drift=[row],
    )
    run.add(old, {})
    read = run.outcome("a")
    assert read.metrics == {"answer_attention": {"js against=(word_attention word=a)": 0.5}}
    assert read.drift == [replace(row, figure="js against=(blank) (word_attention word=a)")]


def test_the_anchor_moves_for_the_figure_of_one_map_alone(tmp_path: Path) -> None:
    found = measured()
    before = accepted_from(found, tmp_path)
    now = {key: dict.fromkeys(values, 0.1) for key, values in found.metrics.items()}
    seen = DriftRow("mass[birds] (relevance variant=paper)", "0.4", "0.1", -0.3, 0.02, "drifted")
    moved = replace(found, metrics=now, drift=[seen])
    baselines.propose(moved, {}, before, {}).write(tmp_path)
    stored = json.loads((tmp_path / "a.json").read_text())["figures"]
    assert stored["relevance variant=paper"]["mass[birds]"] == {"accepted": 0.1, "anchor": 0.1}
    assert stored["rollout"]["mass[birds]"] == {"accepted": 0.1, "anchor": 0.5}


@pytest.mark.parametrize(
    ("figure", "about"),
    [
        ("label", "label"),
        ("probability of yes", "probability"),
        ("mass[birds]", "mass"),
        ("mass[birds] (relevance variant=paper)", "mass"),
        ("js against=(blank) (rollout)", "js"),
        ("depth of field[birds]", "depth of field[birds]"),
    ],
)
def test_a_row_is_about_a_metric_the_label_or_the_probability(figure: str, about: str) -> None:
    assert drift.metric_of(DriftRow(figure, "1", "1", 0.0, 0.1, "within")) == about


def test_a_stored_name_is_named_with_its_map() -> None:
    found = measured()
    assert drift.figure_key("entropy", "rollout", found) == FigureKey("entropy")
    other = drift.figure_key("entropy", "relevance variant=paper", found)
    assert other == FigureKey("entropy", map="relevance variant=paper")
    with pytest.raises(FigureError, match="did you mean 'entropy'"):
        drift.figure_key("entrpy", "rollout", found)
