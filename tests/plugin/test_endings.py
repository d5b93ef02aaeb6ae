"""What a session says of itself: never that it passed when it failed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.pages import words_of

pytestmark = pytest.mark.slow

GATE_OFF = "--audit-suite-gate=off"


def said(
    project: pytest.Pytester, *arguments: str, apart: bool = False
) -> tuple[pytest.RunResult, str, dict[str, Any]]:
    """Run a session; what its summary's first lines and its results say of it.

    ``apart`` is for a Ctrl-C inside, which pytester hands on to the session around it.
    """
    run = project.runpytest_subprocess if apart else project.runpytest
    result = run("--audit-summary=summary.md", GATE_OFF, *arguments)
    head = (project.path / "summary.md").read_text().split("\n\n")
    results = json.loads((project.path / "run" / "results.json").read_text())
    assert f"audit {results['session']['sentence']}" in result.outlines
    return result, f"{head[0]}: {head[1].splitlines()[0]}", results["session"]


def add_hooks(project: pytest.Pytester, code: str) -> None:
    """Another plugin: code at the end of the project's conftest.py."""
    with (project.path / "conftest.py").open("a") as file:
        file.write(code)


def test_a_session_that_passes_says_how_many_it_audited(accepted: pytest.Pytester) -> None:
    _, head, ending = said(accepted, "cases", "-k", "guide or hungry")
    assert head == "## Audit passed: 2 of 2 audited."
    assert ending["passed"]


def test_an_xfail_that_passes_fails_the_audit(accepted: pytest.Pytester) -> None:
    path = accepted.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("    tags: [guide]", "    xfail: known"))
    accepted.makeini(
        "[pytest]\naudit_baselines = baselines\naudit_run_dir = run\nxfail_strict = 1\n"
    )
    result, head, ending = said(accepted, "cases")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert head == (
        "## Audit failed: 1 item marked xfail passed (birds): remove the mark, 3 of 3 audited."
    )
    assert not ending["passed"]


def test_a_python_test_that_fails_first_with_x_leaves_cases_unaudited(
    accepted: pytest.Pytester,
) -> None:
    accepted.makepyfile(test_first="def test_no():\n    assert False\n")
    _, head, ending = said(
        accepted, "cases/birds.yaml::birds", "test_first.py", "cases/others.yaml", "-x"
    )
    assert head == (
        "## Audit failed: Stopped early (stopping after 1 failures), "
        "1 other test failed (test\\_first.py::test\\_no), 1 of 2 audited."
    )
    assert (ending["audited"], ending["selected"]) == (1, 2)


def test_another_plugins_errors_at_set_up_and_tear_down_are_told(accepted: pytest.Pytester) -> None:
    add_hooks(
        accepted,
        "\ndef pytest_runtest_setup(item):\n    assert item.name != 'birds'\n"
        "def pytest_runtest_teardown(item):\n    assert item.name != 'hungry'\n",
    )
    result, head, _ = said(accepted, "cases")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert head == (
        "## Audit failed: 2 cases failed outside the audit "
        "(birds at set-up, hungry at tear-down), 2 of 3 audited."
    )


def test_a_broken_case_file_that_is_passed_over_fails_the_audit_and_is_marked_at_its_line(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (accepted.path / "cases" / "wrong.yaml").write_text(
        "cases:\n  - id: x\n    imag: images/a.png\n    text: x\n    expect: {label: yes}\n"
    )
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(accepted.path.parent))
    result, head, _ = said(accepted, "cases", "--continue-on-collection-errors")
    assert (
        head == "## Audit failed: 1 file could not be collected (cases/wrong.yaml), 3 of 3 audited."
    )
    assert (
        "imag: unknown key; did you mean 'image'? |" in (accepted.path / "summary.md").read_text()
    )
    marked = [line for line in result.outlines if line.startswith("::error")]
    assert f"file={accepted.path.name}/cases/wrong.yaml,line=3," in marked[1]


def test_a_mistake_in_a_case_file_is_in_the_summary_though_nothing_was_audited(
    project: pytest.Pytester,
) -> None:
    (project.path / "cases" / "wrong.yaml").write_text("cases:\n  - id: x\n")
    result = project.runpytest("cases", "--audit-summary=summary.md")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = (project.path / "summary.md").read_text()
    assert text.startswith(
        "## Audit failed\n\n1 file could not be collected (cases/wrong.yaml), 0 of 3 audited."
    )
    assert "this key is required | `cases/wrong.yaml:2` |" in text


def test_an_interrupted_session_says_how_far_it_came(accepted: pytest.Pytester) -> None:
    add_hooks(
        accepted,
        "\ndef pytest_runtest_setup(item):\n"
        "    if item.name == 'no-cat':\n        raise KeyboardInterrupt\n",
    )
    result, head, _ = said(accepted, "cases", apart=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert head == "## Audit failed: Interrupted, 1 of 3 audited."


@pytest.mark.slow
def test_a_crashed_worker_fails_the_audit(accepted: pytest.Pytester) -> None:
    add_hooks(
        accepted,
        "\ndef pytest_runtest_setup(item):\n"
        "    import os\n    if item.name == 'no-cat':\n        os._exit(9)\n",
    )
    result, head, ending = said(accepted, "cases", "-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "1 case failed outside the audit (no-cat)" in head
    assert (ending["audited"], ending["selected"]) == (2, 3)


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_a_failed_audit(
    accepted: pytest.Pytester,
) -> None:
    (accepted.path / "conftest.py").write_text("")
    result = accepted.runpytest_subprocess(
        "cases", "--audit-model=./nowhere", "--audit-summary=summary.md"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = (accepted.path / "summary.md").read_text()
    assert text.startswith(
        "## Audit failed\n\nThe audit could not begin (./nowhere: no such checkpoint"
    )
    assert "0 of 3 audited." in text


@pytest.mark.parametrize("place", ["folder", "full"])
def test_a_summary_that_cannot_be_written_changes_no_verdict(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    full = Path("/dev/full")
    if place == "full" and not full.exists():
        pytest.skip("needs /dev/full")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(full if place == "full" else accepted.path))
    result = accepted.runpytest("cases")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["warning: the summary could not be written: *"])
    monkeypatch.setenv("TOY_CELL", "0")
    result = accepted.runpytest("cases")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*contract broken: mass of birds is*", "warning: the summary *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_disk_that_is_full_after_the_first_case_is_told_and_fails_what_it_lost(
    accepted: pytest.Pytester,
) -> None:
    add_hooks(
        accepted,
        """
import errno
import audit.base.files
from pathlib import Path
write = Path.replace
def replace(self, target):
    if list((Path(__file__).parent / "run" / "outcomes").glob("*.json")):
        raise OSError(errno.ENOSPC, "No space left on device")
    return write(self, target)
Path.replace = replace
""",
    )
    result = accepted.runpytest_subprocess("cases", "--audit-summary=summary.md")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=2)
    text = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in text
    assert "warning: the results could not be written: OSError: [Errno 28]" in text
    assert "the outcome could not be stored" in text
    said = "audit failed: the results could not be written, 2 cases failed, 3 of 3 audited"
    assert said in text


def test_a_run_folder_that_is_a_file_is_a_usage_error(accepted: pytest.Pytester) -> None:
    (accepted.path / "file").write_text("x")
    result = accepted.runpytest("cases", "--audit-run-dir=file")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--audit-run-dir: *file: no run can be written there: *"])
    result = accepted.runpytest("cases", "--audit-run-dir=file/below")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.slow
def test_fewer_cases_than_audit_min_cases_fail_the_session(accepted: pytest.Pytester) -> None:
    result, head, _ = said(accepted, "cases", "--audit-min-cases=4")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, failed=1)
    assert "3 cases audited, fewer than the 4 of audit" in head
    assert accepted.runpytest("cases", "--audit-min-cases=3").ret == pytest.ExitCode.OK
    accepted.makepyfile(test_other="def test_yes():\n    pass\n")
    assert accepted.runpytest("test_other.py", "--audit-min-cases=1", "-n1").ret == 1


@pytest.mark.parametrize("value", ["false", "0", "False", ""])
def test_ci_set_to_false_is_no_pipeline(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CI", value)
    project.runpytest("cases", "--audit-update=new").assert_outcomes(passed=3)


def test_reruns_do_not_multiply_properties(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CELL", "0")
    accepted.runpytest("cases/birds.yaml::birds", "--reruns=2", "--junitxml=audit.xml")
    cases = list(ElementTree.parse(accepted.path / "audit.xml").iter("testcase"))
    names = [[p.get("name") for p in case.iter("property")] for case in cases]
    assert all(len(each) == len(set(each)) for each in names)
    assert any("audit_state" in each for each in names)


def test_a_broken_contract_of_a_case_that_changed_says_both(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = accepted.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("there are two birds", "there are three birds"))
    monkeypatch.setenv("TOY_CELL", "0")
    result = accepted.runpytest("cases/birds.yaml::birds")
    result.stdout.fnmatch_lines(
        ["contract broken: mass of birds is * at least 0.5; and its baseline is stale: *"]
    )


def test_the_gallery_says_how_the_session_ended(accepted: pytest.Pytester) -> None:
    accepted.makepyfile(test_other="def test_no():\n    assert False\n")
    said(accepted, "cases", "test_other.py")
    page = words_of((accepted.path / "run" / "gallery.html").read_text())
    assert "Audit failed: 1 other test failed (test_other.py::test_no), 3 of 3 audited." in page


def test_results_that_cannot_be_stored_are_no_passing_audit(accepted: pytest.Pytester) -> None:
    add_hooks(
        accepted,
        "\nimport pathlib\n"
        "def pytest_runtest_teardown(item):\n"
        "    (pathlib.Path(item.config.rootpath) / 'run' / 'results.json' / 'x').mkdir("
        "parents=True, exist_ok=True)\n",
    )
    result = accepted.runpytest("cases", "--audit-summary=summary.md")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = (accepted.path / "summary.md").read_text()
    assert "The results could not be written, 3 of 3 audited." in text


def test_an_outcome_that_cannot_be_read_any_more_fails_the_session(
    accepted: pytest.Pytester,
) -> None:
    add_hooks(
        accepted,
        "\nimport pathlib\n"
        "def pytest_sessionfinish(session):\n"
        "    run = pathlib.Path(session.config.rootpath) / 'run'\n"
        "    for path in run.glob('outcomes/*.json'):\n"
        "        path.write_text('{')\n",
    )
    result = accepted.runpytest("cases")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["audit failed: the run could not be read, *3 of 3 audited"])


def test_a_listing_of_items_judges_no_older_run(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_UNSTEADY", "1")
    assert accepted.runpytest("cases").ret == pytest.ExitCode.TESTS_FAILED
    result = accepted.runpytest("cases", "--collect-only")
    assert result.ret == pytest.ExitCode.OK
    assert "FAILURES" not in result.stdout.str()


def test_skipped_cases_are_told(accepted: pytest.Pytester) -> None:
    add_hooks(
        accepted,
        "\nimport pytest\ndef pytest_collection_modifyitems(items):\n"
        "    items[0].add_marker(pytest.mark.skip(reason='not today'))\n",
    )
    _, head, _ = said(accepted, "cases")
    assert head == "## Audit passed: 2 of 3 audited, 1 skipped."


@pytest.mark.parametrize(
    "hook",
    [
        "def pytest_runtestloop(session):\n    return True\n",
        "def pytest_runtest_protocol(item):\n    return item.name == 'birds' or None\n",
        "import pytest\ndef pytest_runtest_teardown():\n    pytest.exit('enough', returncode=0)\n",
    ],
)
def test_cases_that_a_plugin_left_out_are_no_passing_audit(
    accepted: pytest.Pytester, hook: str
) -> None:
    add_hooks(accepted, f"\n{hook}")
    result = accepted.runpytest("cases", "--audit-summary=summary.md")
    assert result.ret != pytest.ExitCode.OK
    assert (accepted.path / "summary.md").read_text().startswith("## Audit failed")


def test_a_plan_of_what_would_run_is_no_audit(accepted: pytest.Pytester) -> None:
    result = accepted.runpytest("cases", "--setup-plan", "--audit-summary=summary.md")
    assert result.ret == pytest.ExitCode.OK
    assert "audit passed" not in result.stdout.str()
    assert not (accepted.path / "summary.md").exists()


@pytest.mark.parametrize("hook", ["", "@pytest.hookimpl(trylast=True)\n"])
def test_a_plugin_that_fails_at_the_end_is_told_and_loses_nothing(
    accepted: pytest.Pytester, hook: str
) -> None:
    add_hooks(
        accepted,
        f"\nimport pytest\n{hook}def pytest_sessionfinish(session):\n    raise OSError('x')\n",
    )
    result = accepted.runpytest_subprocess("cases", "--audit-summary=summary.md")
    assert result.ret != pytest.ExitCode.OK
    text = (accepted.path / "summary.md").read_text()
    assert "A plugin failed at the end (OSError: x)" in text
    assert (accepted.path / "run" / "results.json").exists()


def test_a_summary_of_an_earlier_session_does_not_speak_for_one_that_cannot_begin(
    accepted: pytest.Pytester,
) -> None:
    accepted.runpytest("cases", "--audit-summary=summary.md")
    assert (accepted.path / "summary.md").read_text().startswith("## Audit passed")
    accepted.runpytest("cases", "--audit-summary=summary.md", "--audit-dtype=x")
    assert (accepted.path / "summary.md").read_text().startswith("## Audit failed")
    (accepted.path / "notes.md").write_text("mine")
    accepted.runpytest("cases", "--audit-summary=notes.md", "--audit-dtype=x")
    assert (accepted.path / "notes.md").read_text() == "mine"


def test_a_summary_goes_through_links_and_into_pipes_that_somebody_reads(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (accepted.path / "link.md").symlink_to("real.md")
    accepted.runpytest("cases", "--audit-summary=link.md")
    assert (accepted.path / "link.md").is_symlink()
    assert (accepted.path / "real.md").read_text().startswith("## Audit passed")
    os.mkfifo(accepted.path / "pipe")
    result = accepted.runpytest("cases", "--audit-summary=pipe")
    result.stdout.fnmatch_lines(["warning: the summary could not be written: OSError: *"])
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(accepted.path / "pipe"))
    assert accepted.runpytest("cases").ret == pytest.ExitCode.OK
    assert (accepted.path / "pipe").is_fifo()


@pytest.mark.parametrize(
    "option", [f"--audit-run-dir={'a' * 300}", f"--audit-min-cases={'9' * 5000}"]
)
def test_an_option_that_cannot_be_is_a_usage_error(accepted: pytest.Pytester, option: str) -> None:
    result = accepted.runpytest("cases", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{option.partition('=')[0]}: *"])
