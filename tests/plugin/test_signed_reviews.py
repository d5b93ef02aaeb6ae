"""Reviews that say who decided: kept in baselines and log, put together, shown while they stand."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from audit.gate.waived import waived_path
from tests.pages import words_of
from tests.plugin.test_gate import stored
from tests.plugin.test_review import command, provenance, review, toy_at


def log(project: pytest.Pytester) -> list[dict[str, Any]]:
    path = project.path / "baselines" / "decisions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


NOON = "2026-11-26T12:00:00Z"


def said(case: str, decision: str, reviewer: str, reason: str = "") -> dict[str, str]:
    return {
        "case": case, "decision": decision, "reviewer": reviewer, "reason": reason, "time": NOON,
    }  # fmt: skip


def test_who_decided_when_and_why_is_kept_in_the_baselines_and_in_the_log(
    project: pytest.Pytester,
) -> None:
    project.runpytest("cases")
    path = review(
        project, said("birds", "accept", "Ada", "on the birds"), said("no-cat", "reject", "Ada")
    )
    result = command(project, "accept", "run", "--decisions", path, "--by", "the CI")
    assert result.exit_code == 0, result.output
    assert provenance(project, "birds")["accepted_by"] == "Ada"
    first, second = log(project)
    assert (first["case"], first["decision"], first["state"]) == ("birds", "accept", "new")
    assert (first["reviewer"], first["reason"], first["time"]) == ("Ada", "on the birds", NOON)
    assert (second["case"], second["decision"]) == ("no-cat", "reject")


def test_a_decision_that_the_log_holds_is_not_added_again(project: pytest.Pytester) -> None:
    project.runpytest("cases")
    with_time = said("no-cat", "reject", "Ada")
    path = review(project, with_time, {"case": "hungry", "decision": "reject"})
    for _ in range(2):
        assert command(project, "accept", "run", "--decisions", path).exit_code == 0
    assert [entry["case"] for entry in log(project)] == ["no-cat", "hungry"]
    again = review(project, with_time | {"time": "2026-11-27T08:00:00Z"})
    assert command(project, "accept", "run", "--decisions", again).exit_code == 0
    assert len(log(project)) == 3


def test_two_reviews_are_put_together_and_nothing_is_done_where_they_disagree(
    project: pytest.Pytester,
) -> None:
    project.runpytest("cases")
    one = review(
        project, said("birds", "accept", "Ada", "fine"), said("no-cat", "accept", "Ada", "fine"),
        name="ada.json",
    )  # fmt: skip
    other = review(
        project, said("birds", "accept", "Ben", "on it"), said("no-cat", "reject", "Ben", "no"),
        said("hungry", "reject", "Ben", "looks at a corner"), name="ben.json",
    )  # fmt: skip
    result = command(project, "accept", "run", "--decisions", one, "--decisions", other)
    assert result.exit_code == 1, result.output
    assert "accepted birds" in result.output
    assert "rejected hungry" in result.output
    assert (
        "nothing done about no-cat: reviewers disagree: Ada accepts it (fine), Ben rejects it (no)"
    ) in result.output
    assert provenance(project, "birds")["accepted_by"] == "Ada, Ben"
    assert provenance(project, "birds")["reason"] == "fine; on it"
    assert [(e["case"], e["reviewer"]) for e in log(project)] == [
        ("birds", "Ada"), ("birds", "Ben"), ("hungry", "Ben"),
    ]  # fmt: skip
    refused = command(project, "accept", "run", "no-cat", "--decisions", one, "--decisions", other)
    assert "no-cat: reviewers disagree in the review" in str(refused.exception)


def test_a_rejection_is_shown_by_status_and_the_next_gallery_until_a_baseline_is_accepted(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_at(monkeypatch, 0.1)
    accepted.runpytest("cases")
    path = review(accepted, said("hungry", "reject", "Ada", "looks at <a corner>"))
    assert command(accepted, "accept", "run", "--decisions", path).exit_code == 0
    output = command(accepted, "status").output
    assert "3 accepted, 0 missing, 0 stale, 0 orphans, 1 rejected" in output
    assert "  rejected: hungry: 2026-11-26 by Ada: looks at <a corner>" in output
    shutil.rmtree(accepted.path / "run")
    accepted.runpytest("cases")
    page = (accepted.path / "run" / "gallery.html").read_text()
    assert "<a corner>" not in page
    assert "Rejected before: 2026-11-26 by Ada: looks at <a corner>" in words_of(page)
    assert command(accepted, "accept", "run", "hungry").exit_code == 0
    assert "rejected" not in command(accepted, "status").output


def test_every_reviewer_who_rejects_a_case_is_named(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_at(monkeypatch, 0.1)
    accepted.runpytest("cases")
    for name, why in (("Ada", "a corner"), ("Ben", "too dark"), ("Ada", "a corner, still")):
        path = review(accepted, said("hungry", "reject", name, why))
        assert command(accepted, "accept", "run", "--decisions", path).exit_code == 0
    told = ("2026-11-26 by Ben: too dark", "2026-11-26 by Ada: a corner, still")
    output = command(accepted, "status").output
    assert "1 rejected" in output
    assert f"  rejected: hungry: {'; '.join(told)}\n" in output
    shutil.rmtree(accepted.path / "run")
    accepted.runpytest("cases")
    page = words_of((accepted.path / "run" / "gallery.html").read_text())
    assert [line for line in page.splitlines() if "Rejected before: " in line] == [
        f"Rejected before: {each}" for each in told
    ]


def test_a_later_decision_takes_the_place_of_a_rejection(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_at(monkeypatch, 0.1)
    accepted.runpytest("cases")
    path = review(accepted, said("hungry", "reject", "Ada"))
    command(accepted, "accept", "run", "--decisions", path)
    later = said("hungry", "accept", "Ben", "it is right") | {"time": "2026-11-27T08:00:00Z"}
    assert command(accepted, "accept", "run", "--decisions", review(accepted, later)).exit_code == 0
    assert "rejected" not in command(accepted, "status").output
    assert [e["decision"] for e in log(accepted)] == ["reject", "accept"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "decisions.jsonl:2: the file ends in the middle"),
        ("<<<<<<< ours", "decisions.jsonl:2: holds a merge conflict"),
        ('{"format": 1, "case": "a", "decision": "maybe"}', "decisions.jsonl:2: decision: "),
        ('{"format": 1, "case": "a", "case": "b"}', "decisions.jsonl:2: "),
    ],
)
def test_a_damaged_log_is_told_by_its_line_and_nothing_is_accepted(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, line: str, problem: str
) -> None:
    toy_at(monkeypatch, 0.1)
    accepted.runpytest("cases")
    path = review(accepted, said("hungry", "reject", "Ada"))
    command(accepted, "accept", "run", "--decisions", path)
    damaged = accepted.path / "baselines" / "decisions.jsonl"
    damaged.write_text(f"{damaged.read_text()}{line}\n")
    before = stored(accepted)
    for refused in (command(accepted, "accept", "run"), command(accepted, "status")):
        assert refused.exit_code != 0
        assert problem in str(refused.exception)
    assert stored(accepted) == before
    # A session goes on without it, and says so.
    result = accepted.runpytest("cases")
    result.stdout.fnmatch_lines(["warning: what reviewers rejected could not be read: *:2:*"])


def test_a_decision_about_a_case_that_the_run_does_not_hold_is_refused(
    project: pytest.Pytester,
) -> None:
    project.runpytest("cases")
    path = review(project, said("birds", "accept", "Ada"), said("bird", "reject", "Ada"))
    result = command(project, "accept", "run", "--decisions", path)
    assert "bird: the run has no case of this name; did you mean 'birds'?" in str(result.exception)
    assert not (project.path / "baselines").exists()


def test_pages_say_that_limits_on_maps_are_set_aside_for_a_model_and_why(
    accepted: pytest.Pytester,
) -> None:
    accepted.runpytest("cases")
    said = "Limits on maps are not judged for this model"
    assert said not in words_of((accepted.path / "run" / "gallery.html").read_text())
    shutil.rmtree(accepted.path / "run")
    path = waived_path(accepted.path / "baselines")
    path.parent.mkdir()
    path.write_text('{"attention": "it looks <elsewhere>"}')
    accepted.runpytest("cases")
    page = (accepted.path / "run" / "gallery.html").read_text()
    assert "<elsewhere>" not in page
    assert f"{said}: it looks <elsewhere>" in words_of(page)
    result = command(accepted, "evidence", "run", "--out", "evidence.html")
    assert result.exit_code == 0, result.output
    shown = words_of((accepted.path / "evidence.html").read_text())
    assert "Limits on maps were not judged for this model, as waived.json" in shown
    assert "says: it looks <elsewhere>" in shown
