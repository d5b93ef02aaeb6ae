"""The suite-level gate at the end of a session."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from tests.pages import words_of


@pytest.mark.slow
def test_a_shift_that_every_case_passes_fails_the_session(
    many: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = many.runpytest("cases")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["suite-level gate passed: over 16 cases on 16 pictures: *"])
    monkeypatch.setenv("TOY_LEAN", "0.006")
    result = many.runpytest("cases", "--junitxml=audit.xml")
    result.assert_outcomes(passed=16, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["suite-level gate FAILED: over 16 cases on 16 pictures: * moved *by*"]
    )
    suite = json.loads((many.path / "run" / "results.json").read_text())["suite"]
    assert suite["failed"]
    assert suite["shifts"][0]["adjusted"] < 0.05
    assert "Suite-level gate failed" in words_of((many.path / "run" / "gallery.html").read_text())


@pytest.mark.slow
def test_a_failing_gate_is_an_item_in_junit_and_for_last_failed(
    many: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    many.makeini("[pytest]\naudit_baselines = baselines\naudit_run_dir = run\n")
    monkeypatch.setenv("TOY_LEAN", "0.006")
    for workers in ((), ("-n2",)):
        result = many.runpytest("cases", "--junitxml=audit.xml", *workers)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.assert_outcomes(passed=16, failed=1)
        (suite,) = ElementTree.parse(many.path / "audit.xml").iter("testsuite")
        assert (suite.get("tests"), suite.get("failures")) == ("17", "1")
        (failure,) = suite.iter("failure")
        assert "moved" in str(failure.text)
        cache = many.path / ".pytest_cache" / "v" / "cache" / "lastfailed"
        assert json.loads(cache.read_text()) == {"audit::suite-level-gate": True}
    monkeypatch.setenv("TOY_LEAN", "0")
    many.runpytest("cases", "--lf").assert_outcomes(passed=16)
    assert not cache.exists() or json.loads(cache.read_text()) == {}


def test_some_cases_alone_do_not_make_the_gates_failure_forgotten(
    many: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    many.makeini("[pytest]\naudit_baselines = baselines\naudit_run_dir = run\n")
    monkeypatch.setenv("TOY_LEAN", "0.006")
    many.runpytest("cases").assert_outcomes(passed=16, failed=1)
    cache = many.path / ".pytest_cache" / "v" / "cache" / "lastfailed"
    monkeypatch.setenv("TOY_LEAN", "0")
    for some in (["-k", "case-3"], ["-m", "guide"], ["cases/many.yaml::case-3"]):
        many.runpytest("cases" if "::" not in some[0] else some[0], *some)
        assert json.loads(cache.read_text()) == {"audit::suite-level-gate": True}, some
    many.runpytest("cases", "--lf").assert_outcomes(passed=16)
    assert not cache.exists() or json.loads(cache.read_text()) == {}


def test_the_gate_can_be_switched_off_and_its_limits_set(
    many: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LEAN", "0.006")
    result = many.runpytest("cases", "--audit-suite-gate=off")
    assert result.ret == pytest.ExitCode.OK
    assert "suite-level" not in result.stdout.str()
    assert many.runpytest("cases", "--audit-suite-effect=1").ret == pytest.ExitCode.OK
    for wrong in (
        "--audit-suite-gate=maybe",
        "--audit-suite-effect=lots",
        "--audit-suite-alpha=nan",
        "--audit-suite-alpha=0",
        "--audit-suite-alpha=1",
        "--audit-suite-alpha=3",
    ):
        result = many.runpytest("cases", wrong)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*{wrong.partition('=')[0]}: '*' is not *"])
    result.stderr.fnmatch_lines(["*'3' is not a number above 0 and below 1"])


def test_an_update_is_not_judged_as_a_whole(
    many: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LEAN", "0.006")
    assert many.runpytest("cases", "--audit-update=all").ret == pytest.ExitCode.OK


def test_a_lost_critical_case_is_named_as_a_veto(
    many: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_UNSTEADY", "1")  # every answer is "maybe"
    result = many.runpytest("cases", "-k", "case-0")
    result.stdout.fnmatch_lines(["suite-level gate FAILED: *a critical case is wrong now: case-0*"])
