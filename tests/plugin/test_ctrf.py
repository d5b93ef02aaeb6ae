"""The report of pytest-json-ctrf, which other tools read (https://ctrf.io); docs/ci.md shows it."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

TOLD = "contract broken: mass of birds is 0.01333, and must be at least 0.5"


def reported(
    project: pytest.Pytester, *arguments: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The report's summary, and its tests by name."""
    project.runpytest("cases", "--ctrf", "ctrf.json", *arguments)
    found = json.loads((project.path / "ctrf.json").read_text())
    assert found["reportFormat"] == "CTRF"
    return found["results"]["summary"], {each["name"]: each for each in found["results"]["tests"]}


@pytest.fixture
def broken(accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """One case breaks its contract, one drifts, one passes."""
    monkeypatch.setenv("TOY_CELL", "0")
    return accepted


@pytest.mark.parametrize("more", [[], ["-n1"]])
def test_each_case_has_its_state_and_its_sentence(more: list[str], broken: pytest.Pytester) -> None:
    summary, tests = reported(broken, *more)
    assert {k: summary[k] for k in ("tests", "passed", "failed")} == {
        "tests": 3, "passed": 1, "failed": 2,
    }  # fmt: skip
    case = tests["cases/birds.yaml::birds"]
    assert (case["status"], case["message"]) == ("failed", TOLD)
    assert (case["suite"], case["filePath"]) == (["cases/birds.yaml"], "cases/birds.yaml")
    assert f"{TOLD}\ncases/birds.yaml:2: 'there are two birds'\n" in case["trace"]
    assert "items.py" not in case["trace"]
    assert tests["cases/others.yaml::hungry"]["message"].startswith("drifted: centre_x drifted")
    assert "message" not in tests["cases/birds.yaml::no-cat"]


def test_a_failure_of_the_suite_level_gate_is_a_test_of_its_own(broken: pytest.Pytester) -> None:
    summary, tests = reported(broken, "--audit-min-cases", "9")
    assert summary["failed"] == 3
    assert tests["audit::min-cases"]["message"] == (
        "3 cases audited, fewer than the 9 of audit_min_cases"
    )


def test_a_case_that_is_known_to_fail_counts_as_skipped_with_its_reason(
    project: pytest.Pytester,
) -> None:
    path = project.path / "cases" / "others.yaml"
    path.write_text(
        path.read_text().replace("expect:", "xfail: not trained for moods\n    expect:")
    )
    summary, tests = reported(project)
    case = tests["cases/others.yaml::hungry"]
    assert (summary["skipped"], case["status"]) == (1, "skipped")
    assert case["message"] == "not trained for moods"


def test_junit_has_the_same_message(broken: pytest.Pytester) -> None:
    broken.runpytest("cases", "--junitxml", "audit.xml")
    failures = ElementTree.parse(broken.path / "audit.xml").findall(".//failure")
    assert failures[0].get("message") == TOLD
    assert (failures[0].text or "").startswith(f"{TOLD}\ncases/birds.yaml:2: ")


def test_one_line_for_each_failure_names_the_case_file(broken: pytest.Pytester) -> None:
    result = broken.runpytest("cases", "--tb=line")
    result.stdout.fnmatch_lines([f"*cases/birds.yaml:2: {TOLD}"])
