"""The run folder: whose run is in it, and when the last one is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.plugin.conftest import ROOT


def held(project: pytest.Pytester) -> set[str]:
    return {path.name for path in (project.path / "run" / "outcomes").glob("*.json")}


@pytest.mark.parametrize(
    "arguments", [["tests"], ["cases", "-k", "no-such-case"]], ids=["other tests", "no case chosen"]
)
def test_a_session_without_cases_leaves_the_last_run_as_it_is(
    accepted: pytest.Pytester, arguments: list[str]
) -> None:
    (accepted.path / "tests").mkdir()
    (accepted.path / "tests" / "test_other.py").write_text("def test_other(): pass\n")
    before = (accepted.path / "run" / "results.json").read_bytes()
    result = accepted.runpytest(*arguments)
    assert "audit passed" not in result.stdout.str()
    assert (accepted.path / "run" / "results.json").read_bytes() == before
    assert held(accepted) == {"birds.json", "hungry.json", "no-cat.json"}


def test_a_session_with_cases_begins_with_an_empty_folder(accepted: pytest.Pytester) -> None:
    accepted.runpytest("cases", "-k", "hungry").assert_outcomes(passed=1, deselected=2)
    assert held(accepted) == {"hungry.json"}


def test_the_last_run_does_not_speak_for_a_session_that_finds_a_mistake(
    accepted: pytest.Pytester,
) -> None:
    (accepted.path / "run" / "ctrf.json").write_text("{}")  # another plugin's report
    path = accepted.path / "cases" / "birds.yaml"
    right = path.read_text()
    path.write_text(right.replace("regions:", "regins:"))
    assert accepted.runpytest("cases").ret == pytest.ExitCode.INTERRUPTED
    left = {each.name for each in (accepted.path / "run").iterdir()}
    assert not left & {"run.json", "results.json", "gallery.html", "outcomes"}
    # What is left there is no reason to refuse the folder once the mistake is mended.
    path.write_text(right)
    accepted.runpytest("cases").assert_outcomes(passed=3)


def test_a_session_does_not_write_into_the_folder_of_one_that_runs(
    accepted: pytest.Pytester,
) -> None:
    slow = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "cases", "--audit-batch-size=1"],
        cwd=accepted.path, env={**os.environ, "TOY_SECONDS": "2", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    outcomes = accepted.path / "run" / "outcomes"
    deadline = time.monotonic() + 60
    mine = ""
    while not mine and time.monotonic() < deadline:
        time.sleep(0.2)
        if len(held(accepted)) == 1:
            mine = json.loads((accepted.path / "run" / "run.json").read_text())["id"]
    result = accepted.runpytest("cases")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = result.stdout.str() + result.stderr.str()
    assert f"{accepted.path / 'run'}: another session is writing its run there" in told
    output, _ = slow.communicate(timeout=60)
    assert "audit passed: 3 of 3 audited" in output
    assert json.loads((accepted.path / "run" / "run.json").read_text())["id"] == mine
    assert len(list(outcomes.glob("*.json"))) == 3
    accepted.runpytest("cases").assert_outcomes(passed=3)


def test_a_case_is_a_case_whatever_a_plugin_makes_of_its_node_id(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (accepted.path / "cases" / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        where = '_id' if hasattr(item, '_id') else '_nodeid'  # pytest 9.2, and before\n"
        "        setattr(item, where, f'{item.nodeid}@gpu')\n"
    )
    monkeypatch.setenv("TOY_LOG", str(accepted.path / "asked"))
    result = accepted.runpytest("cases")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["audit: model toy*", "audit passed: 3 of 3 audited"])
    assert Path("asked").read_text().split() == ["3"]
