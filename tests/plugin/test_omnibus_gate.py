"""All figures together at the end of a session, and cases that only the stack can have moved."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from audit.commands import main as cli
from audit.gate.tolerances import ENOUGH, noise_path


@pytest.fixture
def measured(accepted: pytest.Pytester) -> pytest.Pytester:
    """The accepted project, with a noise floor measured under four conditions."""
    rows = {
        metric: {"floor": 0.001, "deviations": ENOUGH, "case": "birds", "condition": "a"}
        for metric in ("entropy", "gini", "spread")
    }
    path = noise_path(accepted.path / "baselines")
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "format": 2,
                "floors": {},
                "kinds": [
                    {
                        "dtype": "float32",
                        "device": "cpu",
                        "floors": {"answer_attention": rows},
                        "harmless": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.3},
                    }
                ],
            }
        )
    )
    return accepted


WIDE = "--audit-suite-effect=1000"
"""No single metric is judged, only all of them together."""


def test_figures_that_moved_together_fail_the_session_and_every_report_says_so(
    measured: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LEAN", "0.006")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = measured.runpytest("cases", WIDE, "--audit-summary=summary.md")
    result.assert_outcomes(passed=3, failed=1)
    said = "figures moved by * squared noise floors (float32 on cpu) on average, more than the 1.2 "
    result.stdout.fnmatch_lines(
        [
            "*audit failed: the suite-level gate failed, 3 of 3 audited",
            f"suite-level gate FAILED: * {said}*--audit-omnibus-limit*",
            "::error title=suite-level gate::*squared noise floors*",
        ]
    )
    found = json.loads((measured.path / "run" / "results.json").read_text())["suite"]["omnibus"]
    assert found["failed"]
    assert found["value"] > found["limit"] == pytest.approx(1.2)
    assert (found["conditions"], found["given"]) == (4, False)
    for name in ("run/gallery.html", "summary.md"):
        assert "squared noise floors" in (measured.path / name).read_text()


def test_what_the_hint_says_about_all_figures_works(
    measured: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No case by itself left its tolerance, so ``audit accept`` takes nothing, and says so."""
    monkeypatch.setenv("TOY_LEAN", "0.006")
    result = measured.runpytest("cases", WIDE)
    result.stdout.fnmatch_lines(["suite-level gate FAILED: * --audit-update=all accepts *"])
    assert "audit accept" not in result.stdout.str()
    done = CliRunner().invoke(cli.app, ["accept", "run"])
    assert done.exit_code == 0
    said = " ".join(done.output.split())
    assert "0 baselines accepted, in baselines" in said
    assert "name them, or audit them with --audit-update=all" in said
    assert measured.runpytest("cases", WIDE, "--audit-update=all").ret == pytest.ExitCode.OK
    result = measured.runpytest("cases", WIDE)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["all figures together passed: *"])


def test_the_limit_can_be_set_for_an_update_of_the_weights(
    measured: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured.runpytest("cases", WIDE).ret == pytest.ExitCode.OK
    monkeypatch.setenv("TOY_LEAN", "0.006")
    result = measured.runpytest("cases", WIDE, "--audit-omnibus-limit=99")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["all figures together passed: * within the limit of 99 that was set"]
    )
    assert measured.runpytest("cases", "--audit-suite-gate=off").ret == pytest.ExitCode.OK
    result = measured.runpytest("cases", "--audit-omnibus-limit=some")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--audit-omnibus-limit: 'some' is not auto or a number from 0*"])


def test_the_same_weights_without_a_measured_floor_are_told_in_one_line(
    accepted: pytest.Pytester,
) -> None:
    result = accepted.runpytest("cases")
    said = [line for line in result.stdout.lines if line.startswith("note: the weights are")]
    assert len(said) == 1
    assert "are held to default tolerances: measure it with audit noise" in said[0]


def test_without_a_measured_floor_nothing_is_said_of_all_figures(
    accepted: pytest.Pytester,
) -> None:
    result = accepted.runpytest("cases")
    assert result.ret == pytest.ExitCode.OK
    assert "squared" not in result.stdout.str()
    results = json.loads((accepted.path / "run" / "results.json").read_text())
    assert results["suite"]["omnibus"] is None


def test_what_moved_with_the_same_weights_is_the_stacks_and_can_be_accepted(
    measured: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured.makeconftest(
        """
        import audit.runs.session
        from tests.toy_model import ToyModel

        class Rewired(ToyModel):
            '''The same weights, computed otherwise.'''
            def __init__(self):
                super().__init__()
                self.fingerprint = ToyModel.fingerprint

        audit.runs.session.load_model = lambda *_: Rewired()
        """
    )
    monkeypatch.setenv("TOY_LEAN", "0.006")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    result = measured.runpytest("cases", "--audit-summary=summary.md")
    result.stdout.fnmatch_lines(
        [
            "stack: the weights are the baseline's, and entropy moved from * what differs: "
            "MKL_CBWR unset → COMPATIBLE",
            "3 cases: 2 stack, 1 passed",
            "*accept them: audit accept run",
        ]
    )
    assert "| stack |" in (measured.path / "summary.md").read_text()
    done = CliRunner().invoke(cli.app, ["accept", "run"])
    assert "2 baselines accepted" in done.output
    stored = json.loads((measured.path / "baselines" / "birds.json").read_text())
    assert stored["provenance"]["stack"]["MKL_CBWR"] == "COMPATIBLE"
    assert measured.runpytest("cases").ret == pytest.ExitCode.OK
